"""Writes messages as Converse's `system` and its turns of user and assistant.

Converse wants roles that alternate and begin with the user, no blank text, tool results first in the turn after their
calls, and text in every turn with a document. Sources: the service model of `bedrock-runtime`, and Converse's error
messages.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import dropwhile
from typing import Any, NamedTuple

from nulpoint.conversation.parts import (
    Audio,
    CacheMark,
    File,
    Image,
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
from nulpoint.formats.malformed import MALFORMED
from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.added_texts import BEGIN, CONTINUE, DOCUMENT_ATTACHED, system_text_for_user
from nulpoint.protocols.bedrock.media import audio_block, file_block, image_block, number_duplicate_names
from nulpoint.protocols.cache_marks import message_mark
from nulpoint.protocols.call_arguments import tool_arguments
from nulpoint.protocols.call_ids import accepted_call_id
from nulpoint.protocols.dropped import place_of, report_extra, report_part
from nulpoint.protocols.openai.chat import EXTRA_FIELDS, RequestFields, invalid, original_parts

PROVIDER = "bedrock"
_CALL_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_WITH_DOCUMENTS = frozenset({"document", "toolResult"})
# Members that are not reported as dropped: the gateway itself put them into its responses, and either their content is
# restored or only another provider can read it; or they are sent otherwise.
_IGNORED_OF_MESSAGE = frozenset({"content", "cache_control", "prompt_cache_breakpoint"})
_IGNORED_OF_ASSISTANT = _IGNORED_OF_MESSAGE | {EXTRA_FIELDS, "extra_content", "annotations"}
_IGNORED_OF_RESULT = _IGNORED_OF_MESSAGE | {"name"}
_PART_NAMES: dict[type[Part], str] = {Image: "image_url", File: "file", Audio: "input_audio"}

Block = dict[str, Any]
_Writer = Callable[[Part, Message, RequestFields], Block]


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

    def add_instruction(self, text: str) -> None:
        """Add an instruction of the system at the end, so that nothing before it changes.

        Where the model continues a response, nothing may follow that, so the instruction stands at the beginning.
        """
        if self.continues_answer():
            self.system.append({"text": text})
        else:
            self.turns[-1]["content"].append({"text": system_text_for_user(text)})

    def may_think(self) -> bool:
        """Return whether Claude may think.

        It may not if it is to continue a response, or during a tool turn that began without thinking.
        """
        if self.continues_answer():
            return False
        *before, last = self.turns
        results = any("toolResult" in block for block in last["content"])
        return not (results and before) or "reasoningContent" in before[-1]["content"][0]


def write_conversation(
    messages: Sequence[Message], facts: ModelFacts, fields: RequestFields, *, keep_thinking: bool
) -> BedrockConversation:
    """Write the messages. Raises Failure (400) for what Converse cannot express.

    The turns of a conversation stay the same when messages are added to it. `keep_thinking` says whether earlier
    reasoning is sent back.
    """
    system: list[Block] = []
    draft_turns: list[_Turn] = []
    for message in messages:
        match message.role:
            case "assistant":
                blocks = _assistant_blocks(message, fields, keep_thinking=keep_thinking)
                _begin_with_user(draft_turns)
                _add_to_turn(draft_turns, "assistant", blocks)
            case "tool":
                (result,) = message.parts
                assert isinstance(result, ToolResult)
                _add_result(draft_turns, _tool_result(result, message, fields))
            case "user":
                blocks = _marked_blocks(message, fields, _block)
                _add_to_turn(draft_turns, "user", _without_blank_text(blocks))
            case _:
                blocks = _without_blank_text(_marked_blocks(message, fields, _text))
                if draft_turns:
                    _add_to_turn(draft_turns, "user", _as_users(blocks))
                else:
                    system += blocks
    _begin_with_user(draft_turns)
    turns = [{"role": turn.role, "content": turn.results + turn.others} for turn in draft_turns]
    kinds = {name for turn in turns for block in turn["content"] for name in block}
    if "document" in kinds:
        _add_text_to_documents(turns)
    if turns[-1]["role"] == "assistant":
        _end_with_assistant(turns, facts, messages[-1].path, fields)
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


def _begin_with_user(turns: list[_Turn]) -> None:
    """Begin with the user, as Converse wants, where the client has no message of theirs there."""
    if not turns:
        _add_to_turn(turns, "user", [{"text": BEGIN}])


def _as_users(blocks: list[Block]) -> list[Block]:
    """Return the blocks of a later system message in the form in which they stand in a user's turn."""
    return [{**block, "text": system_text_for_user(block["text"])} if "text" in block else block for block in blocks]


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


