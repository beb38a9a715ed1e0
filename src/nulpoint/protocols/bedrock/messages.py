"""The messages of a chat as Converse's `system` and turns of user and assistant.

Facts: the service model of `bedrock-runtime`, and Converse's errors: roles alternate and begin with the user, text is
not blank, the results of calls come first in the turn after them, documents stand beside text.
"""

import hashlib
import re
from itertools import dropwhile
from typing import Any, NamedTuple

from nulpoint.formats.malformed import MALFORMED
from nulpoint.protocols.bedrock.capabilities import BedrockCapabilities
from nulpoint.protocols.bedrock.media import file_block, image_block, name_apart, sound_block
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
# What is read of messages, parts and calls; other members are reported. Those of our own answers that say nothing more
# than what is restored, or that only another provider can read, are no loss.
_CARRIERS = frozenset({EXTRA_FIELDS, "extra_content", "annotations"})
_WITH_DOCUMENTS = frozenset({"document", "toolResult"})
_OF_MESSAGE = frozenset({"role", "content", "cache_control"})
_OF_ASSISTANT = _OF_MESSAGE | _CARRIERS | {"tool_calls", "refusal"}
_OF_RESULT = _OF_MESSAGE | {"tool_call_id", "name", "is_error"}
_OF_PART = frozenset(
    {"type", "text", "refusal", "image_url", "file", "input_audio", "cache_control", "prompt_cache_breakpoint"}
)

Block = dict[str, Any]


class BedrockConversation(NamedTuple):
    """`kinds`: of the blocks in its turns, so that what is not there need not be looked for."""

    system: list[Block]
    turns: list[dict[str, Any]]
    kinds: set[str]

    def continues_answer(self) -> bool:
        return bool(self.turns[-1]["role"] == "assistant")

    def called(self) -> list[str]:
        """Names of the tools called anywhere in it, in order."""
        if "toolUse" not in self.kinds:
            return []
        blocks = [block for turn in self.turns for block in turn["content"]]
        names = (block["toolUse"].get("name") for block in blocks if isinstance(block.get("toolUse"), dict))
        return list(dict.fromkeys(name for name in names if isinstance(name, str)))

    def may_think(self) -> bool:
        """Whether Claude may begin to think: not while a tool turn that began without goes on, nor in an answer."""
        if self.continues_answer():
            return False
        *before, last = self.turns
        results = any("toolResult" in block for block in last["content"])
        return not (results and before) or "reasoningContent" in before[-1]["content"][0]


def read_conversation(
    messages: list[dict[str, Any]], capabilities: BedrockCapabilities, fields: RequestFields
) -> BedrockConversation:
    """Raises Failure (400) for what Converse cannot be told."""
    system: list[Block] = []
    begun: list[_Turn] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        match message["role"]:
            case "system" | "developer":
                fields.report_other_members(message, _OF_MESSAGE, "messages")
                system += _visible(_marked(message, _parts(message, where, fields, _text)))
            case "assistant":
                _say(begun, "assistant", _assistant_blocks(message, where, fields))
            case "tool":
                _answer(begun, _marked(message, [_tool_result(message, where, fields)]))
            case "user":
                fields.report_other_members(message, _OF_MESSAGE, "messages")
                _say(begun, "user", _visible(_marked(message, _parts(message, where, fields, _block))))
            case _:
                raise invalid(f"{where}.role", "must be system, developer, user, assistant or tool")
    turns = [{"role": turn.role, "content": turn.results + turn.others} for turn in begun]
    kinds = {name for turn in turns for block in turn["content"] for name in block}
    _check(turns, kinds, capabilities, len(messages) - 1)
    if not kinds.isdisjoint(_WITH_DOCUMENTS):
        name_apart(turns)
    return BedrockConversation(system, turns, kinds)


class _Turn(NamedTuple):
    """A turn while its messages are read: results of calls, with their cache marks, come before anything else."""

    role: str
    results: list[Block]
    others: list[Block]


def _say(turns: list[_Turn], role: str, blocks: list[Block]) -> None:
    """Add the blocks to the turn that is going on, or begin one with them."""
    if not blocks:
        return
    if turns and turns[-1].role == role:
        turns[-1].others.extend(blocks)
    else:
        turns.append(_Turn(role, [], blocks))


def _answer(turns: list[_Turn], blocks: list[Block]) -> None:
    """Add a result, behind other results and before anything else the user says in that turn."""
    if not turns or turns[-1].role != "user":
        turns.append(_Turn("user", [], []))
    turns[-1].results.extend(blocks)


def _check(turns: list[dict[str, Any]], kinds: set[str], capabilities: BedrockCapabilities, last: int) -> None:
    if not turns or turns[0]["role"] != "user":
        raise invalid("messages", "must begin, after system messages, with the user's, and it must say something")
    for turn in turns if "document" in kinds else ():
        here = {name for block in turn["content"] for name in block}
        if "document" in here and "text" not in here:
            raise invalid(
                "messages", "has a document in a turn without text, which Bedrock refuses; say what it is for"
            )
    if turns[-1]["role"] != "assistant":
        return
    if capabilities.claude is not None and not capabilities.claude.prefill:
        text = "must not be the assistant's: Claude 4.6 and newer continue no answer; add a message of the user"
        raise invalid(f"messages[{last}]", text, "unsupported_value")
    block = turns[-1]["content"][-1]
    if isinstance(block.get("text"), str):  # white space at the very end is refused
        turns[-1]["content"][-1] = {"text": block["text"].rstrip()}


