"""The rules by which a Claude model rejects what it does not accept, from the row of the model in `models`.

They are the same at every host of Claude, and look at a request in the format of the Messages API. The mock of
Bedrock translates the parts of a Converse request that they look at.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from nulpoint.mock.anthropic.models import ClaudeModel, find_model
from nulpoint.mock.anthropic.schema_limits import complexity_problems, schema_problems

_DEFAULTS = {"temperature": (1,), "top_p": (1, 0.99), "top_k": ()}
_SERVER_TOOLS = (
    "web_search_", "web_fetch_", "code_execution_", "bash_", "text_editor_", "computer_", "memory_", "tool_search_tool_",
    "mcp_toolset", "advisor_", "browser_",
)  # fmt: skip
# The tools that the hosts of other clouds do not run.
_MISSING_TOOLS = {
    "vertexai": ("web_fetch_", "code_execution_", "mcp_toolset", "advisor_"),
    "bedrock": ("web_search_", "web_fetch_", "code_execution_", "mcp_toolset", "advisor_"),
}
_USE_ADAPTIVE = 'Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'


class ModelCall(NamedTuple):
    """A request to a model at a host."""

    body: dict[str, Any]
    model: ClaudeModel
    host: str

    @property
    def thinking_type(self) -> str:
        """How the model thinks about this request."""
        kind = (self.body.get("thinking") or {}).get("type")
        return kind or ("adaptive" if self.model.thinks_unasked else "disabled")

    @property
    def thinks_first(self) -> bool:
        return self.thinking_type in ("enabled", "adaptive")

    @property
    def shows_thoughts(self) -> bool:
        """Whether the response has the text of the thoughts."""
        display = (self.body.get("thinking") or {}).get("display")
        return self.model.shows_thoughts if display is None else display != "omitted"

    @property
    def tool_choice(self) -> str:
        return str((self.body.get("tool_choice") or {}).get("type", "auto"))


def model_problems(body: dict[str, Any], host: str) -> Iterator[str]:
    """Yield what the model of a request does not accept of it."""
    call = ModelCall(body, find_model(body["model"]), host)
    for rule in _RULES:
        yield from rule(call)


def _max_tokens(call: ModelCall) -> Iterator[str]:
    wanted, limit = call.body["max_tokens"], call.model.max_tokens
    if wanted < 0:
        yield "max_tokens: Input should be greater than or equal to 0"
    if wanted > limit:
        yield (
            f"max_tokens: {wanted} > {limit}, which is the maximum allowed number of output tokens"
            f" for {call.body['model']}"
        )


def _system_messages(call: ModelCall) -> Iterator[str]:
    messages = call.body["messages"]
    places = [number for number, message in enumerate(messages) if message["role"] == "system"]
    if places and not call.model.later_system_messages:
        yield "role 'system' is not supported on this model"
    for number in places:
        if not number or not _may_precede_system(messages[number - 1]):
            yield f"messages.{number}: `system` messages must come right after a `user` message"
        if number + 1 < len(messages) and messages[number + 1]["role"] != "assistant":
            yield f"messages.{number}: `system` messages must come before an `assistant` message or at the end"


def _may_precede_system(message: dict[str, Any]) -> bool:
    content = message["content"]
    if message["role"] == "assistant" and isinstance(content, list) and content:
        kind = str(content[-1]["type"])
        return kind.endswith("_tool_result")
    return bool(message["role"] == "user")


def _prefill(call: ModelCall) -> Iterator[str]:
    if call.body["messages"][-1]["role"] == "assistant" and (not call.model.prefill or call.thinks_first):
        yield "This model does not support assistant message prefill. The conversation must end with a user message."


def _thinking(call: ModelCall) -> Iterator[str]:
    thinking = call.body.get("thinking") or {}
    kind = thinking.get("type")
    if kind is None:
        return
    if kind not in call.model.thinking or (kind == "disabled" and call.host in call.model.no_disabled_at):
        yield from _unsupported_thinking(call, kind)
    if kind == "enabled":
        yield from _budget(call, thinking["budget_tokens"])
    effort = (call.body.get("output_config") or {}).get("effort")
    if kind in ("disabled", "between_tools") and effort and effort not in call.model.quiet_efforts:
        allowed = ", ".join(f"'{level}'" for level in call.model.quiet_efforts)
        yield f"\"thinking.type.{kind}\" is not supported with effort level '{effort}'. Supported levels: {allowed}."


def _unsupported_thinking(call: ModelCall, kind: str) -> Iterator[str]:
    model = call.model
    if not model.thinking:
        if kind != "disabled":
            yield f"'{call.body['model']}' does not support thinking."
    elif kind == "adaptive":
        yield "adaptive thinking is not supported on this model"
    elif kind == "disabled" and "between_tools" in model.thinking:
        yield '"thinking.type.disabled" is not supported for this model. Use "thinking.type.between_tools" instead.'
    else:
        yield f'"thinking.type.{kind}" is not supported for this model. {_USE_ADAPTIVE}'


def _budget(call: ModelCall, budget: int) -> Iterator[str]:
    if budget < 1024:
        yield "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
    if budget >= call.body["max_tokens"]:
        yield "`max_tokens` must be greater than `thinking.budget_tokens`."


def _forced_tools(call: ModelCall) -> Iterator[str]:
    if call.tool_choice not in ("any", "tool"):
        return
    if not call.model.forced_tools:
        yield 'tool_choice: type "tool" and "any" are not supported for this model.'
    asks_adaptive = (call.body.get("thinking") or {}).get("type") == "adaptive"
    if call.thinking_type == "enabled" or (asks_adaptive and call.host not in call.model.forced_tools_while_adaptive):
        yield "Thinking may not be enabled when tool_choice forces tool use."


def _sampling(call: ModelCall) -> Iterator[str]:
    given = {name: call.body[name] for name in _DEFAULTS if call.body.get(name) is not None}
    for name, value in given.items():
        if not call.model.sampling and value not in _DEFAULTS[name]:
            yield f"`{name}` is deprecated for this model."
    if not 0 <= given.get("temperature", 1) <= 1:
        yield "temperature: range: 0..1"
    if {"temperature", "top_p"} <= given.keys() and not call.model.temperature_with_top_p:
        yield "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
    if not call.thinks_first:
        return
    if given.get("temperature", 1) != 1:
        yield "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode."
    if given.get("top_p", 1) < 0.95:
        yield "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled or in adaptive mode."
    if "top_k" in given:
        yield "`top_k` must be unset when thinking is enabled or in adaptive mode."


def _effort(call: ModelCall) -> Iterator[str]:
    effort, levels = (call.body.get("output_config") or {}).get("effort"), call.model.efforts
    if effort and not levels:
        yield "This model does not support the effort parameter."
    elif effort and effort not in levels:
        yield f"This model does not support effort level '{effort}'. Supported levels: {', '.join(levels)}."


def _structured_outputs(call: ModelCall) -> Iterator[str]:
    config = call.body.get("output_config") or {}
    output_format = config.get("format") or call.body.get("output_format")
    schemas = []
    if output_format:
        schemas.append(output_format["schema"])
        if not call.model.output_format:
            yield f"'{call.body['model']}' does not support output format."
        if call.host not in call.model.output_format:
            yield "output_config.format: Extra inputs are not permitted"
        if call.body["messages"][-1]["role"] == "assistant":
            yield "output_config.format: not supported together with assistant message prefill."
        yield from schema_problems("output_config.format", output_format["schema"])
    strict = [(number, tool) for number, tool in enumerate(call.body.get("tools") or []) if tool.get("strict")]
    for number, tool in strict:
        if call.host not in call.model.strict_tools:
            yield f"tools.{number}.custom.strict: Extra inputs are not permitted"
        schemas.append(tool.get("input_schema"))
        yield from schema_problems(f"tools.{number}.custom.input_schema", tool.get("input_schema"))
    yield from complexity_problems(schemas, len(strict))


def _server_tools(call: ModelCall) -> Iterator[str]:
    for number, tool in enumerate(call.body.get("tools") or []):
        kind = tool.get("type") or "custom"
        if kind == "custom":
            continue
        is_known = str(kind).startswith(_SERVER_TOOLS)
        is_old = str(kind) == "computer_20251124" and call.host not in call.model.old_computer_tool
        if not is_known or is_old or str(kind).startswith(_MISSING_TOOLS.get(call.host, ("\0",))):
            yield f"tools.{number}: Input tag '{kind}' found using 'type' does not match any of the expected tags"


def _sources(call: ModelCall) -> Iterator[str]:
    """Check that the hosts of other clouds, which fetch nothing, get images and documents as data."""
    if call.host == "anthropic":
        return
    for number, message in enumerate(call.body["messages"]):
        for index, block in enumerate(message["content"] if isinstance(message["content"], list) else ()):
            source = block.get("source")
            if isinstance(source, dict) and source.get("type") in ("url", "file"):
                yield (
                    f"messages.{number}.content.{index}.{block['type']}.source: Input tag '{source['type']}' found using"
                    " 'type' does not match any of the expected tags: 'base64'"
                )


_RULES: tuple[Callable[[ModelCall], Iterator[str]], ...] = (
    _max_tokens,
    _system_messages,
    _prefill,
    _thinking,
    _forced_tools,
    _sampling,
    _effort,
    _structured_outputs,
    _server_tools,
    _sources,
)
