"""ConverseStream's events as OpenAI chunks.

Facts: the service model of `bedrock-runtime`. A block of text has no beginning of its own; `messageStop` ends the
message, and `metadata` follows with what was used. Without `messageStop` the answer was cut.
"""

from collections import defaultdict
from io import StringIO
from typing import Any

import msgspec

from nulpoint.errors import Failure
from nulpoint.formats.eventstream import EventStreamDecoder, EventStreamMessage
from nulpoint.formats.malformed import NOT_JSON, malformed_response
from nulpoint.protocols.bedrock.errors import in_stream
from nulpoint.protocols.bedrock.response import annotations_of, check_made, extra_of, finish_of, made_id, usage_of
from nulpoint.protocols.openai.chat import EXTRA_FIELDS
from nulpoint.protocols.provider_errors import embedded_failure
from nulpoint.protocols.response_types import BedrockEvent, Index
from nulpoint.protocols.stream_translator import StreamTranslator


class _Delta(msgspec.Struct, gc=False):
    text: str | None = None  # None: a piece of something else than text


class _Piece(msgspec.Struct, gc=False):
    """Of a `contentBlockDelta`, what nearly all events of a stream hold."""

    contentBlockIndex: Index
    delta: _Delta


_check = msgspec.json.Decoder(BedrockEvent).decode
_read_piece = msgspec.json.Decoder(_Piece).decode
_PADDING = "p"  # random letters that hide how long a piece is


