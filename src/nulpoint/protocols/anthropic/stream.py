"""Translates Anthropic's stream of events to OpenAI chunks.

Anthropic numbers the content blocks of all kinds together, OpenAI numbers only the tool calls. `message_stop` is the
terminal event: without it the stream was cut. Sources: recorded streams and the `anthropic` SDK's event types.
"""

from collections import defaultdict
from io import StringIO
from typing import Any

import msgspec

from nulpoint.conversation.stream import PartKind, StreamWriter
from nulpoint.conversation.usage import UsageReport
from nulpoint.formats import sse
from nulpoint.formats.malformed import NOT_JSON, malformed_response
from nulpoint.protocols.anthropic.messages import PROVIDER
from nulpoint.protocols.anthropic.response import (
    input_text,
    provider_data,
    read_citations,
    read_usage,
    refusal_of,
    to_finish_reason,
)
from nulpoint.protocols.provider_errors import embedded_failure
from nulpoint.protocols.provider_stream import SseStreamParser
from nulpoint.protocols.response_types import AnthropicEvent

_check = msgspec.json.Decoder(AnthropicEvent).decode
# The block to begin for a delta without one. A tool call is not among them, because it has its name in the beginning.
_BLOCK_TYPES = {"thinking_delta": "thinking"}
_PART_KINDS: dict[Any, PartKind] = {"text": "text", "thinking": "reasoning", "redacted_thinking": "reasoning"}


