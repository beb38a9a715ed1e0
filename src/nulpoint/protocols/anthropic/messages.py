"""Writes messages as Anthropic's `system` and its turns of user and assistant.

Anthropic rejects blank text, tool results that do not come first in the turn after their calls, and call ids with
characters other than letters, digits, `_` and `-`. Sources: the request types of the `anthropic` SDK, recorded traffic,
and Anthropic's error messages.
"""

import re
from base64 import b64decode
from collections.abc import Iterable
from typing import Any, NamedTuple

from nulpoint.conversation.parts import (
    Audio,
    CacheMark,
    File,
    Image,
    Members,
    Part,
    ProviderPart,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    own_data,
)
from nulpoint.conversation.request import Message
from nulpoint.protocols.anthropic.capabilities import AnthropicCapabilities
from nulpoint.protocols.call_arguments import tool_arguments
from nulpoint.protocols.call_ids import accepted_call_id
from nulpoint.protocols.dropped import place_of, report_extra, report_part
from nulpoint.protocols.media_types import normal_media_type
from nulpoint.protocols.openai.chat import (
    EXTRA_FIELDS,
    NO_EFFECT,
    RequestFields,
    data_url,
    invalid,
    joined_texts,
    original_parts,
)

_CALL_ID = re.compile(r"[a-zA-Z0-9_-]+")
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_TEXTS = frozenset({"application/json", "application/xml", "application/javascript"})
PROVIDER = "anthropic"
_THINKING = frozenset({"thinking", "redacted_thinking"})
# The members of messages and calls that are not reported as dropped: the gateway itself put them into its responses,
# and either their content is restored or only another provider can read it.
_IGNORED_OF_MESSAGE = frozenset({"content", "cache_control"})
_IGNORED_OF_ASSISTANT = _IGNORED_OF_MESSAGE | {EXTRA_FIELDS, "annotations", "extra_content"}
_IGNORED_OF_RESULT = _IGNORED_OF_MESSAGE | {"name"}
_PART_NAMES: dict[type[Part], str] = {Image: "image_url", File: "file", Audio: "input_audio"}


class AnthropicConversation(NamedTuple):
    """The messages of a request as Anthropic takes them."""

    system: list[dict[str, Any]]
    turns: list[dict[str, Any]]

    def continues_answer(self) -> bool:
        return bool(self.turns[-1]["role"] == "assistant")

    def called_tools(self) -> list[str]:
        """Return the names of all tools that are called in the conversation, in order."""
        names: dict[str, None] = {}
        for turn in self.turns:
            for block in turn["content"]:
                if block.get("type") == "tool_use" and isinstance(block.get("name"), str):
                    names[block["name"]] = None
        return list(names)

    def may_think(self) -> bool:
        """Return whether a thinking budget is allowed.

        It is not if the model is to continue a response, or during a tool turn that began without thinking.
        """
        if self.continues_answer():
            return False
        *before, last = [turn for turn in self.turns if turn["role"] != "system"]
        results = any(block.get("type") == "tool_result" for block in last["content"])
        return not (results and before) or before[-1]["content"][0].get("type") in _THINKING


def write_conversation(
    messages: Iterable[Message], capabilities: AnthropicCapabilities, fields: RequestFields
) -> AnthropicConversation:
    """Write the messages. Raises Failure (400) for what Anthropic's API cannot express."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    pending_system: list[dict[str, Any]] = []  # system blocks that wait for the end of the user's turn
    for message in messages:
        role = message.role
        if role == "user":
            if message.extra:
                report_extra(fields, message.extra, message.path, _IGNORED_OF_MESSAGE)
            _add_to_turn(turns, "user", _blocks(message.parts, message, fields))
        elif role == "assistant":
            _place_system(pending_system, system, turns)
            _add_to_turn(turns, "assistant", _assistant_blocks(message, fields))
        elif role == "tool":
            _add_to_turn(turns, "user", [_tool_result(message, fields)])
        else:
            report_extra(fields, message.extra, message.path, _IGNORED_OF_MESSAGE)
            blocks = _without_blank_text([_text(part, message, fields) for part in message.parts])
            (pending_system if turns and capabilities.accepts_inline_system else system).extend(blocks)
    _place_system(pending_system, system, turns)
    for turn in turns:  # tool results must come first in a turn, whatever the client wrote between them
        if turn["role"] == "user" and len(turn["content"]) > 1:
            turn["content"].sort(key=_is_not_tool_result)
    if not turns or turns[0]["role"] != "user":
        raise invalid("messages", "must begin, after any system messages, with a user message that is not empty")
    if turns[-1]["role"] == "assistant":
        _check_prefill(turns[-1], capabilities, message.path)
    return AnthropicConversation(system, turns)


def _place_system(
    pending_system: list[dict[str, Any]], system: list[dict[str, Any]], turns: list[dict[str, Any]]
) -> None:
    """Add the pending system blocks right after a user's turn, the only place where Anthropic accepts them.

    After any other turn they go into the system prompt.
    """
    if pending_system:
        if turns[-1]["role"] == "user":
            turns.append({"role": "system", "content": list(pending_system)})
        else:
            system += pending_system
        pending_system.clear()


def _add_to_turn(turns: list[dict[str, Any]], role: str, blocks: list[dict[str, Any]]) -> None:
    """Add the blocks to the last turn if it has this role, or else begin a new turn with them."""
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _is_not_tool_result(block: dict[str, Any]) -> bool:
    return block.get("type") != "tool_result"


def _check_prefill(turn: dict[str, Any], capabilities: AnthropicCapabilities, path: str) -> None:
    if not capabilities.accepts_prefill:
        text = "must not be the assistant's: Claude 4.6 and newer cannot continue a response; add a user message"
        raise invalid(path, text, "unsupported_value")
    last = turn["content"][-1]
    if last.get("type") == "text":  # Anthropic rejects white space at the very end
        turn["content"][-1] = {**last, "text": last["text"].rstrip()}


def _without_blank_text(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Remove blank text, which Anthropic rejects."""
    return [block for block in blocks if block.get("type") != "text" or (block.get("text") or "").strip()]


