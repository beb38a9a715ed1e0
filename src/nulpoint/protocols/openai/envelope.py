"""The few members of a request that the gateway acts on; the rest of the body is only checked to be JSON."""

import re
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from nulpoint.errors import Failure, rejected
from nulpoint.formats import json_edit
from nulpoint.formats.canonical_json import NoCanonicalTextError, separate
from nulpoint.formats.malformed import NOT_JSON
from nulpoint.protocols.openai.request_names import (
    LONG,
    MAX_DECODED_BYTES,
    READ_NAMES,
    SHORT,
    check_names,
    frame_of_long,
    without_large_values,
)

# These members say how a response is delivered, not what it is: a body and a stream share one cache entry.
DELIVERY = ("stream", "stream_options")
_WHERE = re.compile(r" - at `\$\.(\w+)")
MAX_MODEL_LENGTH = 2048  # characters; an ARN of Amazon Bedrock may be this long
_ABSENT = msgspec.Raw()
_SHOWN = 100  # characters; an error message that may repeat the request is cut at twice as many


class StreamOptions(msgspec.Struct):
    """The member `stream_options` of a request, reduced to what the gateway acts on."""

    include_usage: bool | None = None


class Envelope(msgspec.Struct, frozen=True):
    """The members of a chat, completions or embeddings request that the gateway acts on.

    `frame` is the request, in which large values may have been replaced by `[]`. It has the names of all members.
    `canonical_text` is that of the request without its DELIVERY members, or None if it has not been made.
    """

    model: str
    stream: bool | None
    stream_options: StreamOptions | UnsetType | None
    frame: bytes
    canonical_text: bytes | None = None


