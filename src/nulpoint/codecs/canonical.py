"""What every codec needs of the OpenAI chat format: reading a request so that nothing gets lost, writing chunks.

Facts: OpenAI's API description, `POST /chat/completions`.
"""

import re
from typing import Any, NamedTuple

import msgspec

from nulpoint.errors import Failure, rejected
from nulpoint.wire import sse
from nulpoint.wire.foreign import NOT_JSON, unusable
from nulpoint.wire.provider_error import embedded_error, embedded_failure

# The members of a chat request. Any other top-level member belongs to the provider and reaches it as it is.
OPENAI_MEMBERS = frozenset(
    {
        "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens",
        "max_tokens", "messages", "metadata", "modalities", "model", "moderation", "n", "parallel_tool_calls",
        "prediction", "presence_penalty", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
        "reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "stream",
        "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity",
        "web_search_options",
    }
)  # fmt: skip
# These say only what would happen anyway.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,), "logit_bias": ({},), "logprobs": (False,), "metadata": ({},), "modalities": (["text"],),
    "n": (1,), "parallel_tool_calls": (True,), "presence_penalty": (0,), "store": (False,), "stop": ([], ""),
    "top_logprobs": (0,),
}  # fmt: skip


class Encoded(NamedTuple):
    """A request in a provider's format, and the names of what it cannot hold."""

    body: bytes
    dropped: list[str]


class Members:
    """The top-level members of a request. What nobody has taken in the end is either the provider's own or lost."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._left = {name: value for name, value in request.items() if value is not None}
        self.dropped: list[str] = []

    def take(self, name: str, default: Any = None) -> Any:
        return self._left.pop(name, default)

    def drop(self, name: str) -> None:
        if name not in self.dropped:
            self.dropped.append(name)

    def rest(self) -> dict[str, Any]:
        """The provider's own members; OpenAI's that are left are noted as dropped, unless they say nothing."""
        own = {}
        for name, value in self._left.items():
            if name not in OPENAI_MEMBERS:
                own[name] = value
            elif value not in _NEUTRAL.get(name, ()):
                self.drop(name)
        return own


def read_request(body: bytes) -> dict[str, Any]:
    """The whole request. Raises Failure (400) where `messages` is not a list of objects."""
    request: dict[str, Any] = msgspec.json.decode(body)
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise rejected("`messages` must be a list with at least one message", param="messages", code="invalid_type")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise wrong(f"messages[{index}]", "must be an object with a `role`")
    return request


def read_answer(provider: str, body: bytes) -> dict[str, Any]:
    """The object a provider answered with. Raises Failure: an error that came with a good status, or no such thing."""
    try:
        answer = msgspec.json.decode(body)
    except NOT_JSON:
        raise unusable("the provider's answer cannot be used: it is not JSON") from None
    good = isinstance(answer, dict) and not answer.get("error") and answer.get("object") != "error"
    if not good and embedded_error(body):
        raise embedded_failure(provider, body)
    if not isinstance(answer, dict):
        raise unusable("the provider's answer cannot be used: it is no JSON object")
    return answer


def wrong(param: str, problem: str, code: str = "invalid_value") -> Failure:
    """A request that is wrong, or that this provider cannot take, at `param`."""
    return rejected(f"`{param}` {problem}", param=param, code=code)


def parts_of(content: Any, where: str) -> list[dict[str, Any]]:
    """Message content as parts, whichever way it was written; empty text is no part. Raises Failure."""
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise wrong(f"{where}.content", "must be text or a list of parts")
    return [part for part in content if part.get("type") != "text" or part.get("text")]


def arguments_of(call: dict[str, Any], where: str) -> dict[str, Any]:
    """The arguments of a function call as an object. Raises Failure: other providers take nothing else."""
    text = call.get("function", {}).get("arguments") or "{}"
    try:
        arguments = msgspec.json.decode(text) if isinstance(text, str) else text
    except (msgspec.DecodeError, UnicodeEncodeError):
        arguments = None
    if not isinstance(arguments, dict):
        raise wrong(f"{where}.function.arguments", "must be the JSON text of an object")
    return arguments


_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,(.*)", re.DOTALL)


def data_url(url: str, where: str) -> tuple[str, str] | None:
    """Type and base64 text of a data URL; None for another URL. Raises Failure for data that is not base64."""
    found = _DATA_URL.fullmatch(url)
    if found:
        return found[1], found[2]
    if url.startswith("data:"):
        raise wrong(where, "must be base64: `data:<type>;base64,<data>`")
    return None


def json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class ChunkWriter:
    """Writes the chunks of one stream: `id`, `created` and `model` stay the same all through."""

    def __init__(self, created: int) -> None:
        self._frame: dict[str, Any] = {"id": "", "object": "chat.completion.chunk", "created": created, "model": ""}

    def begin(self, answer_id: str, model: str) -> None:
        self._frame.update(id=answer_id, model=model)

    def delta(
        self,
        delta: dict[str, Any],
        finish: str | None = None,
        index: int = 0,
        logprobs: dict[str, Any] | None = None,
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return sse.encode(msgspec.json.encode({**self._frame, "choices": [choice]}))

    def usage(self, usage: dict[str, Any]) -> bytes:
        return sse.encode(msgspec.json.encode({**self._frame, "choices": [], "usage": usage}))
