"""Tests which provider a model's name selects, and what happens to names that select none."""

import json
import os
import re
from pathlib import Path

import pytest

from nulpoint.errors import Failure
from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.model_names import OTHER_PROVIDER_NAMES, PROVIDER_BY_PREFIX
from nulpoint.routing.chains import FallbackChains
from nulpoint.routing.router import Router, _letters
from support.paths import ROOT
from support.routing_targets import PROVIDERS

CHAT_HOSTS = ("openai", "mistral", "groq")


def router(names=PROVIDERS, *, default="openai", default_is_set=False, aliases=()):
    providers = {name: PROVIDERS[name] for name in names}
    chains = FallbackChains({}, automatic=False)
    return Router(providers, dict(aliases), default, CATALOG, chains, default_is_set=default_is_set)


def found(model, **how):
    """Return the target that the name selects, as `provider/model`; None if it does not say which provider."""
    target = router(**how).find_target(model)
    return None if target is None else target.name


def refusal(model, **how):
    with pytest.raises(Failure) as caught:
        router(**how).plan(model, "chat")
    return caught.value


# -- names of today ----------------------------------------------------------------------------------------------------

NAMES = {
    "openai": "gpt-6.2-sol gpt-5.4-mini-2026-03-17 o3-deep-research o4-mini chatgpt-4o-latest chat-latest text-embedding-3-large"
    " text-embedding-ada-002 omni-moderation-latest ft:gpt-4.1-mini:acme::a1 gpt-image-2 dall-e-3 tts-1-hd whisper-1",
    "anthropic": "claude-fable-5-2 claude-haiku-5-5 claude-mythos-5 claude-sonnet-4-5-20250929",
    "gemini": "gemini-4-argon gemini-flash-latest gemini-embedding-001 gemini-embedding-2 gemma-4-31b-it nano-banana-2.1"
    " deep-research-preview-04-2026",
    "vertexai": "text-embedding-005 text-multilingual-embedding-002",
    "mistral": "mistral-large-4 mistral-embed ministral-14b-latest magistral-small-latest codestral-embed devstral-2512"
    " voxtral-small-latest voxtral-mini-2602 pixtral-large-latest open-mistral-nemo labs-leanstral-1-5 zai-glm-5-3"
    " ft:open-mistral-7b:a:b",
    "xai": "grok-4.7 grok-4.20-reasoning grok-imagine-image",
    "deepseek": "deepseek-flash deepseek-v4-pro deepseek-v4.1-flash",
    "moonshot": "kimi-k3.1-pro kimi-k2-thinking moonshot-v1-8k",
    "minimax": "MiniMax-M3.1-Flash minimax-m2 MINIMAX-M2.7 speech-2.6-hd",
    "qwen": "qwen3-max qwen3-coder-plus qwen2.5-72b-instruct qwen4-max qwen-plus Qwen3-Max qvq-max qwq-plus text-embedding-v4"
    " qwen3.8-omni-flash",
    "zai": "glm-5.3 glm-4.5-air glm-5v-turbo",
    "cerebras": "zai-glm-4.7",
    "bytedance": "doubao-seed-1-6-250615 seed-1-8-251228",
    "cohere": "command-a-03-2025 embed-v4.0 embed-multilingual-v3.0 rerank-v5.0-pro rerank-english-v3.0 c4ai-aya-expanse-32b",
    "voyage": "voyage-4-large voyage-code-3 voyage-context-4 rerank-3 rerank-2.5-lite",
    "jina": "jina-embeddings-v4 jina-reranker-v3.5 jina-clip-v2",
    "perplexity": "sonar sonar-deep-research",
    "bedrock": "moonshot.kimi-k2-thinking moonshotai.kimi-k2.5 minimax.minimax-m2 google.gemma-3-27b-it xai.grok-4"
    " nvidia.nemotron-nano-12b-v2 zai.glm-4.7 writer.palmyra-x5-v1:0 stability.stable-image-core-v1:1 luma.ray-v2:0"
    " twelvelabs.pegasus-1-2-v1:0 openai.gpt-oss-120b-1:0 qwen.qwen3-32b-v1:0 deepseek.v3.2 ai21.jamba-1-5-mini-v1:0"
    " us.anthropic.claude-opus-5-5 us-gov.anthropic.claude-sonnet-5 eu.amazon.nova-lite-v1:0 jp.anthropic.claude-haiku-5-5"
    " au.anthropic.claude-opus-5 apac.amazon.nova-pro-v1:0 global.anthropic.claude-fable-5-2 in.anthropic.claude-opus-5"
    " ca.amazon.nova-lite-v1:0 sa.anthropic.claude-sonnet-5 us.writer.palmyra-x4-v1:0",
}  # fmt: skip


