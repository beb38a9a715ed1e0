"""Legacy completions answered through chat, for providers that have chat only.

Facts of both shapes: OpenAI's API description, `/completions` and `/chat/completions`. What chat cannot express is
refused when it would change the answer's meaning (`suffix`, `echo`, `best_of`, several prompts, token ids); `logprobs`
has another shape there and is reported as dropped.
"""

from typing import Any

import msgspec

from nulpoint.errors import Failure, rejected
from nulpoint.formats import sse
from nulpoint.formats.malformed import MALFORMED, malformed_response
from nulpoint.protocols.openai.envelope import decode_member
from nulpoint.protocols.openai.stream import PassThrough, StreamTransformer, WrappingTransformer

# Completions have no such end; calls stand in the choice.
_CALLED = frozenset({"tool_calls", "function_call"})
_NEUTRAL: dict[str, tuple[Any, ...]] = {"suffix": (None, ""), "echo": (None, False), "best_of": (None, 1)}


def to_chat(body: bytes) -> tuple[bytes, list[str]]:
    """The same question as a chat request, and the names of the members that were dropped. Raises Failure (400)."""
    request: dict[str, msgspec.Raw] = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    for name, neutral in _NEUTRAL.items():
        if name in request and decode_member(name, request.pop(name)) not in neutral:
            raise _unsupported(name, f"`{name}` has no counterpart in chat")
    chat: dict[str, Any] = {key: value for key, value in request.items() if key not in ("prompt", "logprobs")}
    chat["messages"] = [{"role": "user", "content": _single_prompt(request)}]
    asked_logprobs = "logprobs" in request and bytes(request["logprobs"]) != b"null"
    return msgspec.json.encode(chat), ["logprobs"] if asked_logprobs else []


def _single_prompt(request: dict[str, msgspec.Raw]) -> str:
    if "prompt" not in request:
        raise rejected("`prompt` is missing", param="prompt", code="missing_required_parameter")
    prompt = decode_member("prompt", request["prompt"])
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise _unsupported("prompt", "`prompt` must be one text: several prompts and token ids have no counterpart")
    return prompt


def _unsupported(param: str, problem: str) -> Failure:
    text = f"{problem}; this provider offers chat only, so use a provider with /completions or /v1/chat/completions"
    return rejected(text, param=param, code="unsupported_parameter")


class _Message(msgspec.Struct):
    content: str | None = None


class _ChatChoice(msgspec.Struct):
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None
    index: int | None = None


class _Chat(msgspec.Struct):
    """The types of what is read of a chat answer or chunk."""

    choices: list[_ChatChoice] | None = None
    id: str | None = None


_check = msgspec.json.Decoder(_Chat).decode


def from_chat(body: bytes) -> bytes:
    """A chat answer in the shape of a completion; unknown members ride along. Raises Failure (502)."""
    try:
        _check(body)
        return msgspec.json.encode(_completion(msgspec.json.decode(body), "message"))
    except MALFORMED:
        raise malformed_response("the provider's answer cannot be used: it is no chat completion") from None


def _completion(chat: dict[str, Any], text_in: str) -> dict[str, Any]:
    choices = [_choice(choice, text_in) for choice in chat.get("choices") or ()]
    chat_id = chat.get("id") or ""
    return {**chat, "id": chat_id.replace("chatcmpl-", "cmpl-", 1), "object": "text_completion", "choices": choices}


def _choice(choice: dict[str, Any], text_in: str) -> dict[str, Any]:
    """What a message has beside its text (reasoning, extra fields) stands in the choice."""
    message = choice.get(text_in) or {}
    more = {key: value for key, value in message.items() if key not in ("role", "content") and value is not None}
    rest = {key: value for key, value in choice.items() if key not in (text_in, "logprobs")}
    if rest.get("finish_reason") in _CALLED:
        rest["finish_reason"] = "stop"
    return {**more, **rest, "text": message.get("content") or "", "logprobs": None}


class Chained(WrappingTransformer):
    """A stream of chat chunks that another watcher makes, turned into completions."""

    def __init__(self, first: StreamTransformer) -> None:
        super().__init__(first)
        self._then = CompletionStream(hide_usage=False)

    def feed(self, data: bytes) -> bytes:
        return self._turned(self._inner.feed(data))

    def close(self) -> bytes:
        last = self._turned(self._inner.close())
        return last + self._then.close() if self.failure is None else last

    def _turned(self, data: bytes) -> bytes:
        turned = self._then.feed(data)
        self._own_failure = self._then.failure
        return turned


class CompletionStream(PassThrough):
    """Turns the chunks of a chat stream into those of a completions stream."""

    def __init__(self, *, hide_usage: bool, finish_ends: bool = False) -> None:
        super().__init__(finish_ends=finish_ends)
        self._decoder = sse.SseDecoder()
        self._hide_usage = hide_usage

    def feed(self, data: bytes) -> bytes:
        made = []
        try:
            for event in self._decoder.feed(super().feed(data)):
                made.append(self._translated(event.data))  # noqa: PERF401  # what was made before an error is sent
        except MALFORMED:
            self._fail_first(malformed_response("the provider sent an event that is no chunk of a chat completion"))
        except Failure as failure:
            self._fail_first(failure)
        return b"".join(made)

    def _fail_first(self, failure: Failure) -> None:
        """An event that was passed on came before whatever the stream has failed by since."""
        self.failure = None
        self._fail(failure)

    def _translated(self, data: bytes) -> bytes:
        _check(data)
        chunk = msgspec.json.decode(data)
        if self._hide_usage and not chunk.get("choices") and chunk.get("usage"):
            return b""
        return sse.encode(msgspec.json.encode(_completion(chunk, "delta")))