def _visible(blocks: list[Block]) -> list[Block]:
    """Without blank text, which is refused, and without a cache mark that then has nothing before it."""
    kept = [block for block in blocks if "text" not in block or (block["text"] or "").strip()]
    return list(dropwhile(_is_cache_point, kept)) if kept and "cachePoint" in kept[0] else kept


def _is_cache_point(block: Block) -> bool:
    return block.keys() == {"cachePoint"}


def _parts(message: dict[str, Any], where: str, fields: RequestFields, read: Any) -> list[Block]:
    """The blocks of a message's parts, each with the mark that is set on it."""
    blocks: list[Block] = []
    for part in parts_of(message.get("content"), where):
        if "type" not in part:  # a block in Converse's own shape
            blocks.append(part)
            continue
        fields.report_other_members(part, _OF_PART, "messages.content")
        blocks += _marked(part, [read(part, where, fields)])
    return blocks


def _marked(given: dict[str, Any], blocks: list[Block]) -> list[Block]:
    """With the cache mark the caller set behind them: Anthropic's, whose lifetime is kept, or OpenAI's breakpoint."""
    mark = given.get("cache_control") or given.get("prompt_cache_breakpoint")
    return [*blocks, cache_point(mark)] if mark else blocks


def cache_point(mark: Any) -> Block:
    ttl = mark.get("ttl") if isinstance(mark, dict) else None
    return {"cachePoint": {"type": "default", "ttl": ttl} if ttl in ("5m", "1h") else {"type": "default"}}


def _assistant_blocks(message: dict[str, Any], where: str, fields: RequestFields) -> list[Block]:
    kept = _kept_blocks(message, where)
    if kept is not None:
        return kept
    fields.report_other_members(message, _OF_ASSISTANT, "messages")  # thinking cannot go back without its signature
    blocks = _visible(_parts(message, where, fields, _text))
    refusal = optional_text(message.get("refusal"), f"{where}.refusal")
    if refusal and not blocks:
        blocks = [{"text": refusal}]
    for number, call in enumerate(message.get("tool_calls") or []):
        arguments = call_arguments(call, f"{where}.tool_calls[{number}]", fields)
        use = {"toolUseId": _call_id(call["id"]), "name": call["function"]["name"], "input": arguments}
        blocks.append({"toolUse": use})
    return _marked(message, blocks) if blocks else blocks


def _kept_blocks(message: dict[str, Any], where: str) -> list[Block] | None:
    """The blocks of our own answer, handed back: used only if the caller has not changed text or calls since."""
    blocks = original_parts(message, "bedrock", "content", where)
    if not blocks:
        return None
    text = joined_texts(parts_of(message.get("content"), where))
    ids = [call["id"] for call in message.get("tool_calls") or []]
    try:
        kept = text_of(blocks), [use.get("toolUseId") for use in calls_of(blocks)]
    except MALFORMED:
        raise invalid(f"{where}.{EXTRA_FIELDS}.bedrock.content", "must hold blocks as the answer had them") from None
    return _visible(blocks) if (text, ids) == kept else None


def text_of(blocks: list[Block]) -> str:
    """What the model says in them, cited text too."""
    cited = [
        block["citationsContent"].get("content") or () if "citationsContent" in block else (block,) for block in blocks
    ]
    return "".join([piece.get("text") or "" for pieces in cited for piece in pieces])


def calls_of(blocks: list[Block]) -> list[dict[str, Any]]:
    """The calls that wait for the caller: those of tools AWS runs itself are none of them."""
    uses = [block["toolUse"] for block in blocks if "toolUse" in block]
    return [use for use in uses if use.get("type") != "server_tool_use"]


def _call_id(given: str) -> str:
    """An id in the letters Converse takes: the given one, or always the same one for it."""
    return given if _CALL_ID.fullmatch(given) else f"call_{hashlib.sha256(given.encode()).hexdigest()[:24]}"


def _tool_result(message: dict[str, Any], where: str, fields: RequestFields) -> Block:
    fields.report_other_members(message, _OF_RESULT, "messages")
    unmarked = {**message, "cache_control": None}
    content = [block for block in _visible(_parts(unmarked, where, fields, _block)) if "cachePoint" not in block]
    result: dict[str, Any] = {"toolUseId": _call_id(message["tool_call_id"]), "content": content}
    if message.get("is_error"):
        result["status"] = "error"
        result["content"] = content or [{"text": "error"}]  # an error that says nothing is refused
    return {"toolResult": result}


def _text(part: dict[str, Any], where: str, _: RequestFields) -> Block:
    if part["type"] not in ("text", "refusal"):
        raise invalid(f"{where}.content", f"cannot hold a part of type {str(part['type'])[:40]!r} in this role")
    text = part.get("text") if part["type"] == "text" else optional_text(part.get("refusal"), f"{where}.content")
    return {"text": text or ""}


def _block(part: dict[str, Any], where: str, fields: RequestFields) -> Block:
    """A part of a user's message, or of a result."""
    match part["type"]:
        case "image_url":
            return image_block(part.get("image_url"), f"{where}.content.image_url", fields)
        case "file":
            return file_block(part.get("file"), f"{where}.content.file", fields)
        case "input_audio":
            return sound_block(part.get("input_audio"), f"{where}.content.input_audio", fields)
    return _text(part, where, fields)