class AnthropicStreamParser(SseStreamParser):
    """Reads an Anthropic stream."""

    format = "Anthropic's API"

    def __init__(self, writer: StreamWriter) -> None:
        super().__init__(writer)
        self._message: dict[str, Any] = {}  # the message without its content and usage
        self._reported_usage: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._calls: dict[int, int] = {}  # from block index to tool call index
        # Blocks of calls, and those that only Anthropic can read, that have not ended.
        self._open: set[int] = set()
        # The text so far of each member of a block (for `input`, its JSON text). Appending to the member itself would
        # copy all of it at every event, 2 us at 100 kB; a list of pieces of four letters takes 15 times their size.
        self._texts: dict[int, defaultdict[str, StringIO]] = {}
        self._unknown_texts: defaultdict[int, dict[str, StringIO]] = defaultdict(dict)  # of deltas of an unknown type

    def _usage(self) -> UsageReport | None:
        return read_usage(self._reported_usage) if self._reported_usage else None

    def _translate(self, event: sse.SseEvent) -> bytes:
        data = event.data
        if event.name == b"error":
            raise embedded_failure("anthropic", data)
        content = msgspec.json.decode(data)
        # Nearly all events are text deltas, so these take a short way.
        if content.get("type") == "content_block_delta" and content["delta"].get("type") == "text_delta":
            return self._text(content["index"], content["delta"]["text"])
        if content.get("type") == "error":
            raise embedded_failure("anthropic", data)
        _check(data)
        return self._read(content)

    def _text(self, index: int, text: str) -> bytes:
        texts = self._texts.get(index)
        if texts is None:
            return self._begin_missing_block(index, "text") + self._text(index, text)
        texts["text"].write(text)
        return self._writer.text(text)

    def _begin_missing_block(self, index: int, kind: str) -> bytes:
        """Begin a block whose start event is missing, as it is with some hosts of this format."""
        self._blocks[index] = {"type": kind}
        self._texts[index] = defaultdict(StringIO)
        return self._writer.start_part(_PART_KINDS[kind])

    def _read(self, event: dict[str, Any]) -> bytes:
        match event.get("type"):
            case "content_block_delta":
                return self._delta(event["index"], event["delta"])
            case "content_block_start":
                return self._start_block(event["index"], event["content_block"])
            case "content_block_stop":
                return self._stop_block(event["index"])
            case "message_start":
                return self._start(event["message"])
            case "message_delta":
                self._update_message(event)
            case "message_stop":
                return self._end()
            case "ping":
                return self._writer.keep_alive()
        return b""

    def _start(self, message: dict[str, Any]) -> bytes:
        """Begin the response. Raises Failure (502) if another one has begun, because it cannot be taken back."""
        if self._blocks:
            raise malformed_response("the provider began a second response within one stream")
        begun = bool(self._message)
        self._message = {name: value for name, value in message.items() if name not in ("content", "usage")}
        self._add_usage(message.get("usage"))
        self._model = message.get("model") or ""
        if begun:
            return b""
        return self._writer.begin(message.get("id") or "", self._model)

    def _update_message(self, event: dict[str, Any]) -> None:
        members = {name: value for name, value in event.items() if name not in ("type", "usage", "delta")}
        self._message.update({**members, **(event.get("delta") or {})})
        self._add_usage(event.get("usage"))

    def _add_usage(self, usage: dict[str, Any] | None) -> None:
        self._reported_usage.update({name: value for name, value in (usage or {}).items() if value is not None})

    def _start_block(self, index: int, block: dict[str, Any]) -> bytes:
        self._blocks[index] = block
        self._texts[index] = defaultdict(StringIO)
        kind = block["type"]
        if kind == "tool_use":
            call = self._calls[index] = len(self._calls)
            self._open.add(index)
            return self._writer.start_call(call, block.get("id"), block.get("name"))
        if kind not in _PART_KINDS:
            self._open.add(index)
            return self._writer.start_part("other")
        output = self._writer.start_part(_PART_KINDS[kind])
        if kind == "text":
            output += self._writer.text(block.get("text") or "")
            output += self._citations(block.get("citations") or [])
        elif kind == "thinking":
            output += self._writer.reasoning(block["thinking"]) if block.get("thinking") else b""
            output += self._writer.signature(PROVIDER, block["signature"]) if block.get("signature") else b""
        elif isinstance(block.get("data"), str):
            output += self._writer.signature(PROVIDER, block["data"], redacted=True)
        return output

    def _delta(self, index: int, delta: dict[str, Any]) -> bytes:
        block = self._blocks.get(index)
        if block is None:
            return self._begin_missing_block(index, _BLOCK_TYPES[delta["type"]]) + self._delta(index, delta)
        match delta.get("type"):
            case "input_json_delta":
                return self._input(index, delta["partial_json"])
            case "thinking_delta":
                self._texts[index]["thinking"].write(delta["thinking"])
                return self._writer.reasoning(delta["thinking"])
            case "signature_delta":
                self._texts[index]["signature"].write(delta["signature"])
                return self._writer.signature(PROVIDER, delta["signature"])
            case "citations_delta":
                block["citations"] = block.get("citations") or []
                block["citations"].append(delta["citation"])
                return self._citations([delta["citation"]])
            case _:
                self._store_unknown(index, block, delta)
        return b""

    def _citations(self, citations: list[dict[str, Any]]) -> bytes:
        return b"".join([self._writer.citation(citation) for citation in read_citations(citations)])

    def _store_unknown(self, index: int, block: dict[str, Any], delta: dict[str, Any]) -> None:
        """Store a delta of an unknown type. Texts are joined; any other value replaces the previous one."""
        for name, value in delta.items():
            if name == "type" or value is None:
                continue
            previous = block.get(name)
            if isinstance(previous, str) and isinstance(value, str):
                text = self._unknown_texts[index].get(name)
                if text is None:
                    text = self._unknown_texts[index][name] = StringIO()
                    text.write(previous)
                text.write(value)
            else:
                block[name] = value
                self._unknown_texts[index].pop(name, None)

    def _input(self, index: int, text: str) -> bytes:
        self._texts[index]["input"].write(text)
        if not text or index not in self._calls:
            return b""
        return self._writer.arguments(self._calls[index], text)

    def _stop_block(self, index: int) -> bytes:
        """End a block. If no input has arrived for a call, its whole input was in the start event."""
        if index not in self._open:
            return b""
        self._open.discard(index)
        if index not in self._calls:
            return self._writer.provider_part(PROVIDER, self._complete_block(index))
        output = b""
        if not self._texts[index]["input"].tell():
            output = self._writer.arguments(self._calls[index], input_text(self._blocks[index].get("input")))
        return output + self._writer.end_call(self._calls[index])

    def _complete_block(self, index: int) -> dict[str, Any]:
        """Return a block as it would stand in a complete response."""
        block = dict(self._blocks[index])
        if index in self._unknown_texts:
            block |= {member: buffer.getvalue() for member, buffer in self._unknown_texts[index].items()}
        for member, buffer in self._texts[index].items():
            text = buffer.getvalue()
            if member != "input":
                block[member] = (block.get(member) or "") + text
            elif text:
                block["input"] = _input_of(text)
        return block

    def _end(self) -> bytes:
        """End the response. Raises Failure (502) if none has begun."""
        if not self._message:
            raise malformed_response("the provider's stream ended without a message")
        last = b"".join([self._stop_block(index) for index in sorted(self._open)])  # blocks without a stop event
        blocks = [self._complete_block(index) for index in sorted(self._blocks)]
        refusal = refusal_of(self._message)
        if refusal:
            last += self._writer.refusal(refusal)
        reason = to_finish_reason(self._message.get("stop_reason"), bool(self._calls))
        last += self._writer.finish(reason, provider_data(blocks, {**self._message, "usage": self._reported_usage}))
        usage = self._usage()
        if usage:
            last += self._writer.usage(usage)
        self.over = True
        return last


def _input_of(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except NOT_JSON:
        return {}  # the token limit cut the text; the client has received it as it is
