"""Generates documents that are nearly valid by changing valid ones, because random bytes reach little of a parser."""

import copy
import itertools
import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

Path = tuple[Any, ...]

# Values to put where something else is expected, with integers at the limits of 64 bits and texts that have a meaning in
# some format.
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 7, 2**31, 2**53, 2**63, 2**64, -(2**63), 1.5, -0.5, 1e300, "", " ", "x", "0", "7", "null",
    "\u2028é", "\ud800", "x" * 300, "[DONE]", "error", [], ["x"], [None], [[]], [{}], [1.5], [7, "x"], {}, {"x": 1},
    {"type": "text"}, {"text": 7}, {"error": "x"}, {"index": 0}, {"a": {"b": [{}]}},
)  # fmt: skip
_NAMES = ("", "x", "type", "text", "id", "index", "error", "name", "content", "model", "Model", "\u212aey", "$ref")
_KINDS = (
    "replace", "replace", "replace", "delete", "repeat", "move", "rename", "in a list", "in an object", "add", "empty",
)  # fmt: skip

odd_values = (
    st.sampled_from(ODD) | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)
any_json = st.recursive(
    st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4),
    max_leaves=10,
)
_changes = st.lists(
    st.tuples(st.sampled_from(_KINDS), st.integers(0, 2**16), st.integers(0, 2**16), odd_values), min_size=1, max_size=4
)


def paths(value: Any, at: Path = ()) -> list[Path]:
    """Return the path of every value inside a JSON value, without the value itself."""
    found: list[Path] = [at] if at else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += paths(inner, (*at, key))
    elif isinstance(value, list):
        for key, inner in enumerate(value):
            found += paths(inner, (*at, key))
    return found


def inside(value: Any, at: Path) -> Any:
    for key in at:
        value = value[key]
    return value


def changed(value: Any, kind: str, first: int, second: int, odd: Any) -> Any:
    """Return the value with one change. The two numbers select places, modulo the number of places."""
    odd = copy.deepcopy(odd)
    places = paths(value)
    if not places:
        return odd
    *way, key = places[first % len(places)]
    holder = inside(value, tuple(way))
    other = inside(value, places[second % len(places)])
    match kind:
        case "delete":
            del holder[key]
        case "repeat" if isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        case "move":
            holder[key] = copy.deepcopy(other)
        case "rename" if isinstance(holder, dict):
            holder[_NAMES[second % len(_NAMES)]] = holder.pop(key)
        case "in a list":
            holder[key] = [holder[key]]
        case "in an object":
            holder[key] = {_NAMES[second % len(_NAMES)]: holder[key]}
        case "add" if isinstance(holder, dict):
            holder[_NAMES[second % len(_NAMES)]] = odd
        case "empty" if isinstance(holder[key], dict | list | str):
            holder[key] = type(holder[key])()
        case _:
            holder[key] = odd
    return value


@st.composite
def mutated(draw: Any, documents: Sequence[Any]) -> Any:
    """Draw one of the documents, unchanged or changed in up to four places."""
    value = copy.deepcopy(draw(st.sampled_from(documents)))
    for kind, first, second, odd in draw(st.just([]) | _changes):
        value = changed(value, kind, first, second, odd)
    return value


def as_json(value: Any, ascii_only: bool = True) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


@st.composite
def garbled(draw: Any, texts: st.SearchStrategy[bytes]) -> bytes:
    """Draw bytes of which a few pieces are removed, doubled or replaced."""
    text: bytes = draw(texts)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from((0, 1, 2, 9))))
        new = draw(
            st.binary(max_size=4)
            | st.sampled_from((b'"', b"\\", b"{", b"}", b"\n", b"\r", b"\xff", b"\xed\xa0\x80", b"\0"))
        )
        text = text[:start] + (text[start:end] * 2 if draw(st.booleans()) and end > start else new) + text[end:]
    return text


def mutated_json(documents: Sequence[Any]) -> st.SearchStrategy[bytes]:
    """Return a strategy for the bytes of a mutated document, some of them garbled."""
    texts = st.builds(as_json, mutated(documents), st.booleans())
    return texts | garbled(texts)


cuts = st.lists(st.integers(0, 100_000), max_size=8)


def cut(body: bytes, places: Sequence[int]) -> list[bytes]:
    """Cut a body at these places, taken modulo its length, into pieces of which none is empty."""
    edges = sorted({0, len(body), *(place % (len(body) + 1) for place in places)})
    return [body[start:end] for start, end in itertools.pairwise(edges)]


def one_by_one(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]
