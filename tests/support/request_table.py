"""Requests of every kind that the OpenAI API knows, and what each provider cannot express of them."""

import base64
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

OLD_CLAUDE, CLAUDE_4, CLAUDE_4_5 = "claude-3-5-haiku-latest", "claude-sonnet-4-0", "claude-sonnet-4-5"
NEW_CLAUDE = ("claude-opus-4-6", "claude-opus-4-8", "claude-sonnet-5", "claude-fable-5")
OLD_GEMINI, NEW_GEMINI = (
    ("gemini-2.0-flash", "gemini-2.5-flash", "gemini-2.5-pro"),
    ("gemini-3-pro-preview", "gemini-3.6-flash"),
)
BEDROCK_CLAUDE = (
    "anthropic.claude-3-5-haiku-20241022-v1:0", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic.claude-opus-4-6-v1",
)  # fmt: skip
NOVA, LLAMA = (
    "amazon.nova-pro-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.meta.llama3-1-70b-instruct-v1:0",
)
MODELS = {
    "anthropic": (OLD_CLAUDE, CLAUDE_4, CLAUDE_4_5, *NEW_CLAUDE),
    "bedrock": (*BEDROCK_CLAUDE, NOVA, LLAMA),
    "gemini": OLD_GEMINI + NEW_GEMINI,
    "mistral": ("mistral-small-latest",),
}
# One model for each ability that changes a translation.
REPRESENTATIVES = {
    "anthropic": (OLD_CLAUDE, CLAUDE_4_5, "claude-fable-5"),
    "bedrock": (BEDROCK_CLAUDE[1], NOVA, LLAMA),
    "gemini": ("gemini-2.0-flash", "gemini-2.5-pro", "gemini-3.6-flash"),
    "mistral": MODELS["mistral"],
}
HI = [{"role": "user", "content": "hi"}]
PNG = "data:image/png;base64," + base64.b64encode(b"png").decode()
PDF = "data:application/pdf;base64," + base64.b64encode(b"pdf").decode()
TXT = "data:text/plain;base64," + base64.b64encode("é".encode()).decode()
CITY = {
    "type": "object", "properties": {"city": {"type": "string", "minLength": 1}, "days": {"type": ["integer", "null"]}},
    "required": ["city"], "additionalProperties": False,
}  # fmt: skip
EITHER = {"anyOf": [CITY, {"type": "object", "properties": {"zip": {"type": "integer"}}, "required": ["zip"]}]}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": CITY},
}
BARE = {"type": "function", "function": {"name": "now"}}
CUSTOM: dict[str, Any] = {"type": "custom", "custom": {"name": "shell", "description": "Runs it."}}
GRAMMAR = {"type": "grammar", "grammar": {"syntax": "lark", "definition": 'start: "a"'}}
SHORT = "response_format.json_schema.schema.minLength"
FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "place", "schema": CITY, "strict": True, "description": "A place."},
}


def call(call_id: Any = "call_1", name: Any = "weather", arguments: Any = '{"city":"Oslo"}') -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(call_id: Any = "call_1", content: Any = "rain", **more: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **more}


def calls(*made: Any, content: Any = None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(made), **more}


def user(*parts: Any) -> list[Any]:
    return [{"role": "user", "content": list(parts)}]


def named(name: Any, kind: Any = "function") -> dict[str, Any]:
    return {"type": kind, kind: {"name": name}}


def allowed(mode: Any, *names: Any) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named(name) for name in names]}}


TURN = [*HI, calls(call()), result()]
IMAGE = {"type": "image_url", "image_url": {"url": PNG}}
TEXT = {"type": "text", "text": "see"}
ALL = ("anthropic", "bedrock", "gemini", "mistral")


