"""Reads the arguments of tool calls for providers that take them as an object."""

from typing import Any

import msgspec

from nulpoint.conversation.parts import Members, ToolCall
from nulpoint.conversation.request import Message
from nulpoint.protocols.dropped import report_extra
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.openai.chat import RequestFields, check_nested_json, invalid

# If a call's arguments are not valid JSON (because a token limit cut them off, for example), their text is sent back
# under this name, as Anthropic's guide to fine-grained streaming recommends.
INVALID_JSON = "INVALID_JSON"
_read_arguments = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
# The gateway itself put these members into its responses, or they say nothing.
_IGNORED_OF_CALL = frozenset({"type", "index", "extra_content"})


def tool_arguments(call: ToolCall, message: Message, fields: RequestFields) -> Members:
    """Return the arguments of a call in a message as an object, and report what the call has besides.

    A custom tool's input is the argument `input`. Raises Failure (400) like `arguments_object`.
    """
    path = f"{message.path}.{call.where}"
    if call.extra:
        report_extra(fields, call.extra, path, _IGNORED_OF_CALL)
    if call.kind == "custom":
        return {"input": call.arguments or ""}
    inner = "arguments" if call.kind == "legacy" else "function.arguments"
    return arguments_object(call.arguments, f"{path}.{inner}", fields.limits)


def arguments_object(arguments: Any, where: str, limits: TranslationLimits) -> dict[str, Any]:
    """Return arguments, which are JSON text or an object, as an object whose values are undecoded JSON if possible.

    Raises Failure (400) for arguments that are JSON but no object, which no provider accepts.
    """
    text = arguments or "{}"
    if isinstance(text, dict):
        return text
    if not isinstance(text, str):
        raise invalid(where, "must be the JSON text of an object")
    check_nested_json(text, where, limits.json_nodes)
    try:
        return _read_arguments(text)
    except msgspec.ValidationError:
        raise invalid(where, "must be the JSON text of an object") from None
    except (msgspec.DecodeError, RecursionError):
        return {INVALID_JSON: text}
