"""Change named members of a JSON object and leave every other byte as it came.

The body of a request may hold fields nobody here has heard of, numbers spelled in odd ways and strings of megabytes;
none of that is ours to touch. So a member is found by position and its span is replaced. The body must already be
known to be one valid JSON object (the envelope decoder has said so): on other input the positions mean nothing.
"""

import re
from collections.abc import Callable, Container, Mapping, Sequence
from typing import NamedTuple

import msgspec

from nulpoint.errors import rejected

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TEXT = re.compile(_STRING, re.DOTALL)
_KEY = re.compile(rb"[\s,]*+(" + _STRING + rb")\s*+:\s*+", re.DOTALL)
_SCALAR = re.compile(rb"[^\s,\]}]++")
_OBJECT = re.compile(rb"\s*+\{")
_LONG_VALUES = (b"{", b"[", b'"')
# Up to and including the next bracket that is not inside a string: for what is nested too deeply for the decoder.
_BRACKET = re.compile(rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+([\[\]{}])', re.DOTALL)
_MODEL_KEY = re.compile(rb'"model"\s*+:\s*+')
_SPACE = b" \t\r\n"
_AFTER_VALUE = re.compile(r"trailing characters \(byte (\d+)\)")
_skip_value = msgspec.json.Decoder(msgspec.Raw).decode
# A letter of "model" may be spelled as an escape; nothing else can hide that key from a literal search.
_ESCAPED_LETTER = b"\\u006"


class JsonMember(NamedTuple):
    """One member of the top-level object: its decoded key, and the spans of its key token and of its value."""

    key: str
    key_start: int
    key_end: int
    start: int
    end: int


class JsonEdit(NamedTuple):
    """Replace the bytes from `start` to `end`."""

    start: int
    end: int
    text: bytes


def members(body: bytes, most: int | None = None) -> list[JsonMember]:
    """The members of the top-level object, in order, repeated keys included; no more than `most`."""
    return _members(body, most, value_end)


def _members(body: bytes, most: int | None, find_end: Callable[[bytes, int], int]) -> list[JsonMember]:
    found: list[JsonMember] = []
    position = body.index(b"{") + 1
    while len(found) != most and (key := _KEY.match(body, position)):
        start = key.end()
        end = find_end(body, start)
        found.append(JsonMember(msgspec.json.decode(key[1]), key.start(1), key.end(1), start, end))
        position = end
    return found


def without_long_values(body: bytes, longest: int, most: int, keep: Container[str]) -> bytes | None:
    """The top-level object with [] for each array, object and text of over `longest` bytes, but for those to `keep`.

    None if it has over `most` members. The body need not be known to be valid: it is exactly if the result is. Raises
    msgspec.DecodeError or RecursionError where a value is not.
    """
    found = _members(body, most + 1, _decoded_end) if _OBJECT.match(body) else []
    if len(found) > most:
        return None
    long = (one for one in found if one.end - one.start > longest and one.key not in keep)
    return apply(body, [JsonEdit(one.start, one.end, b"[]") for one in long if body[one.start] in b'{["'])


def value_end(body: bytes, start: int) -> int:
    """Where the JSON value that begins at `start`, a member's, ends.

    It may be nested however deeply, and strings in it may hold half a surrogate pair, which the decoder does not take.
    """
    try:
        return _decoded_end(body, start)
    except (msgspec.DecodeError, RecursionError):
        text = _TEXT.match(body, start)
        return _closing_bracket(body, start) if text is None else text.end()


def _decoded_end(body: bytes, start: int) -> int:
    """The same, but raises what the decoder does of a value that is not valid, or nested too deeply for it.

    The decoder reads over an array or object without building it, in about a nanosecond a byte, and then complains of
    the text that goes on behind it, with its place.
    """
    first = body[start : start + 1]
    if first not in _LONG_VALUES:
        scalar = _SCALAR.match(body, start)
        return start if scalar is None else scalar.end()
    try:
        _skip_value(memoryview(body)[start:])
    except msgspec.DecodeError as error:
        after = _AFTER_VALUE.search(str(error))
        if after is None:
            raise
        end = start + int(after[1]) - 1
        return end if body[end - 1] not in _SPACE else start + len(body[start:end].rstrip(_SPACE))
    return len(body.rstrip(_SPACE))


def _closing_bracket(body: bytes, start: int) -> int:
    depth = 0
    position = start
    while bracket := _BRACKET.match(body, position):
        position = bracket.end()
        depth += 1 if bracket[1] in b"{[" else -1
        if depth == 0:
            break
    return position


def model_span(body: bytes) -> tuple[int, int]:
    """Where the value of the one top-level `model` stands. Raises Failure when there are two of them.

    Nearly always `"model":` is there once and is spelled plainly; then it is the top-level one, because a valid
    envelope has that. Otherwise (a nested `model`, an escape, a string that ends in `"model`) the object is walked.
    """
    key = _MODEL_KEY.search(body)
    if key is not None and body[key.start() - 1] != 0x5C and not (b"\\" in body and _ESCAPED_LETTER in body):
        start = key.end()
        if not _has_model_key(body, start):
            return start, value_end(body, start)
    spans = [(member.start, member.end) for member in members(body) if member.key == "model"]
    if len(spans) != 1:
        raise rejected("`model` is given more than once", param="model", code="duplicate_field")
    return spans[0]


def _has_model_key(body: bytes, position: int) -> bool:
    """Whether `"model":` stands anywhere from `position` on. A plain search is quicker than the pattern's."""
    position = body.find(b'"model"', position)
    while position >= 0:
        if _MODEL_KEY.match(body, position):
            return True
        position = body.find(b'"model"', position + 1)
    return False


def set_model(body: bytes, model: str) -> JsonEdit:
    """The edit that makes `model` the model asked for."""
    start, end = model_span(body)
    return JsonEdit(start, end, msgspec.json.encode(model))


def add_member(body: bytes, key: str, value: bytes) -> JsonEdit:
    """The edit that appends a member to an object that has at least one. `value` is JSON text."""
    end = body.rindex(b"}")
    return JsonEdit(end, end, b",%b:%b" % (msgspec.json.encode(key), value))


def rewrite(body: bytes, rename: Mapping[str, str], drop: frozenset[str]) -> tuple[bytes, list[str]]:
    """Rename and drop top-level members; also gives the names of what was dropped although it said something.

    A member that is `null` says nothing. Where both the old and the new name are there, the new one counts and the
    old one is dropped. Without anything to do the body is given back as it is.
    """
    found = members(body)
    names = {member.key for member in found}
    if names.isdisjoint(drop) and names.isdisjoint(rename):
        return body, []
    kept: list[bytes] = []
    dropped: list[str] = []
    for member in found:
        new_name = rename.get(member.key)
        if member.key in drop or (new_name is not None and new_name in names):
            if body[member.start : member.end] != b"null":
                dropped.append(member.key)
        elif new_name is not None:
            kept.append(msgspec.json.encode(new_name) + body[member.key_end : member.end])
        else:
            kept.append(body[member.key_start : member.end])
    return b"{" + b",".join(kept) + b"}", dropped


def apply(body: bytes, edits: Sequence[JsonEdit]) -> bytes:
    """The body with non-overlapping edits made."""
    view = memoryview(body)
    parts: list[bytes | memoryview] = []
    position = 0
    for edit in sorted(edits):
        parts += (view[position : edit.start], edit.text)
        position = edit.end
    return b"".join((*parts, view[position:]))
