"""Tests of malformed, odd and hostile responses from providers.

Interim responses and HTTP/1.0 are also tested in tests/unit/http/client/test_upstream_client.py.
"""

import asyncio
import email.utils
import gzip
import json
import os
import resource
import time
import zlib
from pathlib import Path

import brotli
import pytest

from nulpoint.formats.content_coding import decoder_for, zstd
from nulpoint.mock import start
from support.client_outcome import ask
from support.event_loop import run, until
from support.http_client import CHAT, STREAM, Caller, post
from support.provider_bytes import (
    CHAT_ANSWER,
    DONE,
    FORMATS,
    GOOD,
    LAST_CHUNK,
    ROLE,
    STREAM_HEAD,
    WORD,
    answer,
    chunk,
    chunks,
    delta,
    event,
    good_stream,
)
from support.running_gateway import gateway
from support.scripted_provider import fin, send, serve, silence

CHAT_AND_STREAM = pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
ONCE = {"MAX_RETRIES": "1"}
FINISH = delta(b"", b'"stop"')
COMPLETION = b'{"model":"anthropic/claude-haiku-4-5","prompt":"hi","stream":true}'


async def outcome_of(script, body=CHAT, settings=ONCE, name="openai", path="/v1/chat/completions"):
    """Return what the client receives from a provider with this script and no other target."""
    provider = await serve(script)
    async with gateway(settings, providers={name: provider}) as running:
        return await ask(running.port, body, path)


def stream_of(*events):
    return [send(STREAM_HEAD, *chunks(list(events)), LAST_CHUNK)]


BROKEN = {
    "cut": b'{"id":',
    "text": b"I am not JSON",
    "empty": b"",
    "not UTF-8": CHAT_ANSWER.replace(b"word", b"w\xff\xferd"),
    "deep": b"[" * 200_000,
    "an array": b"[]",
    "null": b"null",
}


@pytest.mark.parametrize(
    ("broken", "form"),
    [(broken, form) for broken in BROKEN for form in FORMATS if (broken, form) != ("not UTF-8", "openai")],
)
def test_a_malformed_response(broken, form):
    """It is a 502 in every format, and another target is tried.

    Text that is not UTF-8 is passed on unchanged where the response need not be decoded; that is another test.
    """

    async def main():
        broken_body = BROKEN[broken]
        model = FORMATS[form].model.encode()
        provider = await serve([send(answer(broken_body))])
        other = "openai" if form != "openai" else "anthropic"
        async with gateway({"MAX_RETRIES": "2"}, providers={form: provider, other: await start(other)}) as running:
            outcome = await ask(running.port, CHAT.replace(b"gpt-4o", b"%b/%b" % (form.encode(), model)))
            assert (outcome.status, outcome.verdict) == (502, "error"), outcome.raw
            assert outcome.error["code"] == "provider_malformed"
            assert len(outcome.error["message"]) < 200
            outcome = await ask(running.port, CHAT.replace(b"gpt-4o", model))
            assert (outcome.verdict, outcome.headers["x-nulpoint-provider"]) == ("answer", other)

    run(main())


@pytest.mark.parametrize(
    "broken", [*BROKEN.values(), b"\xe2\x82", b"x" * 5_000_000], ids=[*BROKEN, "half a letter", "huge"]
)
@pytest.mark.parametrize(
    ("form", "path"),
    [*((form, "/v1/chat/completions") for form in FORMATS if form != "openai"), ("groq", "/v1/completions")],
)
def test_a_malformed_event(broken, form, path):
    """In a stream that has to be decoded it is an error before and after content, and never a 500 or a silent end."""

    async def main():
        spec = FORMATS.get(form)
        preamble, content = (spec.preamble, spec.content) if spec else ([ROLE], [WORD])
        model = spec.model.encode() if spec else b"groq/m"
        body = STREAM.replace(b"gpt-4o", model)
        if path.endswith("/completions") and "chat" not in path:
            body = body.replace(b'"messages":[{"role":"user","content":"hi"}]', b'"prompt":"hi"')
        for before in ([], preamble, preamble + content):
            if not broken and before != preamble + content:
                continue
            script = stream_of(*before, event(broken))
            outcome = await outcome_of(script, body, name=form, path=path)
            assert outcome.verdict == "error", outcome.raw[:500]
            head_sent = before and not (form == "gemini" and before == preamble)  # Gemini's preamble passes nothing on
            assert outcome.status == (200 if head_sent else 502)
            assert outcome.error["code"] in ("provider_malformed", "stream_cut")

    run(main())


