"""Splits a body into pieces, as a network may deliver it."""

import itertools
import random
import re
from collections.abc import Iterator

# In bytes. Longer streams are split at fewer places, because the replay would take minutes.
_MANY = 20_000
_SOME = 3_000


def cuts(body: bytes, *, thorough: bool = True) -> Iterator[list[bytes]]:
    """Generate lists of pieces that add up to the body: one piece, and pieces of random sizes."""
    yield [body]
    yield _random(body)
    if thorough:
        yield by_event(body)
        yield _at(body, [end.end() for end in re.finditer(rb"\n", body)])
    if len(body) <= (_MANY if thorough else _SOME):
        yield [body[at : at + 7] for at in range(0, len(body), 7)]
    if thorough and len(body) <= _MANY:
        yield [body[at : at + 1] for at in range(len(body))]
        yield _at(body, [end.start() + 1 for end in re.finditer(rb"\r\n|[\xc0-\xff][\x80-\xbf]", body)])


def by_event(body: bytes) -> list[bytes]:
    """Return one piece per event."""
    return _at(body, [end.end() for end in re.finditer(rb"\r\n\r\n|\n\n|\r\r", body)])


def _at(body: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, *places, len(body)})
    return [body[start:end] for start, end in itertools.pairwise(edges)]


def _random(body: bytes) -> list[bytes]:
    chance = random.Random(len(body))
    return _at(body, chance.sample(range(len(body)), min(20, len(body))))