class BedrockStream(StreamTranslator[EventStreamMessage]):
    """A watcher that translates. `show_usage`: the caller asked for the usage chunk. `model`: what was asked."""

    format = "Bedrock's Converse API"

    def __init__(self, created: int, show_usage: bool, model: str, answer_id: str = "") -> None:
        self._decoder = EventStreamDecoder()
        super().__init__(created, show_usage, self._decoder.feed)
        self._id = answer_id
        self._model = model
        self._begun = False
        self._answer: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._calls: dict[int, int] = {}  # block index to tool-call index
        self._open: dict[int, None] = {}  # blocks of calls whose end has not come, in their order
        # What has come of each block, by what it is.
        self._texts: defaultdict[int, defaultdict[str, StringIO]] = defaultdict(lambda: defaultdict(StringIO))
        self._piece_headers: Any = None  # the headers of this stream's pieces, once there was one
        self._text_at, self._text = -1, StringIO()  # the block whose text is coming

    def feed(self, data: bytes) -> bytes:
        passed = super().feed(data)
        if self._decoder.error is not None and not self.over:
            self._fail(malformed_response(f"the provider sent a broken event stream: {self._decoder.error}"))
        return passed

    def _at_end(self) -> bytes:
        """The end, where `metadata` did not come after the message had ended."""
        whole = not self.over and "stopReason" in self._answer and not self._decoder.inside_message()
        return self._end() if whole else b""

    def _reported_usage(self) -> dict[str, Any] | None:
        usage = self._answer.get("usage")
        return usage_of(usage) if usage else None

    def _translate(self, message: EventStreamMessage) -> bytes:
        headers = message.headers
        if headers is self._piece_headers:
            return self._piece(message.payload)
        if headers.get(":message-type") != "event":
            raise _failure(message)
        event = msgspec.json.decode(message.payload)
        _check(message.payload)
        match headers.get(":event-type"):
            case "contentBlockDelta":
                self._piece_headers = headers
                return self._piece(message.payload)
            case "contentBlockStart":
                return self._start_block(event["contentBlockIndex"], event["start"])
            case "contentBlockStop":
                return self._stop_block(event["contentBlockIndex"])
            case "messageStart":
                return self._start(message.payload)
            case "messageStop":
                return self._stop(event)
            case "metadata":
                self._answer.update({name: value for name, value in event.items() if name != _PADDING})
                return self._end() if "stopReason" in self._answer else b""
        return b""

    def _start(self, payload: bytes) -> bytes:
        """Raises Failure where a second answer follows a part of the first: what has gone out cannot be taken back."""
        if self._blocks:
            raise malformed_response("the provider began a second answer within one stream")
        if self._begun:
            return b""
        self._begun = True
        self._write.begin(made_id(self._id, payload), self._model)
        return self._write.delta({"role": "assistant", "content": "", "refusal": None})

    def _start_block(self, index: int, start: dict[str, Any]) -> bytes:
        self._blocks[index] = {name: dict(value) for name, value in start.items()}
        use = start.get("toolUse")
        if use is None or use.get("type") == "server_tool_use":
            return b""
        call = self._calls[index] = len(self._calls)
        self._open[index] = None
        function = {"name": use["name"], "arguments": ""}
        return self._write.delta(
            {"tool_calls": [{"index": call, "id": use["toolUseId"], "type": "function", "function": function}]}
        )

    def _piece(self, payload: bytes) -> bytes:
        piece = _read_piece(payload)
        index, text = piece.contentBlockIndex, piece.delta.text
        if text is None:
            _check(payload)
            return self._delta(index, msgspec.json.decode(payload)["delta"])
        if index != self._text_at:
            self._blocks.setdefault(index, {})
            self._text_at, self._text = index, self._texts[index]["text"]
        self._text.write(text)
        return self._write.text(text) if text else b""

    def _delta(self, index: int, delta: dict[str, Any]) -> bytes:
        """A piece of what is no text."""
        block = self._blocks.setdefault(index, {})
        for name, value in delta.items():
            if name == "toolUse":
                return self._input(index, value["input"])
            if name == "reasoningContent":
                return self._thought(index, block, value)
            if name == "citation":
                block.setdefault("citations", []).append(value)
            elif isinstance(value, list):  # what a tool that AWS ran has found
                block.setdefault(name, {}).setdefault("content", []).extend(value)
            else:
                block.setdefault(name, {}).update(value)
        return b""

    def _input(self, index: int, text: str) -> bytes:
        self._texts[index]["input"].write(text)
        if not text or index not in self._calls:
            return b""
        return self._write.delta({"tool_calls": [{"index": self._calls[index], "function": {"arguments": text}}]})

    def _thought(self, index: int, block: dict[str, Any], piece: dict[str, Any]) -> bytes:
        block.setdefault("reasoningContent", {})
        for name in ("text", "signature", "redactedContent"):
            if piece.get(name):
                self._texts[index][name if name != "text" else "thought"].write(piece[name])
        thought = piece.get("text")
        return self._write.delta({"reasoning_content": thought}) if thought else b""

    def _stop_block(self, index: int) -> bytes:
        """A call without any input is one of an empty object."""
        if index not in self._open:
            return b""
        del self._open[index]
        return b"" if self._texts[index]["input"].tell() else self._input(index, "{}")

    def _stop(self, event: dict[str, Any]) -> bytes:
        self._answer.update({name: value for name, value in event.items() if name != _PADDING})
        self._answer.setdefault("stopReason", None)
        return b"".join([self._stop_block(index) for index in [*self._open]])  # where a stop is missing

    def _end(self) -> bytes:
        """Raises Failure where no answer has begun, or none that could be read."""
        if not self._begun:
            raise malformed_response("the provider's stream ended without a message")
        blocks = [self._whole(index) for index in sorted(self._blocks)]
        reason = self._answer["stopReason"]
        check_made(blocks, reason)
        delta: dict[str, Any] = {}
        annotations = list(annotations_of(blocks))
        if annotations:
            delta["annotations"] = annotations
        extra = extra_of(blocks, self._answer)
        if extra:
            delta[EXTRA_FIELDS] = {"bedrock": extra}
        last = self._write.delta(delta, finish_of(reason, bool(self._calls)))
        usage = self._reported_usage()
        if self._show_usage and usage:
            last += self._write.usage(usage)
        self.over = True
        return last

    def _whole(self, index: int) -> dict[str, Any]:
        """A block as it would stand in a whole answer."""
        block = self._blocks[index]
        come = {name: text.getvalue() for name, text in self._texts[index].items()}
        if "toolUse" in block:
            return {"toolUse": {**block["toolUse"], "input": _input_of(come.get("input", ""))}}
        if "reasoningContent" in block:
            return {"reasoningContent": _reasoning(come)}
        if "citations" in block:
            return {"citationsContent": {"content": [{"text": come.get("text", "")}], "citations": block["citations"]}}
        return {"text": come["text"]} if "text" in come else block


def _reasoning(come: dict[str, str]) -> dict[str, Any]:
    if "redactedContent" in come:
        return {"redactedContent": come["redactedContent"]}
    thought = {"text": come.get("thought", "")}
    return {"reasoningText": {**thought, "signature": come["signature"]} if "signature" in come else thought}


def _input_of(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except NOT_JSON:
        return {}  # cut by the token limit; the caller has the text as it came


def _failure(message: EventStreamMessage) -> Failure:
    """An exception the service knows, or an error of its framing (`:message-type` `error`)."""
    headers = message.headers
    name = str(headers.get(":exception-type") or headers.get(":error-code") or "")
    return embedded_failure("bedrock", in_stream(name, message.payload, headers.get(":error-message")))
