"""What is known of today's important models at each host, written from the makers' pages.

A name with a date, a region or a version has the facts of its model, and names alike have those of another.
"""

from datetime import date

import pytest

from nulpoint.models.catalog import built_in_models

LEVELS = {"low", "medium", "high", "xhigh", "max"}
XHIGH = LEVELS - {"max"}
LMH = {"low", "medium", "high"}
FREE, AUTO = {"none", "auto", "required", "named"}, {"none", "auto"}
SAMPLING = {"temperature", "top_p"}

# -- Claude: thinking, how it is turned off, levels, default, tool_choice, forced while thinking, sampling refused, prefill,
# system messages anywhere, binding, context in thousands
CLAUDE = [
    # name                    reasoning  off              efforts          default   choice forced  refused  prefill system binds  k
    ("claude-fable-5-2",      "effort", "impossible",    LEVELS,           "high",   AUTO, False, SAMPLING, False, True,  True,  1000),
    ("claude-mythos-5-1",     "effort", "impossible",    LEVELS,           "high",   AUTO, False, SAMPLING, False, True,  True,  1000),
    ("claude-fable-5",        "effort", "impossible",    LEVELS,           "high",   FREE, True,  SAMPLING, False, True,  False, 1000),
    ("claude-opus-5-5",       "effort", "impossible",    LEVELS,           "medium", AUTO, False, SAMPLING, False, True,  True,  1000),
    ("claude-opus-5",         "effort", "disabled",      LEVELS,           "high",   FREE, True,  SAMPLING, False, True,  False, 1000),
    ("claude-opus-4-8",       "effort", "disabled",      LEVELS,           "none",   FREE, True,  SAMPLING, False, True,  False, 1000),
    ("claude-opus-4-7",       "effort", "disabled",      LEVELS,           "none",   FREE, False, SAMPLING, False, False, False, 1000),
    ("claude-opus-4-6",       "effort", "disabled",      LEVELS - {"xhigh"}, "none", FREE, False, set(),    False, False, False, 1000),
    ("claude-opus-4-5-20251101", "budget", "disabled",   set(),            "none",   FREE, False, set(),    True,  False, False, 200),
    ("claude-sonnet-5-5",     "effort", "between_tools", LEVELS,           "high",   AUTO, False, SAMPLING, False, True,  True,  1000),
    ("claude-sonnet-5",       "effort", "disabled",      LEVELS,           "high",   FREE, True,  SAMPLING, False, False, False, 1000),
    ("claude-sonnet-4-6",     "effort", "disabled",      LEVELS - {"xhigh"}, "none", FREE, False, set(),    False, False, False, 1000),
    ("claude-sonnet-4-5-20250929", "budget", "disabled", set(),            "none",   FREE, False, set(),    True,  False, False, 200),
    ("claude-haiku-5-5",      "effort", "disabled",      LEVELS,           "medium", FREE, True,  SAMPLING, False, True,  True,  1000),
    ("claude-haiku-4-5",      "budget", "disabled",      set(),            "none",   FREE, False, set(),    True,  False, False, 200),
    # A model of the future is taken for the strictest of today.
    ("claude-sonnet-6",       "effort", "impossible",    LEVELS,           "high",   AUTO, False, SAMPLING, False, False, True,  None),
]  # fmt: skip


@pytest.mark.parametrize("host", ["anthropic", "vertexai-claude", "bedrock"])
@pytest.mark.parametrize("row", CLAUDE, ids=[row[0] for row in CLAUDE])
def test_claude(host, row):
    name, reasoning, off, efforts, default, choice, forced, refused, prefill, system, binds, thousands = row
    spelled = {"bedrock": f"us.anthropic.{name}", "vertexai-claude": name.replace("-2025", "@2025")}.get(host, name)
    if host == "bedrock" and name == "claude-sonnet-5":
        off = "impossible"  # its card there says that it always thinks
    facts = built_in_models().of(host, spelled)
    assert (facts.reasoning, facts.thinking_off, set(facts.efforts)) == (reasoning, off, efforts)
    assert facts.default_effort == default
    assert (set(facts.tool_choice), facts.forced_tools_while_thinking) == (choice, forced)
    assert set(facts.refused) & SAMPLING == refused
    assert (facts.prefill, facts.system_anywhere, facts.binds_reasoning) == (prefill, system, binds)
    assert facts.context == (thousands and thousands * 1000)
    assert facts.output == (64_000 if thousands == 200 else 128_000)
    assert facts.url_context == (host == "anthropic")
    assert ("web_search" in facts.server_tools) == (host != "bedrock")


