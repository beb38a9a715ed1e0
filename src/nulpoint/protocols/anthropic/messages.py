"""The messages of a chat as Anthropic's `system` and turns of user and assistant.

Facts: the request types of the `anthropic` SDK, recorded traffic, and Anthropic's errors: text must not be blank, the
results of calls come first in the turn after them, ids hold letters, digits, `_` and `-`.
"""

import hashlib
import re
from base64 import b64decode
from typing import Any, NamedTuple

from nulpoint.protocols.anthropic.capabilities import AnthropicCapabilities
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
# What is read of messages, parts and calls; other members are reported. Those of our own answers that say nothing more
# than what is restored, or that only another provider can read, are no loss.
_CARRIERS = frozenset({EXTRA_FIELDS, "extra_content", "annotations"})
_OF_MESSAGE = frozenset({"role", "content", "cache_control"})
_OF_ASSISTANT = _OF_MESSAGE | _CARRIERS | {"tool_calls", "refusal"}
_OF_RESULT = _OF_MESSAGE | {"tool_call_id", "name", "is_error"}
_OF_PART = frozenset({"type", "text", "refusal", "image_url", "file", "cache_control", "prompt_cache_breakpoint"})


class AnthropicConversation(NamedTuple):
    system: list[dict[str, Any]]
    turns: list[dict[str, Any]]

    def continues_answer(self) -> bool:
        return bool(self.turns[-1]["role"] == "assistant")

    def uses_tools(self) -> list[str]:
        """Names of the tools called anywhere in it, in order."""
        names: dict[str, None] = {}
        for turn in self.turns:
            for block in turn["content"]:
                if block.get("type") == "tool_use" and isinstance(block.get("name"), str):
                    names[block["name"]] = None
        return list(names)

    def may_think(self) -> bool:
        """Whether a thinking budget is allowed: not while a tool turn that began without thinking goes on, nor where
        an answer is continued."""
        if self.continues_answer():
            return False
        *before, last = [turn for turn in self.turns if turn["role"] != "system"]
        results = any(block.get("type") == "tool_result" for block in last["content"])
        return not (results and before) or before[-1]["content"][0].get("type") in _THINKING


def read_conversation(
    messages: list[dict[str, Any]], capabilities: AnthropicCapabilities, fields: RequestFields
) -> AnthropicConversation:
    """Raises Failure (400) for what Anthropic cannot be told."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    held: list[dict[str, Any]] = []  # system blocks that wait for the end of the user's turn
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = message["role"]
        if role in ("system", "developer"):
            blocks = _text_blocks(message, where, fields)
            (held if turns and capabilities.system_in_place else system).extend(blocks)
        elif role == "assistant":
            _place(held, system, turns)
            _turn(turns, "assistant", _assistant_blocks(message, where, fields))
        elif role == "tool":
            _turn(turns, "user", [_tool_result(message, where, fields)])
        elif role == "user":
            fields.report_other_members(message, _OF_MESSAGE, "messages")
            parts = parts_of(message.get("content"), where)
            _turn(turns, "user", _visible([_block(part, where, fields) for part in parts]))
        else:
            raise invalid(f"{where}.role", "must be system, developer, user, assistant or tool")
    _place(held, system, turns)
    for turn in turns:  # results must come first in a turn, whatever the caller wrote between them
        if turn["role"] == "user" and len(turn["content"]) > 1:
            turn["content"].sort(key=_is_no_result)
    if not turns or turns[0]["role"] != "user":
        raise invalid("messages", "must begin, after system messages, with the user's, and it must say something")
    if turns[-1]["role"] == "assistant":
        _check_prefill(turns[-1], capabilities, len(messages) - 1)
    return AnthropicConversation(system, turns)


def _place(held: list[dict[str, Any]], system: list[dict[str, Any]], turns: list[dict[str, Any]]) -> None:
    """Later system messages stand right after a turn of the user; elsewhere they are refused."""
    if held:
        if turns[-1]["role"] == "user":
            turns.append({"role": "system", "content": list(held)})
        else:
            system += held
        held.clear()


def _turn(turns: list[dict[str, Any]], role: str, blocks: list[dict[str, Any]]) -> None:
    """Add the blocks to the turn that is going on, or begin one with them."""
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _is_no_result(block: dict[str, Any]) -> bool:
    return block.get("type") != "tool_result"


def _check_prefill(turn: dict[str, Any], capabilities: AnthropicCapabilities, index: int) -> None:
    if not capabilities.prefill:
        text = "must not be the assistant's: Claude 4.6 and newer continue no answer; add a message of the user"
        raise invalid(f"messages[{index}]", text, "unsupported_value")
    last = turn["content"][-1]
    if last.get("type") == "text":  # white space at the very end is refused
        turn["content"][-1] = {**last, "text": last["text"].rstrip()}


def _visible(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without blank text, which is refused."""
    return [block for block in blocks if block.get("type") != "text" or (block.get("text") or "").strip()]


