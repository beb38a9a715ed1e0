"""Adapts the format of the output that a chat request asks for."""

from typing import Any

import msgspec

from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.openai.response_format import format_instruction
from nulpoint.providers.chat_adapter import reasoning
from nulpoint.providers.chat_adapter.chat_request import ChatRequest
from nulpoint.providers.dialect import Dialect

FORMAT = "response_format"
_ANY_OBJECT = {"name": "answer", "schema": {"type": "object"}}


def write_format(request: ChatRequest, dialect: Dialect, facts: ModelFacts) -> None:
    """Send the output format in a form that the model accepts; if it has none, say it in words and name it."""
    output_format = request.get(FORMAT)
    kind = output_format.get("type") if isinstance(output_format, dict) else None
    if kind not in ("json_object", "json_schema"):
        return
    if (
        not facts.json_while_thinking
        and reasoning.thinks(request, facts)
        and not _stop_thinking(request, dialect, facts)
    ):
        _say_in_words(request, output_format, beside=None)
        return
    possible = not _is_excluded(request, facts)
    if possible and (facts.json_schema if kind == "json_schema" else facts.json_object):
        return
    if possible and kind == "json_object" and facts.json_schema:
        request.set(FORMAT, {"type": "json_schema", "json_schema": _ANY_OBJECT})
        return
    _say_in_words(request, output_format, beside="json_object" if possible and facts.json_object else None)


def _stop_thinking(request: ChatRequest, dialect: Dialect, facts: ModelFacts) -> bool:
    """Turn reasoning off unless the client asks for it. Return whether it is off."""
    return not reasoning.asks_for_reasoning(request) and reasoning.turn_off(request, dialect, facts)


def _is_excluded(request: ChatRequest, facts: ModelFacts) -> bool:
    """Return whether something else in the request excludes an output format."""
    has_tools = bool(request.get("tools"))
    return (has_tools and not facts.json_with_tools) or (bool(request.get("stream")) and not facts.json_with_stream)


def _say_in_words(request: ChatRequest, output_format: dict[str, Any], *, beside: str | None) -> None:
    """Describe the format in the system message, since nothing enforces it; `beside` is a format that is sent too."""
    description = output_format.get("json_schema")
    schema = description.get("schema") if isinstance(description, dict) else None
    _add_instruction(request, format_instruction(schema if isinstance(schema, dict) else None))
    request.report(FORMAT)
    if beside is None:
        request.remove(FORMAT)
    else:
        request.set(FORMAT, {"type": beside})


def _add_instruction(request: ChatRequest, instruction: str) -> None:
    """Add a text to the first message if it is the system's, or else put a message before it."""
    messages = request.messages
    first = msgspec.json.decode(messages[0]) if messages else None
    if (
        isinstance(first, dict)
        and first.get("role") in ("system", "developer")
        and isinstance(first.get("content"), str)
    ):
        first["content"] = f"{first['content']}\n\n{instruction}"
        request.set_messages([msgspec.json.encode(first), *messages[1:]])
    else:
        system = {"role": "system", "content": instruction}
        request.set_messages([msgspec.json.encode(system), *messages])
