"""The hosts that the mock of OpenAI can play: one row for each, with what it accepts and how it reports errors.

A client chooses a host by the path before `/v1`, such as `/groq/v1/chat/completions`. Sources: the types of the hosts'
SDKs, their pages, and error messages that users have reported, read on 30 November 2026.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

_PATH = re.compile(r"/([a-z]+)(?:/[a-z]+)*/v1(/.*)")
_MESSAGE = ("role", "content", "tool_calls", "tool_call_id")
_CALL = ("id", "type", "function", "index")
_TOOL = ("type", "function")
_COMMON = (
    "model", "messages", "stream", "stream_options", "temperature", "top_p", "max_tokens", "max_completion_tokens", "stop",
    "n", "seed", "user", "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort",
    "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs", "service_tier",
)  # fmt: skip
_GROQ = (
    *_COMMON, "reasoning_format", "include_reasoning", "metadata", "store", "documents", "citation_options",
    "search_settings", "include_domains", "exclude_domains", "compound_custom", "disable_tool_validation", "function_call",
    "functions",
)  # fmt: skip
_FIREWORKS = (
    *_COMMON, "top_k", "min_p", "typical_p", "repetition_penalty", "mirostat_lr", "mirostat_target", "thinking",
    "reasoning_history", "prompt_cache_key", "prompt_cache_isolation_key", "context_length_exceeded_behavior", "echo",
    "echo_last", "ignore_eos", "metadata", "perf_metrics_in_response", "prediction", "prompt_truncate_len", "raw_output",
    "return_token_ids", "safe_tokenization", "speculation", "function_call", "functions",
)  # fmt: skip


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What a host accepts.

    Fields:
        source: Where the row was written down from.
        members: The members of a request; None if the host ignores those it does not know.
        message: The members of a message; None if the host ignores those it does not know. The same for `call`, the
            members of a tool call, and for `tool`.
        unknown: The text of the error about an unknown member, with the places {path}, {number}, {role} and {name}.
        refused: The members that are rejected.
        one_choice: Whether `n` must be 1.
        one_limit: Whether `max_tokens` and `max_completion_tokens` exclude each other.
        developer: The models for which the role `developer` is accepted, as the beginning of their names.
        json_schema: The models that accept the response format `json_schema`, as the beginning of their names.
        json_schema_streams: Whether `json_schema` may be used in a stream.
        thoughts: The member of a message that has the model's thoughts.
        error: The shape of errors: `openai`, `plain` (without parameter and code), `flat`, `string` or `base_resp`.
        retires: The models that have ended, and when.
        gone: The status and text of the error about a model that has ended.
    """

    source: str
    members: tuple[str, ...] | None = None
    message: tuple[str, ...] | None = None
    call: tuple[str, ...] | None = None
    tool: tuple[str, ...] | None = None
    unknown: str = ""
    refused: tuple[str, ...] = ()
    one_choice: bool = False
    one_limit: bool = False
    developer: tuple[str, ...] = ("",)
    json_schema: tuple[str, ...] = ("",)
    json_schema_streams: bool = True
    thoughts: str = "reasoning_content"
    error: str = "openai"
    retires: Mapping[str, str] = {}
    gone: tuple[int, str] = (404, "The model `{model}` does not exist or you do not have access to it.")


