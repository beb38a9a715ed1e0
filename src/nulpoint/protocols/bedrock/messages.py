"""Translates chat messages to Converse's `system` and its turns of user and assistant.

Converse wants roles that alternate and begin with the user, no blank text, tool results first in the turn after their
calls, and text in every turn with a document. Sources: the service model of `bedrock-runtime`, and Converse's error
messages.
"""

import re
from itertools import dropwhile
from typing import Any, NamedTuple

from nulpoint.formats.malformed import MALFORMED
from nulpoint.protocols.bedrock.capabilities import BedrockCapabilities
from nulpoint.protocols.bedrock.media import audio_block, file_block, image_block, number_duplicate_names
from nulpoint.protocols.call_ids import accepted_call_id
from nulpoint.protocols.openai.chat import (
    EXTRA_FIELDS,
    RequestFields,
    invalid,
    joined_texts,
    optional_text,
    original_parts,
    parts_of,
)
from nulpoint.protocols.openai.chat_request import call_arguments

_CALL_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
# The members that are read of messages, parts and calls; others are reported as dropped. The members in
# _IGNORED_OF_ASSISTANT are not reported: the gateway itself put them into its responses, and either their content is
# restored or only another provider can read it.
_IGNORED_OF_ASSISTANT = frozenset({EXTRA_FIELDS, "extra_content", "annotations"})
_WITH_DOCUMENTS = frozenset({"document", "toolResult"})
_OF_MESSAGE = frozenset({"role", "content", "cache_control"})
_OF_ASSISTANT = _OF_MESSAGE | _IGNORED_OF_ASSISTANT | {"tool_calls", "refusal"}
_OF_RESULT = _OF_MESSAGE | {"tool_call_id", "name", "is_error"}
_OF_PART = frozenset(
    {"type", "text", "refusal", "image_url", "file", "input_audio", "cache_control", "prompt_cache_breakpoint"}
)

Block = dict[str, Any]


class BedrockConversation(NamedTuple):
    """The messages of a request as Converse takes them.

    `kinds` are the kinds of blocks in the turns, which saves searching the turns for kinds that are not in them.
    """

    system: list[Block]
    turns: list[dict[str, Any]]
    kinds: set[str]

    def continues_answer(self) -> bool:
        return bool(self.turns[-1]["role"] == "assistant")

    def called_tools(self) -> list[str]:
        """Return the names of all tools that are called in the conversation, in order."""
        if "toolUse" not in self.kinds:
            return []
        blocks = [block for turn in self.turns for block in turn["content"]]
        names = (block["toolUse"].get("name") for block in blocks if isinstance(block.get("toolUse"), dict))
        return list(dict.fromkeys(name for name in names if isinstance(name, str)))

    def may_think(self) -> bool:
        """Return whether Claude may think.

        It may not if it is to continue a response, or during a tool turn that began without thinking.
        """
        if self.continues_answer():
            return False
        *before, last = self.turns
        results = any("toolResult" in block for block in last["content"])
        return not (results and before) or "reasoningContent" in before[-1]["content"][0]


def read_conversation(
    messages: list[dict[str, Any]], capabilities: BedrockCapabilities, fields: RequestFields
) -> BedrockConversation:
    """Translate the messages. Raises Failure (400) for what Converse cannot express."""
    system: list[Block] = []
    draft_turns: list[_Turn] = []
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        match message["role"]:
            case "system" | "developer":
                fields.report_other_members(message, _OF_MESSAGE, "messages")
                system += _without_blank_text(_with_cache_point(message, _parts(message, path, fields, _text)))
            case "assistant":
                _add_to_turn(draft_turns, "assistant", _assistant_blocks(message, path, fields))
            case "tool":
                _add_result(draft_turns, _with_cache_point(message, [_tool_result(message, path, fields)]))
            case "user":
                fields.report_other_members(message, _OF_MESSAGE, "messages")
                blocks = _with_cache_point(message, _parts(message, path, fields, _block))
                _add_to_turn(draft_turns, "user", _without_blank_text(blocks))
            case _:
                raise invalid(f"{path}.role", "must be system, developer, user, assistant or tool")
    turns = [{"role": turn.role, "content": turn.results + turn.others} for turn in draft_turns]
    kinds = {name for turn in turns for block in turn["content"] for name in block}
    _check(turns, kinds, capabilities, len(messages) - 1)
    if not kinds.isdisjoint(_WITH_DOCUMENTS):
        number_duplicate_names(turns)
    return BedrockConversation(system, turns, kinds)


