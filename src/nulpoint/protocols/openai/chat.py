"""What every codec needs of the OpenAI chat format: reading a request so that nothing gets lost, writing chunks.

Facts: OpenAI's API description, `POST /chat/completions`.
"""

import re
from collections.abc import Callable, Iterable, Set
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import msgspec

from nulpoint.errors import Failure, rejected
from nulpoint.formats.json_nodes import exceeds_node_count
from nulpoint.formats.malformed import NOT_JSON, malformed_response
from nulpoint.protocols.emulation import Emulation
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.openai.request_names import CHAT_MEMBERS
from nulpoint.protocols.provider_errors import embedded_error, embedded_failure

# Any other top-level member belongs to the provider and reaches it as it is.
OPENAI_MEMBERS = CHAT_MEMBERS
# These say only what would happen anyway.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,), "logit_bias": ({},), "logprobs": (False,), "metadata": ({},), "modalities": (["text"],),
    "n": (1,), "parallel_tool_calls": (True,), "presence_penalty": (0,), "store": (False,), "stop": ([], ""),
    "top_logprobs": (0,),
}  # fmt: skip
# Where an answer holds what its shape has no place for, by provider; handed back, it is restored.
EXTRA_FIELDS = "provider_specific_fields"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.$-]")
_NAME_LENGTH, _MOST_NAMES = 120, 32
_SAYS_NOTHING: tuple[Any, ...] = (None, "", [], {}, False, "auto")


def read_body(body: bytes) -> dict[str, Any]:
    """The caller's request, of which only the envelope was read before. Raises Failure (400)."""
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise rejected(f"the request body is not valid JSON: {error}"[:200], code="invalid_json") from None
    except RecursionError:
        raise _too_deep() from None
    return object_of(request, "the request body")


def write_body(request: dict[str, Any]) -> bytes:
    """The body of a request to the provider, which may nest a little deeper than the caller's. Raises Failure (400)."""
    try:
        return msgspec.json.encode(request)
    except RecursionError:
        raise _too_deep() from None


def _too_deep() -> Failure:
    return rejected("the request body is nested too deeply", code="invalid_json")