HOSTS: Mapping[str, Host] = {
    "groq": Host(
        source="groq 1.7.0; console.groq.com/docs/openai; janhq/jan#8136",
        members=_GROQ,
        message=(*_MESSAGE, "reasoning"),
        call=_CALL,
        unknown="'messages.{number}' : for 'role:{role}' the following must be satisfied[('messages.{number}' : property '{name}' is unsupported)]",
        refused=("logprobs", "top_logprobs", "logit_bias"),
        one_choice=True,
        developer=("openai/gpt-oss",),
        json_schema=("openai/gpt-oss", "moonshotai/", "meta-llama/llama-4"),
        json_schema_streams=False,
        thoughts="reasoning",
        error="plain",
        retires={"llama-3.3-70b-versatile": "2026-08-16", "llama-3.1-8b-instant": "2026-08-16"},
    ),
    "cerebras": Host(
        source="cerebras_cloud_sdk 1.91.0; egoist/chatwise-releases#1442",
        message=(*_MESSAGE, "name", "reasoning"),
        call=_CALL,
        unknown="body.messages.{number}.{role}.{name}: property 'body.messages.{number}.{role}.{name}' is unsupported",
        developer=("gpt-oss",),
        thoughts="reasoning",
        error="flat",
        retires={"llama3.1-8b": "2026-05-27", "qwen-3-235b-a22b-instruct-2507": "2026-05-27"},
    ),
    "fireworks": Host(
        source="fireworks-ai 1.2.30; web-infra-dev/midscene#1322; NousResearch/hermes-agent#18663",
        members=_FIREWORKS,
        message=(*_MESSAGE, "reasoning_content"),
        call=_CALL,
        tool=_TOOL,
        unknown="Extra inputs are not permitted, field: '{path}'",
        one_limit=True,
        developer=(),
    ),
    "deepseek": Host(
        source="api-docs.deepseek.com/guides/thinking_mode; deepseek-ai/DeepSeek-V3#1376",
        developer=(),
        json_schema=(),
        retires={"deepseek-chat": "2026-07-24", "deepseek-reasoner": "2026-07-24"},
        gone=(400, "Model Not Exist"),
    ),
    "minimax": Host(source="platform.minimax.io text-openai-api; CherryHQ/cherry-studio#11287", error="base_resp"),
    "moonshot": Host(
        source="agentscope-java docs kimi.md; @ai-sdk/moonshotai 3.0.60; n8n-io/n8n#29142",
        developer=(),
        error="plain",
        retires={"kimi-k2.5": "2026-08-31", "moonshot-v1-8k": "2026-08-31", "moonshot-v1-32k": "2026-08-31"},
    ),
    "xai": Host(
        source="docs.x.ai; BerriAI/litellm#12635; yym68686/uni-api#105",
        error="string",
        retires={"grok-3": "2026-05-15", "grok-3-mini": "2026-05-15", "grok-4-fast": "2026-05-15", "grok-code-fast-1": "2026-11-19"},
    ),
    "zai": Host(source="agentscope-java glm.md; continuedev/continue#13261", error="plain"),
}  # fmt: skip


THOUGHT_MEMBERS = tuple(sorted({host.thoughts for host in HOSTS.values()}))
_THINK_UNASKED = ("deepseek", "moonshot", "minimax")


class HostRejection(NamedTuple):
    """An error of a host: its message, status and code."""

    message: str
    status: int = 400
    code: str | None = None
    param: str | None = None


def split_path(path: str) -> tuple[str | None, str]:
    """Return the host that a path chooses, and the path without it."""
    match = _PATH.fullmatch(path)
    return (match[1], "/v1" + match[2]) if match and match[1] in HOSTS else (None, path)


def find_problem(body: dict[str, Any], name: str) -> HostRejection | None:
    """Return the first problem in a valid chat request that a host has with it, or None."""
    host = HOSTS[name]
    problems = (problem for rule in (*_RULES, *_OWN_RULES.get(name, ())) for problem in rule(body, host))
    return next(problems, None)


def thinks_unasked(body: dict[str, Any], name: str | None) -> bool:
    """Return whether the models of a host think about a request that does not ask them to."""
    return name in _THINK_UNASKED and (body.get("thinking") or {}).get("type") != "disabled"


