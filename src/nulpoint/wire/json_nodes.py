"""How many names and values a JSON text holds, counted before it is decoded.

Decoding builds an object for each of them in one call that holds the interpreter lock, so a thread does not help: a
body of 20 MB may hold seven million. Each one is preceded by a comma, a colon or an opening bracket, so counting these
bytes bounds the work. Text contains them too. Where the first, cheap count exceeds the limit, strings are left out.
"""

import re

from nulpoint.errors import rejected
from nulpoint.wire.foreign import unusable

DEFAULT_MAX_JSON_NODES = 512_000  # room for 100,000 short messages; decoding the most costly shape takes 50 to 100 ms
_STRUCTURAL = b",:[{"
_OTHER_BYTES = bytes(set(range(256)).difference(_STRUCTURAL))
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_PIECE = 256 * 1024  # bytes; the interpreter may switch threads between pieces, and each costs less than a millisecond


def exceeds_node_count(text: bytes, limit: int) -> bool:
    """Whether a valid JSON text holds more than `limit` names and values."""
    if len(text) <= limit:  # each takes at least one byte
        return False
    count = 0
    for start in range(0, len(text), _PIECE):
        count += len(text[start : start + _PIECE].translate(None, _OTHER_BYTES))
        if count > limit:
            return _exceeds_outside_strings(text, limit)
    return False


def _exceeds_outside_strings(text: bytes, limit: int) -> bool:
    count = position = 0
    while position < len(text):
        piece = text[position : position + _PIECE]
        outside, quote, unfinished = _STRING.sub(b"", piece).partition(b'"')
        count += len(outside.translate(None, _OTHER_BYTES))
        if count > limit:
            return True
        position += len(piece)
        if quote:  # the piece ends inside a string
            string = _STRING.match(text, position - len(unfinished) - 1)
            position = len(text) if string is None else string.end()
    return False


def check_node_count(body: bytes, limit: int) -> None:
    """Raise Failure (400) for a request that holds more names and values than the gateway decodes."""
    if exceeds_node_count(body, limit):
        text = (
            f"the request body holds more than {limit} JSON names and values, the most that this gateway decodes for a "
            "provider with a format of its own; send less, or raise MAX_JSON_NODES"
        )
        raise rejected(text, code="too_many_json_nodes")


def check_answer_node_count(body: bytes, limit: int) -> None:
    """Raise Failure (502) for a provider's answer that holds more names and values than the gateway decodes."""
    if exceeds_node_count(body, limit):
        why = f"it holds more than {limit} JSON names and values; raise MAX_JSON_NODES to allow more"
        raise unusable(f"the provider's answer cannot be used: {why}")