@pytest.mark.parametrize(
    ("name", "structured"),
    [
        ("anthropic.claude-haiku-4-5-20251001-v1:0", True),
        ("eu.anthropic.claude-opus-4-6-v1", True),
        ("anthropic.claude-sonnet-4-6", True),
        ("anthropic.claude-opus-4-7", False),
        ("global.anthropic.claude-opus-5", False),
        ("us.anthropic.claude-sonnet-5-5", False),
    ],
)
def test_structured_outputs_of_claude_on_bedrock(name, structured):
    facts = built_in_models().of("bedrock", name)
    assert (facts.json_schema, facts.strict_tools) == (structured, structured)


def test_structured_outputs_of_claude_elsewhere():
    for host in ("anthropic", "vertexai-claude"):
        facts = built_in_models().of(host, "claude-opus-5-5")
        assert facts.json_schema
        assert facts.strict_tools


# -- Gemini

PENALTIES, LOGPROBS = {"presence_penalty", "frequency_penalty"}, {"logprobs", "top_logprobs"}
MINIMAL = LMH | {"minimal"}
GEMINI = [
    # host, name                      efforts         default    signatures refused: sampling, penalties, logprobs  prefill, schema beside tools
    ("gemini", "gemini-4-neon",           LMH | {"xhigh"}, "high",    True,  True,  True,  True,  False, True),
    ("vertexai", "gemini-4-hydrogen",     LMH | {"xhigh"}, "high",    True,  True,  True,  True,  False, True),
    ("gemini", "gemini-4-argon",          LMH,             "medium",  True,  True,  True,  True,  False, True),
    ("gemini", "gemini-3.8-flash",        LMH,             "medium",  True,  True,  True,  True,  False, True),
    ("vertexai", "gemini-3.7-flash",      LMH,             "medium",  True,  True,  True,  True,  False, True),
    ("gemini", "gemini-3.6-flash",        MINIMAL,         "medium",  True,  True,  True,  True,  False, True),
    ("gemini", "gemini-3.5-flash",        MINIMAL,         "medium",  True,  True,  True,  True,  False, True),
    ("vertexai", "gemini-3.5-flash",      MINIMAL,         "medium",  True,  False, True,  True,  True,  True),
    ("gemini", "gemini-3.5-flash-lite",   MINIMAL,         "minimal", True,  True,  True,  True,  False, True),
    ("gemini", "gemini-3.1-flash-lite",   MINIMAL,         "minimal", True,  False, True,  True,  False, True),
    ("gemini", "models/gemini-3.1-pro-preview", LMH,       "high",    True,  False, True,  True,  False, True),
    ("gemini", "gemini-3-flash-preview",  MINIMAL,         "high",    True,  False, True,  True,  False, True),
    ("vertexai", "gemini-3-pro-preview",  {"low", "high"}, "high",    True,  False, True,  True,  False, True),
    ("gemini", "gemini-flash-latest",     LMH,             "medium",  True,  True,  True,  True,  False, True),
    ("gemini", "gemini-pro-latest",       LMH,             "medium",  True,  True,  True,  True,  False, True),
]  # fmt: skip


@pytest.mark.parametrize("row", GEMINI, ids=[f"{row[0]}-{row[1]}" for row in GEMINI])
def test_gemini_from_3_on(row):
    host, name, efforts, default, signatures, sampling, penalties, logprobs, prefill, beside_tools = row
    facts = built_in_models().of(host, name)
    refused = set(facts.refused)
    assert (facts.reasoning, facts.thinking_off) == ("effort", "impossible")
    assert (set(facts.efforts), facts.default_effort) == (efforts, default)
    assert (refused >= SAMPLING, refused >= PENALTIES, refused >= LOGPROBS) == (sampling, penalties, logprobs)
    assert (facts.call_signatures, facts.prefill) == (signatures, prefill)
    assert (facts.json_with_tools, facts.server_tools_with_functions) == (beside_tools, beside_tools)
    assert (facts.context, facts.output) == (1_048_576, 65_536)


@pytest.mark.parametrize(
    ("host", "name", "off", "least", "most", "refuses_penalties"),
    [
        ("vertexai", "gemini-2.5-pro", "impossible", 128, 32_768, False),
        ("gemini", "gemini-2.5-pro", "impossible", 128, 32_768, True),
        ("vertexai", "gemini-2.5-flash", "disabled", 0, 24_576, False),
        ("gemini", "gemini-2.5-flash-lite", "disabled", 512, 24_576, True),
    ],
)
def test_gemini_2_5(host, name, off, least, most, refuses_penalties):
    facts = built_in_models().of(host, name)
    assert (facts.reasoning, facts.thinking_off, facts.budget_min, facts.budget_max) == ("budget", off, least, most)
    assert (set(facts.refused) >= PENALTIES) == refuses_penalties
    assert not SAMPLING & set(facts.refused)
    assert not facts.json_with_tools


