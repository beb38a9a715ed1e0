"""Counts the names and values in a JSON text before it is decoded.

Decoding builds an object for each of them in a single call that holds the interpreter lock, so a thread does not help:
a body of 20 MB may contain seven million. Each is preceded by a comma, a colon or an opening bracket, so the count of
these bytes is an upper bound. Strings contain these bytes too, so if the first, cheap count exceeds the limit, the text
is counted again without its strings.
"""

import re
from collections.abc import Iterator

from nulpoint.errors import rejected
from nulpoint.formats.malformed import unusable_response

DEFAULT_MAX_JSON_NODES = 512_000  # room for 100,000 short messages; decoding the most costly shape takes 50 to 100 ms
_STRUCTURAL = b",:[{"
_OTHER_BYTES = bytes(set(range(256)).difference(_STRUCTURAL))
_DIGITS = re.compile(rb"[0-9]*+")
_CONTENT = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)  # of a string, up to its end or the end of a piece
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
CHECKED_BYTES = 8 * 1024 * 1024  # see check_structure
MAX_STRUCTURE_BYTES = 6 * 1024 * 1024
MAX_DIGITS = 100  # in a number of a long text; numbers written by programs have about twenty
LONG_TEXT = 64 * 1024  # bytes; in a shorter text, even the longest number is decoded in a few milliseconds
_LONG_RUN = b"0" * (MAX_DIGITS + 1)
_SAMPLE = 16  # bytes between two that are looked at first
_SAMPLED_RUN = b"0" * ((MAX_DIGITS + 1) // _SAMPLE)
_DIGITS_ALIKE = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))
_PIECE = 256 * 1024  # bytes; a piece takes less than a millisecond, and the interpreter may switch threads after each


def check_structure(body: bytes) -> None:
    """Raise Failure (400) if reading over this JSON text in one call would take more than about 50 ms.

    Only brackets, numbers and white space take so long: up to 4 ns a byte, and text at most 1.5 ns. A body of up to
    CHECKED_BYTES is fast enough, whatever it holds.
    """
    if len(body) <= CHECKED_BYTES:
        return
    size = 0
    for outside in _outside_strings(body):
        size += len(outside)
        if size > MAX_STRUCTURE_BYTES:
            text = (
                f"the request body is over {CHECKED_BYTES} bytes long and has more than {MAX_STRUCTURE_BYTES} bytes of "
                "JSON outside strings, which no provider takes; send less, or divide it into several requests"
            )
            raise rejected(text, code="too_many_json_nodes")


def exceeds_node_count(text: bytes, limit: int) -> bool:
    """Return whether a valid JSON text contains more than `limit` names and values."""
    if len(text) <= limit:  # each name or value takes at least one byte
        return False
    count = 0
    for start in range(0, len(text), _PIECE):
        count += len(text[start : start + _PIECE].translate(None, _OTHER_BYTES))
        if count > limit:
            return _exceeds_outside_strings(text, limit)
    return False


def _exceeds_outside_strings(text: bytes, limit: int) -> bool:
    count = 0
    for outside in _outside_strings(text):
        count += len(outside.translate(None, _OTHER_BYTES))
        if count > limit:
            return True
    return False


def holds_long_number(text: bytes) -> bool:
    """Return whether a valid JSON text contains a number with more than MAX_DIGITS consecutive digits.

    The time to convert such a number grows with the square of its length: 1.4 s for 20 MB of digits, in a single call.
    """
    return _has_long_run(text) and any(
        _LONG_RUN in outside.translate(_DIGITS_ALIKE) for outside in _outside_strings(text)
    )


def _has_long_run(text: bytes) -> bool:
    """Return whether the text has more than MAX_DIGITS consecutive digits, also in strings. This check is cheap.

    If it does, every sixteenth byte of the text is a digit at least six times in a row, which is checked first.
    """
    if _SAMPLED_RUN not in text[::_SAMPLE].translate(_DIGITS_ALIKE):
        return False
    pieces = range(0, len(text), _PIECE)
    return any(_LONG_RUN in text[start : start + _PIECE + MAX_DIGITS].translate(_DIGITS_ALIKE) for start in pieces)


def _outside_strings(text: bytes) -> Iterator[bytes]:
    """Yield the text without its strings in pieces. A number of up to MAX_DIGITS + 1 digits is never split."""
    position = 0
    while position < len(text):
        end = min(position + _PIECE, len(text))
        end = _DIGITS.match(text, end, end + MAX_DIGITS + 1).end()  # type: ignore[union-attr]  # it always matches
        piece = text[position:end]
        outside, quote, unfinished = _STRING.sub(b"", piece).partition(b'"')
        yield outside
        position += len(piece)
        if quote:  # the piece ends inside a string
            position = _string_end(text, position - len(unfinished))


def _string_end(text: bytes, position: int) -> int:
    """Return where the string ends that `position` is in, or the end of the text. No call reads more than a piece."""
    while position < len(text):
        end = position + _PIECE
        quote = text.find(b'"', position, end)
        if text.find(b"\\", position, end if quote < 0 else quote) < 0:  # a plain search is several times as fast
            if quote >= 0:
                return quote + 1
            position = end
            continue
        content = _CONTENT.match(text, position, end)
        position, start = content.end() if content else position, position
        if text[position : position + 1] == b'"':
            return position + 1
        if position == start:  # the text ends in a backslash
            break
    return len(text)


def check_node_count(body: bytes, limit: int) -> None:
    """Raise Failure (400) if a request has more names and values than the gateway decodes, or a very long number."""
    if exceeds_node_count(body, limit):
        text = (
            f"the request body holds more than {limit} JSON names and values, the most that this gateway decodes for a "
            "provider with a format of its own; send less, or raise MAX_JSON_NODES"
        )
        raise rejected(text, code="too_many_json_nodes")
    if len(body) > LONG_TEXT and holds_long_number(body):
        text = f"the request body holds a number of more than {MAX_DIGITS} digits; send it as text, or round it"
        raise rejected(text, code="invalid_value")


def check_response_node_count(body: bytes, limit: int) -> None:
    """Raise Failure (502) if a response has more names and values than the gateway decodes, or a very long number."""
    if exceeds_node_count(body, limit):
        raise unusable_response(f"it holds more than {limit} JSON names and values; raise MAX_JSON_NODES to allow more")
    if len(body) > LONG_TEXT and holds_long_number(body):
        raise unusable_response(f"it holds a number of more than {MAX_DIGITS} digits")