@pytest.mark.parametrize("status", [200, 502, 503, 520])
@CHAT_AND_STREAM
def test_an_html_page_of_an_intermediary(status, body):
    page = (
        b"<!DOCTYPE html><html><head><title>502</title><style>a{}</style></head><body>" + b"<p>Bad &lt;gateway&gt;" * 90
    )

    async def main():
        outcome = await outcome_of([send(answer(page, status, content_type=b"text/html; charset=UTF-8"))], body)
        assert (outcome.status, outcome.verdict) == (502, "error")
        assert len(outcome.error["message"]) <= 200
        assert "<" not in outcome.error["message"]

    run(main())


def test_a_character_across_two_packets_and_invalid_utf_8():
    euro = delta("€ U+2028 \u2028 é".encode())
    broken = delta(b"a\xff\xfeb\xe2\x82")

    async def main():
        whole = b"".join(chunks([ROLE, euro, broken, FINISH, DONE])) + LAST_CHUNK
        at = whole.index(b"\xe2\x82\xac") + 1
        for cut in range(at - 1, at + 3):
            outcome = await outcome_of([send(STREAM_HEAD, whole[:cut], whole[cut:])], STREAM)
            assert outcome.whole
            assert outcome.body == ROLE + euro + broken + FINISH + DONE

    run(main())