@pytest.mark.parametrize(
    ("provider", "name"), [(maker, name) for maker, names in NAMES.items() for name in names.split()]
)
def test_names_of_today(provider, name):
    assert found(name) == f"{provider}/{name}"


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("codestral", "mistral/codestral-latest"), ("magistral", "mistral/magistral-medium-latest"),
        ("devstral", "mistral/devstral-latest"), ("voxtral", "mistral/voxtral-small-latest"),
        ("mistral", "mistral/mistral-large-latest"), ("text-embedding-004", "gemini/text-embedding-004"),
        ("models/gemini-3.8-flash", "gemini/gemini-3.8-flash"),
        ("publishers/google/models/gemini-4-argon", "vertexai/gemini-4-argon"),
        ("publishers/anthropic/models/claude-opus-5", "vertexai-claude/claude-opus-5"),
        ("accounts/fireworks/models/kimi-k3", "fireworks/accounts/fireworks/models/kimi-k3"),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/us.x", "bedrock/arn:aws:bedrock:us-east-1:1:inference-profile/us.x"),
    ],
)  # fmt: skip
def test_names_that_are_written_in_full(name, target):
    assert found(name) == target


# The published tables of models, where they lie beside the project: their families, and the providers that have them.
TABLES = Path(os.environ.get("NULPOINT_MODEL_TABLES", ROOT.parent / "shared" / "models"))
FAMILIES = {
    "Alibaba": "qwen", "Anthropic Claude": "anthropic bedrock", "Cohere": "cohere", "DeepSeek": "deepseek",
    "Foundry": "openai xai deepseek moonshot", "Google Gemini": "gemini vertexai", "Jina": "jina", "MiniMax": "minimax",
    "Mistral": "mistral", "Moonshot": "moonshot", "OpenAI": "openai", "Voyage": "voyage", "Z.ai": "zai", "xAI": "xai",
}  # fmt: skip
NAME = re.compile(r"[\w.@:-]+\d[\w.@:-]*|[a-z]+-[\w.-]+")  # the other entries describe several models, or a host
# Models that a host serves beside those of its own family; they go to their maker.
GUESTS = re.compile(r"(glm|deepseek|kimi)-")
NO_NAMES = re.compile(r"M2\.x|keep-alive|.*\*")


def test_the_published_tables_of_models():
    files = [TABLES / name for name in ("models-anthropic-google.json", "models-openai-others.json")]
    if not all(path.is_file() for path in files):
        pytest.skip(f"the published tables of models are not in {TABLES}, so their names were not tried")
    rows = [row for path in files for row in json.loads(path.read_text(encoding="utf-8"))]
    names = {(row["family"], name) for row in rows for name in (row["model"], *row["aliases"]) if NAME.fullmatch(name)}
    one = router()
    assert len(names) > 400
    wrong = []
    for family, name in sorted(names):
        target = one.find_target(name)
        provider = target and target.provider.spec.name
        guest = family in ("Alibaba", "Mistral") and GUESTS.match(name)
        makers = ["zai", "deepseek", "moonshot"] if guest else FAMILIES[family].split()
        if provider not in makers and not NO_NAMES.match(name):
            wrong.append((family, name, provider))
    assert not wrong


def test_prefixes_are_in_lower_case():
    assert [prefix for prefix in PROVIDER_BY_PREFIX if prefix != prefix.lower()] == []


# -- names that begin with an unknown provider -------------------------------------------------------------------------