class _Turn(NamedTuple):
    """A turn while its messages are read.

    Tool results and their cache marks are kept separately, because they must come before the other blocks.
    """

    role: str
    results: list[Block]
    others: list[Block]


def _add_to_turn(turns: list[_Turn], role: str, blocks: list[Block]) -> None:
    """Add the blocks to the last turn if it has this role, or else begin a new turn with them."""
    if not blocks:
        return
    if turns and turns[-1].role == role:
        turns[-1].others.extend(blocks)
    else:
        turns.append(_Turn(role, [], blocks))


def _add_result(turns: list[_Turn], blocks: list[Block]) -> None:
    """Add a tool result to the user's turn, after its other results and before its other blocks."""
    if not turns or turns[-1].role != "user":
        turns.append(_Turn("user", [], []))
    turns[-1].results.extend(blocks)


def _check(turns: list[dict[str, Any]], kinds: set[str], capabilities: BedrockCapabilities, last: int) -> None:
    if not turns or turns[0]["role"] != "user":
        raise invalid("messages", "must begin, after any system messages, with a user message that is not empty")
    for turn in turns if "document" in kinds else ():
        kinds_in_turn = {name for block in turn["content"] for name in block}
        if "document" in kinds_in_turn and "text" not in kinds_in_turn:
            text = "has a document in a turn without text, which Bedrock rejects; add text that says what it is for"
            raise invalid("messages", text)
    if turns[-1]["role"] != "assistant":
        return
    if capabilities.claude is not None and not capabilities.claude.accepts_prefill:
        text = "must not be the assistant's: Claude 4.6 and newer cannot continue a response; add a user message"
        raise invalid(f"messages[{last}]", text, "unsupported_value")
    block = turns[-1]["content"][-1]
    if isinstance(block.get("text"), str):  # Converse rejects white space at the very end
        turns[-1]["content"][-1] = {"text": block["text"].rstrip()}


def _without_blank_text(blocks: list[Block]) -> list[Block]:
    """Remove blank text, which Converse rejects, and cache marks that have no block before them."""
    remaining = [block for block in blocks if "text" not in block or (block["text"] or "").strip()]
    return list(dropwhile(_is_cache_point, remaining)) if remaining and "cachePoint" in remaining[0] else remaining


def _is_cache_point(block: Block) -> bool:
    return block.keys() == {"cachePoint"}


def _parts(message: dict[str, Any], path: str, fields: RequestFields, read: Any) -> list[Block]:
    """Return the blocks of a message's parts, each followed by its cache mark if the client set one."""
    blocks: list[Block] = []
    for part in parts_of(message.get("content"), path):
        if "type" not in part:  # a block in Converse's own format
            blocks.append(part)
            continue
        fields.report_other_members(part, _OF_PART, "messages.content")
        blocks += _with_cache_point(part, [read(part, path, fields)])
    return blocks


def _with_cache_point(source: dict[str, Any], blocks: list[Block]) -> list[Block]:
    """Append the cache mark that the client set on a message or part: Anthropic's `cache_control` or OpenAI's."""
    cache_control = source.get("cache_control") or source.get("prompt_cache_breakpoint")
    return [*blocks, cache_point(cache_control)] if cache_control else blocks


def cache_point(cache_control: Any) -> Block:
    """Return Converse's cache mark, with the lifetime of Anthropic's `cache_control`."""
    ttl = cache_control.get("ttl") if isinstance(cache_control, dict) else None
    return {"cachePoint": {"type": "default", "ttl": ttl} if ttl in ("5m", "1h") else {"type": "default"}}