@pytest.mark.parametrize(
    "head",
    [b"x: " + b"a" * 1_048_576, b"".join(b"x-%d: a\r\n" % n for n in range(10_000)), b"x: a\r\n" * 10_000],
    ids=["1 MiB", "10,000 names", "10,000 times one name"],
)
@CHAT_AND_STREAM
def test_a_huge_head(head, body):
    async def main():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.process_time()
        outcome = await outcome_of([send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n{}"), fin()], body)
        assert time.process_time() - began <= 1
        assert (outcome.status, outcome.error["code"]) == (502, "provider_malformed")
        assert (
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before <= 8 * 1024
        )  # this includes the copies of the sender

    run(main())


@CHAT_AND_STREAM
def test_interim_responses(body):
    message = GOOD if body is CHAT else good_stream()
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"

    async def main():
        assert (await outcome_of([send(interim + message)], body)).verdict == "answer"
        assert (await outcome_of([send(interim, message)], body)).verdict == "answer"
        for bad in (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", interim * 500):
            outcome = await outcome_of([send(bad + message)], body)
            assert (outcome.status, outcome.verdict) == (502, "error")

    run(main())


@pytest.mark.parametrize(
    "head", [b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\nconnection: close\r\n", b"HTTP/1.1 200 OK\r\n"]
)
def test_a_response_that_ends_with_its_connection(head):
    """It is served, its connection is not reused, and a stream that is cut before its finish reason is still an error."""

    async def main():
        whole = head + b"content-type: application/json\r\n\r\n" + CHAT_ANSWER
        stream = head + b"content-type: text/event-stream\r\n\r\n"
        provider = await serve(
            [send(whole), fin()],
            [send(stream, ROLE, WORD, FINISH, DONE), fin()],
            [send(stream, ROLE, WORD), fin()],
            [send(stream, ROLE, WORD, FINISH), fin()],
        )
        async with gateway(ONCE, providers={"openai": provider}) as running:
            assert (await ask(running.port)).body == CHAT_ANSWER
            assert [(await ask(running.port, STREAM)).verdict for _ in range(3)] == ["answer", "error", "answer"]
            assert len(provider.talks) == 4

    run(main())


@pytest.mark.parametrize("status", [204, 301, 302, 303, 304, 307, 308])
@CHAT_AND_STREAM
def test_statuses_without_a_response_and_redirects(status, body):
    async def main():
        redirect_target = await serve([send(GOOD)])
        message = b"HTTP/1.1 %d X\r\nlocation: %b/x\r\ncontent-length: 2\r\n\r\n{}" % (
            status,
            redirect_target.url.encode(),
        )
        outcome = await outcome_of([send(message)], body)
        assert (outcome.status, outcome.verdict) == (502, "error")
        assert redirect_target.talks == []
        await redirect_target.close()

    run(main())


def compressed(data, coding):
    compress = {
        b"gzip": gzip.compress, b"deflate": zlib.compress, b"x-gzip": gzip.compress, b"br": brotli.compress,
        b"zstd": zstd.compress,
    }  # fmt: skip
    return compress[coding](data)


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"x-gzip", b"br", b"zstd"])
def test_a_compressed_response_that_was_not_requested(coding):
    async def main():
        header = b"content-encoding: " + coding
        whole = await outcome_of([send(answer(compressed(CHAT_ANSWER, coding), 200, header))])
        assert whole.body == CHAT_ANSWER
        assert "content-encoding" not in whole.headers
        events = compressed(ROLE + WORD + FINISH + DONE, coding)
        head = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\n" + header + b"\r\n\r\n")
        pieces = [events[at : at + 20] for at in range(0, len(events), 20)]
        for cut in range(1, len(pieces) + 1):
            stream = await outcome_of([send(head, *chunks(pieces[:cut]), LAST_CHUNK)], STREAM)
            plain = decoder_for(coding).feed(b"".join(pieces[:cut]), 1 << 20)
            assert stream.verdict == ("answer" if DONE in plain else "error")
            assert stream.text == ("word " if WORD in plain else "")

    run(main())


HOSTILE = {
    "an unknown coding": (b"lz4", CHAT_ANSWER),
    "no brotli at all": (b"br", CHAT_ANSWER),
    "no zstd at all": (b"zstd", CHAT_ANSWER),
    "half a brotli": (b"br", brotli.compress(CHAT_ANSWER)[:-3]),
    "half a zstd": (b"zstd", zstd.compress(CHAT_ANSWER)[:-3]),
    "no gzip at all": (b"gzip", CHAT_ANSWER),
    "half a gzip": (b"gzip", gzip.compress(CHAT_ANSWER)[:-9]),
    "a bomb": (b"gzip", None),
}


@pytest.fixture(scope="module")
def bomb():
    """256 MiB of zeros, compressed."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush()


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
@CHAT_AND_STREAM
def test_compression_that_cannot_be_decoded(hostile, body, bomb):
    coding, compressed_body = hostile

    async def main():
        message = answer(compressed_body or bomb, 200, b"content-encoding: " + coding)
        if body is STREAM:
            message = message.replace(b"application/json", b"text/event-stream")
        before = peak_rss()
        outcome = await outcome_of([send(message)], body, {**ONCE, "UPSTREAM_MAX_BODY_BYTES": "1MiB"})
        assert (outcome.status, outcome.verdict) == (502, "error")
        assert peak_rss() - before <= 16 * 1024  # in KiB: the limit of 1 MiB, or 4 MiB for one event, and copies

    run(main())


def peak_rss():
    """Return the peak resident size in KiB since the last call, and reset it."""
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0])
    Path("/proc/self/clear_refs").write_text("5")
    return peak if os.access("/proc/self/clear_refs", os.W_OK) else 0


SHAPES = {
    "LF": ROLE + WORD + FINISH + DONE,
    "CRLF": (ROLE + WORD + FINISH + DONE).replace(b"\n", b"\r\n"),
    "CR": (ROLE + WORD + FINISH + DONE).replace(b"\n", b"\r"),
    "BOM": b"\xef\xbb\xbf" + ROLE + WORD + FINISH + DONE,
    "comments": b": a\n\n" + ROLE + b":\n: b\n" + WORD + b": c\n" + FINISH + DONE,
    "fields": b"retry: 10\nid: 1\nevent: message\n" + ROLE + b"id\n" + WORD + b"unknown: x\n" + FINISH + DONE,
    "no space": (ROLE + WORD + FINISH + DONE).replace(b"data: ", b"data:"),
    "data in lines": ROLE + WORD.replace(b'"choices"', b'\ndata: "choices"') + FINISH + DONE,
    "1 MiB in one": ROLE + WORD + delta(b"x" * 1_048_576) + FINISH + DONE,
    "no last line end": ROLE + WORD + FINISH + DONE[:-2],
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_all_shapes_of_events_are_passed_on_unchanged(shape):
    """The bytes are split at every position, for the largest at a few; decoding is tested in tests/unit/formats."""

    async def main():
        split_positions = range(1, len(shape)) if len(shape) < 700 else range(1, len(shape), len(shape) // 5)
        provider = await serve(
            *([send(STREAM_HEAD, chunk(shape[:cut]), chunk(shape[cut:]), LAST_CHUNK)] for cut in split_positions)
        )
        async with gateway({**ONCE, "COALESCE": "false"}, providers={"openai": provider}) as running:
            for _ in split_positions:
                outcome = await ask(running.port, STREAM)
                assert outcome.whole
                # The line ends that the last event lacks are added, because readers wait for them.
                assert outcome.body == (shape if shape != SHAPES["no last line end"] else shape + b"\n\n")
                assert not outcome.error

    run(main())


def test_an_event_over_4_mib_is_rejected_where_it_must_be_decoded():
    async def main():
        for form in ("anthropic", "gemini", "mistral"):
            spec = FORMATS[form]
            for before in (spec.preamble, spec.preamble + spec.content):
                huge = [b"data: ", *[b"x" * 100_000] * 50, b"\n\n"]
                script = [send(STREAM_HEAD, *chunks(before), *chunks(huge), LAST_CHUNK)]
                outcome = await outcome_of(script, STREAM.replace(b"gpt-4o", spec.model.encode()), name=form)
                assert outcome.verdict == "error"
                assert outcome.status == (502 if form == "gemini" and before == spec.preamble else 200)

    run(main())


def test_an_endless_preamble_is_not_held_back():
    """Events before content are held back only up to a limit."""

    async def main():
        provider = await serve([send(STREAM_HEAD, *[chunk(ROLE * 200)] * 200), silence()])
        settings = {**ONCE, "STREAM_IDLE_TIMEOUT": "5s"}
        async with gateway(settings, providers={"openai": provider}) as running:
            client = await Caller.connect(running.port)
            client.send(post(STREAM))
            seen = await client.reader.readexactly(2_000_000)
            assert seen.count(ROLE) > 100

    run(main())


DATE = b"in 30 seconds"
WAITS = {
    "seconds": (b"7", {"7"}, 7),
    "a date": (DATE, {"29", "30"}, 30),
    "negative": (b"-5", {"60"}, 60),
    "a very long one": (b"1000000000", {"1000000000"}, 300),
    "garbage": (b"soon", {"60"}, 60),
    "nothing": (None, {"60"}, 60),
    "zero": (b"0", {"60"}, 60),
}


@pytest.mark.parametrize(("value", "retry_after", "cooldown"), WAITS.values(), ids=WAITS)
@CHAT_AND_STREAM
def test_rate_limits(value, retry_after, cooldown, body):
    """The client gets the provider's own wait, the key cools down for at most 300 s, and the breaker stays closed."""

    async def main():
        limited = answer(b'{"error":{"message":"slow down"}}', 429, *([b"retry-after: " + value] if value else []))
        provider = await serve([send(limited)])
        async with gateway({**ONCE, "CB_ERROR_THRESHOLD": "1"}, providers={"openai": provider}) as running:
            if value is DATE:
                date = email.utils.formatdate(time.time() + 30, usegmt=True).encode()
                provider.scripts = [[send(limited.replace(DATE, date))]]
            outcome = await ask(running.port, body)
            assert (outcome.status, outcome.error["code"]) == (429, "rate_limit_exceeded")
            assert outcome.headers["retry-after"] in retry_after
            health, now = running.app.runtime.provider_health["openai"], asyncio.get_running_loop().time()
            assert health.cooldowns.end_of(0, "gpt-4o", now + cooldown - 2)
            assert not health.cooldowns.end_of(0, "gpt-4o", now + cooldown + 1)
            assert health.breaker.state.name == "CLOSED"
            assert (await ask(running.port, body)).status == 429  # the only target is still tried

    run(main())


def test_of_several_waits_the_shortest_is_reported():
    async def main():
        def limit(seconds):
            return serve([send(answer(b"{}", 429, b"retry-after: %d" % seconds))])

        async with gateway(providers={"openai": await limit(30), "mistral": await limit(9)}) as running:
            assert (await ask(running.port)).headers["retry-after"] == "9"

    run(main())


MISMATCHES = {
    "JSON in response to a streaming request": (STREAM, GOOD),
    "a stream in response to a plain request": (CHAT, good_stream()),
    "a list in response to a streaming request": (STREAM, answer(b"[]")),
}


@pytest.mark.parametrize(("body", "message"), MISMATCHES.values(), ids=MISMATCHES)
def test_a_response_in_the_wrong_mode(body, message):
    """The client gets the mode it requested from another target, or a 502, and never hangs."""

    async def main():
        outcome = await outcome_of([send(message)], body)
        assert (outcome.status, outcome.verdict) == (502, "error")
        provider = await serve([send(message)])
        async with gateway(providers={"openai": provider, "mistral": await start("mistral")}) as running:
            outcome = await ask(running.port, body)
            assert (outcome.verdict, outcome.streamed) == ("answer", body is STREAM)
            await until(lambda: provider.open <= 1)

    run(main())


def test_the_log_record_of_a_malformed_response_names_the_provider():
    async def main():
        provider = await serve([send(answer(b"nothing"))])
        async with gateway(ONCE, providers={"openai": provider}) as running:
            await ask(running.port)
            record = json.loads(running.log())
            assert (record["provider"], record["error"], record["code"]) == ("openai", "upstream", "provider_malformed")

    run(main())


NODES = {"MAX_JSON_NODES": "1000", **ONCE}
MANY = b'{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}],%b}'
VALUES = b'"more":[%b0]' % (b"0," * 2000)


@pytest.mark.parametrize(
    ("name", "body", "content", "status"),
    [
        ("openai", CHAT, MANY % VALUES, 200),
        ("openai", CHAT, MANY.replace(b'"model":"m",', b"") % VALUES, 200),
        ("openai", CHAT, b'{"error":{"message":"no"},%b}' % VALUES, 502),
        ("openai", CHAT, b"[%b]" % (b"0," * 2000 + b"0"), 502),
        ("anthropic", CHAT.replace(b"gpt-4o", b"claude-haiku-4-5"), b"{%b}" % VALUES, 502),
        ("anthropic", COMPLETION.replace(b"true", b"false"), b"{%b}" % VALUES, 502),
    ],
)
def test_a_response_of_too_many_names_and_values_is_not_decoded(name, body, content, status):
    path = "/v1/completions" if b"prompt" in body else "/v1/chat/completions"
    outcome = run(outcome_of([send(answer(content))], body, NODES, name, path))
    assert outcome.status == status
    if status == 502:
        assert b"provider_malformed" in outcome.body


def test_an_error_of_too_many_names_and_values_is_reported_by_its_status():
    content = b'{"error":{"message":"no"},%b}' % VALUES
    outcome = run(outcome_of([send(answer(content, 429))], CHAT, NODES))
    assert outcome.status == 429
