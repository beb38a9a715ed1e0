"""Changes named members of a JSON object and leaves every other byte as it is.

A request body may contain members that the gateway does not know, numbers in unusual notation and strings of many
megabytes, and none of these may change on the way. So a member is found by its position and its span is replaced. The
body must already be known to be a single valid JSON object, which decoding its envelope has checked: on other input the
positions are meaningless.
"""

import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from nulpoint.errors import rejected

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TEXT = re.compile(_STRING, re.DOTALL)
_KEY = re.compile(rb"[\s,]*+(" + _STRING + rb")\s*+:\s*+", re.DOTALL)
_SEPARATOR = re.compile(rb"[\s,]*+")
_SCALAR = re.compile(rb"[^\s,\]}]++")
_OBJECT = re.compile(rb"\s*+\{")
_LONG_VALUES = (b"{", b"[", b'"')
# Matches up to and including the next bracket outside strings, for values that are nested too deeply for the decoder.
_BRACKET = re.compile(rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+([\[\]{}])', re.DOTALL)
_MODEL_KEY = re.compile(rb'"model"\s*+:\s*+')
_SPACE = b" \t\r\n"
_AFTER_VALUE = re.compile(r"trailing characters \(byte (\d+)\)")
_skip_value = msgspec.json.Decoder(msgspec.Raw).decode
# The key "model" may be written with escaped letters. Nothing else can hide it from a literal search.
_ESCAPED_LETTER = b"\\u006"


class JsonMember(NamedTuple):
    """A member of the top-level object: its decoded key, and the spans of its key token and of its value."""

    key: str
    key_start: int
    key_end: int
    start: int
    end: int


class JsonEdit(NamedTuple):
    """The replacement of the bytes from `start` to `end` by `text`."""

    start: int
    end: int
    text: bytes


def members(body: bytes, limit: int | None = None) -> list[JsonMember]:
    """Return the members of the top-level object in order, including repeated keys, and at most `limit` of them."""
    return _members(body, limit, value_end)


def _members(body: bytes, limit: int | None, find_end: Callable[[bytes, int], int]) -> list[JsonMember]:
    found: list[JsonMember] = []
    position = body.index(b"{") + 1
    while len(found) != limit and (key := _KEY.match(body, position)):
        start = key.end()
        end = find_end(body, start)
        found.append(JsonMember(msgspec.json.decode(key[1]), key.start(1), key.end(1), start, end))
        position = end
    return found


def value_start(body: bytes, key: str) -> int | None:
    """Return where the value of the first top-level member with this key begins; None if there is none.

    Nothing after it is read.
    """
    position = body.index(b"{") + 1
    while found := _KEY.match(body, position):
        if msgspec.json.decode(found[1]) == key:
            return found.end()
        position = value_end(body, found.end())
    return None


def first_objects(body: bytes, start: int, limit: int, longest: int) -> Iterator[tuple[memoryview, bool]]:
    """Yield the objects at the beginning of the array that begins at `start`, at most `limit`, each with True.

    Nothing after them is read. An object of more than `longest` bytes is cut there; it is the last one, with False.
    Raises msgspec.DecodeError if an object is not valid.
    """
    view, position = memoryview(body), start + 1
    for _ in range(limit):
        position = _SEPARATOR.match(body, position).end()  # type: ignore[union-attr]  # it always matches
        if body[position : position + 1] != b"{":
            return
        window = view[position : position + longest]
        try:
            _skip_value(window)
            end = len(window)
        except msgspec.DecodeError as error:
            after = _AFTER_VALUE.search(str(error))
            if after is None:
                if len(window) < longest:
                    raise
                yield window, False
                return
            end = int(after[1]) - 1
        yield window[:end], True
        position += end


def without_long_values(body: bytes, longest: int, limit: int, keep: Container[str]) -> bytes | None:
    """Return the top-level object with [] in place of every array, object and string of more than `longest` bytes.

    Members named in `keep` stay as they are. Returns None if the object has more than `limit` members. The body need
    not be known to be valid, since it is valid exactly if the result is. Raises msgspec.DecodeError or RecursionError
    if a value is not valid.
    """
    found = _members(body, limit + 1, _decoded_end) if _OBJECT.match(body) else []
    if len(found) > limit:
        return None
    long = (one for one in found if one.end - one.start > longest and one.key not in keep)
    return apply(body, [JsonEdit(one.start, one.end, b"[]") for one in long if body[one.start] in b'{["'])


def value_end(body: bytes, start: int) -> int:
    """Return the position after the member value that begins at `start`.

    The value may be nested to any depth, and its strings may contain half a surrogate pair, which the decoder rejects.
    """
    try:
        return _decoded_end(body, start)
    except (msgspec.DecodeError, RecursionError):
        text = _TEXT.match(body, start)
        return _closing_bracket(body, start) if text is None else text.end()


def _decoded_end(body: bytes, start: int) -> int:
    """Return the position after the member value that begins at `start`, found by the decoder.

    The decoder skips an array or object without building it, at about one nanosecond per byte, and then raises an error
    that names the position of the text after it. Raises the decoder's error if the value is invalid, and RecursionError
    if it is nested too deeply.
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
    """Return the span of the value of the top-level `model` member. Raise Failure if there are two such members.

    In nearly all requests `"model":` occurs once and has no escapes. It is then the top-level member, because a valid
    envelope has one. Otherwise (a nested `model`, an escape, a string that ends in `"model`) all members are read.
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
    """Return whether `"model":` occurs at or after `position`. Searching for a literal is faster than for a pattern."""
    position = body.find(b'"model"', position)
    while position >= 0:
        if _MODEL_KEY.match(body, position):
            return True
        position = body.find(b'"model"', position + 1)
    return False


def set_model(body: bytes, model: str) -> JsonEdit:
    """Return the edit that replaces the name of the requested model by `model`."""
    start, end = model_span(body)
    return JsonEdit(start, end, msgspec.json.encode(model))


def add_member(body: bytes, key: str, value: bytes) -> JsonEdit:
    """Return the edit that appends a member to an object that is not empty. `value` is JSON text."""
    end = body.rindex(b"}")
    return JsonEdit(end, end, b",%b:%b" % (msgspec.json.encode(key), value))


def rewrite(body: bytes, rename: Mapping[str, str], drop: frozenset[str]) -> tuple[bytes, list[str]]:
    """Rename and drop top-level members. Return the new body and the names of dropped members that were not `null`.

    If a request has both the old and the new name of a member, the old one is dropped. If there is nothing to change,
    the body itself is returned.
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
    """Return the body with the edits applied, which must not overlap."""
    view = memoryview(body)
    parts: list[bytes | memoryview] = []
    position = 0
    for edit in sorted(edits):
        parts += (view[position : edit.start], edit.text)
        position = edit.end
    return b"".join((*parts, view[position:]))