class Case(NamedTuple):
    """A request, and its expected outcome.

    `refused` maps a provider or model to the member that its 400 names, and `dropped` maps it to the reported members.
    The key `*` stands for all providers.
    """

    request: dict[str, Any]
    refused: Mapping[str, str] = MappingProxyType({})
    dropped: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    def models(self, provider: str) -> list[str]:
        """Return the models of a provider to test with: the representatives, and those with an outcome of their own."""
        return [
            model
            for model in MODELS[provider]
            if model in REPRESENTATIVES[provider] or model in self.refused or model in self.dropped
        ]


CASES = {
    # tools
    "function": Case({"tools": [TOOL]}),
    "function without parameters": Case({"tools": [BARE, {"type": "function", "function": {"name": "f", "parameters": {}}}]}),
    "strict function": Case(
        {"tools": [{"type": "function", "function": {**TOOL["function"], "strict": True}}]},
        dropped={
            "anthropic": ("tools.function.parameters.minLength",),
            OLD_CLAUDE: ("tools.function.strict",), CLAUDE_4: ("tools.function.strict",),
        },
    ),
    "alternatives at the top of a schema": Case(
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": EITHER}}]},
        dropped={"anthropic": ("tools.function.parameters.anyOf",)},
    ),
    "custom tool": Case({"tools": [CUSTOM], "tool_choice": named("shell", "custom")}),
    "custom tool with a grammar": Case(
        {"tools": [{"type": "custom", "custom": {**CUSTOM["custom"], "format": GRAMMAR}}]},
        dropped={"*": ("tools.custom.format",)},
    ),
    "no tools": Case({"tools": ()}),
    "legacy functions": Case({"functions": [TOOL["function"]], "function_call": {"name": "weather"}}),
    "choice none": Case({"tools": [TOOL], "tool_choice": "none"}),
    "choice auto": Case({"tools": [TOOL], "tool_choice": "auto"}),
    "choice required": Case({"tools": [TOOL, BARE], "tool_choice": "required"}),
    "choice of one": Case({"tools": [TOOL, BARE], "tool_choice": named("now")}),
    "allowed, free": Case(
        {"tools": [TOOL, BARE, CUSTOM], "tool_choice": allowed("auto", "now")}, dropped={"anthropic": ("tool_choice",)}
    ),
    "allowed, required": Case(
        {"tools": [TOOL, BARE, CUSTOM], "tool_choice": allowed("required", "now", "weather")},
        dropped={"anthropic": ("tool_choice",)},
    ),
    "allowed, all": Case({"tools": [TOOL, BARE], "tool_choice": allowed("auto", "now", "weather")}),
    "allowed, one must be called": Case({"tools": [TOOL, BARE], "tool_choice": allowed("required", "now")}),
    "choice of none there is": Case({"tools": [TOOL], "tool_choice": named("x")}, refused=dict.fromkeys(ALL, "tool_choice")),
    "choice without tools": Case({"tool_choice": "required"}, refused=dict.fromkeys(ALL, "tool_choice")),
    "one call at a time": Case(
        {"tools": [TOOL], "parallel_tool_calls": False}, dropped={"gemini": ("parallel_tool_calls",)}
    ),
    "many at a time": Case({"tools": [TOOL], "parallel_tool_calls": True}),
    "web search": Case(
        {"web_search_options": {"search_context_size": "low", "user_location":
            {"type": "approximate", "approximate": {"city": "Oslo", "country": "NO"}}}},
        dropped={
            "anthropic": ("web_search_options.search_context_size",), "mistral": ("web_search_options",),
            "gemini": ("web_search_options.search_context_size", "web_search_options.user_location",),
        },
    ),
    "web search beside functions": Case(
        {"web_search_options": {}, "tools": [TOOL]},
        dropped={"mistral": ("web_search_options",)} | dict.fromkeys(OLD_GEMINI, ("web_search_options",)),
    ),
    # calls and results
    "a call and its result": Case({"tools": [TOOL], "messages": TURN}),
    "parallel calls": Case({
        "tools": [TOOL],
        "messages": [*HI, calls(call("a"), call("b"), content="I look."), result("b"), result("a"), *HI],
    }),
    "results with the user's words between": Case({
        "tools": [TOOL],
        "messages": [*HI, calls(call("a"), call("b")), result("b"), *HI, result("a")],
    }),
    "tools gone, calls in the history": Case({"messages": [*TURN, {"role": "assistant", "content": "Rain."}, *HI]}),
    "the same id in two turns": Case({"messages": [*TURN, *TURN, *HI], "tools": [TOOL]}),
    "ids of another provider": Case({
        "messages": [*HI, calls(call("functions.weather:0 é")), result("functions.weather:0 é")],
        "tools": [TOOL],
    }),
    "arguments that were cut": Case({"messages": [*HI, calls(call(arguments='{"city":"Os')), result()], "tools": [TOOL]}),
    "empty arguments": Case({"messages": [*HI, calls(call(arguments="")), result()], "tools": [TOOL]}),
    "arguments that are no object": Case(
        {"messages": [*HI, calls(call(arguments="[1]")), result()]},
        refused=dict.fromkeys(ALL, "messages[1].tool_calls[0].function.arguments"),
    ),
    "a call without a result": Case(
        {"messages": [*HI, calls(call("a"), call("b")), result("a")]},
        refused=dict.fromkeys(ALL, "messages[1].tool_calls"),
    ),
    "a result without a call": Case({"messages": [*HI, result()]}, refused=dict.fromkeys(ALL, "messages[1].tool_call_id")),
    "a second result": Case({"messages": [*TURN, result()]}, refused=dict.fromkeys(ALL, "messages[3].tool_call_id")),
    "results in parts, with an image": Case({"messages": [*HI, calls(call()), result(content=[TEXT, IMAGE])], "tools": [TOOL]}),
    "empty results": Case({"messages": [*HI, calls(call("a"), call("b")), result("a", ""), result("b", None)], "tools": [TOOL]}),
    "a custom call": Case({
        "messages": [*HI, calls({"id": "c", "type": "custom", "custom": {"name": "shell", "input": "ls"}}), result("c")],
        "tools": [CUSTOM],
    }),
    "legacy messages": Case({
        "functions": [TOOL["function"]],
        "messages": [*HI, {"role": "assistant", "content": None, "function_call": call()["function"]},
                     {"role": "function", "name": "weather", "content": "rain"}],
    }),
    # messages
    "system and developer": Case({"messages": [
        {"role": "system", "content": "a"}, {"role": "developer", "content": [TEXT]}, *HI]}),
    "system only": Case({"messages": [{"role": "system", "content": "a"}]}),
    "nothing said": Case({"messages": [{"role": "user", "content": ""}]}),
    "system in the middle": Case({"messages": [
        *HI, {"role": "assistant", "content": "yes"}, {"role": "system", "content": "be brief"}, *HI]}),
    "system after a result": Case({"messages": [*TURN, {"role": "developer", "content": "be brief"}], "tools": [TOOL]}),
    "names": Case({"messages": [{"role": "user", "name": "ann", "content": "hi"}]}, dropped={"*": ("messages.name",)}),
    "empty and blank": Case({"messages": [
        {"role": "system", "content": ""}, *HI, {"role": "assistant", "content": ""}, {"role": "user", "content": "x"},
        calls(call(), content=""), result(), {"role": "assistant", "content": [{"type": "text", "text": ""}]}, *HI],
        "tools": [TOOL]}),
    "a refusal in the history": Case({"messages": [
        *HI, {"role": "assistant", "content": None, "refusal": "no"},
        *HI, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, *HI]}),
    "an answer to go on with": Case(
        {"messages": [*HI, {"role": "assistant", "content": "The answer is "}]},
        dropped=dict.fromkeys((*NEW_CLAUDE, "gemini"), ("messages",)) | {"gemini-2.0-flash": ()},
    ),
    "the assistant first": Case({"messages": [{"role": "assistant", "content": "Hello."}, *HI]}),
    "messages as SDKs hand them back": Case({"messages": [
        *HI, {"role": "assistant", "content": "x", "refusal": None, "annotations": (), "audio": None,
              "function_call": None, "tool_calls": None}, *HI]}),
    "reasoning of another provider": Case(
        {"messages": [*HI, calls(call(), reasoning_content="hm"), result()], "tools": [TOOL], "reasoning_effort": "medium"},
        dropped={
            "anthropic": ("messages.reasoning_content",), "gemini": ("messages.reasoning_content",),
            "mistral": ("reasoning_effort",),
            "gemini-2.0-flash": ("reasoning_effort", "messages.reasoning_content",),
            **dict.fromkeys((OLD_CLAUDE, CLAUDE_4, CLAUDE_4_5), ("reasoning_effort", "messages.reasoning_content",)),
            "gemini-3-pro-preview": ("reasoning_effort", "messages.reasoning_content",),
        },
    ),
    # parts
    "image data": Case({"messages": user(TEXT, IMAGE)}),
    "image by URL": Case(
        {"messages": user({"type": "image_url", "image_url": {"url": "https://example.com/a.png?x=1", "detail": "auto"}})},
        refused={"gemini-2.0-flash": "messages[0].content.image_url"},
    ),
    "image with detail": Case(
        {"messages": user({"type": "image_url", "image_url": {"url": PNG, "detail": "high"}})},
        dropped=dict.fromkeys(("anthropic", "gemini"), ("messages.content.image_url.detail",)),
    ),
    "PDF": Case(
        {"messages": user({"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}})},
        dropped={"gemini": ("messages.content.file.filename",)},
    ),
    "text file": Case({"messages": user({"type": "file", "file": {"file_data": TXT}})}),
    "image as a file": Case({"messages": user({"type": "file", "file": {"file_data": PNG}})}),
    "file of OpenAI": Case(
        {"messages": user({"type": "file", "file": {"file_id": "file-abc"}})},
        refused={"anthropic": "messages[0].content.file.file_id"},
    ),
    "audio": Case(
        {"messages": user({"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}})},
        refused={"anthropic": "messages[0].content"},
    ),
    "cache marks": Case(
        {"messages": user({**TEXT, "prompt_cache_breakpoint": {"mode": "explicit"}}, {**TEXT, "cache_control": {"type": "ephemeral"}}),
         "tools": [{**TOOL, "cache_control": {"type": "ephemeral"}}]},
        dropped=dict.fromkeys(("gemini", "mistral"), ("messages.content.cache_control", "messages.content.prompt_cache_breakpoint", "tools.cache_control",)),
    ),
    # output
    "JSON schema": Case(
        {"response_format": FORMAT},
        dropped={"anthropic": (SHORT,), OLD_CLAUDE: (), CLAUDE_4: (), "gemini": (SHORT,)},
    ),
    "JSON schema beside tools": Case(
        {"response_format": FORMAT, "tools": [TOOL]},
        dropped={
            "anthropic": (SHORT,), "gemini": (SHORT,),
            **dict.fromkeys((OLD_CLAUDE, CLAUDE_4, *OLD_GEMINI), ("response_format",)),
        },
    ),
    "JSON schema while thinking": Case(
        {"response_format": FORMAT, "reasoning_effort": "high"},
        dropped={
            "anthropic": (SHORT,), CLAUDE_4: ("response_format",), OLD_CLAUDE: ("reasoning_effort",),
            "gemini": (SHORT,), "gemini-2.0-flash": ("reasoning_effort", SHORT),
        },
    ),
    "any JSON": Case({"response_format": {"type": "json_object"}}, dropped={"anthropic": ("response_format",)}),
    "text": Case({"response_format": {"type": "text"}, "modalities": ["text"], "verbosity": None}),
    "speech": Case(
        {"modalities": ["audio"], "audio": {"voice": "Kore", "format": "pcm16"}},
        dropped=dict.fromkeys(("anthropic", "mistral"), ("audio", "modalities",)),
    ),
    "speech as MP3": Case(
        {"modalities": ["audio"], "audio": {"voice": "Kore", "format": "mp3"}},
        refused={"gemini": "audio.format"}, dropped=dict.fromkeys(("anthropic", "mistral"), ("audio", "modalities",)),
    ),
    "prediction": Case(
        {"prediction": {"type": "content", "content": [TEXT]}}, dropped=dict.fromkeys(("anthropic", "gemini"), ("prediction",))
    ),
    "log-probabilities": Case(
        {"logprobs": True, "top_logprobs": 2},
        dropped=dict.fromkeys(("anthropic", "gemini"), ("logprobs", "top_logprobs")) | {"gemini-2.0-flash": ()},
    ),
    "stream": Case({"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}}),
    # numbers
    "limits": Case({"max_completion_tokens": 500, "max_tokens": 700}, dropped={"*": ("max_tokens",)}),
    "sampling": Case(
        {"temperature": 0.5, "top_p": 0.9, "seed": 7, "presence_penalty": 0.5, "frequency_penalty": 0.5},
        dropped={
            "anthropic": ("frequency_penalty", "presence_penalty", "seed", "top_p",),
            OLD_CLAUDE: ("frequency_penalty", "presence_penalty", "seed",),
            CLAUDE_4: ("frequency_penalty", "presence_penalty", "seed",),
            **dict.fromkeys(NEW_CLAUDE[1:], ("frequency_penalty", "presence_penalty", "seed", "temperature", "top_p",)),
            "gemini": ("frequency_penalty", "presence_penalty"), "gemini-2.0-flash": (),
            "gemini-3.6-flash": ("frequency_penalty", "presence_penalty", "temperature", "top_p"),
        },
    ),
    "hot": Case(
        {"temperature": 1.5},
        refused=dict.fromkeys((OLD_CLAUDE, CLAUDE_4, CLAUDE_4_5, NEW_CLAUDE[0]), "temperature"),
        dropped=dict.fromkeys((*NEW_CLAUDE[1:], "gemini-3.6-flash"), ("temperature",)),
    ),
    "two answers": Case({"n": 2}, refused={"anthropic": "n", "gemini": "n", "gemini-2.0-flash": ""}),
    "stop": Case({"stop": ["END", "\n"]}, dropped={"anthropic": ("stop",)}),
    "one stop": Case({"stop": "END"}),
    # account
    "account": Case(
        {"safety_identifier": "u", "user": "u", "metadata": {"a": "b"}, "store": False, "service_tier": "default"},
        dropped={"anthropic": ("metadata",), "gemini": ("metadata", "safety_identifier", "user")},
    ),
    "tiers": Case(
        {"service_tier": "priority"}, dropped=dict.fromkeys(("anthropic", "mistral"), ("service_tier",))
    ),
    "what only OpenAI has": Case(
        {"logit_bias": {"1": 5}, "verbosity": "low", "prompt_cache_key": "k", "store": True, "moderation": {"model": "m"}},
        dropped={
            "*": ("logit_bias", "moderation", "prompt_cache_key", "store", "verbosity",),
            "mistral": ("logit_bias", "moderation", "store", "verbosity",),
        },
    ),
}  # fmt: skip
for _effort in ("none", "minimal", "low", "medium", "high", "xhigh", "max"):
    CASES[f"reasoning {_effort}"] = Case(
        {"reasoning_effort": _effort},
        dropped={
            OLD_CLAUDE: () if _effort == "none" else ("reasoning_effort",),
            "mistral": () if _effort in ("none", "high") else ("reasoning_effort",),
            "gemini-2.0-flash": () if _effort == "none" else ("reasoning_effort",),
            **(dict.fromkeys(NEW_CLAUDE, ("reasoning_effort",)) if _effort == "minimal" else {}),
            **({NEW_CLAUDE[0]: ("reasoning_effort",)} if _effort == "xhigh" else {}),
            **({"claude-fable-5": ("reasoning_effort",), "gemini-2.5-pro": ("reasoning_effort",)} if _effort == "none" else {}),
            **(dict.fromkeys(NEW_GEMINI, ("reasoning_effort",)) if _effort in ("none", "xhigh", "max") else {}),
            **({"gemini-3-pro-preview": ("reasoning_effort",)} if _effort in ("minimal", "medium") else {}),
        },
    )  # fmt: skip
# Bedrock does not support these, in addition to those for all providers (`*`) above.
_THINKS_NOT = (BEDROCK_CLAUDE[0], NOVA, LLAMA)
BEDROCK_REFUSES = {
    "image by URL": "messages[0].content.image_url", "file of OpenAI": "messages[0].content.file.file_id",
    "hot": "temperature", "two answers": "n",
}  # fmt: skip
BEDROCK_DROPS: dict[str, Any] = {
    "strict function": {
        "bedrock": ("tools.function.strict",), **dict.fromkeys(BEDROCK_CLAUDE[1:], ("tools.function.parameters.minLength",)),
    },
    "alternatives at the top of a schema": ("tools.function.parameters.anyOf",),
    **dict.fromkeys(("allowed, free", "allowed, required"), ("tool_choice",)),
    "custom tool": {LLAMA: ("tool_choice",)},
    "choice required": {LLAMA: ("tool_choice",)},
    "choice of one": {LLAMA: ("tool_choice",)},
    "allowed, one must be called": {LLAMA: ("tool_choice",)},
    "legacy functions": {LLAMA: ("function_call",)},
    "an answer to go on with": {BEDROCK_CLAUDE[2]: ("messages",)},
    "cache marks": dict.fromkeys((NOVA, LLAMA), ("cache_control",)),
    "one call at a time": ("parallel_tool_calls",),
    "web search": ("web_search_options",),
    "web search beside functions": ("web_search_options",),
    "reasoning of another provider": {
        "bedrock": ("messages.reasoning_content", "reasoning_effort"), BEDROCK_CLAUDE[2]: ("messages.reasoning_content",),
    },
    "image with detail": ("messages.content.image_url.detail",),
    "JSON schema": {**dict.fromkeys(BEDROCK_CLAUDE[1:], (SHORT,)), LLAMA: ("response_format",)},
    "JSON schema beside tools": {"bedrock": ("response_format",), **dict.fromkeys(BEDROCK_CLAUDE[1:], (SHORT,))},
    "JSON schema while thinking": {
        **dict.fromkeys(_THINKS_NOT, ("reasoning_effort",)), LLAMA: ("reasoning_effort", "response_format"),
        **dict.fromkeys(BEDROCK_CLAUDE[1:], (SHORT,)),
    },
    "any JSON": ("response_format",),
    "speech": ("audio", "modalities"),
    "speech as MP3": ("audio", "modalities"),
    "prediction": ("prediction",),
    "log-probabilities": ("logprobs", "top_logprobs"),
    "sampling": {
        "bedrock": ("frequency_penalty", "presence_penalty", "seed"),
        **dict.fromkeys(BEDROCK_CLAUDE[1:], ("frequency_penalty", "presence_penalty", "seed", "top_p")),
    },
    "stop": dict.fromkeys(BEDROCK_CLAUDE, ("stop",)),
    "account": ("safety_identifier", "user"),
    "reasoning minimal": dict.fromkeys((*_THINKS_NOT, BEDROCK_CLAUDE[2]), ("reasoning_effort",)),
    **{f"reasoning {effort}": dict.fromkeys(_THINKS_NOT, ("reasoning_effort",)) for effort in ("low", "medium", "high", "max")},
    "reasoning xhigh": dict.fromkeys((*_THINKS_NOT, BEDROCK_CLAUDE[2]), ("reasoning_effort",)),
}  # fmt: skip
for _name, _param in BEDROCK_REFUSES.items():
    CASES[_name] = CASES[_name]._replace(refused={**CASES[_name].refused, "bedrock": _param})
for _name, _told in BEDROCK_DROPS.items():
    _of_bedrock = _told if isinstance(_told, dict) else {"bedrock": _told}
    CASES[_name] = CASES[_name]._replace(dropped={**CASES[_name].dropped, **_of_bedrock})
