"""Estimates how many tokens a request will use, for the token limits to reserve until the provider reports usage."""

import math
import re
from typing import Any

import msgspec

BYTES_A_TOKEN = 4  # for English text; the JSON around it is counted too
DEFAULT_OUTPUT = 256  # if the request does not limit the length of the response
MEDIUM_TOKENS = 1000  # for an image or a file of any size
MAX_OUTPUT = 10**12  # larger numbers are replaced by this one, which is beyond any limit
_MAX_MEDIA = 1000  # images or files in a request; further ones count as text
_LONGEST_NUMBER = 64  # characters of a number as text
_BEFORE_MEDIUM = b";base64,"
_MEDIUM = re.compile(rb";base64,[A-Za-z0-9+/=]*+")
_ABSENT = msgspec.Raw()


class _Bounds(msgspec.Struct):
    """The members of a request that set the length and the number of the choices in the response."""

    max_completion_tokens: msgspec.Raw = _ABSENT
    max_tokens: msgspec.Raw = _ABSENT
    n: msgspec.Raw = _ABSENT
    best_of: msgspec.Raw = _ABSENT


_DECODER = msgspec.json.Decoder(_Bounds)


def estimated_tokens(body: bytes, generates_text: bool, frame: bytes | None = None) -> int:
    """Return the estimated tokens of the prompt and the response together, at least 1.

    `generates_text` is false if the response has no tokens that count, as that of an embeddings request.
    `frame` is the request without its large values, if that is known.
    """
    media, size = _media(body)
    prompt = (len(body) - size) // BYTES_A_TOKEN + media * MEDIUM_TOKENS
    return max(1, prompt + (_output(body if frame is None else frame) if generates_text else 0))


def _media(body: bytes) -> tuple[int, int]:
    """Return the number of images and files in the request, and their size in bytes."""
    count = size = 0
    start = body.find(_BEFORE_MEDIUM)
    while start >= 0 and count < _MAX_MEDIA and (medium := _MEDIUM.match(body, start)):
        count += 1
        size += medium.end() - start
        start = body.find(_BEFORE_MEDIUM, medium.end())
    return count, size


def _output(body: bytes) -> int:
    """Return the length of one choice times their number. Of OpenAI's two names for the length the newer one counts."""
    try:
        bounds = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return DEFAULT_OUTPUT  # the provider will reject the request
    length = _number(bounds.max_completion_tokens) or _number(bounds.max_tokens) or DEFAULT_OUTPUT
    return min(MAX_OUTPUT, max(0, length) * max(1, _number(bounds.n), _number(bounds.best_of)))


def _number(written: msgspec.Raw) -> int:
    """Return a JSON number rounded up and limited to MAX_OUTPUT in both directions; 0 if it is not a number.

    A number in a string counts as well, because hosts written in Python accept that.
    """
    if len(written) > _LONGEST_NUMBER:
        return MAX_OUTPUT
    try:
        value: Any = msgspec.json.decode(written) if len(written) else 0
        return math.ceil(max(-MAX_OUTPUT, min(MAX_OUTPUT, float(value))))
    except msgspec.DecodeError:  # the number is larger than a float can hold
        return MAX_OUTPUT
    except (ValueError, TypeError):
        return 0
