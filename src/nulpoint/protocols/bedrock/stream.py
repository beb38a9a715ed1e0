"""Reads ConverseStream's events.

A text block has no start event. `messageStop` ends the message, and `metadata` follows with the usage. Without
`messageStop` the stream was cut. Source: the service model of `bedrock-runtime`.
"""

from collections import defaultdict
from io import StringIO
from typing import Any

import msgspec

from nulpoint.conversation.stream import StreamWriter
from nulpoint.conversation.usage import UsageReport
from nulpoint.errors import Failure
from nulpoint.formats.eventstream import EventStreamDecoder, EventStreamMessage
from nulpoint.formats.malformed import NOT_JSON, malformed_response
from nulpoint.protocols.bedrock.errors import stream_error_body
from nulpoint.protocols.bedrock.messages import PROVIDER
from nulpoint.protocols.bedrock.response import (
    check_readable,
    completion_id,
    provider_data,
    read_citations,
    read_usage,
    to_finish_reason,
)
from nulpoint.protocols.provider_errors import embedded_failure
from nulpoint.protocols.provider_stream import StreamParser
from nulpoint.protocols.response_types import BedrockEvent, Index


class _Delta(msgspec.Struct, gc=False):
    text: str | None = None  # None: the delta is not text


class _BlockDelta(msgspec.Struct, gc=False):
    """The members of a `contentBlockDelta` event that nearly all events of a stream have."""

    contentBlockIndex: Index
    delta: _Delta


_check = msgspec.json.Decoder(BedrockEvent).decode
_read_block_delta = msgspec.json.Decoder(_BlockDelta).decode
_READ_DELTAS = frozenset({"text", "toolUse", "reasoningContent", "citation"})
_PADDING = "p"  # a member with random letters that hide the length of the event


