"""Answers of Mistral's chat API in the OpenAI format.

Facts: the request and answer types of the `mistralai` SDK and recorded traffic. An answer whose content is a list
(thinking, references) has its text in `content`, its thinking in `reasoning_content` and the list as it came under
`provider_specific_fields.mistral.content`; handed back, the list is sent again.
"""

from typing import Any

import msgspec

from nulpoint.codecs.canonical import EXTRA, ChunkWriter
from nulpoint.errors import Failure, Kind
from nulpoint.wire import sse
from nulpoint.wire.provider_error import provider_failure
from nulpoint.wire.stream import DONE
from nulpoint.wire.usage import Facts, read_facts

_FINISHES = {"model_length": "length"}


def joined_text(parts: list[dict[str, Any]]) -> str:
    return "".join(part.get("text", "") for part in parts if part.get("type") == "text")


def decode(body: bytes, _created: int) -> bytes:
    """A whole answer in the OpenAI shape; members nobody here knows ride along. Raises Failure (502)."""
    try:
        answer: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list):
        text = "the provider's answer cannot be used: it is no chat completion"
        raise Failure(Kind.UPSTREAM, 502, text, code="provider_malformed")
    answer["choices"] = [_choice(choice) for choice in answer["choices"]]
    if answer.get("usage"):
        answer["usage"] = _usage(answer["usage"])
    return msgspec.json.encode(answer)


def _choice(choice: dict[str, Any]) -> dict[str, Any]:
    message = {**choice["message"], "refusal": None}
    content, calls = message.get("content"), message.pop("tool_calls", None)
    if isinstance(content, list):
        message["content"], thinking = _split(content)
        message[EXTRA] = {"mistral": {"content": content}}
        if thinking:
            message["reasoning_content"] = thinking
    if calls:
        message["tool_calls"] = [_call(call) for call in calls]
        message["content"] = message["content"] or None
    return {"logprobs": None, **choice, "message": message, "finish_reason": _finish(choice.get("finish_reason"))}


def _finish(reason: str | None) -> str:
    """Raises Failure (502) where generation failed there."""
    if reason == "error":
        raise Failure(Kind.UPSTREAM, 502, "mistral failed while it answered", code="provider_error")
    return _FINISHES.get(reason or "stop", reason or "stop")


def _split(content: list[dict[str, Any]]) -> tuple[str, str]:
    """Text and thinking of content that is a list."""
    thinking = "".join(
        inner.get("text", "") for part in content if part.get("type") == "thinking" for inner in part["thinking"]
    )
    return joined_text(content), thinking


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = dict(call["function"])
    if not isinstance(function.get("arguments"), str):
        function["arguments"] = msgspec.json.encode(function.get("arguments") or {}).decode()
    return {**call, "type": "function", "function": function}


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    details = usage.get("prompt_tokens_details") or usage.get("prompt_token_details")
    if details is None and usage.get("num_cached_tokens") is not None:
        details = {"cached_tokens": usage["num_cached_tokens"]}
    return {**usage, "prompt_tokens_details": details} if details else usage