MEANT = {
    "vertex_ai/gemini-2.5-pro": "vertexai/gemini-2.5-pro",
    "vertex-ai/gemini-2.5-pro": "vertexai/gemini-2.5-pro",
    "google/gemini-3.8-flash": "gemini/gemini-3.8-flash",
    "x-ai/grok-4.7": "xai/grok-4.7",
    "z-ai/glm-5.3": "zai/glm-5.3",
    "moonshotai/kimi-k3": "moonshot/kimi-k3",
    "mistralai/mistral-large-latest": "mistral/mistral-large-latest",
    "alibaba/qwen3-max": "qwen/qwen3-max",
    "Qwen/Qwen3-32B": "qwen/Qwen3-32B",
    "deepseek-ai/DeepSeek-R1": "deepseek/DeepSeek-R1",
    "together_ai/some/model": "together/some/model",
    "fireworks_ai/some/model": "fireworks/some/model",
    "amazon-bedrock/x": "bedrock/x",
    "bedrock_converse/x": "bedrock/x",
    "azure_ai/x": "azure/x",
    "hosted_vllm/x": "vllm/x",
    "ollama_chat/x": "ollama/x",
    "LM_Studio/x": "lmstudio/x",
    "perplexity-ai/x": "perplexity/x",
    "opnai/gpt-6-sol": "openai/gpt-6-sol",
    "antropic/claude-opus-5": "anthropic/claude-opus-5",
}


@pytest.mark.parametrize(("name", "meant"), MEANT.items())
def test_another_name_of_a_provider_is_refused_with_the_one_that_is_meant(name, meant):
    failure = refusal(name)
    assert (failure.status, failure.code, failure.param) == (404, "model_not_found", "model")
    assert f"did you mean {meant}?" in failure.message
    assert found(meant) is not None


@pytest.mark.parametrize("name", ["meta-llama/Llama-3.1-8B", "acme/x/y", "/x", "@cf/meta/llama", "x/"])
def test_an_unknown_name_lists_the_configured_providers(name):
    failure = refusal(name, names=CHAT_HOSTS)
    assert failure.status == 404
    assert "did you mean" not in failure.message
    assert "groq, mistral, openai." in failure.message
    assert re.search(r"(is no provider|and no model)\. Write `provider/model`; ", failure.message)
    assert "DEFAULT_PROVIDER" in failure.message


def test_the_message_says_what_is_not_configured_or_missing():
    assert "(vertexai is not configured here)?" in refusal("vertex_ai/x", names=CHAT_HOSTS).message
    assert "names a provider and no model" in refusal("openai/").message
    assert len(refusal("x/" + "y" * 2000).message) < 1000


def test_the_default_that_the_operator_has_set_gets_the_name_unchanged():
    one = router(default="openrouter", default_is_set=True)
    for name in ("google/gemini-3.8-flash", "meta-llama/Llama-3.1-8B", "x/"):
        assert one.plan(name, "chat").primary.name == f"openrouter/{name}"
        assert one.find_target(name) is None
    assert router(default="openai", default_is_set=True).plan("google/x", "chat").primary.name == "openai/google/x"


def test_an_alias_may_begin_with_anything():
    aliases = {"google/fast": "gemini/gemini-3.8-flash"}
    assert router(aliases=aliases).plan("google/fast", "chat").primary.name == "gemini/gemini-3.8-flash"


def test_a_name_without_a_slash_goes_to_the_default_in_any_case():
    assert router().plan("never-heard-of-it", "chat").primary.name == "openai/never-heard-of-it"


def test_models_with_a_slash_are_listed_with_their_provider():
    assert ("groq/openai/gpt-oss-120b", "groq") in router(("groq",)).models()


# -- a default without keys --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["qwen3-coder", "qwen3:8b", "deepseek-r1:8b", "codestral", "mistral"])
def test_a_host_of_ones_own_serves_the_models_of_makers_that_are_not_configured(name):
    one = router(("ollama", "openai"), default="ollama", default_is_set=True)
    assert one.plan(name, "chat").primary.name == f"ollama/{name}"
    assert one.find_target(name) is None
    assert one.plan("gpt-oss", "chat").primary.name == "openai/gpt-oss"  # its maker is configured
    assert refusal("qwen/x", names=("ollama",), default="ollama", default_is_set=True).status == 400


def test_other_defaults_do_not_get_the_models_of_other_makers():
    for default, default_is_set in (("openai", False), ("openai", True), ("ollama", False)):
        failure = refusal("qwen3-max", names=("openai", "ollama"), default=default, default_is_set=default_is_set)
        assert (failure.status, failure.code) == (400, "provider_not_configured")


def test_other_names_are_written_as_they_are_looked_up():
    assert [name for name in OTHER_PROVIDER_NAMES if _letters(name) != name] == []
