"""Requests with each ability that models differ in, by a short name."""

import base64
import json
from typing import Any

HI = [{"role": "user", "content": "Hi. Answer in JSON."}]
_TEXT = {"type": "text", "text": "See this."}
_DATA = base64.b64encode(b"data").decode()
_IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/jpg;base64,{_DATA}"}}
_PDF = {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{_DATA}"}}
_CITY = {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False,
}  # fmt: skip
_TREE = {
    "type": "object",
    "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
    "required": ["children"],
    "additionalProperties": False,
}
_MANY = {**_CITY, "properties": {f"p{number}": {"type": "string"} for number in range(30)}, "required": []}
_NULLABLE = {**_CITY, "properties": {"city": {"type": ["string", "null"], "enum": ["Oslo", None]}}}
_MARK = {"cache_control": {"type": "ephemeral"}}
_REFERENCE = json.dumps({"schema": {"$ref": "#/definitions/city"}, "temperature": 3})
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def _tool(name: str = "weather", **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": _CITY, **function}}


def _named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def _allowed(mode: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [_named("weather")]}}


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "response_format": {"type": "json_schema", "json_schema": {"name": "place", "schema": schema, "strict": True}}
    }


def _said(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def _history(result: str = "rain", **extra: Any) -> dict[str, Any]:
    """Return a conversation in which the model has called a tool. `extra` is what a provider added to its message."""
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
    assistant = {"role": "assistant", "content": None, "tool_calls": [call], **extra}
    return {
        "messages": [*HI, assistant, {"role": "tool", "tool_call_id": "call_1", "content": result}],
        "tools": [_tool()],
    }


def _sampled(**members: Any) -> dict[str, Any]:
    return {"messages": HI, **members}


_TOOLS = {"tools": [_tool(), _tool("now")]}
_GEMINI_CALL = {"functionCall": {"name": "weather", "args": {"city": "Oslo"}, "id": "call_1"}}
_CLAUDE_CALL = {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}}

MODEL_REQUESTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "max_tokens": {"max_tokens": 2000},
    "max_completion_tokens": {"max_completion_tokens": 2000},
    "both limits": {"max_tokens": 2000, "max_completion_tokens": 1000},
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "temperature and top_p": {"temperature": 0.5, "top_p": 0.5},
    "stop": {"stop": ["END"]},
    "one stop": {"stop": "END"},
    "penalties": {"presence_penalty": 0.5, "frequency_penalty": 0.5},
    "seed": {"seed": 7},
    "logit_bias": {"logit_bias": {"1": 5}},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "two choices": {"n": 2},
    **{f"effort {effort}": {"reasoning_effort": effort} for effort in EFFORTS},
    **{f"effort {effort}, sampling": {"reasoning_effort": effort, "temperature": 0.5, "top_p": 0.5} for effort in ("none", "high")},
    "tools": _TOOLS,
    "auto": {**_TOOLS, "tool_choice": "auto"},
    "required": {**_TOOLS, "tool_choice": "required"},
    "named": {**_TOOLS, "tool_choice": _named("now")},
    "none": {**_TOOLS, "tool_choice": "none"},
    "allowed": {**_TOOLS, "tool_choice": _allowed("auto")},
    "allowed and required": {**_TOOLS, "tool_choice": _allowed("required")},
    "one call at a time": {**_TOOLS, "parallel_tool_calls": False},
    "legacy functions": {"functions": [_tool()["function"]], "function_call": {"name": "weather"}},
    **{f"tools, effort {effort}": {**_TOOLS, "reasoning_effort": effort} for effort in ("none", "high")},
    "required, effort high": {**_TOOLS, "tool_choice": "required", "reasoning_effort": "high"},
    "named, effort high": {**_TOOLS, "tool_choice": _named("now"), "reasoning_effort": "high"},
    "strict tool": {"tools": [_tool(strict=True)]},
    "strict recursive tool": {"tools": [_tool(strict=True, parameters=_TREE)]},
    "tool names": {"tools": [_tool(name) for name in ("1c_reload", "a.b", "x" * 70)]},
    "web search": {"web_search_options": {}},
    "web search beside functions": {**_TOOLS, "web_search_options": {}},
    "any JSON": {"response_format": {"type": "json_object"}},
    "schema": _schema(_CITY),
    "recursive schema": _schema(_TREE),
    "schema of many options": _schema(_MANY),
    "schema with null": _schema(_NULLABLE),
    "schema beside tools": {**_schema(_CITY), **_TOOLS},
    "schema, effort high": {**_schema(_CITY), "reasoning_effort": "high"},
    "system in the middle": _sampled(messages=[*HI, {"role": "assistant", "content": "Yes."}, {"role": "system", "content": "Be brief."}, *HI]),
    "system at the end": _sampled(messages=[*HI, {"role": "system", "content": "Be brief."}]),
    "only system": _sampled(messages=[{"role": "system", "content": "Greet me."}]),
    "developer": _sampled(messages=[{"role": "developer", "content": "Be brief."}, *HI]),
    "assistant last": _sampled(messages=[*HI, {"role": "assistant", "content": "The answer is"}]),
    "name": _sampled(messages=[{"role": "user", "name": "ann", "content": "Hi."}]),
    "image": _said(_TEXT, _IMAGE),
    "PDF": _said(_TEXT, _PDF),
    "calls": _history(),
    "calls, effort high": {**_history(), "reasoning_effort": "high"},
    "reference in a result": _history(_REFERENCE),
    "foreign reasoning": _history(
        reasoning_content="Hm.", reasoning="Hm.", annotations=[], provider_specific_fields={"acme": {"blocks": [{"x": 1}]}}
    ),
    "calls of Gemini": _history(provider_specific_fields={"gemini": {"parts": [_GEMINI_CALL]}}),
    "calls of Claude": _history(provider_specific_fields={"anthropic": {"content": [_CLAUDE_CALL]}}),
    "cache marks": {**_said({**_TEXT, **_MARK}), "tools": [{**_tool(), **_MARK}]},
    "cache mark of a message": _sampled(messages=[{"role": "user", "content": "Hi.", **_MARK}], **_MARK),
    "account": {"user": "u", "metadata": {"a": "b"}, "prompt_cache_key": "k", "safety_identifier": "s", "service_tier": "auto"},
    "verbosity": {"verbosity": "low"},
    "prediction": {"prediction": {"type": "content", "content": "Hi."}},
    "speech": {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}},
    "cache retention": {"prompt_cache_retention": "24h", "prompt_cache_options": {"ttl": "30m"}},
    "storage": {"store": False, "moderation": {"model": "omni-moderation-latest"}},
}  # fmt: skip


def model_request(name: str, model: str, *, stream: bool) -> dict[str, Any]:
    """Return a request of the table to a model."""
    return {"model": model, "messages": HI, **MODEL_REQUESTS[name], **({"stream": True} if stream else {})}
