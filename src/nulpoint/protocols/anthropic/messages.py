"""Translates chat messages to Anthropic's `system` and its turns of user and assistant.

Anthropic rejects blank text, tool results that do not come first in the turn after their calls, and call ids with
characters other than letters, digits, `_` and `-`. Sources: the request types of the `anthropic` SDK, recorded traffic,
and Anthropic's error messages.
"""

import re
from base64 import b64decode
from typing import Any, NamedTuple

from nulpoint.protocols.anthropic.capabilities import AnthropicCapabilities
from nulpoint.protocols.call_ids import accepted_call_id
from nulpoint.protocols.openai.chat import (
    EXTRA_FIELDS,
    RequestFields,
    data_url,
    invalid,
    joined_texts,
    optional_text,
    original_parts,
    parts_of,
)
from nulpoint.protocols.openai.chat_request import call_arguments

_CALL_ID = re.compile(r"[a-zA-Z0-9_-]+")
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_TEXTS = frozenset({"application/json", "application/xml", "application/javascript"})
_THINKING = frozenset({"thinking", "redacted_thinking"})
# The members that are read of messages, parts and calls; others are reported as dropped. The members in
# _IGNORED_OF_ASSISTANT are not reported: the gateway itself put them into its responses, and either their content is
# restored or only another provider can read it.
_IGNORED_OF_ASSISTANT = frozenset({EXTRA_FIELDS, "extra_content", "annotations"})
_OF_MESSAGE = frozenset({"role", "content", "cache_control"})
_OF_ASSISTANT = _OF_MESSAGE | _IGNORED_OF_ASSISTANT | {"tool_calls", "refusal"}
_OF_RESULT = _OF_MESSAGE | {"tool_call_id", "name", "is_error"}
_OF_PART = frozenset({"type", "text", "refusal", "image_url", "file", "cache_control", "prompt_cache_breakpoint"})


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


def read_conversation(
    messages: list[dict[str, Any]], capabilities: AnthropicCapabilities, fields: RequestFields
) -> AnthropicConversation:
    """Translate the messages. Raises Failure (400) for what Anthropic's API cannot express."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    pending_system: list[dict[str, Any]] = []  # system blocks that wait for the end of the user's turn
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        role = message["role"]
        if role in ("system", "developer"):
            blocks = _text_blocks(message, path, fields)
            (pending_system if turns and capabilities.accepts_inline_system else system).extend(blocks)
        elif role == "assistant":
            _place_system(pending_system, system, turns)
            _add_to_turn(turns, "assistant", _assistant_blocks(message, path, fields))
        elif role == "tool":
            _add_to_turn(turns, "user", [_tool_result(message, path, fields)])
        elif role == "user":
            fields.report_other_members(message, _OF_MESSAGE, "messages")
            parts = parts_of(message.get("content"), path)
            _add_to_turn(turns, "user", _without_blank_text([_block(part, path, fields) for part in parts]))
        else:
            raise invalid(f"{path}.role", "must be system, developer, user, assistant or tool")
    _place_system(pending_system, system, turns)
    for turn in turns:  # tool results must come first in a turn, whatever the client wrote between them
        if turn["role"] == "user" and len(turn["content"]) > 1:
            turn["content"].sort(key=_is_not_tool_result)
    if not turns or turns[0]["role"] != "user":
        raise invalid("messages", "must begin, after any system messages, with a user message that is not empty")
    if turns[-1]["role"] == "assistant":
        _check_prefill(turns[-1], capabilities, len(messages) - 1)
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


def _check_prefill(turn: dict[str, Any], capabilities: AnthropicCapabilities, index: int) -> None:
    if not capabilities.accepts_prefill:
        text = "must not be the assistant's: Claude 4.6 and newer cannot continue a response; add a user message"
        raise invalid(f"messages[{index}]", text, "unsupported_value")
    last = turn["content"][-1]
    if last.get("type") == "text":  # Anthropic rejects white space at the very end
        turn["content"][-1] = {**last, "text": last["text"].rstrip()}


def _without_blank_text(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Remove blank text, which Anthropic rejects."""
    return [block for block in blocks if block.get("type") != "text" or (block.get("text") or "").strip()]


def _text_blocks(message: dict[str, Any], path: str, fields: RequestFields) -> list[dict[str, Any]]:
    fields.report_other_members(message, _OF_MESSAGE, "messages")
    return _without_blank_text([_text(part, path, fields) for part in parts_of(message.get("content"), path)])


def _assistant_blocks(message: dict[str, Any], path: str, fields: RequestFields) -> list[dict[str, Any]]:
    original = _original_blocks(message, path)
    if original is not None:
        return original
    fields.report_other_members(message, _OF_ASSISTANT, "messages")  # thinking cannot be sent without its signature
    parts = parts_of(message.get("content"), path)
    blocks = _without_blank_text([_assistant_block(part, path, fields) for part in parts])
    refusal = optional_text(message.get("refusal"), f"{path}.refusal")
    if refusal and not blocks:
        blocks = [{"type": "text", "text": refusal}]
    for number, call in enumerate(message.get("tool_calls") or []):
        arguments = call_arguments(call, f"{path}.tool_calls[{number}]", fields)
        name = call["function"]["name"]
        blocks.append({"type": "tool_use", "id": call_id(call["id"]), "name": name, "input": arguments})
    return blocks


