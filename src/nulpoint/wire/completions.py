"""Legacy completions answered through chat, for providers that have chat only.

Facts of both shapes: OpenAI's API description, `/completions` and `/chat/completions`. What chat cannot express is
refused when it would change the answer's meaning (`suffix`, `echo`, `best_of`, several prompts, token ids); `logprobs`
has another shape there and is reported as dropped.
"""

from typing import Any

import msgspec

from nulpoint.errors import Failure, Kind, rejected
from nulpoint.wire import sse
from nulpoint.wire.stream import DONE, PassOn, Watcher

_NEUTRAL: dict[str, tuple[Any, ...]] = {"suffix": (None, ""), "echo": (None, False), "best_of": (None, 1)}


def to_chat(body: bytes) -> tuple[bytes, list[str]]:
    """The same question as a chat request, and the names of the members that were dropped. Raises Failure (400)."""
    request: dict[str, msgspec.Raw] = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    for name, neutral in _NEUTRAL.items():
        if name in request and msgspec.json.decode(request.pop(name)) not in neutral:
            raise _unsupported(name, f"`{name}` has no counterpart in chat")
    chat: dict[str, Any] = {key: value for key, value in request.items() if key not in ("prompt", "logprobs")}
    chat["messages"] = [{"role": "user", "content": _single_prompt(request)}]
    asked_logprobs = "logprobs" in request and bytes(request["logprobs"]) != b"null"
    return msgspec.json.encode(chat), ["logprobs"] if asked_logprobs else []


def _single_prompt(request: dict[str, msgspec.Raw]) -> str:
    if "prompt" not in request:
        raise rejected("`prompt` is missing", param="prompt", code="missing_required_parameter")
    prompt = msgspec.json.decode(request["prompt"])
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise _unsupported("prompt", "`prompt` must be one text: several prompts and token ids have no counterpart")
    return prompt


def _unsupported(param: str, problem: str) -> Failure:
    text = f"{problem}; this provider offers chat only, so use a provider with /completions or /v1/chat/completions"
    return rejected(text, param=param, code="unsupported_parameter")


def from_chat(body: bytes) -> bytes:
    """A chat answer in the shape of a completion; unknown members ride along."""
    return msgspec.json.encode(_completion(msgspec.json.decode(body), "message"))


def _completion(chat: dict[str, Any], text_in: str) -> dict[str, Any]:
    choices = [_choice(choice, text_in) for choice in chat.get("choices") or ()]
    chat_id = str(chat.get("id", ""))
    return {**chat, "id": chat_id.replace("chatcmpl-", "cmpl-", 1), "object": "text_completion", "choices": choices}


def _choice(choice: dict[str, Any], text_in: str) -> dict[str, Any]:
    message = choice.get(text_in) or {}
    rest = {key: value for key, value in choice.items() if key not in (text_in, "logprobs")}
    return {**rest, "text": message.get("content") or "", "logprobs": None}


class Chained:
    """A stream of chat chunks that another watcher makes, turned into completions."""

    def __init__(self, first: Watcher) -> None:
        self._first = first
        self._then = CompletionStream(hide_usage=False)
        self.finished = first.finished
        self.has_finish_reason = first.has_finish_reason
        self.facts = first.facts

    @property
    def failure(self) -> Failure | None:
        return self._first.failure

    def feed(self, data: bytes) -> bytes:
        return self._then.feed(self._first.feed(data))

    def close(self) -> bytes:
        return self._then.feed(self._first.close()) + self._then.close()


class CompletionStream(PassOn):
    """Turns the chunks of a chat stream into those of a completions stream. An error event passes as it is."""

    def __init__(self, hide_usage: bool) -> None:
        super().__init__()
        self.failure = None
        self._decoder = sse.Decoder()
        self._hide_usage = hide_usage

    def feed(self, data: bytes) -> bytes:
        super().feed(data)
        return b"".join(self._event(event) for event in self._decoder.feed(data))

    def close(self) -> bytes:
        return b"".join(self._event(event) for event in self._decoder.close())

    def _event(self, event: sse.Event) -> bytes:
        if self.failure is not None:
            return b""
        try:
            return self._translated(event)
        except (msgspec.DecodeError, TypeError, AttributeError):
            text = "the provider sent an event that is no chunk of a chat completion"
            self.failure = Failure(Kind.UPSTREAM, 502, text, code="provider_malformed")
            return b""

    def _translated(self, event: sse.Event) -> bytes:
        if event.data.strip() == DONE:
            return sse.encode(DONE)
        chunk = msgspec.json.decode(event.data)
        if "error" in chunk:
            return sse.encode(event.data)
        if self._hide_usage and not chunk.get("choices"):
            return b""
        return sse.encode(msgspec.json.encode(_completion(chunk, "delta")))