def _text_blocks(message: dict[str, Any], where: str, fields: RequestFields) -> list[dict[str, Any]]:
    fields.report_other_members(message, _OF_MESSAGE, "messages")
    return _visible([_text(part, where, fields) for part in parts_of(message.get("content"), where)])


def _assistant_blocks(message: dict[str, Any], where: str, fields: RequestFields) -> list[dict[str, Any]]:
    kept = _kept_blocks(message, where)
    if kept is not None:
        return kept
    fields.report_other_members(message, _OF_ASSISTANT, "messages")  # thinking cannot go back without its signature
    blocks = _visible([_spoken(part, where, fields) for part in parts_of(message.get("content"), where)])
    refusal = optional_text(message.get("refusal"), f"{where}.refusal")
    if refusal and not blocks:
        blocks = [{"type": "text", "text": refusal}]
    for number, call in enumerate(message.get("tool_calls") or []):
        arguments = call_arguments(call, f"{where}.tool_calls[{number}]", fields)
        name = call["function"]["name"]
        blocks.append({"type": "tool_use", "id": call_id(call["id"]), "name": name, "input": arguments})
    return blocks


def _kept_blocks(message: dict[str, Any], where: str) -> list[dict[str, Any]] | None:
    """The blocks of our own answer, handed back: used only if the caller has not changed text or calls since."""
    blocks = original_parts(message, "anthropic", "content", where)
    if not blocks:
        return None
    text = joined_texts(parts_of(message.get("content"), where))
    kept_text = joined_texts(block for block in blocks if block.get("type") == "text")
    ids = [call["id"] for call in message.get("tool_calls") or []]
    kept_ids = [block.get("id") for block in blocks if block.get("type") == "tool_use"]
    return _visible(blocks) if (text, ids) == (kept_text, kept_ids) else None


def call_id(given: str) -> str:
    """An id in the letters Anthropic takes: the given one, or always the same one for it."""
    return given if _CALL_ID.fullmatch(given) else f"call_{hashlib.sha256(given.encode()).hexdigest()[:24]}"


def _tool_result(message: dict[str, Any], where: str, fields: RequestFields) -> dict[str, Any]:
    fields.report_other_members(message, _OF_RESULT, "messages")
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": call_id(message["tool_call_id"])}
    content = message.get("content")
    blocks = content if isinstance(content, str) else [_block(part, where, fields) for part in parts_of(content, where)]
    if isinstance(blocks, list):
        blocks = _visible(blocks)
    if blocks:
        result["content"] = blocks
    if message.get("is_error"):
        result["is_error"] = True
    return _marked(result, message)


def _text(part: dict[str, Any], where: str, fields: RequestFields) -> dict[str, Any]:
    if part.get("type") not in ("text", "refusal"):
        raise invalid(f"{where}.content", f"cannot hold a part of type {str(part.get('type'))[:40]!r} in this role")
    fields.report_other_members(part, _OF_PART, "messages.content")
    text = part.get("text") if part["type"] == "text" else optional_text(part.get("refusal"), f"{where}.content")
    return _marked({"type": "text", "text": text or ""}, part)