def _original_blocks(message: dict[str, Any], path: str) -> list[dict[str, Any]] | None:
    """Return the original blocks of a response that the client sends back, or None.

    They are used only if the client has not changed the text or the calls since.
    """
    blocks = original_parts(message, "anthropic", "content", path)
    if not blocks:
        return None
    text = joined_texts(parts_of(message.get("content"), path))
    original_text = joined_texts(block for block in blocks if block.get("type") == "text")
    ids = [call["id"] for call in message.get("tool_calls") or []]
    original_ids = [block.get("id") for block in blocks if block.get("type") == "tool_use"]
    return _without_blank_text(blocks) if (text, ids) == (original_text, original_ids) else None


def call_id(client_id: str) -> str:
    """Return the client's call id if Anthropic accepts its characters, or else an id derived from it."""
    return accepted_call_id(client_id, _CALL_ID)


def _tool_result(message: dict[str, Any], path: str, fields: RequestFields) -> dict[str, Any]:
    fields.report_other_members(message, _OF_RESULT, "messages")
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": call_id(message["tool_call_id"])}
    content = message.get("content")
    blocks = content if isinstance(content, str) else [_block(part, path, fields) for part in parts_of(content, path)]
    if isinstance(blocks, list):
        blocks = _without_blank_text(blocks)
    if blocks:
        result["content"] = blocks
    if message.get("is_error"):
        result["is_error"] = True
    return _with_cache_control(result, message)


def _text(part: dict[str, Any], path: str, fields: RequestFields) -> dict[str, Any]:
    if part.get("type") not in ("text", "refusal"):
        raise invalid(f"{path}.content", f"cannot hold a part of type {str(part.get('type'))[:40]!r} in this role")
    fields.report_other_members(part, _OF_PART, "messages.content")
    text = part.get("text") if part["type"] == "text" else optional_text(part.get("refusal"), f"{path}.content")
    return _with_cache_control({"type": "text", "text": text or ""}, part)


def _assistant_block(part: dict[str, Any], path: str, fields: RequestFields) -> dict[str, Any]:
    """Translate a part of an assistant message. Blocks in Anthropic's own format are returned unchanged."""
    is_openai_part = part.get("type") in ("text", "refusal", "image_url", "input_audio", "file")
    return _text(part, path, fields) if is_openai_part else part


def _with_cache_control(block: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Set the client's cache mark on a block: Anthropic's `cache_control`, or OpenAI's breakpoint."""
    if part.get("cache_control"):
        block["cache_control"] = part["cache_control"]
    elif part.get("prompt_cache_breakpoint"):
        block["cache_control"] = {"type": "ephemeral"}
    return block


def _block(part: dict[str, Any], path: str, fields: RequestFields) -> dict[str, Any]:
    """Translate a part of a user message or a tool result. Parts in Anthropic's own format are returned unchanged."""
    kind = part.get("type")
    if kind in ("text", "refusal"):
        return _text(part, path, fields)
    if kind == "image_url":
        fields.report_other_members(part, _OF_PART, "messages.content")
        return _with_cache_control(_image(part.get("image_url"), f"{path}.content.image_url", fields), part)
    if kind == "file":
        fields.report_other_members(part, _OF_PART, "messages.content")
        return _with_cache_control(_file(part.get("file"), f"{path}.content.file", fields), part)
    if kind == "input_audio":
        raise invalid(f"{path}.content", "holds audio, which Anthropic's models do not accept", "unsupported_value")
    return part


def _image(image: Any, path: str, fields: RequestFields) -> dict[str, Any]:
    image_url = image if isinstance(image, dict) else {"url": image}
    fields.report_other_members(image_url, {"url"}, "messages.content.image_url")
    return {"type": "image", "source": _source(image_url.get("url"), path, _IMAGES)}


def _source(url: Any, path: str, types: frozenset[str]) -> dict[str, Any]:
    if not isinstance(url, str):
        raise invalid(path, "must hold a URL")
    data = data_url(url, path)
    if data is None and not url.startswith(("https://", "http://")):
        raise invalid(path, "must be a data URL or an https URL")
    if data is None:
        return {"type": "url", "url": url}
    if data[0] not in types:
        raise invalid(path, f"is of type {data[0][:60]}; Anthropic's models accept {', '.join(sorted(types))}")
    return {"type": "base64", "media_type": data[0], "data": data[1]}


def _file(file: Any, path: str, fields: RequestFields) -> dict[str, Any]:
    """Return a document, or an image if the file is one. Raises Failure (400) for a file id that is not Anthropic's."""
    if not isinstance(file, dict):
        raise invalid(path, "must be an object")
    fields.report_other_members(file, {"file_id", "file_data", "filename"}, "messages.content.file")
    title = {"title": file["filename"]} if file.get("filename") else {}
    file_id = file.get("file_id")
    if file_id:
        if not isinstance(file_id, str) or not file_id.startswith("file_"):
            text = "must be the id of a file at Anthropic; to send any other file, use `file_data`"
            raise invalid(f"{path}.file_id", text)
        return {"type": "document", "source": {"type": "file", "file_id": file_id}, **title}
    path = f"{path}.file_data"
    data = data_url(file["file_data"], path) if isinstance(file.get("file_data"), str) else None
    if data and data[0] in _IMAGES:
        if title:
            fields.report_dropped("messages.content.file.filename")
        return {"type": "image", "source": {"type": "base64", "media_type": data[0], "data": data[1]}}
    if data and (data[0].startswith("text/") or data[0] in _TEXTS):
        source = {"type": "text", "media_type": "text/plain", "data": _decoded(data[1], path)}
    else:
        source = _source(file.get("file_data"), path, frozenset({"application/pdf"}))
    return {"type": "document", "source": source, **title}


def _decoded(base64: str, path: str) -> str:
    try:
        return b64decode(base64, validate=True).decode()
    except ValueError:  # the alphabet, the padding, or the UTF-8 is wrong
        raise invalid(path, "must be base64 of UTF-8 text") from None