class _Members(msgspec.Struct):
    """The members of `Envelope`, and those that make up most of a request, undecoded."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | UnsetType | None = UNSET
    messages: msgspec.Raw = _ABSENT
    input: msgspec.Raw = _ABSENT
    prompt: msgspec.Raw = _ABSENT
    tools: msgspec.Raw = _ABSENT

    def large_values(self) -> tuple[tuple[bytes, msgspec.Raw], ...]:
        """Return the members that make up most of a request: their quoted names and values, empty if absent."""
        return (
            (b'"messages"', self.messages), (b'"input"', self.input),
            (b'"prompt"', self.prompt), (b'"tools"', self.tools),
        )  # fmt: skip


class _Model(msgspec.Struct):
    model: msgspec.Raw = _ABSENT


_EMPTY = re.compile(rb"\s*+\{\s*+\}\s*+")
_MODEL_DECODER = msgspec.json.Decoder(_Model)
_DECODER = msgspec.json.Decoder(_Members)
_KNOWN_DECODER: "msgspec.json.Decoder[_Members]" = msgspec.json.Decoder(
    msgspec.defstruct(
        "_KnownMembers",
        [(name, msgspec.Raw, _ABSENT) for name in sorted(READ_NAMES.difference(_Members.__struct_fields__))],
        bases=(_Members,),
        omit_defaults=True,
        forbid_unknown_fields=True,
    )
)
_encode = msgspec.json.Encoder().encode


def asks_for_usage(envelope: Envelope) -> bool:
    """Return whether the client wants a stream to end with its usage."""
    options = envelope.stream_options
    return options is not UNSET and options is not None and bool(options.include_usage)


def has_delivery_members(envelope: Envelope) -> bool:
    """Return whether the request has a member in DELIVERY, other than `"stream": null`."""
    return envelope.stream is not None or envelope.stream_options is not UNSET


def read_envelope(body: bytes, *, canonical: bool = False) -> Envelope:
    """Read the members that the gateway acts on. With `canonical`, make the canonical text of a short request too.

    Raises Failure (400) that names the member that is wrong, or that a provider could read differently.
    """
    if canonical and len(body) <= SHORT:
        envelope = _canonical_envelope(body)
        if envelope is not None:
            return envelope
    frame, members = body, _known_members(body) if len(body) <= SHORT else None
    if members is None:
        frame, members = _read_any(body)
    if not members.model or members.model.isspace():
        raise rejected("`model` is empty; name a model, for example gpt-5.4", param="model", code="invalid_value")
    if len(members.model) > MAX_MODEL_LENGTH:
        text = f"`model` has over {MAX_MODEL_LENGTH} characters, and no provider has names so long; name a model"
        raise rejected(text, param="model", code="invalid_value")
    return Envelope(members.model, members.stream, members.stream_options, frame)


def with_model(body: bytes, model: str, *, as_default: bool = False) -> bytes:
    """Return a request that names this model, whichever it named before; with `as_default`, only if it named none.

    Raises Failure (400) if the body is not a JSON object, or names a model twice.
    """
    named = _named_model(body)
    if named is None:
        return _add_model(body, model)
    if as_default and named != b"null":
        return body
    return json_edit.apply(body, [json_edit.set_model(body, model)])


def without_model(body: bytes) -> bytes:
    """Return a request, whose envelope has been read, without the name of its model."""
    return json_edit.rewrite(body, {}, frozenset({"model"}))[0]


def _named_model(body: bytes) -> bytes | None:
    """Return the member `model` as it is written; None if there is none.

    Raises Failure (400) if the body is not an object, or has more members or names than `read_envelope` accepts.
    """
    try:
        named = _MODEL_DECODER.decode(body).model
        check_names(body)
    except NOT_JSON as error:
        raise _unreadable(error) from None
    return bytes(named) or None


def _add_model(body: bytes, model: str) -> bytes:
    """Return an object that has no member `model` with this one as its first member."""
    start = body.index(b"{") + 1
    comma = b"" if _EMPTY.fullmatch(body) else b","
    return b'%b"model":%b%b%b' % (body[:start], _encode(model), comma, body[start:])


def _canonical_envelope(body: bytes) -> Envelope | None:
    """Return the envelope of a short request with its canonical text; None if it needs a closer look.

    An object with a canonical text has no key twice.
    """
    try:
        text, members, delivery = separate(body, DELIVERY)
    except NoCanonicalTextError:
        return None
    model = members.get("model")
    if type(model) is not str or not model or model.isspace() or not READ_NAMES.issuperset(members):
        return None
    if not delivery:
        return Envelope(model, None, UNSET, body, text)
    stream, options = delivery.get("stream"), delivery.get("stream_options", UNSET)
    if stream is not None and type(stream) is not bool:
        return None
    if type(options) is dict:
        try:
            options = msgspec.convert(options, StreamOptions)
        except msgspec.ValidationError:
            return None
    elif options is not None and options is not UNSET:
        return None
    return Envelope(model, stream, options, body, text)


def _known_members(body: bytes) -> _Members | None:
    """Return the members of a request if all names are in READ_NAMES and none occurs twice; None if that is uncertain.

    Decoding keeps only one of several members with the same name. Each lost member had a colon, and no known name
    contains one. So if encoding the members again gives as many colons or as many bytes, none was lost.
    """
    try:
        members = _KNOWN_DECODER.decode(body)
    except NOT_JSON:
        return None
    encoded = _encode(members)
    return members if len(encoded) == len(body) or encoded.count(b":") == body.count(b":") else None


def _read_any(body: bytes) -> tuple[bytes, _Members]:
    """Return the frame and the members of a request, whatever its names are. Raises Failure (400)."""
    try:
        if len(body) <= LONG:
            members = _DECODER.decode(body)
            frame = body if len(body) <= SHORT else without_large_values(body, members.large_values())
        else:
            frame = frame_of_long(body)
            members = _DECODER.decode(frame)
        if len(body) <= SHORT or len(frame) > MAX_DECODED_BYTES or _known_members(frame) is None:
            check_names(frame)
    except NOT_JSON as error:
        raise _unreadable(error) from None
    return frame, members


def _unreadable(error: Exception) -> Failure:
    """Return the failure for a body that the decoder rejected with one of the exceptions in NOT_JSON."""
    if isinstance(error, msgspec.ValidationError):
        return _invalid_member(str(error))
    if isinstance(error, RecursionError):
        return rejected("the request body is nested too deeply", code="invalid_json")
    return rejected(f"the request body is not valid JSON: {error}"[: _SHOWN * 2], code="invalid_json")


def decode_member(name: str, value: bytes | msgspec.Raw) -> Any:
    """Decode a member that was skipped when the envelope was read, so it may not be UTF-8. Raises Failure (400)."""
    try:
        return msgspec.json.decode(value)
    except NOT_JSON as error:
        raise rejected(f"`{name}` is not valid JSON: {error}"[: _SHOWN * 2], param=name, code="invalid_json") from None


def _invalid_member(problem: str) -> Failure:
    if "missing required field `model`" in problem:
        text = "`model` is missing; name a model, for example gpt-5.4"
        return rejected(text, param="model", code="missing_required_parameter")
    where = _WHERE.search(problem)
    if where is None:
        return rejected("the request body must be a JSON object", code="invalid_type")
    what = problem[: where.start()]
    return rejected(f"`{where[1]}` is wrong: {what.lower()}", param=where[1], code="invalid_type")