class BedrockStreamParser(StreamParser[EventStreamMessage]):
    """Reads a Converse stream. `model` is the requested model, which the stream does not name."""

    format = "Bedrock's Converse API"

    def __init__(self, writer: StreamWriter, model: str, response_id: str = "") -> None:
        self._decoder = EventStreamDecoder()
        super().__init__(writer, self._decoder.feed, model)
        self._id = response_id
        self._begun = False
        self._response: dict[str, Any] = {}  # the response without its content
        self._blocks: dict[int, dict[str, Any]] = {}
        self._calls: dict[int, int] = {}  # from block index to tool call index
        # Blocks of calls, and those that only Bedrock can read, that have not ended, in order.
        self._open: dict[int, None] = {}
        self._texts: defaultdict[int, defaultdict[str, StringIO]] = defaultdict(lambda: defaultdict(StringIO))
        self._delta_headers: Any = None  # the headers of this stream's contentBlockDelta events, once one has arrived
        # The block of the current part if that is a text, with its text, or if it is reasoning.
        self._text_index, self._text = -1, StringIO()
        self._reasoning_index = -1

    def feed(self, data: bytes) -> bytes:
        chunks = super().feed(data)
        if self._decoder.error is not None and not self.over:
            self._fail(malformed_response(f"the provider sent a broken event stream: {self._decoder.error}"))
        return chunks

    def _translate_end(self) -> bytes:
        """End the response if `messageStop` has arrived but no `metadata` after it."""
        complete = not self.over and "stopReason" in self._response and not self._decoder.inside_message()
        return self._end() if complete else b""

    def _usage(self) -> UsageReport | None:
        usage = self._response.get("usage")
        return read_usage(usage) if usage else None

    def _translate(self, message: EventStreamMessage) -> bytes:
        headers = message.headers
        if headers is self._delta_headers:
            return self._block_delta(message.payload)
        if headers.get(":message-type") != "event":
            raise _failure(message)
        event = msgspec.json.decode(message.payload)
        _check(message.payload)
        match headers.get(":event-type"):
            case "contentBlockDelta":
                self._delta_headers = headers
                return self._block_delta(message.payload)
            case "contentBlockStart":
                return self._start_block(event["contentBlockIndex"], event["start"])
            case "contentBlockStop":
                return self._stop_block(event["contentBlockIndex"])
            case "messageStart":
                return self._start(message.payload)
            case "messageStop":
                return self._stop(event)
            case "metadata":
                self._response.update({name: value for name, value in event.items() if name != _PADDING})
                return self._end() if "stopReason" in self._response else b""
        return b""

    def _start(self, payload: bytes) -> bytes:
        """Begin the response. Raises Failure (502) if another one has begun, because it cannot be taken back."""
        if self._blocks:
            raise malformed_response("the provider began a second response within one stream")
        if self._begun:
            return b""
        self._begun = True
        return self._writer.begin(completion_id(self._id, payload), self._model)

    def _start_block(self, index: int, start: dict[str, Any]) -> bytes:
        self._blocks[index] = {name: dict(value) for name, value in start.items()}
        use = start.get("toolUse")
        if use is not None and use.get("type") != "server_tool_use":
            call = self._calls[index] = len(self._calls)
            self._open[index] = None
            return self._writer.start_call(call, use["toolUseId"], use["name"])
        if not start:
            return b""  # the first delta shows the kind of the block
        return self._start_other(index)

    def _start_other(self, index: int) -> bytes:
        """Begin a part that only Bedrock can read."""
        self._open[index] = None
        self._text_index = self._reasoning_index = -1
        return self._writer.start_part("other")

    def _block_delta(self, payload: bytes) -> bytes:
        event = _read_block_delta(payload)
        index, text = event.contentBlockIndex, event.delta.text
        if text is None:
            _check(payload)
            return self._other_delta(index, msgspec.json.decode(payload)["delta"])
        output = self._start_text(index) if index != self._text_index else b""
        self._text.write(text)
        return output + self._writer.text(text)

    def _start_text(self, index: int) -> bytes:
        """Begin a text part, which has no start event."""
        self._blocks.setdefault(index, {})
        self._text_index, self._text, self._reasoning_index = index, self._texts[index]["text"], -1
        return self._writer.start_part("text")

    def _other_delta(self, index: int, delta: dict[str, Any]) -> bytes:
        """Read a delta that is not text."""
        block = self._blocks.setdefault(index, {})
        output = b""
        if not block and index not in self._texts and not _READ_DELTAS.issuperset(delta):  # it has no start event
            output = self._start_other(index)
        for name, value in delta.items():
            if name == "toolUse":
                return self._input(index, value["input"])
            if name == "reasoningContent":
                return self._reasoning(index, block, value)
            if name == "citation":
                block.setdefault("citations", []).append(value)
                output += self._citation(index, value)
            elif isinstance(value, list):  # the result of a tool that AWS ran
                block.setdefault(name, {}).setdefault("content", []).extend(value)
            else:
                block.setdefault(name, {}).update(value)
        return output

    def _input(self, index: int, text: str) -> bytes:
        self._texts[index]["input"].write(text)
        if not text or index not in self._calls:
            return b""
        return self._writer.arguments(self._calls[index], text)

    def _citation(self, index: int, citation: dict[str, Any]) -> bytes:
        output = self._start_text(index) if index != self._text_index else b""
        return output + b"".join([self._writer.citation(read) for read in read_citations([citation])])

    def _reasoning(self, index: int, block: dict[str, Any], delta: dict[str, Any]) -> bytes:
        block.setdefault("reasoningContent", {})
        for name in ("text", "signature", "redactedContent"):
            if delta.get(name):
                self._texts[index][name if name != "text" else "reasoning"].write(delta[name])
        output = b""
        if index != self._reasoning_index:
            self._reasoning_index, self._text_index = index, -1
            output = self._writer.start_part("reasoning")
        output += self._writer.reasoning(delta["text"]) if delta.get("text") else b""
        output += self._writer.signature(PROVIDER, delta["signature"]) if delta.get("signature") else b""
        redacted = delta.get("redactedContent")
        return output + self._writer.signature(PROVIDER, redacted, redacted=True) if redacted else output

    def _stop_block(self, index: int) -> bytes:
        """End a block. A call without any input gets an empty object."""
        if index not in self._open:
            return b""
        del self._open[index]
        if index not in self._calls:
            return self._writer.provider_part(PROVIDER, self._complete_block(index))
        output = b"" if self._texts[index]["input"].tell() else self._input(index, "{}")
        return output + self._writer.end_call(self._calls[index])

    def _stop(self, event: dict[str, Any]) -> bytes:
        self._response.update({name: value for name, value in event.items() if name != _PADDING})
        self._response.setdefault("stopReason", None)
        return b"".join([self._stop_block(index) for index in [*self._open]])  # blocks without a stop event

    def _end(self) -> bytes:
        """End the response. Raises Failure (502) if none has begun, or if the model's output was unreadable."""
        if not self._begun:
            raise malformed_response("the provider's stream ended without a message")
        blocks = [self._complete_block(index) for index in sorted(self._blocks)]
        stop_reason = self._response["stopReason"]
        check_readable(blocks, stop_reason)
        reason = to_finish_reason(stop_reason, bool(self._calls))
        last = self._writer.finish(reason, provider_data(blocks, self._response))
        usage = self._usage()
        if usage:
            last += self._writer.usage(usage)
        self.over = True
        return last

    def _complete_block(self, index: int) -> dict[str, Any]:
        """Return a block as it would stand in a complete response."""
        block = self._blocks[index]
        texts = {name: text.getvalue() for name, text in self._texts[index].items()}
        if "toolUse" in block:
            return {"toolUse": {**block["toolUse"], "input": _input_of(texts.get("input", ""))}}
        if "reasoningContent" in block:
            return {"reasoningContent": _reasoning_content(texts)}
        if "citations" in block:
            return {"citationsContent": {"content": [{"text": texts.get("text", "")}], "citations": block["citations"]}}
        return {"text": texts["text"]} if "text" in texts else block


def _reasoning_content(texts: dict[str, str]) -> dict[str, Any]:
    if "redactedContent" in texts:
        return {"redactedContent": texts["redactedContent"]}
    reasoning = {"text": texts.get("reasoning", "")}
    return {"reasoningText": {**reasoning, "signature": texts["signature"]} if "signature" in texts else reasoning}


def _input_of(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except NOT_JSON:
        return {}  # the token limit cut the text; the client has received it as it is


def _failure(message: EventStreamMessage) -> Failure:
    """Return the failure for an exception of the service, or for an error of its framing (`:message-type` `error`)."""
    headers = message.headers
    name = str(headers.get(":exception-type") or headers.get(":error-code") or "")
    return embedded_failure("bedrock", stream_error_body(name, message.payload, headers.get(":error-message")))
