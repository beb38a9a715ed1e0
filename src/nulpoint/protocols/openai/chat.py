"""The parts of the OpenAI chat format that all codecs share: reading requests without losing members, writing chunks.

Source: OpenAI's API description, `POST /chat/completions`.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from functools import wraps
from typing import Any, ClassVar, NamedTuple, ParamSpec, TypeVar

import msgspec

from nulpoint.errors import Failure, rejected
from nulpoint.formats.json_nodes import exceeds_node_count
from nulpoint.formats.malformed import NOT_JSON, malformed_response, unusable_response
from nulpoint.protocols.error_body import has_embedded_error
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.media_types import media_type_of_data
from nulpoint.protocols.openai.request_names import CHAT_MEMBERS
from nulpoint.protocols.provider_errors import embedded_failure

# Any other top-level member is the provider's own and is sent to it unchanged.
OPENAI_MEMBERS = CHAT_MEMBERS
# The values of members that have no effect, so that dropping them loses nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,), "logit_bias": ({},), "logprobs": (False,), "metadata": ({},), "modalities": (["text"],),
    "n": (1,), "parallel_tool_calls": (True,), "presence_penalty": (0,), "store": (False,), "stop": ([], ""),
    "temperature": (1,), "top_logprobs": (0,), "top_p": (1,), "tools": ([],), "functions": ([],),
}  # fmt: skip
# The member of a message for everything that OpenAI's format has no place for, by provider. If a client sends such a
# message back, the provider gets these members again.
EXTRA_FIELDS = "provider_specific_fields"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.$-]")
_MAX_NAME_LENGTH, _MAX_NAMES = 120, 32
# The values of a member that have no effect, whatever the member is.
NO_EFFECT: tuple[Any, ...] = (None, "", [], {}, False, "auto")


def read_body(body: bytes) -> dict[str, Any]:
    """Decode the client's request, of which only the envelope was checked before. Raises Failure (400)."""
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise rejected(f"the request body is not valid JSON: {error}"[:200], code="invalid_json") from None
    except RecursionError:
        raise _too_deep() from None
    return object_of(request, "the request body")


def write_body(request: dict[str, Any]) -> bytes:
    """Encode a request to the provider, which may nest a little deeper than the client's. Raises Failure (400)."""
    try:
        return msgspec.json.encode(request)
    except RecursionError:
        raise _too_deep() from None


def _too_deep() -> Failure:
    return rejected("the request body is nested too deeply", code="invalid_json")