def error_body(name: str, status: int, message: str, code: str | None, param: str | None) -> tuple[int, Any]:
    """Return the status and body of an error in the host's shape."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    match HOSTS[name].error:
        case "plain":
            return status, {"error": {"message": message, "type": kind, **({"code": code} if code else {})}}
        case "flat":
            return status, {"message": message, "type": kind, "param": param, "code": code}
        case "string":
            return status, {"code": "Client specified an invalid argument", "error": message}
        case "base_resp":
            numbers = {401: 1004, 402: 1008, 403: 1004, 429: 1002, 400: 2013, 404: 2013}
            base = {"status_code": numbers.get(status, 1000), "status_msg": message}
            return 200, {"id": "", "choices": None, "created": 0, "model": "", "object": "", "base_resp": base}
    return status, {"error": {"message": message, "type": kind, "param": param, "code": code}}


# -- rules: each yields the problems of one kind -----------------------------------------------------------------------

_Problems = Iterator[HostRejection]


def _members(body: dict[str, Any], host: Host) -> _Problems:
    for name in body:
        if name in host.refused:
            yield HostRejection(f"property '{name}' is unsupported")
        if host.members is not None and name not in host.members:
            yield HostRejection(_top_text(host, name))
    for number, message in enumerate(body["messages"]):
        yield from _unknown(message, host.message, host, number, message["role"], f"messages[{number}]")
        for index, call in enumerate(message.get("tool_calls") or ()):
            yield from _unknown(
                call, host.call, host, number, message["role"], f"messages[{number}].tool_calls[{index}]"
            )
    for number, tool in enumerate(body.get("tools") or ()):
        yield from _unknown(tool, host.tool, host, number, "tool", f"tools[{number}]")


def _top_text(host: Host, name: str) -> str:
    return host.unknown.format(path=name) if "{number}" not in host.unknown else f"property '{name}' is unsupported"


def _unknown(
    value: dict[str, Any], known: tuple[str, ...] | None, host: Host, number: int, role: str, path: str
) -> _Problems:
    for name in value if known is not None else ():
        if name not in (known or ()):
            text = host.unknown.format(path=f"{path}.{name}", number=number, role=role, name=name)
            yield HostRejection(
                text, code="wrong_api_format" if host.error == "flat" else None, param="validation_error"
            )


def _roles(body: dict[str, Any], host: Host) -> _Problems:
    for number, message in enumerate(body["messages"]):
        if message["role"] == "developer" and not body["model"].startswith(host.developer):
            yield HostRejection(
                f"messages[{number}]: unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`"
            )


def _numbers(body: dict[str, Any], host: Host) -> _Problems:
    if host.one_choice and body.get("n") not in (None, 1):
        yield HostRejection("'n' : number must be at most 1")
    if host.one_limit and body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        yield HostRejection("Only one of max_tokens and max_completion_tokens may be specified")


def _format(body: dict[str, Any], host: Host) -> _Problems:
    if (body.get("response_format") or {}).get("type") != "json_schema":
        return
    if not body["model"].startswith(host.json_schema):
        yield HostRejection("This response_format type is unavailable now")
    if not host.json_schema_streams and (body.get("stream") or body.get("tools")):
        yield HostRejection("response_format json_schema cannot be combined with streaming or tools")


def _deepseek(body: dict[str, Any], host: Host) -> _Problems:
    for number, tool in enumerate(body.get("tools") or ()):
        if tool["type"] != "function":
            yield HostRejection(f"tools[{number}].type: unknown variant `{tool['type']}`, expected `function`")
    if (body.get("thinking") or {}).get("type") == "disabled":
        return
    if _forces(body):
        yield HostRejection("Thinking mode does not support this tool_choice")
    if any(message.get("reasoning_content") is None for _, message in _turns_with_calls(body)):
        yield HostRejection("The `reasoning_content` in the thinking mode must be passed back to the API.")


def _moonshot(body: dict[str, Any], host: Host) -> _Problems:
    model = body["model"]
    if not model.startswith("kimi-"):
        return
    thinks = (body.get("thinking") or {}).get("type") != "disabled"
    if body.get("temperature") not in (None, 1):
        yield HostRejection("invalid temperature: only 1 is allowed for this model")
    if body.get("tool_choice") == "required" and model.startswith("kimi-k2"):
        yield HostRejection("tool_choice 'required' is not supported for this model")
    if isinstance(body.get("tool_choice"), dict) and thinks:
        yield HostRejection("tool_choice specified is incompatible with thinking enabled")
    if body.get("reasoning_effort") not in (None, "low", "medium", "high", "xhigh", "max"):
        yield HostRejection("invalid reasoning_effort")
    for number, message in _turns_with_calls(body) if thinks else ():
        if message.get("reasoning_content") is None:
            yield HostRejection(
                f"thinking is enabled but reasoning_content is missing in assistant tool call message at index {number}"
            )


def _xai(body: dict[str, Any], host: Host) -> _Problems:
    model, effort = body["model"], body.get("reasoning_effort")
    for name in ("presence_penalty", "frequency_penalty", "stop"):
        if model.startswith("grok-4") and body.get(name) is not None:
            yield HostRejection(f"Argument not supported on this model: {name}")
    if effort is not None and model.startswith("grok-4.20"):
        yield HostRejection(f"Model {model} does not support parameter reasoningEffort.")
    is_4_3 = model == "grok-4" or model.startswith("grok-4.3")  # `grok-4` is a rolling name
    levels = ("low", "medium", "high", "xhigh", *(("none",) if is_4_3 else ()))
    if effort is not None and effort not in levels:
        yield HostRejection(f"Invalid reasoning effort: {effort}")


def _zai(body: dict[str, Any], host: Host) -> _Problems:
    if not any(message["role"] == "user" for message in body["messages"]):
        yield HostRejection("The messages parameter is illegal. Please check the documentation.", code="1214")
    if (body.get("max_tokens") or 1) > 131_072:
        yield HostRejection("The max_tokens parameter is illegal. Please check the documentation.", code="1210")
    if body["model"].startswith("glm-5.3") and body.get("reasoning_effort") not in (None, "low", "high", "max"):
        yield HostRejection("The reasoning_effort parameter is illegal. Please check the documentation.", code="1210")


def _forces(body: dict[str, Any]) -> bool:
    return body.get("tool_choice") == "required" or isinstance(body.get("tool_choice"), dict)


def _turns_with_calls(body: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    return [(number, message) for number, message in enumerate(body["messages"]) if message.get("tool_calls")]


_Rule = Callable[[dict[str, Any], Host], _Problems]
_RULES: tuple[_Rule, ...] = (_members, _roles, _numbers, _format)
_OWN_RULES: Mapping[str, tuple[_Rule, ...]] = {
    "deepseek": (_deepseek,),
    "moonshot": (_moonshot,),
    "xai": (_xai,),
    "zai": (_zai,),
}