def _blocks(parts: Iterable[Part], message: Message, fields: RequestFields) -> list[dict[str, Any]]:
    return _without_blank_text([_block(part, message, fields) for part in parts])


def _assistant_blocks(message: Message, fields: RequestFields) -> list[dict[str, Any]]:
    original = _original_blocks(message)
    if original is not None:
        return original
    if message.extra:
        report_extra(fields, message.extra, message.path, _IGNORED_OF_ASSISTANT)
    blocks: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, Text):
            if part.text.strip():
                blocks.append(_text(part, message, fields))
        elif isinstance(part, ToolCall):
            blocks.append(_tool_use(part, message, fields))
        elif isinstance(part, Reasoning | ProviderPart):
            blocks += _own_block(part, message, fields)
        elif not (isinstance(part, Refusal) and part.where == "refusal" and blocks):
            blocks += _without_blank_text([_text(part, message, fields)])
    return blocks


def _tool_use(call: ToolCall, message: Message, fields: RequestFields) -> dict[str, Any]:
    arguments = tool_arguments(call, message, fields)
    block = {"type": "tool_use", "id": call_id(call.unique_id or ""), "name": call.name, "input": arguments}
    return {**(own_data(call, PROVIDER) or {}), **block} if call.provider_data else block


def _own_block(part: Reasoning | ProviderPart, message: Message, fields: RequestFields) -> list[dict[str, Any]]:
    """Write a part that came from Anthropic. Any other is left out: thinking cannot be sent without its signature."""
    if isinstance(part, Reasoning):
        data = own_data(part, PROVIDER)
        if data is not None:
            return [_thinking(part.text, data)]
    elif part.is_of(PROVIDER):
        return [dict(part.data)]
    report_part(fields, part, message)
    return []


def _thinking(text: str, data: Members) -> dict[str, Any]:
    if "redacted" in data:
        others = {name: value for name, value in data.items() if name != "redacted"}
        return {**others, "type": "redacted_thinking", "data": data["redacted"]}
    return {**data, "type": "thinking", "thinking": text}


def _original_blocks(message: Message) -> list[dict[str, Any]] | None:
    """Return the original blocks of a response that the client sends back, or None.

    They are used only if the client has not changed the text or the calls since.
    """
    if not message.provider_data:
        return None
    blocks = original_parts(message.provider_data, PROVIDER, "content", message.path)
    if not blocks:
        return None
    original_text = joined_texts(block for block in blocks if block.get("type") == "text")
    ids = [part.unique_id for part in message.parts if isinstance(part, ToolCall)]
    original_ids = [block.get("id") for block in blocks if block.get("type") == "tool_use"]
    return _without_blank_text(blocks) if (message.text(), ids) == (original_text, original_ids) else None


def call_id(client_id: str) -> str:
    """Return the client's call id if Anthropic accepts its characters, or else an id derived from it."""
    return accepted_call_id(client_id, _CALL_ID)


def _tool_result(message: Message, fields: RequestFields) -> dict[str, Any]:
    report_extra(fields, message.extra, message.path, _IGNORED_OF_RESULT)
    (tool_result,) = message.parts
    assert isinstance(tool_result, ToolResult)
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": call_id(tool_result.unique_id)}
    content: str | list[dict[str, Any]]
    if message.is_plain:
        content = "".join([part.text for part in tool_result.parts if isinstance(part, Text)])
    else:
        content = _blocks(tool_result.parts, message, fields)
    if content:
        result["content"] = content
    if tool_result.is_error:
        result["is_error"] = True
    return _with_cache_control(result, tool_result.cache)