def _add_text_to_documents(turns: list[dict[str, Any]]) -> None:
    """Add a text to each turn with a document but no text, which Bedrock rejects."""
    for turn in turns:
        kinds = {name for block in turn["content"] for name in block}
        if "document" in kinds and "text" not in kinds:
            turn["content"].append({"text": DOCUMENT_ATTACHED})


def _end_with_assistant(turns: list[dict[str, Any]], facts: ModelFacts, path: str, fields: RequestFields) -> None:
    """Let the model continue the last message, or ask it to where it cannot."""
    if not facts.prefill:
        fields.report_dropped(place_of(path))
        turns.append({"role": "user", "content": [{"text": CONTINUE}]})
        return
    block = turns[-1]["content"][-1]
    if isinstance(block.get("text"), str):  # Converse rejects white space at the very end
        turns[-1]["content"][-1] = {"text": block["text"].rstrip()}


def _without_blank_text(blocks: list[Block]) -> list[Block]:
    """Remove blank text, which Converse rejects, and cache marks that have no block before them."""
    remaining = [block for block in blocks if "text" not in block or (block["text"] or "").strip()]
    return list(dropwhile(_is_cache_point, remaining)) if remaining and "cachePoint" in remaining[0] else remaining


def _is_cache_point(block: Block) -> bool:
    return block.keys() == {"cachePoint"}


def _marked_blocks(message: Message, fields: RequestFields, write: _Writer) -> list[Block]:
    """Return the blocks of a message of the user or the system, with the message's cache mark."""
    blocks = _blocks(message.parts, message, fields, write)
    if not message.extra:
        return blocks
    report_extra(fields, message.extra, message.path, _IGNORED_OF_MESSAGE)
    return _with_cache_point(message_mark(message), blocks)


def _blocks(parts: Iterable[Part], message: Message, fields: RequestFields, write: _Writer) -> list[Block]:
    """Return the blocks of parts, each followed by its cache mark if the client set one. Empty texts are left out."""
    blocks: list[Block] = []
    for part in parts:
        if isinstance(part, Text) and not part.extra and part.cache is None and not part.provider_data:
            if part.text:
                blocks.append({"text": part.text})
            continue
        if isinstance(part, Text) and not part.text and not part.provider_data:
            continue
        if isinstance(part, ProviderPart) and not part.is_of(PROVIDER):
            report_part(fields, part, message)
            continue
        if isinstance(part, ProviderPart) and (part.provider or "type" not in part.data):
            blocks.append(dict(part.data))  # a block in Converse's own format
            continue
        if part.extra:
            report_extra(fields, part.extra, f"{message.path}.content")
        blocks += _with_cache_point(part.cache, [write(part, message, fields)])
    return blocks


def _with_cache_point(mark: CacheMark | None, blocks: list[Block]) -> list[Block]:
    """Append the cache mark that the client set on a message or part: Anthropic's `cache_control` or OpenAI's."""
    cache_control = (mark.control or mark.breakpoint) if mark is not None else None
    return [*blocks, cache_point(cache_control)] if cache_control else blocks


def cache_point(cache_control: Any) -> Block:
    """Return Converse's cache mark, with the lifetime of Anthropic's `cache_control`."""
    ttl = cache_control.get("ttl") if isinstance(cache_control, dict) else None
    return {"cachePoint": {"type": "default", "ttl": ttl} if ttl in ("5m", "1h") else {"type": "default"}}