@pytest.mark.parametrize(
    ("host", "name", "method"),
    [
        ("gemini", "gemini-embedding-2", "batchEmbedContents"),
        ("gemini", "gemini-embedding-001", "batchEmbedContents"),
        ("vertexai", "gemini-embedding-2", "embedContent"),
        ("vertexai", "gemini-embedding-001", "embedContent"),
        ("vertexai", "text-embedding-005", "predict"),
        ("vertexai", "text-multilingual-embedding-002", "predict"),
    ],
)
def test_embeddings_of_google(host, name, method):
    facts = built_in_models().of(host, name)
    assert (facts.kind, facts.embeddings_method) == ("embeddings", method)


# -- OpenAI

OPENAI = [
    # name                    efforts          default   off           tools                context  chat
    ("gpt-6.2-astra",        XHIGH,            "medium", "impossible", "never",             922_000, True),
    ("gpt-6.2-sol",          XHIGH,            "medium", "impossible", "never",             922_000, True),
    ("gpt-6.1-sol",          XHIGH,            "medium", "impossible", "never",             922_000, True),
    ("gpt-6.1-terra",        XHIGH,            "medium", "effort",     "never",             922_000, True),
    ("gpt-6-sol",            XHIGH,            "medium", "effort",     "without_reasoning", 922_000, True),
    ("gpt-6-luna",           XHIGH,            "medium", "effort",     "without_reasoning", 922_000, True),
    ("gpt-5.6-terra",        LEVELS,           "medium", "effort",     "without_reasoning", 922_000, True),
    ("gpt-5.5-2026-04-23",   XHIGH,            "medium", "effort",     "without_reasoning", 922_000, True),
    ("gpt-5.4",              XHIGH,            "none",   "effort",     "without_reasoning", 922_000, True),
    ("gpt-5.4-mini",         XHIGH,            "none",   "effort",     "without_reasoning", 272_000, True),
    ("gpt-5.2",              XHIGH,            "none",   "effort",     "always",            272_000, True),
    ("gpt-5.1",              LMH,              "none",   "effort",     "always",            272_000, True),
    ("gpt-5-mini",           MINIMAL,          "medium", "impossible", "always",            272_000, True),
    ("o3-2025-04-16",        LMH,              "medium", "impossible", "always",            200_000, True),
    ("gpt-5.5-pro",          None,             None,     None,         None,                None,    False),
    ("gpt-5.3-codex",        None,             None,     None,         None,                None,    False),
    ("gpt-7",                XHIGH,            "medium", "impossible", "always",            None,    True),
]  # fmt: skip


@pytest.mark.parametrize("row", OPENAI, ids=[row[0] for row in OPENAI])
def test_reasoning_models_of_openai(row):
    name, efforts, default, off, tools, context, chat = row
    facts = built_in_models().of("openai", name)
    assert facts.chat == chat
    assert facts.limit_member == "max_completion_tokens"
    assert {"stop", "presence_penalty", "logit_bias"} <= set(facts.refused)
    assert set(facts.refused_while_thinking) == SAMPLING | LOGPROBS
    if chat:
        assert (set(facts.efforts), facts.default_effort, facts.thinking_off) == (efforts, default, off)
        assert (facts.chat_tools, facts.context) == (tools, context)


@pytest.mark.parametrize("name", ["gpt-4o", "gpt-4.1-mini", "gpt-3.5-turbo-0125", "ft:gpt-4o-2024-08-06:me::x"])
@pytest.mark.parametrize("host", ["openai", "azure"])
def test_models_of_openai_without_reasoning(host, name):
    facts = built_in_models().of(host, name)
    assert facts.reasoning == "none"
    assert not facts.refused
    assert facts.limit_member == "either"
    assert facts.chat_tools == "always"


def test_a_deployment_at_azure_says_nothing_of_its_model():
    facts = built_in_models().of("azure", "gpt-prod")
    assert not facts.refused
    assert facts.chat_tools == "always"


def test_a_model_at_azure_differs_from_the_same_at_openai():
    assert built_in_models().of("openai", "gpt-6.1-terra").thinking_off == "effort"
    assert built_in_models().of("azure", "gpt-6.1-terra").thinking_off == "impossible"