def _assistant_blocks(message: dict[str, Any], path: str, fields: RequestFields) -> list[Block]:
    original = _original_blocks(message, path)
    if original is not None:
        return original
    fields.report_other_members(message, _OF_ASSISTANT, "messages")  # thinking cannot be sent without its signature
    blocks = _without_blank_text(_parts(message, path, fields, _text))
    refusal = optional_text(message.get("refusal"), f"{path}.refusal")
    if refusal and not blocks:
        blocks = [{"text": refusal}]
    for number, call in enumerate(message.get("tool_calls") or []):
        arguments = call_arguments(call, f"{path}.tool_calls[{number}]", fields)
        use = {"toolUseId": _call_id(call["id"]), "name": call["function"]["name"], "input": arguments}
        blocks.append({"toolUse": use})
    return _with_cache_point(message, blocks) if blocks else blocks


def _original_blocks(message: dict[str, Any], path: str) -> list[Block] | None:
    """Return the original blocks of a response that the client sends back, or None.

    They are used only if the client has not changed the text or the calls since.
    """
    blocks = original_parts(message, "bedrock", "content", path)
    if not blocks:
        return None
    text = joined_texts(parts_of(message.get("content"), path))
    ids = [call["id"] for call in message.get("tool_calls") or []]
    try:
        original = text_of(blocks), [use.get("toolUseId") for use in calls_of(blocks)]
    except MALFORMED:
        problem = "must hold the blocks of the response unchanged"
        raise invalid(f"{path}.{EXTRA_FIELDS}.bedrock.content", problem) from None
    return _without_blank_text(blocks) if (text, ids) == original else None


def text_of(blocks: list[Block]) -> str:
    """Return the model's text in these blocks, including cited text."""
    cited = [
        block["citationsContent"].get("content") or () if "citationsContent" in block else (block,) for block in blocks
    ]
    return "".join([piece.get("text") or "" for pieces in cited for piece in pieces])


def calls_of(blocks: list[Block]) -> list[dict[str, Any]]:
    """Return the tool calls that the client is to execute, without those of tools that AWS runs itself."""
    uses = [block["toolUse"] for block in blocks if "toolUse" in block]
    return [use for use in uses if use.get("type") != "server_tool_use"]


def _call_id(client_id: str) -> str:
    """Return the client's call id if Converse accepts it, or else an id derived from it."""
    return accepted_call_id(client_id, _CALL_ID)


def _tool_result(message: dict[str, Any], path: str, fields: RequestFields) -> Block:
    fields.report_other_members(message, _OF_RESULT, "messages")
    blocks = _without_blank_text(_parts({**message, "cache_control": None}, path, fields, _block))
    content = [block for block in blocks if "cachePoint" not in block]
    result: dict[str, Any] = {"toolUseId": _call_id(message["tool_call_id"]), "content": content}
    if message.get("is_error"):
        result["status"] = "error"
        result["content"] = content or [{"text": "error"}]  # Converse rejects an empty error
    return {"toolResult": result}


def _text(part: dict[str, Any], path: str, _: RequestFields) -> Block:
    if part["type"] not in ("text", "refusal"):
        raise invalid(f"{path}.content", f"cannot hold a part of type {str(part['type'])[:40]!r} in this role")
    text = part.get("text") if part["type"] == "text" else optional_text(part.get("refusal"), f"{path}.content")
    return {"text": text or ""}


def _block(part: dict[str, Any], path: str, fields: RequestFields) -> Block:
    """Translate a part of a user message or a tool result."""
    match part["type"]:
        case "image_url":
            return image_block(part.get("image_url"), f"{path}.content.image_url", fields)
        case "file":
            return file_block(part.get("file"), f"{path}.content.file", fields)
        case "input_audio":
            return audio_block(part.get("input_audio"), f"{path}.content.input_audio", fields)
    return _text(part, path, fields)