def _assistant_blocks(message: Message, fields: RequestFields, *, keep_thinking: bool) -> list[Block]:
    calls = [part for part in message.parts if isinstance(part, ToolCall)]
    original = _original_blocks(message, calls)
    if original is not None:
        kept = original if keep_thinking else [block for block in original if "reasoningContent" not in block]
        if len(kept) < len(original):
            fields.report_dropped(f"{place_of(message.path)}.{EXTRA_FIELDS}")
        return _with_cache_point(message_mark(message), kept) if kept else kept
    if message.is_plain and len(message.parts) == 1 and not message.extra:
        return _without_blank_text(_blocks(message.parts, message, fields, _text))
    report_extra(fields, message.extra, message.path, _IGNORED_OF_ASSISTANT)
    blocks: list[Block] = []
    for part in message.parts:
        match part:
            case Reasoning():
                blocks += _reasoning(part, message, fields, keep_thinking=keep_thinking)
            case ToolCall():
                blocks.append(_tool_use(part, message, fields))
            case Refusal(where="refusal"):
                blocks = _without_blank_text(blocks) or [{"text": part.text}]
            case _:
                blocks += _blocks((part,), message, fields, _text)
    blocks = _without_blank_text(blocks)
    return _with_cache_point(message_mark(message), blocks) if blocks else blocks


def _tool_use(call: ToolCall, message: Message, fields: RequestFields) -> Block:
    arguments = tool_arguments(call, message, fields)
    return {"toolUse": {"toolUseId": _call_id(call.unique_id or ""), "name": call.name, "input": arguments}}


def _reasoning(reasoning: Reasoning, message: Message, fields: RequestFields, *, keep_thinking: bool) -> list[Block]:
    """Write reasoning that came from Bedrock. Any other is left out, since it cannot be sent without a signature."""
    data = own_data(reasoning, PROVIDER)
    if data is None or not keep_thinking:
        report_part(fields, reasoning, message)
        return []
    if "redacted" in data:
        return [{"reasoningContent": {"redactedContent": data["redacted"]}}]
    return [{"reasoningContent": {"reasoningText": {**data, "text": reasoning.text}}}]


def _original_blocks(message: Message, calls: list[ToolCall]) -> list[Block] | None:
    """Return the original blocks of a response that the client sends back, or None.

    They are used only if the client has not changed the text or the calls since.
    """
    if not message.provider_data:
        return None
    blocks = original_parts(message.provider_data, PROVIDER, "content", message.path)
    if not blocks:
        return None
    ids = [call.unique_id for call in calls]
    try:
        original = text_of(blocks), [use.get("toolUseId") for use in calls_of(blocks)]
    except MALFORMED:
        problem = "must hold the blocks of the response unchanged"
        raise invalid(f"{message.path}.{EXTRA_FIELDS}.bedrock.content", problem) from None
    return _without_blank_text(blocks) if (message.text(), ids) == original else None


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


def _tool_result(result: ToolResult, message: Message, fields: RequestFields) -> list[Block]:
    """Return the block of a tool result, followed by its cache mark if the client set one on it or on a part of it."""
    report_extra(fields, message.extra, message.path, _IGNORED_OF_RESULT)
    blocks = _without_blank_text(_blocks(result.parts, message, fields, _block))
    content = [block for block in blocks if not _is_cache_point(block)]
    marks = [block for block in blocks if _is_cache_point(block)]
    tool_result: dict[str, Any] = {"toolUseId": _call_id(result.unique_id), "content": content}
    if result.is_error:
        tool_result["status"] = "error"
        tool_result["content"] = content or [{"text": "error"}]  # Converse rejects an empty error
    written = _with_cache_point(result.cache, [{"toolResult": tool_result}])
    return [*written, marks[-1]] if marks and len(written) == 1 else written


def _text(part: Part, message: Message, _: RequestFields) -> Block:
    if not isinstance(part, Text | Refusal):
        name = str(part.data.get("type")) if isinstance(part, ProviderPart) else _PART_NAMES[type(part)]
        raise invalid(f"{message.path}.content", f"cannot hold a part of type {name[:40]!r} in this role")
    cited = own_data(part, PROVIDER) if isinstance(part, Text) and part.provider_data else None
    return {"citationsContent": {**cited, "content": [{"text": part.text}]}} if cited else {"text": part.text}


def _block(part: Part, message: Message, fields: RequestFields) -> Block:
    """Write a part of a user message or a tool result."""
    match part:
        case Image():
            return image_block(part, f"{message.path}.{part.where}", fields)
        case File():
            return file_block(part, f"{message.path}.{part.where}", fields)
        case Audio():
            return audio_block(part.audio, f"{message.path}.content.input_audio", fields)
    return _text(part, message, fields)
