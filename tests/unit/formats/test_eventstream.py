"""AWS event streams: published test vectors, comparison with botocore's parser, every split, and invalid bytes."""

import struct
from uuid import UUID
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer, ParserError
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.formats.eventstream import MAX_HEADER_BYTES, MAX_MESSAGE_BYTES, EventStreamDecoder

PAYLOAD = b"{'foo':'bar'}"
# These are the test vectors of the AWS SDK for JavaScript (eventstream-marshaller, TestVectors).
GOOD = [
    ("000000100000000005c248eb7d98c8ff", {}, b""),
    ("0000002b0000000e348bec7b08" + b"event-id".hex() + "040000a00c7b27666f6f273a27626172277dd3890285",
     {"event-id": 40972}, PAYLOAD),
    ("0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936", {}, PAYLOAD),
    ("0000003d0000002007fd83960c" + b"content-type".hex() + "070010" + b"application/json".hex()
     + "7b27666f6f273a27626172277d8d9c08b1", {"content-type": "application/json"}, PAYLOAD),
]  # fmt: skip
BAD = [
    "0000003d0000002007fd83960c" + b"content+type".hex() + "070010" + b"application/json".hex()
    + "7b27666f6f273a27626172277d8d9c08b1",
    "0000003d0000012007fd83960c" + b"content-type".hex() + "070010" + b"application/json".hex()
    + "7b27666f6f273a27626172277d8d9c08b1",
    "0100001d00000000fd528c5a7b27666f6f273a27626172277dc3653936",
    "0000001d00000000fd528c5a7b27666f6f273a27626172278dc3653936",
]  # fmt: skip


def framed(headers: bytes, payload: bytes, *, length=None, headers_length=None) -> bytes:
    length = 16 + len(headers) + len(payload) if length is None else length
    prelude = struct.pack(">II", length, len(headers) if headers_length is None else headers_length)
    message = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
    return message + struct.pack(">I", crc32(message))


def header(name: str, kind: int, value: bytes) -> bytes:
    return bytes([len(name.encode())]) + name.encode() + bytes([kind]) + value


def sized(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


VALUES = st.one_of(
    st.booleans().map(lambda v: (v, 0 if v else 1, b"")),
    st.integers(-128, 127).map(lambda v: (v, 2, struct.pack(">b", v))),
    st.integers(-(2**15), 2**15 - 1).map(lambda v: (v, 3, struct.pack(">h", v))),
    st.integers(-(2**31), 2**31 - 1).map(lambda v: (v, 4, struct.pack(">i", v))),
    st.integers(-(2**63), 2**63 - 1).map(lambda v: (v, 5, struct.pack(">q", v))),
    st.binary(max_size=40).map(lambda v: (v, 6, sized(v))),
    st.text(max_size=20).map(lambda v: (v, 7, sized(v.encode()))),
    st.integers(0, 2**62).map(lambda v: (v, 8, struct.pack(">q", v))),
    st.uuids().map(lambda v: (v, 9, v.bytes)),
)
MESSAGES = st.lists(
    st.tuples(st.dictionaries(st.text("abc:-", min_size=1, max_size=12), VALUES, max_size=5), st.binary(max_size=80)),
    max_size=4,
)


def written(messages) -> bytes:
    return b"".join(
        framed(b"".join(header(name, kind, value) for name, (_, kind, value) in headers.items()), payload)
        for headers, payload in messages
    )


def in_reads(data: bytes, cuts) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@pytest.mark.parametrize(("encoded", "headers", "payload"), GOOD)
def test_published_vectors(encoded, headers, payload):
    decoder = EventStreamDecoder()
    (found,) = decoder.feed(bytes.fromhex(encoded))
    assert (dict(found.headers), found.payload, decoder.error, decoder.inside_message()) == (
        headers,
        payload,
        None,
        False,
    )


@pytest.mark.parametrize("encoded", BAD)
def test_published_vectors_of_broken_messages(encoded):
    decoder = EventStreamDecoder()
    assert decoder.feed(bytes.fromhex(encoded)) == []
    assert decoder.error
    assert decoder.feed(bytes.fromhex(GOOD[0][0])) == []  # nothing is decoded after an error


@given(MESSAGES, st.lists(st.integers(0, 2000), max_size=6))
def test_any_split_gives_what_was_written(messages, cuts):
    decoder = EventStreamDecoder()
    found = [message for read in in_reads(written(messages), cuts) for message in decoder.feed(read)]
    told = [({name: value for name, (value, _, _) in headers.items()}, payload) for headers, payload in messages]
    assert [(dict(one.headers), one.payload) for one in found] == told
    assert (decoder.error, decoder.inside_message()) == (None, False)


@given(MESSAGES)
def test_botocore_reads_the_same(messages):
    data = written(messages)
    judge = EventStreamBuffer()
    judge.add_data(data)
    theirs = [
        ({name: UUID(bytes=value) if headers[name][1] == 9 else value for name, value in event.headers.items()},
         event.payload)
        for event, (headers, _) in zip(judge, messages, strict=True)
    ]  # fmt: skip
    assert [(dict(one.headers), one.payload) for one in EventStreamDecoder().feed(data)] == theirs


@given(MESSAGES.filter(bool), st.integers(0, 10**6), st.integers(1, 255))
def test_a_changed_byte_is_never_passed_on(messages, place, change):
    data = bytearray(written(messages))
    data[place % len(data)] ^= change
    decoder = EventStreamDecoder()
    good = EventStreamDecoder().feed(written(messages))
    found = decoder.feed(bytes(data))
    assert decoder.error is not None
    assert found == good[: len(found)]
    assert len(found) < len(good)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_any_bytes_end_the_same_way_in_any_split(data, cuts):
    whole, split = EventStreamDecoder(), EventStreamDecoder()
    once = whole.feed(data)
    assert [message for read in in_reads(data, cuts) for message in split.feed(read)] == once
    assert (whole.error, whole.inside_message()) == (split.error, split.inside_message())
    judge = EventStreamBuffer()
    judge.add_data(data)
    try:
        list(judge)
    except ParserError:
        assert whole.error


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (framed(b"", b"", length=15), "15 bytes"),
        (framed(b"", b"", length=MAX_MESSAGE_BYTES + 1), "bytes"),
        (framed(b"", b"", headers_length=1), "1 bytes of headers"),
        (framed(b"", b"", length=MAX_MESSAGE_BYTES, headers_length=MAX_HEADER_BYTES + 1), "of headers"),
        (framed(header("a", 10, b""), b""), "type 10"),
        (framed(header("a", 7, b"\0\5abc"), b""), "cut"),
        (framed(header("a", 4, b"\0\0"), b""), "cut"),
        (framed(header("a", 9, b"\0\0"), b""), "cut"),
        (framed(b"\x05ab", b""), "cut"),
        (framed(b"\x01a", b""), "cut"),
        (framed(header("", 0, b""), b""), "no name"),
        (framed(header("a", 0, b"") * 2, b""), "same name as another"),
        (framed(header("a", 7, b"\0\1\xff"), b""), "cut"),
    ],
)
def test_invalid_lengths_and_headers(message, why):
    decoder = EventStreamDecoder()
    assert decoder.feed(message) == []
    assert why in decoder.error


def test_a_large_message_in_small_reads_costs_no_more_than_its_bytes():
    data = framed(b"", b"x" * 4_000_000)
    decoder = EventStreamDecoder()
    found = [message for at in range(0, len(data), 4096) for message in decoder.feed(data[at : at + 4096])]
    assert [len(message.payload) for message in found] == [4_000_000]
