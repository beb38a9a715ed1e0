"""Model names that nulpoint itself chose (tiers, lists, aliases, demo, examples, documentation) are of models that live on.

`ENDS` holds names that are easily written from habit, with the day each has ended or ends. Older names that users may
still have in their programs (the aliases of earlier versions) go on being routed, and are named only as such.
"""

import re
from datetime import date

import pytest

from nulpoint.mock.anthropic import server as anthropic_server
from nulpoint.mock.openai import server as openai_server
from nulpoint.models.catalog import built_in_models
from nulpoint.models.tiers import PROVIDERS, TIERS, fallback_target
from nulpoint.providers.catalog import ALIASES, CATALOG, PROVIDER_BY_PREFIX
from support.fenced_blocks import PAGES, ROOT

_OPENAI = "https://developers.openai.com/api/docs/deprecations"
_ANTHROPIC = "https://platform.claude.com/docs/en/about-claude/model-deprecations"
_GOOGLE = "https://ai.google.dev/gemini-api/docs/deprecations"
# names, when they end, who says so (seen on 2026-11-30)
ENDS = (
    (("gpt-4", "gpt-4-turbo", "gpt-3.5-turbo", "o1", "o3-mini", "o4-mini", "gpt-4.1-nano"), "2026-10-23", _OPENAI),
    (("gpt-3.5-turbo-instruct", "davinci-002", "babbage-002"), "2026-09-28", _OPENAI),
    (("o3", "o3-pro", "gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-5-pro"), "2026-12-11", _OPENAI),
    (("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini"), "2027-01-14", _OPENAI),
    (("claude-3-7-sonnet", "claude-3-5-haiku", "claude-3-5-sonnet"), "2026-02-19", _ANTHROPIC),
    (("claude-3-haiku", "claude-3-opus", "claude-3-sonnet"), "2026-04-20", _ANTHROPIC),
    (("claude-opus-4-1",), "2026-08-05", _ANTHROPIC),
    (("claude-sonnet-4-5",), "2026-11-30", _ANTHROPIC),
    (("claude-opus-4-5",), "2027-01-22", _ANTHROPIC),
    (("gemini-pro", "gemini-1.5-pro", "gemini-1.5-flash"), "2025-09-24", _GOOGLE),
    (("gemini-2.0-flash", "gemini-2.0-flash-lite"), "2026-06-01", _GOOGLE),
    (("text-embedding-004", "embedding-001"), "2026-01-14", _GOOGLE),
    (("gemini-2.5-pro", "gemini-2.5-flash"), "2026-12-01", _GOOGLE),
    (("grok-3", "grok-3-mini"), "2026-05-15", "https://docs.x.ai/docs/models"),
    (("deepseek-chat", "deepseek-reasoner"), "2026-07-24", "https://api-docs.deepseek.com"),
    (("llama-3.3-70b-versatile", "llama-3.1-8b-instant"), "2026-08-16", "https://console.groq.com/docs/deprecations"),
    (("sonar", "sonar-pro", "sonar-reasoning"), "2026-09-27", "https://docs.perplexity.ai/docs/agent-api/migrate-from-sonar"),
)  # fmt: skip
NAMES = [name for names, _, _ in ENDS for name in names]
# The same name with a date or `-latest` after it; `vertexai-` and the like may stand before it.
_ENDED = re.compile(
    rf"(?<![\w.-])(?:azure-|vertexai-)?(?:{'|'.join(map(re.escape, NAMES))})(?:-latest|-\d{{4}}-?\d\d-?\d\d|@\d+)?(?![\w]|[-.]\w)"
)
# Aliases for names of the product's first versions; their providers answer for what has ended.
FIRST_ALIASES = {
    "claude-3-5-sonnet", "claude-3-opus", "claude-3-haiku", "gemini-pro", "gemini-1.5-pro", "gemini-1.5-flash",
    "mistral-large", "mistral-medium", "mistral-small", "mixtral-8x7b", "mistral-embed", "text-embedding-004",
    "embedding-001",
}  # fmt: skip
SAYS_SO = re.compile(r"\bended\b|\bhas retired\b")
FILES = [
    *PAGES,
    *(path for folder in ("demo", "examples") for path in sorted((ROOT / folder).rglob("*"))),
    ROOT / "config.example.yaml",
    ROOT / ".env.example",
    *sorted(ROOT.glob("compose*.yaml")),
    *(path for path in sorted((ROOT / "deploy").rglob("*")) if path.suffix in (".yaml", ".yml", ".md", ".env")),
]


def ended(text):
    return _ENDED.findall(text)


def test_the_pattern_finds_names_and_no_parts_of_others():
    assert ended("model='gpt-4o', openai/gpt-4o-2024-08-06 and azure-gpt-4o; claude-3-7-sonnet-latest") == [
        "gpt-4o", "gpt-4o-2024-08-06", "azure-gpt-4o", "claude-3-7-sonnet-latest",
    ]  # fmt: skip
    assert ended("gpt-5.4, gpt-5.4-mini, gpt-4o-audio, gemini-2.5-flash-lite, o3x, claude-sonnet-5, foo3, sonar2") == []


@pytest.mark.parametrize("tier", TIERS)
def test_tiers(tier):
    targets = [fallback_target(provider, tier, built_in_models(), date.min) for provider in PROVIDERS]
    assert not ended(" ".join(map(str, targets)))


@pytest.mark.parametrize(("names", "end"), [(names, end) for names, end, _ in ENDS])
def test_the_rows_of_facts_have_these_ends_or_earlier_ones(names, end):
    for name in names:
        found = [built_in_models().of(host, name).retires for host in (*PROVIDERS, "xai", "deepseek", "groq")]
        known = [day for day in found if day is not None]
        assert not known or min(known) <= date.fromisoformat(end), name


def test_listed_models_and_those_of_mocks():
    listed = [model for spec in CATALOG.values() for model in spec.models]
    assert not ended("\n".join([*listed, *openai_server.MODELS, *anthropic_server._MODELS]))


def test_aliases_that_are_not_from_the_first_versions():
    assert set(ALIASES) >= FIRST_ALIASES
    ours = {alias: target for alias, target in ALIASES.items() if alias not in FIRST_ALIASES}
    assert not ended(str(ours))


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.is_file()], ids=lambda path: str(path.relative_to(ROOT))
)
def test_documentation_demo_and_examples(path):
    rows = {f"| `{alias}` | `{target}` |" for alias, target in ALIASES.items()}
    rows |= {f"| `{prefix}` | {provider} |" for prefix, provider in PROVIDER_BY_PREFIX.items()}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    wrong = [line for line in lines if ended(line) and line not in rows and not SAYS_SO.search(line)]
    assert not wrong