def _spoken(part: dict[str, Any], where: str, fields: RequestFields) -> dict[str, Any]:
    """A part of the assistant's message. Blocks in Anthropic's own shape pass as they are."""
    openai = part.get("type") in ("text", "refusal", "image_url", "input_audio", "file")
    return _text(part, where, fields) if openai else part


def _marked(block: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """With the cache mark the caller set: Anthropic's own, or OpenAI's breakpoint."""
    if part.get("cache_control"):
        block["cache_control"] = part["cache_control"]
    elif part.get("prompt_cache_breakpoint"):
        block["cache_control"] = {"type": "ephemeral"}
    return block


def _block(part: dict[str, Any], where: str, fields: RequestFields) -> dict[str, Any]:
    """A part of a user's message, or of a result, as a block. Parts in Anthropic's own shape pass as they are."""
    kind = part.get("type")
    if kind in ("text", "refusal"):
        return _text(part, where, fields)
    if kind == "image_url":
        fields.report_other_members(part, _OF_PART, "messages.content")
        return _marked(_image(part.get("image_url"), f"{where}.content.image_url", fields), part)
    if kind == "file":
        fields.report_other_members(part, _OF_PART, "messages.content")
        return _marked(_file(part.get("file"), f"{where}.content.file", fields), part)
    if kind == "input_audio":
        raise invalid(f"{where}.content", "holds audio, which Anthropic's models do not take", "unsupported_value")
    return part


def _image(image: Any, where: str, fields: RequestFields) -> dict[str, Any]:
    given = image if isinstance(image, dict) else {"url": image}
    fields.report_other_members(given, {"url"}, "messages.content.image_url")
    return {"type": "image", "source": _source(given.get("url"), where, _IMAGES)}


def _source(url: Any, where: str, types: frozenset[str]) -> dict[str, Any]:
    if not isinstance(url, str):
        raise invalid(where, "must hold a URL")
    data = data_url(url, where)
    if data is None and not url.startswith(("https://", "http://")):
        raise invalid(where, "must be a data URL or an https URL")
    if data is None:
        return {"type": "url", "url": url}
    if data[0] not in types:
        raise invalid(where, f"is of type {data[0][:60]}; Anthropic's models take {', '.join(sorted(types))}")
    return {"type": "base64", "media_type": data[0], "data": data[1]}


def _file(file: Any, where: str, fields: RequestFields) -> dict[str, Any]:
    """A document, or an image that came as a file. Raises Failure for a file id that is not Anthropic's."""
    if not isinstance(file, dict):
        raise invalid(where, "must be an object")
    fields.report_other_members(file, {"file_id", "file_data", "filename"}, "messages.content.file")
    title = {"title": file["filename"]} if file.get("filename") else {}
    given = file.get("file_id")
    if given:
        if not isinstance(given, str) or not given.startswith("file_"):
            raise invalid(
                f"{where}.file_id", "must be the id of a file at Anthropic; else send the file as `file_data`"
            )
        return {"type": "document", "source": {"type": "file", "file_id": given}, **title}
    where = f"{where}.file_data"
    data = data_url(file["file_data"], where) if isinstance(file.get("file_data"), str) else None
    if data and data[0] in _IMAGES:
        if title:
            fields.report_dropped("messages.content.file.filename")
        return {"type": "image", "source": {"type": "base64", "media_type": data[0], "data": data[1]}}
    if data and (data[0].startswith("text/") or data[0] in _TEXTS):
        source = {"type": "text", "media_type": "text/plain", "data": _decoded(data[1], where)}
    else:
        source = _source(file.get("file_data"), where, frozenset({"application/pdf"}))
    return {"type": "document", "source": source, **title}


def _decoded(base64: str, where: str) -> str:
    try:
        return b64decode(base64, validate=True).decode()
    except ValueError:  # of the alphabet, of its end, or of UTF-8
        raise invalid(where, "must be base64 of UTF-8 text") from None