_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def reject_deep_nesting(encode: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Decorate a function that reads a request, to raise Failure (400) if the request nests too deeply for Python."""

    @wraps(encode)
    def rejecting(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        try:
            return encode(*args, **kwargs)
        except RecursionError:
            raise _too_deep() from None

    return rejecting


class EncodedRequest(NamedTuple):
    """A request for embeddings in a provider's format, and the names of dropped members.

    `method` is the method of the API, which the path names, if the provider has several.
    """

    body: bytes
    dropped: list[str]
    method: str = ""


class RequestFields:
    """The top-level members of a request, from which a provider protocol takes those it translates.

    Of the members that are left in the end, those of the OpenAI API are reported as dropped, and the others are the
    provider's own. `limits` are the limits for translating the request.
    """

    def __init__(self, request: Mapping[str, Any], limits: TranslationLimits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self._left = {name: value for name, value in request.items() if value is not None}
        self.dropped: list[str] = []

    def pop(self, name: str, default: Any = None) -> Any:
        return self._left.pop(name, default)

    def pop_all(self, names: Collection[str]) -> dict[str, Any]:
        """Take those of the named members that are left, in the client's order."""
        return {name: self._left.pop(name) for name in [name for name in self._left if name in names]}

    def has_any(self, names: Set[str]) -> bool:
        """Return whether one of the named members is left."""
        return not names.isdisjoint(self._left)

    def get(self, name: str) -> Any:
        """Return a member without taking it."""
        return self._left.get(name)

    def report_dropped(self, name: str) -> None:
        """Add a path to the dropped members, which a response header lists. Its characters and length are limited."""
        name = _NOT_IN_NAMES.sub("?", name[:_MAX_NAME_LENGTH])
        if name in self.dropped or len(self.dropped) > _MAX_NAMES:
            return
        self.dropped.append(name if len(self.dropped) < _MAX_NAMES else "and more")

    def leftovers(self) -> dict[str, Any]:
        """Return the provider's own members, and report the rest as dropped unless they have no effect."""
        provider_members: dict[str, Any] = {}
        for name, value in self._left.items():
            if name not in OPENAI_MEMBERS:
                provider_members[name] = value
            elif not has_no_effect(name, value):
                self.report_dropped(name)
        return provider_members


def has_no_effect(name: str, value: Any) -> bool:
    """Return whether a top-level member has a value with which it changes nothing."""
    return value is None or value in _NEUTRAL.get(name, ())


def read_response(provider: str, body: bytes) -> dict[str, Any]:
    """Decode a provider's response. Raises Failure if it is not a JSON object, or is an error with a success status."""
    try:
        response = msgspec.json.decode(body)
    except NOT_JSON:
        raise unusable_response("it is not JSON") from None
    good = isinstance(response, dict) and not response.get("error") and response.get("object") != "error"
    if not good and has_embedded_error(body):
        raise embedded_failure(provider, body)
    if not isinstance(response, dict):
        raise unusable_response("it is not a JSON object")
    return response


def choice_index(choice: dict[str, Any], number: int) -> int:
    """Return the `index` of a choice, or its position `number` in the response if it has none."""
    index = choice.get("index")
    return number if index is None else index


def invalid(param: str, problem: str, code: str = "invalid_value") -> Failure:
    """Return the failure (400) for a member `param` that is wrong, or that this provider does not accept."""
    return rejected(f"`{param}` {problem}", param=param, code=code)


def too_many(count: int, limit: int, param: str, setting: str) -> Failure:
    """Return the failure (400) for a list that is longer than the gateway translates."""
    text = f"has {count} entries, and at most {limit} are translated; the gateway's operator can raise {setting}"
    return invalid(param, text, code="array_above_max_length")


def check_nested_json(text: str, where: str, limit: int) -> None:
    """Raise Failure (400) if a text to be decoded as JSON has too many names and values."""
    if len(text) > limit and exceeds_node_count(text.encode(), limit):
        problem = f"has more than {limit} JSON names and values; send less, or raise MAX_JSON_NODES"
        raise invalid(where, problem, code="too_many_json_nodes")


def optional_text(value: Any, where: str) -> str:
    """Return a text, or an empty text for None. Raises Failure (400) for other types."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise invalid(where, "must be text")
    return value


def object_of(value: Any, where: str) -> dict[str, Any]:
    """Return an object, or an empty object for None. Raises Failure (400) for other types."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(where, "must be an object")
    return value


def parts_of(content: Any, where: str) -> list[dict[str, Any]]:
    """Return message content, a text or a list, as a list of parts without empty texts. Raises Failure (400)."""
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
    """Raise Failure (400) for anything that cannot be a message part in any format.

    Afterwards `type` and `text` of the part are known to be texts if they are present.
    """
    if not isinstance(part, dict):
        raise invalid(where, "must be text or a list of parts")
    for name in ("type", "text"):
        if not isinstance(part.get(name), str | None):
            raise invalid(where, f"must have text as the `{name}` of its parts")


def original_parts(extra: Any, provider: str, member: str, where: str) -> list[dict[str, Any]] | None:
    """Return the original parts in the EXTRA_FIELDS of a message that came from this provider.

    Returns None if there are none. Raises Failure (400) for malformed parts.
    """
    provider_fields = extra.get(provider) if isinstance(extra, dict) else None
    parts = provider_fields.get(member) if isinstance(provider_fields, dict) else None
    if not isinstance(parts, list):
        return None
    for part in parts:
        check_part(part, f"{where}.{EXTRA_FIELDS}.{provider}.{member}")
    return parts


def joined_texts(parts: Iterable[dict[str, Any]]) -> str:
    """Return the concatenated text of parts that were checked."""
    return "".join([part.get("text") or "" for part in parts])


def output_limit(members: RequestFields) -> int | None:
    """Take the limit of output tokens. `max_completion_tokens` overrides the older `max_tokens`.

    Raises Failure (400) if either is not an integer.
    """
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
    """Raise Failure (400) unless the value is an integer."""
    if not isinstance(number, int) or isinstance(number, bool):
        raise invalid(where, "must be a whole number")


def end_user(members: RequestFields) -> str | None:
    """Take the id of the end user. `safety_identifier` overrides the older `user`."""
    user, older = members.pop("safety_identifier"), members.pop("user")
    if user and older not in (None, user):
        members.report_dropped("user")
    return user or older  # type: ignore[no-any-return]


def stop_sequences(members: RequestFields) -> list[str]:
    """Take `stop` as a list without empty texts. Raises Failure (400)."""
    stop = members.pop("stop")
    if stop is None:
        return []
    texts = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise invalid("stop", "must be text or a list of texts")
    return [text for text in texts if text]


_UNNAMED = (None, "application/octet-stream", "binary/octet-stream")
# All quantifiers are possessive, so matching a wrong URL fails at its first wrong character.
_DATA_URL = re.compile(r"data:([\w.+-]++/[\w.+-]++)?(?:;(?!base64,)[\w=.+-]++)*+;base64,(.*+)", re.DOTALL)


def data_url(url: str, where: str) -> tuple[str, str] | None:
    """Return the media type and base64 text of a data URL, or None for other URLs.

    Where the URL names no type, or only that of any bytes, the data tells it. Raises Failure (400) if it does not, or
    if the data is not base64.
    """
    match = _DATA_URL.fullmatch(url)
    if match:
        named, data = match.groups()
        kind = (media_type_of_data(data) or named) if named in _UNNAMED else named
        if kind is None:
            raise invalid(where, "must name the media type: `data:<type>;base64,<data>`")
        return kind, data
    if url.startswith("data:"):
        raise invalid(where, "must be base64: `data:<type>;base64,<data>`")
    return None


def json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


_MAX_ID_AND_MODEL = 4096  # characters of the response id and the model's name together
AFTER_TEXT = b'},"logprobs":null,"finish_reason":null}]}\n\n'


class ChunkWriter:
    """Writes the chunks of a stream.

    `id`, `created` and `model` are the same in all chunks, so the part before the choices is encoded only once. A chunk
    takes 0.4 us instead of 0.8.
    """

    object: ClassVar[str] = "chat.completion.chunk"

    def __init__(self, created: int) -> None:
        self._created = created
        self.begin("", "")

    def begin(self, response_id: str, model: str, created: int | None = None) -> None:
        """Set the id and model for the next chunks, and their date if it is not the one of this writer.

        Raises Failure (502) if they are so long that a stream which repeats them would be too large.
        """
        if len(response_id) + len(model) > _MAX_ID_AND_MODEL:
            raise malformed_response(
                f"the provider sent an id and a model name of more than {_MAX_ID_AND_MODEL} characters"
            )
        date = self._created if created is None else created
        frame = {"id": response_id, "object": self.object, "created": date, "model": model}
        self._frame = b'data: %b,"choices":[' % msgspec.json.encode(frame)[:-1]

    def before_text(self, index: int) -> bytes:
        """Return what stands before the text in a chunk with only text. AFTER_TEXT stands after it."""
        return b'%b{"index":%d,"delta":{"content":' % (self._frame, index)

    def delta(
        self,
        delta: Mapping[str, Any],
        finish_reason: str | None = None,
        index: int = 0,
        logprobs: Mapping[str, Any] | None = None,
    ) -> bytes:
        encode = msgspec.json.encode
        encoded_logprobs = b"null" if logprobs is None else encode(logprobs)
        values = (self._frame, index, encode(delta), encoded_logprobs, encode(finish_reason))
        return b'%b{"index":%d,"delta":%b,"logprobs":%b,"finish_reason":%b}]}\n\n' % values

    def usage(self, usage: dict[str, Any]) -> bytes:
        return b'%b],"usage":%b}\n\n' % (self._frame, msgspec.json.encode(usage))