_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def reject_deep_nesting(encode: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Make what reads a request raise Failure (400) where the request nests deeper than Python can follow."""

    @wraps(encode)
    def refusing(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        try:
            return encode(*args, **kwargs)
        except RecursionError:
            raise _too_deep() from None

    return refusing


class EncodedRequest(NamedTuple):
    """A request in a provider's format, the names of what it cannot hold, and what to undo in the answer."""

    body: bytes
    dropped: list[str]
    emulation: Emulation = Emulation()


class RequestFields:
    """The top-level members of a request. What nobody has taken in the end is either the provider's own or lost.

    `limits` bound what may be made of them.
    """

    def __init__(self, request: dict[str, Any], limits: TranslationLimits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self._left = {name: value for name, value in request.items() if value is not None}
        self.dropped: list[str] = []

    def pop(self, name: str, default: Any = None) -> Any:
        return self._left.pop(name, default)

    def get(self, name: str) -> Any:
        """A member that stays where it is."""
        return self._left.get(name)

    def report_dropped(self, name: str) -> None:
        """Note a loss by its path. Names inside a request are the caller's, and the list goes into a header field."""
        name = _NOT_IN_NAMES.sub("?", name[:_NAME_LENGTH])
        if name in self.dropped or len(self.dropped) > _MOST_NAMES:
            return
        self.dropped.append(name if len(self.dropped) < _MOST_NAMES else "and more")

    def report_other_members(self, given: dict[str, Any], taken: Set[str], where: str) -> None:
        """Note what stands in `given`, somewhere inside the request, beside the members that were taken."""
        if given.keys() <= taken:
            return
        for name, value in given.items():
            if name not in taken and value not in _SAYS_NOTHING:
                self.report_dropped(f"{where}.{name}")

    def leftovers(self) -> dict[str, Any]:
        """The provider's own members; OpenAI's that are left are noted as dropped, unless they say nothing."""
        own = {}
        for name, value in self._left.items():
            if name not in OPENAI_MEMBERS:
                own[name] = value
            elif value not in _NEUTRAL.get(name, ()):
                self.report_dropped(name)
        return own


def read_response(provider: str, body: bytes) -> dict[str, Any]:
    """The object a provider answered with. Raises Failure: an error that came with a good status, or no such thing."""
    try:
        answer = msgspec.json.decode(body)
    except NOT_JSON:
        raise malformed_response("the provider's answer cannot be used: it is not JSON") from None
    good = isinstance(answer, dict) and not answer.get("error") and answer.get("object") != "error"
    if not good and embedded_error(body):
        raise embedded_failure(provider, body)
    if not isinstance(answer, dict):
        raise malformed_response("the provider's answer cannot be used: it is no JSON object")
    return answer


def choice_index(choice: dict[str, Any], number: int) -> int:
    """The index a choice has in the provider's answer, or else its place among the others."""
    index = choice.get("index")
    return number if index is None else index


def invalid(param: str, problem: str, code: str = "invalid_value") -> Failure:
    """A request that is wrong, or that this provider cannot take, at `param`."""
    return rejected(f"`{param}` {problem}", param=param, code=code)


def too_many(count: int, limit: int, field: str, setting: str) -> Failure:
    """A request that has more of something than may be translated."""
    text = f"holds {count} entries, and at most {limit} are translated; the gateway's operator can raise {setting}"
    return invalid(field, text, code="array_above_max_length")


def check_nested_json(text: str, where: str, limit: int) -> None:
    """Raise Failure (400) for a text that is to be read as JSON and holds too many names and values."""
    if len(text) > limit and exceeds_node_count(text.encode(), limit):
        problem = f"holds more than {limit} JSON names and values; send less, or raise MAX_JSON_NODES"
        raise invalid(where, problem, code="too_many_json_nodes")


def optional_text(value: Any, where: str) -> str:
    """A text; nothing is an empty one. Raises Failure for anything else."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise invalid(where, "must be text")
    return value


def object_of(value: Any, where: str) -> dict[str, Any]:
    """An object; nothing is an empty one. Raises Failure for anything else."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(where, "must be an object")
    return value


def parts_of(content: Any, where: str) -> list[dict[str, Any]]:
    """Message content as parts, whichever way it was written; empty text is no part. Raises Failure."""
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise invalid(f"{where}.content", "must be text or a list of parts")
    parts = []
    for part in content:
        check_part(part, f"{where}.content")
        if part.get("type") != "text":
            parts.append(part)
        elif not isinstance(part.get("text", ""), str):
            raise invalid(f"{where}.content", "must have text in its parts of type text")
        elif part.get("text"):
            parts.append(part)
    return parts


def check_part(part: Any, where: str) -> None:
    """Raise Failure (400) for what can be no part of a message, ours or a provider's own: whoever reads one may rely
    on `type` and `text` being texts where they are there."""
    if not isinstance(part, dict):
        raise invalid(where, "must be text or a list of parts")
    for name in ("type", "text"):
        if not isinstance(part.get(name), str | None):
            raise invalid(where, f"must have text as the `{name}` of its parts")


def original_parts(message: dict[str, Any], provider: str, member: str, where: str) -> list[dict[str, Any]] | None:
    """The parts of one of our own answers that the caller hands back; None where there are none. Raises Failure."""
    extra = message.get(EXTRA_FIELDS)
    own = extra.get(provider) if isinstance(extra, dict) else None
    parts = own.get(member) if isinstance(own, dict) else None
    if not isinstance(parts, list):
        return None
    for part in parts:
        check_part(part, f"{where}.{EXTRA_FIELDS}.{provider}.{member}")
    return parts


def joined_texts(parts: Iterable[dict[str, Any]]) -> str:
    """What parts that were looked at say together."""
    return "".join([part.get("text") or "" for part in parts])


def output_limit(members: RequestFields) -> int | None:
    """The most tokens an answer may have; the newer of OpenAI's two names wins. Raises Failure for no whole number."""
    limit, older = members.pop("max_completion_tokens"), members.pop("max_tokens")
    if limit is not None:
        check_whole_number(limit, "max_completion_tokens")
    if older is not None:
        check_whole_number(older, "max_tokens")
    if limit is None:
        return older  # type: ignore[no-any-return]
    if older not in (None, limit):
        members.report_dropped("max_tokens")
    return limit  # type: ignore[no-any-return]


def check_whole_number(number: Any, where: str) -> None:
    """Raise Failure (400) for anything else than a whole number."""
    if not isinstance(number, int) or isinstance(number, bool):
        raise invalid(where, "must be a whole number")


def end_user(members: RequestFields) -> str | None:
    """Whom the request is for; the newer of OpenAI's two names wins."""
    user, older = members.pop("safety_identifier"), members.pop("user")
    if user and older not in (None, user):
        members.report_dropped("user")
    return user or older  # type: ignore[no-any-return]


def stop_sequences(members: RequestFields) -> list[str]:
    """`stop` as a list; an empty text stops nothing. Raises Failure (400)."""
    stop = members.pop("stop")
    given = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise invalid("stop", "must be text or a list of texts")
    return [one for one in given if one]


# Possessive throughout: a URL that is none is given up at its first wrong character.
_DATA_URL = re.compile(r"data:([\w.+-]++/[\w.+-]++)(?:;(?!base64,)[\w=.+-]++)*+;base64,(.*+)", re.DOTALL)


def data_url(url: str, where: str) -> tuple[str, str] | None:
    """Type and base64 text of a data URL; None for another URL. Raises Failure for data that is not base64."""
    found = _DATA_URL.fullmatch(url)
    if found:
        return found[1], found[2]
    if url.startswith("data:"):
        raise invalid(where, "must be base64: `data:<type>;base64,<data>`")
    return None


def json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


_LONGEST_NAMES = 4096  # of an answer and of its model, together
_AFTER_TEXT = b'},"logprobs":null,"finish_reason":null}]}\n\n'


class ChunkWriter:
    """Writes the chunks of one stream. `id`, `created` and `model` stay the same all through, so what stands before a
    chunk's choices is encoded once: 0.4 us a chunk, 0.8 with all of it."""

    def __init__(self, created: int) -> None:
        self._created = created
        self.begin("", "")

    def begin(self, answer_id: str, model: str) -> None:
        """Raises Failure (502) for names so long that a stream which repeats them would grow without bounds."""
        if len(answer_id) + len(model) > _LONGEST_NAMES:
            raise malformed_response(f"the provider sent an id and a model's name of over {_LONGEST_NAMES} characters")
        frame = {"id": answer_id, "object": "chat.completion.chunk", "created": self._created, "model": model}
        self._frame = b'data: %b,"choices":[' % msgspec.json.encode(frame)[:-1]
        self._before_text = self._frame + b'{"index":0,"delta":{"content":'

    def delta(
        self,
        delta: dict[str, Any],
        finish_reason: str | None = None,
        index: int = 0,
        logprobs: dict[str, Any] | None = None,
    ) -> bytes:
        encode = msgspec.json.encode
        told = b"null" if logprobs is None else encode(logprobs)
        choice = (self._frame, index, encode(delta), told, encode(finish_reason))
        return b'%b{"index":%d,"delta":%b,"logprobs":%b,"finish_reason":%b}]}\n\n' % choice

    def text(self, text: str) -> bytes:
        """As `delta({"content": text})`, which most chunks are, in a third of the time."""
        return self._before_text + msgspec.json.encode(text) + _AFTER_TEXT

    def usage(self, usage: dict[str, Any]) -> bytes:
        return b'%b],"usage":%b}\n\n' % (self._frame, msgspec.json.encode(usage))
