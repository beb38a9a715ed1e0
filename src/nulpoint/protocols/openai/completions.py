"""Serves legacy completions through chat completions, for providers that only have chat.

The formats are those of `/completions` and `/chat/completions` in OpenAI's API description. Members that chat cannot
express and that would change the meaning of the response (`suffix`, `echo`, `best_of`, several prompts, token ids) are
rejected. `logprobs` has a different format in chat and is reported as dropped.
"""

from typing import Any

import msgspec

from nulpoint.errors import Failure, rejected
from nulpoint.formats import sse
from nulpoint.formats.malformed import MALFORMED, malformed_response, unusable_response
from nulpoint.protocols.openai.envelope import decode_member
from nulpoint.protocols.openai.stream import PassThrough, StreamTransformer, WrappingTransformer

# Finish reasons that completions do not have.
_CALL_FINISH_REASONS = frozenset({"tool_calls", "function_call"})
# The values of unsupported members that have no effect.
_NEUTRAL: dict[str, tuple[Any, ...]] = {"suffix": (None, ""), "echo": (None, False), "best_of": (None, 1)}


def to_chat(body: bytes) -> tuple[bytes, list[str]]:
    """Return a completions request as a chat request, and the names of dropped members. Raises Failure (400)."""
    request: dict[str, msgspec.Raw] = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    for name, neutral in _NEUTRAL.items():
        if name in request and decode_member(name, request.pop(name)) not in neutral:
            raise _unsupported(name, f"`{name}` has no counterpart in chat")
    chat: dict[str, Any] = {key: value for key, value in request.items() if key not in ("prompt", "logprobs")}
    chat["messages"] = [{"role": "user", "content": _single_prompt(request)}]
    has_logprobs = "logprobs" in request and bytes(request["logprobs"]) != b"null"
    return msgspec.json.encode(chat), ["logprobs"] if has_logprobs else []


def _single_prompt(request: dict[str, msgspec.Raw]) -> str:
    if "prompt" not in request:
        raise rejected("`prompt` is missing", param="prompt", code="missing_required_parameter")
    prompt = decode_member("prompt", request["prompt"])
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        text = "`prompt` must be a single text: several prompts and token ids have no counterpart in chat"
        raise _unsupported("prompt", text)
    return prompt


def _unsupported(param: str, problem: str) -> Failure:
    text = f"{problem}; this provider only offers chat: choose one with /completions, or call /v1/chat/completions"
    return rejected(text, param=param, code="unsupported_parameter")


class _Message(msgspec.Struct):
    content: str | None = None


class _ChatChoice(msgspec.Struct):
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None
    index: int | None = None


class _Chat(msgspec.Struct):
    """The types of the members that are read from a chat completion or chunk."""

    choices: list[_ChatChoice] | None = None
    id: str | None = None


_check = msgspec.json.Decoder(_Chat).decode


def from_chat(body: bytes) -> bytes:
    """Return a chat completion as a legacy completion, with all its unknown members. Raises Failure (502)."""
    try:
        _check(body)
        return msgspec.json.encode(_completion(msgspec.json.decode(body), "message"))
    except MALFORMED:
        raise unusable_response("it is not a chat completion") from None


def _completion(chat: dict[str, Any], message_name: str) -> dict[str, Any]:
    choices = [_choice(choice, message_name) for choice in chat.get("choices") or ()]
    chat_id = chat.get("id") or ""
    return {**chat, "id": chat_id.replace("chatcmpl-", "cmpl-", 1), "object": "text_completion", "choices": choices}


def _choice(choice: dict[str, Any], message_name: str) -> dict[str, Any]:
    """Return a chat choice as a completions choice. Other members of the message become members of the choice."""
    message = choice.get(message_name) or {}
    extra = {key: value for key, value in message.items() if key not in ("role", "content") and value is not None}
    members = {key: value for key, value in choice.items() if key not in (message_name, "logprobs")}
    if members.get("finish_reason") in _CALL_FINISH_REASONS:
        members["finish_reason"] = "stop"
    return {**extra, **members, "text": message.get("content") or "", "logprobs": None}


class ChatToCompletionStream(WrappingTransformer):
    """Turns the chat chunks that another transformer returns into completions chunks."""

    def __init__(self, inner: StreamTransformer) -> None:
        super().__init__(inner)
        self._to_completions = CompletionStream(hide_usage=False)

    def feed(self, data: bytes) -> bytes:
        return self._convert(self._inner.feed(data))

    def close(self) -> bytes:
        last = self._convert(self._inner.close())
        return last + self._to_completions.close() if self.failure is None else last

    def _convert(self, data: bytes) -> bytes:
        converted = self._to_completions.feed(data)
        self._wrapper_failure = self._to_completions.failure
        return converted


class CompletionStream(PassThrough):
    """Turns the chunks of a chat stream into those of a completions stream."""

    def __init__(self, *, hide_usage: bool, finish_ends: bool = False) -> None:
        super().__init__(finish_ends=finish_ends)
        self._decoder = sse.SseDecoder()
        self._hide_usage = hide_usage

    def feed(self, data: bytes) -> bytes:
        events = []
        try:
            for event in self._decoder.feed(super().feed(data)):
                events.append(self._convert(event.data))  # noqa: PERF401  # events made before an error are sent
        except MALFORMED:
            self._set_failure(malformed_response("the provider sent an event that is not a chat completion chunk"))
        except Failure as failure:
            self._set_failure(failure)
        return b"".join(events)

    def _set_failure(self, failure: Failure) -> None:
        """Fail, replacing a failure of the stream, because that was found in a later event."""
        self.failure = None
        self._fail(failure)

    def _convert(self, data: bytes) -> bytes:
        _check(data)
        chunk = msgspec.json.decode(data)
        if self._hide_usage and not chunk.get("choices") and chunk.get("usage"):
            return b""
        return sse.encode(msgspec.json.encode(_completion(chunk, "delta")))