class MistralStream:
    """A watcher that translates. Usage stands in the finishing chunk there, in a chunk of its own here."""

    def __init__(self, _created: int, show_usage: bool) -> None:
        self._decoder = sse.Decoder()
        self._show_usage = show_usage
        self._roles: set[int] = set()
        self._calls: dict[int, int] = {}  # choice to calls so far
        self._lists: dict[int, list[dict[str, Any]]] = {}  # choice to content parts
        self._last_usage: dict[str, Any] | None = None
        self._frame: dict[str, Any] = {}
        self._facts = Facts()
        self._finished = self._has_finish = False
        self.failure: Failure | None = None

    def feed(self, data: bytes) -> bytes:
        return b"".join([self._event(event.data) for event in self._decoder.feed(data)])

    def close(self) -> bytes:
        return b"".join([self._event(event.data) for event in self._decoder.close()])

    def finished(self) -> bool:
        return self._finished

    def has_finish_reason(self) -> bool:
        return self._has_finish

    def facts(self) -> Facts:
        return self._facts

    def _event(self, data: bytes) -> bytes:
        if self.failure is not None or self._finished:
            return b""
        if data.strip() == DONE:
            return self._end()
        try:
            return self._chunk(msgspec.json.decode(data), data)
        except Failure as failure:
            self.failure = failure
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            text = "the provider sent an event that is no chunk of a chat completion"
            self.failure = Failure(Kind.UPSTREAM, 502, text, code="provider_malformed")
        return b""

    def _end(self) -> bytes:
        """`[DONE]` without a finish reason before it is not an answer that ended."""
        if not self._has_finish:
            return b""
        self._finished = True
        last = b""
        if self._show_usage and self._last_usage is not None:
            writer = ChunkWriter(self._frame["created"])
            writer.begin(self._frame["id"], self._frame["model"])
            last = writer.usage(self._last_usage)
        return last + sse.encode(DONE)

    def _chunk(self, chunk: dict[str, Any], data: bytes) -> bytes:
        if "choices" not in chunk:
            status = chunk.get("raw_status_code") or chunk.get("status_code") or 500
            raise provider_failure("mistral", status if isinstance(status, int) else 500, data, None)
        chunk.pop("p", None)  # padding
        usage = chunk.pop("usage", None)
        if usage:
            self._last_usage = _usage(usage)
            self._facts = read_facts(msgspec.json.encode({"usage": self._last_usage, "model": chunk.get("model")}))
        if not self._frame:
            self._frame = {name: chunk.get(name) for name in ("id", "created", "model")}
            self._facts = Facts(self._facts.usage, chunk.get("model"))
        chunk.update(self._frame)
        chunk["choices"] = [self._choice(choice) for choice in chunk["choices"]]
        return sse.encode(msgspec.json.encode(chunk))

    def _choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        index = choice["index"]
        delta = dict(choice["delta"])
        choice.pop("p", None)
        delta.pop("p", None)
        if delta.pop("role", None) is not None or index not in self._roles:
            if index not in self._roles:
                delta = {"role": "assistant", **delta}
            self._roles.add(index)
        if isinstance(delta.get("content"), list):
            parts = delta["content"]
            self._gather(self._lists.setdefault(index, []), parts)
            delta["content"], thinking = _split(parts)
            if thinking:
                delta["reasoning_content"] = thinking
        elif delta.get("content") and index in self._lists:
            self._gather(self._lists[index], [{"type": "text", "text": delta["content"]}])
        if delta.get("tool_calls"):
            delta["tool_calls"] = [self._indexed(index, call) for call in delta["tool_calls"]]
        else:
            delta.pop("tool_calls", None)
        if choice.get("finish_reason"):
            self._has_finish = True
            choice["finish_reason"] = _finish(choice["finish_reason"])
            if index in self._lists:
                delta[EXTRA] = {"mistral": {"content": self._lists[index]}}
        return {"logprobs": None, **choice, "delta": delta}

    def _indexed(self, choice: int, call: dict[str, Any]) -> dict[str, Any]:
        number = self._calls.get(choice, 0)
        self._calls[choice] = number + 1
        return {**_call(call), "index": number}

    def _gather(self, into: list[dict[str, Any]], parts: list[dict[str, Any]]) -> None:
        """Pieces of one thought or text become one part again."""
        for part in parts:
            kind = part.get("type")
            if into and into[-1].get("type") == kind == "text":
                into[-1] = {**into[-1], "text": into[-1]["text"] + part["text"]}
            elif into and into[-1].get("type") == kind == "thinking":
                before, after = into[-1]["thinking"], part["thinking"]
                text = "".join(inner.get("text", "") for inner in [*before, *after])
                into[-1] = {**into[-1], **part, "thinking": [{"type": "text", "text": text}]}
            else:
                into.append(part)
