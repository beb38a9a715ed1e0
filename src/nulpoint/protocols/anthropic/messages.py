"""Writes messages as Anthropic's `system` and its turns of user and assistant.

Anthropic rejects blank text, tool results that do not come first in the turn after their calls, and call ids with
characters other than letters, digits, `_` and `-`. Sources: the request types of the `anthropic` SDK, recorded traffic,
and Anthropic's error messages.
"""

import re
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
from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.added_texts import BEGIN, CONTINUE, system_text_for_user
from nulpoint.protocols.anthropic.media import file_block, image_block
from nulpoint.protocols.cache_marks import message_mark
from nulpoint.protocols.call_arguments import tool_arguments
from nulpoint.protocols.call_ids import accepted_call_id
from nulpoint.protocols.dropped import place_of, report_extra, report_part
from nulpoint.protocols.openai.chat import (
    EXTRA_FIELDS,
    RequestFields,
    invalid,
    joined_texts,
    original_parts,
)

_CALL_ID = re.compile(r"[a-zA-Z0-9_-]+")
PROVIDER = "anthropic"
THINKING = frozenset({"thinking", "redacted_thinking"})
# The members of messages and calls that are not reported as dropped: the gateway itself put them into its responses,
# and either their content is restored or only another provider can read it.
_IGNORED_OF_MESSAGE = frozenset({"content", "cache_control", "prompt_cache_breakpoint"})
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

    def has_thinking(self) -> bool:
        """Return whether earlier thinking is sent back."""
        return any(
            block.get("type") in THINKING
            for turn in self.turns
            if turn["role"] == "assistant"
            for block in turn["content"]
        )

    def may_think(self) -> bool:
        """Return whether a thinking budget is allowed.

        It is not if the model is to continue a response, or during a tool turn that began without thinking.
        """
        if self.continues_answer():
            return False
        *before, last = [turn for turn in self.turns if turn["role"] != "system"]
        results = any(block.get("type") == "tool_result" for block in last["content"])
        return not (results and before) or before[-1]["content"][0].get("type") in THINKING

    def add_instruction(self, text: str, facts: ModelFacts) -> None:
        """Add an instruction of the system at the end, so that nothing before it changes.

        Where the model continues a response, nothing may follow that, so the instruction stands at the beginning.
        """
        if self.continues_answer():
            self.system.append({"type": "text", "text": text})
            return
        _add_system(self.turns, [{"type": "text", "text": text}], facts)


def write_conversation(
    messages: Iterable[Message], facts: ModelFacts, fields: RequestFields, *, keep_thinking: bool
) -> AnthropicConversation:
    """Write the messages. Raises Failure (400) for what Anthropic's API cannot express.

    The turns of a conversation stay the same when messages are added to it. `keep_thinking` says whether earlier
    thinking is sent back.
    """
    writer = _TurnWriter(facts, fields, keep_thinking=keep_thinking)
    for message in messages:
        writer.add(message)
    writer.finish(message.path)
    return AnthropicConversation(writer.system, writer.turns)


class _TurnWriter:
    """Writes one message after the other into the system prompt and the turns."""

    def __init__(self, facts: ModelFacts, fields: RequestFields, *, keep_thinking: bool) -> None:
        self.system: list[dict[str, Any]] = []
        self.turns: list[dict[str, Any]] = []
        self._facts = facts
        self._fields = fields
        self._keep_thinking = keep_thinking
        self._pending: list[dict[str, Any]] = []  # system blocks that wait for the end of the user's turn

    def add(self, message: Message) -> None:
        """Write the next message."""
        fields = self._fields
        match message.role:
            case "user":
                if message.extra:
                    report_extra(fields, message.extra, message.path, _IGNORED_OF_MESSAGE)
                self._add_user(_marked(_blocks(message.parts, message, self._facts, fields), message))
            case "assistant":
                if self._pending:
                    self._place_pending()
                blocks = _assistant_blocks(message, fields, keep_thinking=self._keep_thinking)
                if not self.turns:
                    self._begin_with_user()
                _add_to_turn(self.turns, "assistant", _marked(blocks, message))
            case "tool":
                self._add_user([_tool_result(message, self._facts, fields)])
            case _:
                report_extra(fields, message.extra, message.path, _IGNORED_OF_MESSAGE)
                blocks = _without_blank_text([_text(part, message, fields) for part in message.parts])
                self._add_system(_marked(blocks, message))

    def finish(self, path: str) -> None:
        """Complete the turns after the last message, which stood at `path` of the client's request."""
        if self._pending:
            self._place_pending()
        if not self.turns:
            self._begin_with_user()
        for turn in self.turns:  # tool results must come first in a turn, whatever the client wrote between them
            if turn["role"] == "user" and len(turn["content"]) > 1:
                turn["content"].sort(key=_is_not_tool_result)
        if self.turns[-1]["role"] == "assistant":
            self._end_with_assistant(path)

    def _add_user(self, blocks: list[dict[str, Any]]) -> None:
        _add_to_turn(self.turns, "user", blocks)

    def _add_system(self, blocks: list[dict[str, Any]]) -> None:
        if not self.turns:
            self.system += blocks
        elif self._facts.system_anywhere:
            self._pending += blocks
        else:
            _add_system(self.turns, blocks, self._facts)

    def _place_pending(self) -> None:
        _add_system(self.turns, self._pending, self._facts)
        self._pending = []

    def _begin_with_user(self) -> None:
        """Begin with the user, as Anthropic wants, where the client has no message of theirs there."""
        self._add_user([{"type": "text", "text": BEGIN}])

    def _end_with_assistant(self, path: str) -> None:
        """Let the model continue the last message, or ask it to where it cannot."""
        content = self.turns[-1]["content"]
        if not self._facts.prefill:
            self._fields.report_dropped(place_of(path))
            self._add_user([{"type": "text", "text": CONTINUE}])
        elif content[-1].get("type") == "text":  # Anthropic rejects white space at the very end
            content[-1] = {**content[-1], "text": content[-1]["text"].rstrip()}