# -- the others


@pytest.mark.parametrize(
    ("name", "reasoning", "efforts", "history"),
    [
        ("mistral-large-latest", "none", set(), "never"),
        ("mistral-large-2512", "none", set(), "never"),
        ("mistral-large-4", "effort", {"high"}, "may"),
        ("mistral-medium-latest", "effort", {"high"}, "may"),
        ("mistral-medium-2508", "none", set(), "never"),
        ("mistral-small-latest", "effort", {"high"}, "may"),
        ("magistral-medium-latest", "effort", {"high"}, "may"),
        ("codestral-latest", "none", set(), "never"),
        ("ministral-8b-latest", "none", set(), "never"),
        ("mistral-next", "none", set(), "never"),
    ],
)
def test_mistral(name, reasoning, efforts, history):
    facts = built_in_models().of("mistral", name)
    assert (facts.reasoning, set(facts.efforts), facts.reasoning_history) == (reasoning, efforts, history)
    assert facts.limit_member == "max_tokens"


@pytest.mark.parametrize(
    ("name", "choice", "reasoning"),
    [
        ("us.amazon.nova-pro-v1:0", {"auto", "required", "named"}, "none"),
        ("amazon.nova-2-lite-v1:0", {"auto", "required", "named"}, "effort"),
        ("mistral.mistral-large-2407-v1:0", {"auto", "required"}, "none"),
        ("openai.gpt-oss-120b-1:0", {"auto"}, "effort"),
        ("meta.llama3-3-70b-instruct-v1:0", {"auto"}, "none"),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/a1b2c3", {"auto"}, None),
    ],
)
def test_models_of_other_makers_on_bedrock(name, choice, reasoning):
    facts = built_in_models().of("bedrock", name)
    assert (set(facts.tool_choice), facts.reasoning) == (choice, reasoning)
    assert not facts.strict_tools
    assert not facts.json_schema


@pytest.mark.parametrize(
    ("name", "end", "replacement"),
    [
        ("anthropic/claude-sonnet-4-5-20250929", date(2026, 11, 30), "claude-sonnet-5-5"),
        ("bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", date(2027, 4, 8), "anthropic.claude-sonnet-5-5"),
        ("vertexai-claude/claude-opus-4-5@20251101", date(2027, 1, 22), "claude-opus-5-5"),
        ("anthropic/claude-opus-4-5", date(2027, 1, 22), "claude-opus-5-5"),
        ("anthropic/claude-opus-5", None, None),
        ("anthropic/claude-3-5-sonnet-latest", date(2025, 10, 28), "claude-sonnet-5-5"),
        ("gemini/gemini-2.5-pro", date(2026, 12, 1), "gemini-3.8-flash"),
        ("gemini/gemini-2.5-flash", date(2026, 12, 1), "gemini-3.5-flash-lite"),
        ("gemini/gemini-2.5-flash-lite", None, None),
        ("vertexai/gemini-3.7-flash", date(2027, 1, 28), "gemini-4-hydrogen"),
        ("gemini/gemini-3.7-flash", None, None),
        ("gemini/text-embedding-004", date(2026, 1, 14), "gemini-embedding-001"),
        ("gemini/gemini-pro", date(2025, 2, 15), "gemini-3.8-flash"),
        ("gemini/gemini-pro-latest", None, None),
        ("openai/gpt-4o", date(2027, 1, 14), "gpt-6-luna"),
        ("openai/gpt-4o-2024-05-13", date(2026, 10, 23), "gpt-5.6-sol"),
        ("azure/gpt-4o", date(2027, 4, 14), "gpt-5.1"),
        ("openai/o3", date(2026, 12, 11), "gpt-6.1-sol"),
        ("openai/gpt-5.1", date(2027, 4, 1), "gpt-6-sol"),
        ("mistral/mistral-large-2411", date(2026, 5, 31), "mistral-large-latest"),
        ("mistral/open-mixtral-8x7b", date(2025, 3, 30), "mistral-small-latest"),
        ("xai/grok-3", date(2026, 5, 15), "grok-4.3"),
        ("deepseek/deepseek-chat", date(2026, 7, 24), "deepseek-flash"),
        ("groq/llama-3.3-70b-versatile", date(2026, 8, 16), "openai/gpt-oss-120b"),
    ],
)
def test_ends_of_models(name, end, replacement):
    host, _, model = name.partition("/")
    facts = built_in_models().of(host, model)
    assert (facts.retires, facts.replacement) == (end, replacement)
