"""Requests with a compressed body, over sockets."""

import base64
import gzip
import json
import zlib

import brotli
import pytest

from nulpoint.formats.content_coding import zstd
from support.event_loop import run
from support.http_client import CHAT, Caller, post
from support.running_gateway import gateway

PATH = "/v1/chat/completions"
COMPRESS = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress, "zstd": zstd.compress}
LIMIT = 1 << 20


async def ask(running, content, coding, *headers, path=PATH):
    caller = await Caller.connect(running.port)
    caller.send(post(content, path, f"Content-Encoding: {coding}", *headers))
    return await caller.answer()


def code_of(body):
    return json.loads(body)["error"]["code"]


def long_chat(size):
    return json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "word " * (size // 5)}]}).encode()


@pytest.mark.parametrize("coding", COMPRESS)
def test_the_provider_gets_the_body_as_it_was_before_it_was_compressed(coding):
    async def main():
        async with gateway() as running:
            for body in (CHAT, long_chat(20_000), long_chat(600_000), long_chat(9 << 20)):
                status, _, _ = await ask(running, COMPRESS[coding](body), coding.upper())
                assert status == 200
                assert base64.b64decode(running.mock.last["body"]) == body
                sent = dict(running.mock.last["headers"])
                assert sent["content-length"] == str(len(body))
                assert "content-encoding" not in sent

    run(main())


def test_a_compressed_request_is_the_same_request_to_the_cache():
    async def main():
        async with gateway({"CACHE_MODE": "memory"}) as running:
            outcomes = [
                (await ask(running, compress(CHAT), coding))[1]["x-cache"] for coding, compress in COMPRESS.items()
            ]
            assert outcomes == ["MISS", "HIT", "HIT", "HIT"]
            assert (await ask(running, CHAT, "identity"))[1]["x-cache"] == "HIT"

    run(main())


@pytest.mark.parametrize("coding", COMPRESS)
def test_a_compressed_body_that_cannot_be_used(coding):
    compress = COMPRESS[coding]

    async def main():
        async with gateway({"MAX_BODY_BYTES": "1MiB"}) as running:
            for content in (CHAT, compress(CHAT)[:-5], b""):
                status, _, answer = await ask(running, content, coding)
                assert (status, code_of(answer)) == (400, "invalid_content_encoding")
            status, _, answer = await ask(running, compress(b"not JSON"), coding)
            assert (status, code_of(answer)) == (400, "invalid_json")
            fits, too_long = long_chat(LIMIT - 200), long_chat(LIMIT + 200)
            assert (await ask(running, compress(fits), coding))[0] == 200
            for body in (too_long, bytes(32 << 20)):
                status, _, answer = await ask(running, compress(body), coding)
                assert (status, code_of(answer)) == (413, "request_too_large")
                assert "MAX_BODY_BYTES" in answer.decode()
            assert running.mock.requests == 1

    run(main())


@pytest.mark.parametrize("coding", ["lz4", "gzip, br", "zstd;q=1"])
def test_an_unknown_coding(coding):
    async def main():
        async with gateway() as running:
            status, _, answer = await ask(running, CHAT, coding)
            assert (status, code_of(answer)) == (415, "unsupported_media_type")
            assert "gzip, deflate, br and zstd" in answer.decode()

    run(main())


def test_nothing_is_decompressed_for_a_client_without_a_key():
    async def main():
        async with gateway({"GATEWAY_API_KEYS": "gk-of-a-client"}) as running:
            for content in (CHAT, gzip.compress(bytes(32 << 20))):
                assert (await ask(running, content, "gzip"))[0] == 401
            key = "Authorization: Bearer gk-of-a-client"
            assert (await ask(running, gzip.compress(CHAT), "gzip", key))[0] == 200

    run(main())


def test_a_compressed_stream_request_and_the_other_endpoints():
    async def main():
        async with gateway() as running:
            stream = CHAT.replace(b"{", b'{"stream":true,', 1)
            status, headers, body = await ask(running, zstd.compress(stream), "zstd")
            assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
            assert body.endswith(b"data: [DONE]\n\n")
            request = b'{"model":"text-embedding-3-small","input":"hi"}'
            assert (await ask(running, brotli.compress(request), "br", path="/v1/embeddings"))[0] == 200

    run(main())