def _add_system(turns: list[dict[str, Any]], blocks: list[dict[str, Any]], facts: ModelFacts) -> None:
    """Add later system blocks after the user's turn, or for models that take none there, to the user's turn."""
    if turns[-1]["role"] == "user" and facts.system_anywhere:
        turns.append({"role": "system", "content": blocks})
    elif turns[-1]["role"] == "system":
        turns[-1]["content"] += blocks
    else:
        texts = [{**block, "text": system_text_for_user(block["text"])} for block in blocks]
        _add_to_turn(turns, "user", texts)


def _add_to_turn(turns: list[dict[str, Any]], role: str, blocks: list[dict[str, Any]]) -> None:
    """Add the blocks to the last turn if it has this role, or else begin a new turn with them."""
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _marked(blocks: list[dict[str, Any]], message: Message) -> list[dict[str, Any]]:
    """Set the cache mark of a whole message at its last block that can have one."""
    mark = message_mark(message)
    for position in range(len(blocks) - 1, -1, -1) if mark is not None else ():
        if blocks[position].get("type") not in THINKING:
            blocks[position] = _with_cache_control({**blocks[position]}, mark)
            break
    return blocks


def _is_not_tool_result(block: dict[str, Any]) -> bool:
    return block.get("type") != "tool_result"


def _without_blank_text(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Remove blank text, which Anthropic rejects."""
    return [block for block in blocks if block.get("type") != "text" or (block.get("text") or "").strip()]


def _blocks(parts: Iterable[Part], message: Message, facts: ModelFacts, fields: RequestFields) -> list[dict[str, Any]]:
    return _without_blank_text([_block(part, message, facts, fields) for part in parts])


def _assistant_blocks(message: Message, fields: RequestFields, *, keep_thinking: bool) -> list[dict[str, Any]]:
    original = _original_blocks(message)
    if original is not None:
        return original if keep_thinking else _without_thinking(original, message, fields)
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
            blocks += _own_block(part, message, fields, keep_thinking=keep_thinking)
        elif not (isinstance(part, Refusal) and part.where == "refusal" and blocks):
            blocks += _without_blank_text([_text(part, message, fields)])
    return blocks


def _without_thinking(blocks: list[dict[str, Any]], message: Message, fields: RequestFields) -> list[dict[str, Any]]:
    others = [block for block in blocks if block.get("type") not in THINKING]
    if len(others) < len(blocks):
        fields.report_dropped(f"{place_of(message.path)}.{EXTRA_FIELDS}")
    return others


def _tool_use(call: ToolCall, message: Message, fields: RequestFields) -> dict[str, Any]:
    arguments = tool_arguments(call, message, fields)
    block = {"type": "tool_use", "id": call_id(call.unique_id or ""), "name": call.name, "input": arguments}
    return {**(own_data(call, PROVIDER) or {}), **block} if call.provider_data else block


def _own_block(
    part: Reasoning | ProviderPart, message: Message, fields: RequestFields, *, keep_thinking: bool
) -> list[dict[str, Any]]:
    """Write a part that came from Anthropic. Any other is left out: thinking cannot be sent without its signature."""
    if isinstance(part, Reasoning):
        data = own_data(part, PROVIDER)
        if data is not None and keep_thinking:
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


def _tool_result(message: Message, facts: ModelFacts, fields: RequestFields) -> dict[str, Any]:
    report_extra(fields, message.extra, message.path, _IGNORED_OF_RESULT)
    (tool_result,) = message.parts
    assert isinstance(tool_result, ToolResult)
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": call_id(tool_result.unique_id)}
    content: str | list[dict[str, Any]]
    if message.is_plain:
        content = "".join([part.text for part in tool_result.parts if isinstance(part, Text)])
    else:
        content = _blocks(tool_result.parts, message, facts, fields)
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


def _block(part: Part, message: Message, facts: ModelFacts, fields: RequestFields) -> dict[str, Any]:
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
        return _with_cache_control(image_block(part, path, facts, fields), part.cache)
    assert isinstance(part, File)
    return _with_cache_control(file_block(part, path, facts, fields), part.cache)