def _text(part: Part, message: Message, fields: RequestFields) -> dict[str, Any]:
    if not isinstance(part, Text | Refusal):
        name = str(part.data.get("type")) if isinstance(part, ProviderPart) else _PART_NAMES[type(part)]
        raise invalid(f"{message.path}.content", f"cannot hold a part of type {name[:40]!r} in this role")
    _report_members(part, message, fields)
    block = {"type": "text", "text": part.text}
    if isinstance(part, Text) and part.provider_data:
        block = {**(own_data(part, PROVIDER) or {}), **block}
    return _with_cache_control(block, part.cache)


def _report_members(part: Part, message: Message, fields: RequestFields) -> None:
    if part.extra:
        report_extra(fields, part.extra, f"{message.path}.content")


def _with_cache_control(block: dict[str, Any], mark: CacheMark | None) -> dict[str, Any]:
    """Set the client's cache mark on a block: Anthropic's `cache_control`, or OpenAI's breakpoint."""
    if mark is not None and mark.control:
        block["cache_control"] = mark.control
    elif mark is not None and mark.breakpoint:
        block["cache_control"] = {"type": "ephemeral"}
    return block


def _block(part: Part, message: Message, fields: RequestFields) -> dict[str, Any]:
    """Write a part of a user message or a tool result. Parts in Anthropic's own format are returned unchanged."""
    if isinstance(part, Text | Refusal):
        return _text(part, message, fields)
    if isinstance(part, ProviderPart):
        if part.data.get("type") == "file":
            raise invalid(f"{message.path}.content.file", "must be an object")
        return dict(part.data)
    if isinstance(part, Audio):
        text = "holds audio, which Anthropic's models do not accept"
        raise invalid(f"{message.path}.content", text, "unsupported_value")
    _report_members(part, message, fields)
    path = f"{message.path}.{part.where}"
    if isinstance(part, Image):
        if part.detail is not None and part.detail not in NO_EFFECT:
            fields.report_dropped(f"{place_of(path)}.detail")
        return _with_cache_control({"type": "image", "source": _source(part.url, path, _IMAGES)}, part.cache)
    assert isinstance(part, File)
    return _with_cache_control(_file(part, path, fields), part.cache)


def _source(url: str | None, path: str, types: frozenset[str]) -> dict[str, Any]:
    if url is None:
        raise invalid(path, "must hold a URL")
    data = _data(url, path)
    if data is None and not url.startswith(("https://", "http://")):
        raise invalid(path, "must be a data URL or an https URL")
    if data is None:
        return {"type": "url", "url": url}
    if data[0] not in types:
        raise invalid(path, f"is of type {data[0][:60]}; Anthropic's models accept {', '.join(sorted(types))}")
    return {"type": "base64", "media_type": data[0], "data": data[1]}


def _file(file: File, path: str, fields: RequestFields) -> dict[str, Any]:
    """Return a document, or an image if the file is one. Raises Failure (400) for a file id that is not Anthropic's."""
    title = {"title": file.name} if file.name else {}
    if file.file_id is not None:
        if not file.file_id.startswith("file_"):
            text = "must be the id of a file at Anthropic; to send any other file, use `file_data`"
            raise invalid(f"{path}.file_id", text)
        return {"type": "document", "source": {"type": "file", "file_id": file.file_id}, **title}
    data = _data(file.url, f"{path}.file_data") if file.url is not None else None
    if data and data[0] in _IMAGES:
        if title:
            fields.report_dropped(f"{place_of(path)}.filename")
        return {"type": "image", "source": {"type": "base64", "media_type": data[0], "data": data[1]}}
    if data and (data[0].startswith("text/") or data[0] in _TEXTS):
        source = {"type": "text", "media_type": "text/plain", "data": _decoded(data[1], f"{path}.file_data")}
    else:
        source = _source(file.url, f"{path}.file_data", frozenset({"application/pdf"}))
    return {"type": "document", "source": source, **title}


def _data(url: str, path: str) -> tuple[str, str] | None:
    """Return the media type and base64 text of a data URL, or None for other URLs. Raises Failure (400)."""
    data = data_url(url, path)
    return (normal_media_type(data[0]), data[1]) if data is not None else None


def _decoded(base64: str, path: str) -> str:
    try:
        return b64decode(base64, validate=True).decode()
    except ValueError:  # the alphabet, the padding, or the UTF-8 is wrong
        raise invalid(path, "must be base64 of UTF-8 text") from None
