"""Anthropic's stream of events as OpenAI chunks.

Facts: recorded streams and the `anthropic` SDK's event types. Blocks are numbered there across all kinds; tool calls
here by their own count. `message_stop` is the terminal event: without it the answer was cut.
"""

from collections import defaultdict
from io import StringIO
from typing import Any

import msgspec

from nulpoint.formats import sse
from nulpoint.formats.malformed import NOT_JSON, malformed_response
from nulpoint.protocols.anthropic.response import (
    annotations_of,
    arguments_text,
    extra_of,
    finish_of,
    refusal_of,
    usage_of,
)
from nulpoint.protocols.openai.chat import EXTRA_FIELDS
from nulpoint.protocols.provider_errors import embedded_failure
from nulpoint.protocols.response_types import AnthropicEvent
from nulpoint.protocols.stream_translator import EventStreamTranslator

_PING = b": ping\n"
_check = msgspec.json.Decoder(AnthropicEvent).decode
_BLOCKS_OF_PIECES = {"thinking_delta": "thinking"}  # a call cannot do without its beginning


class AnthropicStream(EventStreamTranslator):
    """A watcher that translates. `show_usage`: the caller asked for the usage chunk."""

    format = "Anthropic's API"

    def __init__(self, created: int, show_usage: bool) -> None:
        super().__init__(created, show_usage)
        self._answer: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._calls: dict[int, int] = {}  # block index to tool-call index
        self._open: set[int] = set()  # blocks of calls whose end has not come
        # What has come for the members of a block (`input`: its JSON text). Adding to the member itself would copy all
        # of it at every event, 2 us once 100 kB have come; a list of pieces of four letters is 15 times their size.
        self._texts: dict[int, defaultdict[str, StringIO]] = {}
        self._unknown_texts: dict[tuple[int, str], StringIO] = {}  # likewise, of pieces of a kind nobody knows

    def _reported_usage(self) -> dict[str, Any] | None:
        return usage_of(self._usage) if self._usage else None

    def _translate(self, event: sse.SseEvent) -> bytes:
        data = event.data
        if event.name == b"error":
            raise embedded_failure("anthropic", data)
        told = msgspec.json.decode(data)
        if told.get("type") == "content_block_delta" and told["delta"].get("type") == "text_delta":  # nearly all
            return self._text(told["index"], told["delta"]["text"])
        if told.get("type") == "error":
            raise embedded_failure("anthropic", data)
        _check(data)
        return self._read(told)

    def _text(self, index: int, text: str) -> bytes:
        texts = self._texts.get(index)
        if texts is None:
            self._begin_unasked(index, "text")
            texts = self._texts[index]
        texts["text"].write(text)
        return self._write.text(text) if text else b""

    def _begin_unasked(self, index: int, kind: str) -> dict[str, Any]:
        """Some hosts of this format begin no block before its pieces."""
        block = self._blocks[index] = {"type": kind}
        self._texts[index] = defaultdict(StringIO)
        return block

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
                self._change(event)
            case "message_stop":
                return self._end()
            case "ping":
                return _PING if self._answer else b""
        return b""

    def _start(self, message: dict[str, Any]) -> bytes:
        """Raises Failure where a second answer follows a part of the first: what has gone out cannot be taken back."""
        if self._blocks:
            raise malformed_response("the provider began a second answer within one stream")
        begun = bool(self._answer)
        self._answer = {name: value for name, value in message.items() if name not in ("content", "usage")}
        self._add_usage(message.get("usage"))
        self._model = message.get("model") or ""
        if begun:
            return b""
        self._write.begin(message.get("id") or "", self._model)
        return self._write.delta({"role": "assistant", "content": "", "refusal": None})

    def _change(self, event: dict[str, Any]) -> None:
        told = {name: value for name, value in event.items() if name not in ("type", "usage", "delta")}
        self._answer.update({**told, **(event.get("delta") or {})})
        self._add_usage(event.get("usage"))

    def _add_usage(self, usage: dict[str, Any] | None) -> None:
        self._usage.update({name: value for name, value in (usage or {}).items() if value is not None})

    def _start_block(self, index: int, block: dict[str, Any]) -> bytes:
        self._blocks[index] = block
        self._texts[index] = defaultdict(StringIO)
        if block["type"] == "tool_use":
            call = self._calls[index] = len(self._calls)
            self._open.add(index)
            function = {"name": block.get("name"), "arguments": ""}
            return self._write.delta(
                {"tool_calls": [{"index": call, "id": block.get("id"), "type": "function", "function": function}]}
            )
        if block["type"] == "text" and block.get("text"):
            return self._write.delta({"content": block["text"]})
        if block["type"] == "thinking" and block.get("thinking"):
            return self._write.delta({"reasoning_content": block["thinking"]})
        return b""

    def _delta(self, index: int, delta: dict[str, Any]) -> bytes:
        block = self._blocks.get(index)
        if block is None:
            block = self._begin_unasked(index, _BLOCKS_OF_PIECES[delta["type"]])
        match delta.get("type"):
            case "input_json_delta":
                return self._input(index, delta["partial_json"])
            case "thinking_delta":
                self._texts[index]["thinking"].write(delta["thinking"])
                return self._write.delta({"reasoning_content": delta["thinking"]})
            case "signature_delta":
                self._texts[index]["signature"].write(delta["signature"])
            case "citations_delta":
                block["citations"] = block.get("citations") or []
                block["citations"].append(delta["citation"])
            case _:
                self._keep(index, block, delta)
        return b""

    def _keep(self, index: int, block: dict[str, Any], delta: dict[str, Any]) -> None:
        """Add a piece of a kind that is only kept: texts are joined, anything else is the newest."""
        for name, value in delta.items():
            if name == "type" or value is None:
                continue
            before = block.get(name)
            if isinstance(before, str) and isinstance(value, str):
                text = self._unknown_texts.get((index, name))
                if text is None:
                    text = self._unknown_texts[index, name] = StringIO()
                    text.write(before)
                text.write(value)
            else:
                block[name] = value
                self._unknown_texts.pop((index, name), None)

    def _input(self, index: int, text: str) -> bytes:
        self._texts[index]["input"].write(text)
        if not text or index not in self._calls:
            return b""
        return self._write.delta({"tool_calls": [{"index": self._calls[index], "function": {"arguments": text}}]})

    def _stop_block(self, index: int) -> bytes:
        """A call's whole input may stand in the block's start alone."""
        if index not in self._open:
            return b""
        self._open.discard(index)
        block = self._blocks[index]
        if self._texts[index]["input"].tell():
            return b""
        call = {"index": self._calls[index], "function": {"arguments": arguments_text(block.get("input"))}}
        return self._write.delta({"tool_calls": [call]})

    def _whole_blocks(self) -> list[dict[str, Any]]:
        for (index, member), come in self._unknown_texts.items():
            self._blocks[index][member] = come.getvalue()
        for index, texts in self._texts.items():
            block = self._blocks[index]
            for member, come in texts.items():
                text = come.getvalue()
                if member != "input":
                    block[member] = (block.get(member) or "") + text
                elif text:
                    block["input"] = _input_of(text)
        return [self._blocks[index] for index in sorted(self._blocks)]

    def _end(self) -> bytes:
        """Raises Failure where no answer has begun."""
        if not self._answer:
            raise malformed_response("the provider's stream ended without a message")
        last = b"".join([self._stop_block(index) for index in sorted(self._open)])  # where a stop is missing
        blocks = self._whole_blocks()
        delta: dict[str, Any] = {}
        refusal = refusal_of(self._answer)
        if refusal:
            delta["refusal"] = refusal
        annotations = list(annotations_of(blocks))
        if annotations:
            delta["annotations"] = annotations
        extra = extra_of(blocks, {**self._answer, "usage": self._usage})
        if extra:
            delta[EXTRA_FIELDS] = {"anthropic": extra}
        last += self._write.delta(delta, finish_of(self._answer.get("stop_reason"), bool(self._calls)))
        usage = self._reported_usage()
        if self._show_usage and usage:
            last += self._write.usage(usage)
        self.over = True
        return last


def _input_of(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except NOT_JSON:
        return {}  # cut by the token limit; the caller has the text as it came
