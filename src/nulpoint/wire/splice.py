"""Change named members of a JSON object and leave every other byte as it came.

The body of a request may hold fields nobody here has heard of, numbers spelled in odd ways and strings of megabytes;
none of that is ours to touch. So a member is found by position and its span is replaced. The body must already be
known to be one valid JSON object (the envelope decoder has said so): on other input the positions mean nothing.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from nulpoint.errors import rejected

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_KEY = re.compile(rb"[\s,]*+(" + _STRING + rb")\s*+:\s*+", re.DOTALL)
_SCALAR = re.compile(_STRING + rb"|[^\s,\]}]++", re.DOTALL)
# Up to and including the next bracket that is not inside a string: for what is nested too deeply for the decoder.
_BRACKET = re.compile(rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+([\[\]{}])', re.DOTALL)
_MODEL_KEY = re.compile(rb'"model"\s*+:\s*+')
_SPACE = b" \t\r\n"
_AFTER_VALUE = re.compile(r"trailing characters \(byte (\d+)\)")
_skip_value = msgspec.json.Decoder(msgspec.Raw).decode
# A letter of "model" may be spelled as an escape; nothing else can hide that key from a literal search.
_ESCAPED_LETTER = b"\\u006"


class Member(NamedTuple):
    """One member of the top-level object: its decoded key, and the spans of its key token and of its value."""

    key: str
    key_start: int
    key_end: int
    start: int
    end: int


class Edit(NamedTuple):
    """Replace the bytes from `start` to `end`."""

    start: int
    end: int
    text: bytes


def members(body: bytes, most: int | None = None) -> list[Member]:
    """The members of the top-level object, in order, repeated keys included; no more than `most`."""
    found: list[Member] = []
    position = body.index(b"{") + 1
    while len(found) != most and (key := _KEY.match(body, position)):
        start = key.end()
        end = value_end(body, start)
        found.append(Member(msgspec.json.decode(key[1]), key.start(1), key.end(1), start, end))
        position = end
    return found


def value_end(body: bytes, start: int) -> int:
    """Where the JSON value that begins at `start`, a member's, ends.

    The decoder reads over an array or object without building it, in about a nanosecond a byte, and then complains of
    the text that goes on behind it, with its place.
    """
    if body[start] not in b"{[":
        scalar = _SCALAR.match(body, start)
        assert scalar is not None, "not valid JSON"
        return scalar.end()
    try:
        _skip_value(memoryview(body)[start:])
    except msgspec.DecodeError as error:
        after = _AFTER_VALUE.search(str(error))
        if after is not None:
            end = start + int(after[1]) - 1
            return end if body[end - 1] in b"]}" else start + len(body[start:end].rstrip(_SPACE))
    except RecursionError:
        pass
    return _closing_bracket(body, start)


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
    if key is not None and body[key.start() - 1] != 0x5C and _ESCAPED_LETTER not in body:
        start = key.end()
        if _MODEL_KEY.search(body, start) is None:
            return start, value_end(body, start)
    spans = [(member.start, member.end) for member in members(body) if member.key == "model"]
    if len(spans) != 1:
        raise rejected("`model` is given more than once", param="model", code="duplicate_field")
    return spans[0]


def set_model(body: bytes, model: str) -> Edit:
    """The edit that makes `model` the model asked for."""
    start, end = model_span(body)
    return Edit(start, end, msgspec.json.encode(model))


def add_member(body: bytes, key: str, value: bytes) -> Edit:
    """The edit that appends a member to an object that has at least one. `value` is JSON text."""
    end = body.rindex(b"}")
    return Edit(end, end, b",%b:%b" % (msgspec.json.encode(key), value))


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


def apply(body: bytes, edits: Sequence[Edit]) -> bytes:
    """The body with non-overlapping edits made."""
    parts: list[bytes] = []
    position = 0
    for edit in sorted(edits):
        parts += (body[position : edit.start], edit.text)
        position = edit.end
    return b"".join((*parts, body[position:]))
