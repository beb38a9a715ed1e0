"""Anthropic's stream of events as OpenAI chunks.

Facts: recorded streams and the `anthropic` SDK's event types. Blocks are numbered there across all kinds; tool calls
here by their own count. `message_stop` is the terminal event: without it the answer was cut.
"""

from collections import defaultdict
from io import StringIO
from typing import Any

import msgspec

from nulpoint.codecs.anthropic import STOPS, annotations_of, extra_of, refusal_of, usage_of
from nulpoint.codecs.canonical import EXTRA, ChunkWriter, json_text
from nulpoint.errors import Failure, Kind
from nulpoint.wire import sse
from nulpoint.wire.provider_error import provider_failure
from nulpoint.wire.stream import DONE
from nulpoint.wire.usage import Facts, Usage

_ERROR_STATUSES = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "timeout_error": 504,
    "overloaded_error": 529,
}  # fmt: skip
_PING = b": ping\n"


class AnthropicStream:
    """A watcher that translates. `show_usage`: the caller asked for the usage chunk."""

    def __init__(self, created: int, show_usage: bool) -> None:
        self._decoder = sse.Decoder()
        self._write = ChunkWriter(created)
        self._show_usage = show_usage
        self._answer: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._calls: dict[int, int] = {}  # block index to tool-call index
        # What has come for the members of a block (`input`: its JSON text). Adding to the member itself would copy all
        # of it at every event, 2 us once 100 kB have come; a list of pieces of four letters is 15 times their size.
        self._texts: dict[int, defaultdict[str, StringIO]] = {}
        self._finished = False
        self.failure: Failure | None = None

    def feed(self, data: bytes) -> bytes:
        return b"".join([self._event(event.data) for event in self._decoder.feed(data)])

    def close(self) -> bytes:
        return b"".join([self._event(event.data) for event in self._decoder.close()])

    def finished(self) -> bool:
        return self._finished

    def has_finish_reason(self) -> bool:
        return self._finished

    def facts(self) -> Facts:
        if not self._usage:
            return Facts(None, self._answer.get("model"))
        seen = usage_of(self._usage)
        details = seen["prompt_tokens_details"], seen["completion_tokens_details"]
        usage = Usage(
            prompt=seen["prompt_tokens"],
            completion=seen["completion_tokens"],
            cached=details[0]["cached_tokens"],
            reasoning=details[1]["reasoning_tokens"],
        )
        return Facts(usage, self._answer.get("model"))

    def _event(self, data: bytes) -> bytes:
        if self.failure is not None or self._finished:
            return b""
        try:
            return self._read(msgspec.json.decode(data))
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            text = "the provider sent an event that is none of Anthropic's API"
            self.failure = Failure(Kind.UPSTREAM, 502, text, code="provider_malformed")
            return b""

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
                self._answer.update({name: value for name, value in event.items() if name not in ("type", "usage")})
                self._answer.update(self._answer.pop("delta", {}))
                self._add_usage(event.get("usage"))
                return b""
            case "message_stop":
                return self._end()
            case "ping":
                return _PING if self._answer else b""
            case "error":
                kind = str((event.get("error") or {}).get("type"))
                self.failure = provider_failure(
                    "anthropic", _ERROR_STATUSES.get(kind, 500), msgspec.json.encode(event), None
                )
        return b""

    def _start(self, message: dict[str, Any]) -> bytes:
        self._answer = {name: value for name, value in message.items() if name not in ("content", "usage")}
        self._add_usage(message.get("usage"))
        self._write.begin(message.get("id", ""), message.get("model", ""))
        return self._write.delta({"role": "assistant", "content": "", "refusal": None})

    def _add_usage(self, usage: dict[str, Any] | None) -> None:
        self._usage.update({name: value for name, value in (usage or {}).items() if value is not None})

    def _start_block(self, index: int, block: dict[str, Any]) -> bytes:
        self._blocks[index] = block
        self._texts[index] = defaultdict(StringIO)
        if block["type"] == "tool_use":
            call = self._calls[index] = len(self._calls)
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
        block = self._blocks[index]
        match delta.get("type"):
            case "text_delta":
                text = delta["text"]
                self._texts[index]["text"].write(text)
                return self._write.delta({"content": text}) if text else b""
            case "input_json_delta":
                return self._input(index, delta["partial_json"])
            case "thinking_delta":
                self._texts[index]["thinking"].write(delta["thinking"])
                return self._write.delta({"reasoning_content": delta["thinking"]})
            case "signature_delta":
                self._texts[index]["signature"].write(delta["signature"])
            case "citations_delta":
                block["citations"] = [*(block.get("citations") or []), delta["citation"]]
            case "compaction_delta":
                self._texts[index]["content"].write(delta.get("content") or "")
        return b""

    def _input(self, index: int, text: str) -> bytes:
        self._texts[index]["input"].write(text)
        if not text or index not in self._calls:
            return b""
        return self._write.delta({"tool_calls": [{"index": self._calls[index], "function": {"arguments": text}}]})

    def _stop_block(self, index: int) -> bytes:
        """A call's whole input may stand in the block's start alone."""
        block = self._blocks[index]
        if block["type"] != "tool_use" or self._texts[index]["input"].tell():
            return b""
        call = {"index": self._calls[index], "function": {"arguments": json_text(block.get("input") or {})}}
        return self._write.delta({"tool_calls": [call]})

    def _whole_blocks(self) -> list[dict[str, Any]]:
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
        self._finished = True
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
            delta[EXTRA] = {"anthropic": extra}
        finish = STOPS.get(self._answer.get("stop_reason") or "end_turn", "stop")
        last = self._write.delta(delta, finish)
        if self._show_usage:
            last += self._write.usage(usage_of(self._usage))
        return last + sse.encode(DONE)


def _input_of(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}  # cut by the token limit; the caller has the text as it came
