"""Fuzz targets for AWS event streams: framing, typed headers and checksums."""

import struct
from binascii import crc32
from typing import Any

from hypothesis import strategies as st
from target import Target

from nulpoint.formats.eventstream import EventStreamDecoder
from support.mutation import cut, cuts, garbled, one_by_one

_NAMES = st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=8)
_VALUES = st.one_of(
    st.booleans(), st.binary(max_size=6), st.text(max_size=6), st.integers(-(2**63), 2**63 - 1),
)  # fmt: skip


def header(name: str, value: Any) -> bytes:
    encoded = name.encode()
    head = struct.pack(f">B{len(encoded)}s", len(encoded), encoded)
    if isinstance(value, bool):
        return head + struct.pack(">B", 0 if value else 1)
    if isinstance(value, int):
        return head + struct.pack(">Bq", 5, value)
    text, kind = (value, 6) if isinstance(value, bytes) else (value.encode("utf-8", "replace"), 7)
    return head + struct.pack(f">BH{len(text)}s", kind, len(text), text)


def message(headers: dict[str, Any], payload: bytes) -> bytes:
    block = b"".join(header(name, value) for name, value in headers.items())
    prelude = struct.pack(">II", len(block) + len(payload) + 16, len(block))
    body = prelude + struct.pack(">I", crc32(prelude)) + block + payload
    return body + struct.pack(">I", crc32(body))


_MESSAGES = st.tuples(st.dictionaries(_NAMES, _VALUES, max_size=3), st.binary(max_size=20))
lists = st.lists(_MESSAGES, max_size=4)


def read(pieces: list[bytes]) -> tuple[list[tuple[dict[str, Any], bytes]], str | None, bool]:
    decoder = EventStreamDecoder()
    found = [(dict(one.headers), bytes(one.payload)) for piece in pieces for one in decoder.feed(piece)]
    return found, decoder.error, decoder.error is None and decoder.inside_message()


def check_whole(given: tuple[list[tuple[dict[str, Any], bytes]], list[int]]) -> None:
    """Check that well-framed messages are read as they were written."""
    messages, places = given
    data = b"".join(message(*one) for one in messages)
    for pieces in ([data], cut(data, places), one_by_one(data)):
        found, broken, inside = read(pieces)
        assert (broken, inside) == (None, False)
        expected = [
            (
                {
                    name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
                    for name, value in headers.items()
                },
                payload,
            )
            for headers, payload in messages
        ]
        assert found == expected


def check_garbled(given: tuple[bytes, list[int]]) -> None:
    """Check that broken framing is reported by `broken`, in whatever pieces the bytes arrive."""
    data, places = given
    whole = read([data])
    assert read(cut(data, places)) == whole
    assert read(one_by_one(data)) == whole


framed = lists.map(lambda messages: b"".join(message(*one) for one in messages))
TARGETS = (
    Target("event stream, whole", st.tuples(lists, cuts), check_whole),
    Target("event stream, garbled", st.tuples(garbled(framed), cuts), check_garbled),
)
