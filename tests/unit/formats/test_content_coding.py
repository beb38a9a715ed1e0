"""Tests decompression: at every split, of damaged and cut content, and within the limit."""

import gzip
import zlib

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.formats import content_coding
from nulpoint.formats.content_coding import (
    ContentTooLongError,
    DamagedContentError,
    coding_of,
    decoder_for,
    decompress,
    zstd,
)

TEXT = b'{"model":"gpt-4o","messages":[{"role":"user","content":"' + b"word " * 200 + b'"}]}'


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


COMPRESSED = {
    "gzip": (b"gzip", gzip.compress(TEXT)),
    "x-gzip": (b"x-gzip", gzip.compress(TEXT)),
    "two members of gzip": (b"gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
    "deflate": (b"deflate", zlib.compress(TEXT)),
    "deflate without a header": (b"deflate", raw_deflate(TEXT)),
    "br": (b"br", brotli.compress(TEXT)),
    "zstd": (b"zstd", zstd.compress(TEXT)),
    "two frames of zstd": (b"zstd", zstd.compress(TEXT[:100]) + zstd.compress(TEXT[100:])),
}


@pytest.mark.parametrize(("coding", "content"), COMPRESSED.values(), ids=COMPRESSED)
def test_content_is_decompressed_at_every_split(coding, content):
    assert decompress(decoder_for(coding), content, len(TEXT)) == TEXT
    for split in range(1, len(content)):
        decoder = decoder_for(coding)
        plain = decoder.feed(content[:split], len(TEXT)) + decoder.feed(content[split:], len(TEXT))
        assert (plain, decoder.complete) == (TEXT, True)


@pytest.mark.parametrize(("coding", "content"), COMPRESSED.values(), ids=COMPRESSED)
def test_cut_content_is_never_complete(coding, content):
    for end in range(len(content)):
        cut = content[:end]
        try:
            plain = decompress(decoder_for(coding), cut, len(TEXT))
        except DamagedContentError:
            continue
        assert plain == TEXT[:100]  # the cut is exactly between two members or frames


@pytest.mark.parametrize("coding", ["gzip", "deflate", "deflate without a header"])
def test_what_follows_a_body_is_not_read_as_deflate_without_a_header(coding):
    name, content = COMPRESSED[coding]
    with pytest.raises(DamagedContentError):
        decompress(decoder_for(name), content + raw_deflate(b"more"), 1 << 16)


@pytest.mark.parametrize(("coding", "content"), COMPRESSED.values(), ids=COMPRESSED)
def test_content_may_have_as_many_bytes_as_the_limit_and_no_more(coding, content):
    for limit in (0, 1, 99, 100, 101, len(TEXT) - 1):
        with pytest.raises(ContentTooLongError):
            decompress(decoder_for(coding), content, limit)
    assert decompress(decoder_for(coding), content, len(TEXT)) == TEXT


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"zstd"])
def test_a_small_content_cannot_become_a_large_one(coding):
    zeros = bytes(64 << 20)
    content = {
        b"gzip": gzip.compress, b"deflate": zlib.compress, b"br": brotli.compress, b"zstd": zstd.compress
    }[coding](zeros)  # fmt: skip
    assert len(content) < 1 << 20
    with pytest.raises(ContentTooLongError):
        decompress(decoder_for(coding), content, 1 << 16)


@pytest.mark.parametrize(("coding", "compress"), [(b"gzip", gzip.compress), (b"zstd", zstd.compress)])
def test_a_body_has_a_limited_number_of_parts(coding, compress):
    part = compress(b"ab")
    assert decompress(decoder_for(coding), part * content_coding._MAX_PARTS, 1000) == b"ab" * content_coding._MAX_PARTS
    for body in (part * (content_coding._MAX_PARTS + 1), compress(b"") * 100_000):
        with pytest.raises(DamagedContentError):
            decompress(decoder_for(coding), body, 1000)
        decoder = decoder_for(coding)
        with pytest.raises(DamagedContentError):
            for start in range(0, len(body), 7):
                decoder.feed(body[start : start + 7], 1000)


def test_a_zstd_frame_cannot_ask_for_a_large_window():
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    content = packer.compress(bytes(1 << 20)) + packer.flush()
    with pytest.raises(DamagedContentError):
        decompress(decoder_for(b"zstd"), content, 1 << 21)


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"zstd"])
@given(st.binary(max_size=60))
def test_anything_else_is_damaged(coding, content):
    try:
        decompress(decoder_for(coding), content, 1 << 16)
    except (DamagedContentError, ContentTooLongError):
        return
    assert content  # a valid content has at least a header


@pytest.mark.parametrize("value", [None, b"identity", b" Identity "])
def test_content_without_a_coding(value):
    assert coding_of({} if value is None else {b"content-encoding": value}) is None


@pytest.mark.parametrize("value", [b"lz4", b"gzip, br", b"", b"\xff"])
def test_an_unknown_coding(value):
    assert decoder_for(coding_of({b"content-encoding": value})) is None


def test_codings_are_named_in_any_case():
    assert coding_of({b"content-encoding": b" GZip"}) == b"gzip"
    assert all(name.encode() in content_coding._DECODERS for name in ("gzip", "deflate", "br", "zstd"))
