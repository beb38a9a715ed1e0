"""How many tokens a request may take, before it is known: what a token limit sets aside until the provider reports."""

import math
import re
from typing import Any

import msgspec

BYTES_A_TOKEN = 4  # English text; JSON around it is counted too
DEFAULT_OUTPUT = 256  # where a request does not bound its answer
MEDIUM_TOKENS = 1000  # an image or a file, however many bytes
MAX_OUTPUT = 10**12  # beyond any limit; larger numbers are taken for this one
_MAX_MEDIA = 1000  # of a request; more count as the text they are written in
_LONGEST_NUMBER = 64  # characters of a number as text
_BEFORE_MEDIUM = b";base64,"
_MEDIUM = re.compile(rb";base64,[A-Za-z0-9+/=]*+")
_ABSENT = msgspec.Raw()


class _Bounds(msgspec.Struct):
    """What a request says of the length and number of its answers, however it spells that."""

    max_completion_tokens: msgspec.Raw = _ABSENT
    max_tokens: msgspec.Raw = _ABSENT
    n: msgspec.Raw = _ABSENT
    best_of: msgspec.Raw = _ABSENT


_DECODER = msgspec.json.Decoder(_Bounds)


def estimated_tokens(body: bytes, embeddings: bool, frame: bytes | None = None) -> int:
    """Prompt and answers together; never less than 1. `frame`: the request without its large values, where known."""
    media, size = _media(body)
    prompt = (len(body) - size) // BYTES_A_TOKEN + media * MEDIUM_TOKENS
    return max(1, prompt + (0 if embeddings else _output(body if frame is None else frame)))


def _media(body: bytes) -> tuple[int, int]:
    """How many there are, and their bytes."""
    count = size = 0
    start = body.find(_BEFORE_MEDIUM)
    while start >= 0 and count < _MAX_MEDIA and (medium := _MEDIUM.match(body, start)):
        count += 1
        size += medium.end() - start
        start = body.find(_BEFORE_MEDIUM, medium.end())
    return count, size


def _output(body: bytes) -> int:
    """The length of one answer, of OpenAI's two names for it the newer counts, times how many are asked for."""
    try:
        bounds = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return DEFAULT_OUTPUT  # the provider will refuse it
    length = _number(bounds.max_completion_tokens) or _number(bounds.max_tokens) or DEFAULT_OUTPUT
    return min(MAX_OUTPUT, max(0, length) * max(1, _number(bounds.n), _number(bounds.best_of)))


def _number(written: msgspec.Raw) -> int:
    """A whole number, rounded up, no further from 0 than MOST_OUTPUT; 0 for what is no number.

    Hosts written in Python take a number that is written as text, too.
    """
    if len(written) > _LONGEST_NUMBER:
        return MAX_OUTPUT
    try:
        value: Any = msgspec.json.decode(written) if len(written) else 0
        return math.ceil(max(-MAX_OUTPUT, min(MAX_OUTPUT, float(value))))
    except msgspec.DecodeError:  # more than a float can hold
        return MAX_OUTPUT
    except (ValueError, TypeError):
        return 0
