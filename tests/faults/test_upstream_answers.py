"""Upstream faults, U17 to U27 and U36: answers that are none, odd ones, and hostile ones.

Interim answers (U22) and what HTTP/1.0 does (U23) are also in tests/unit/http/client/test_upstream_client.py.
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

import pytest

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
COMPLETION = b'{"model":"anthropic/claude-sonnet-4-5","prompt":"hi","stream":true}'


async def told(script, body=CHAT, settings=ONCE, name="openai", path="/v1/chat/completions"):
    """What a caller sees of a provider that has this script, without anybody else to ask."""
    faultd = await serve(script)
    async with gateway(settings, providers={name: faultd}) as running:
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
def test_U17_an_answer_that_is_no_answer(broken, form):
    """502, whoever sent it and whatever it is; and another target may do better.

    Text that is no UTF-8 passes as it came where the answer need not be read (U20).
    """

    async def main():
        broken_body = BROKEN[broken]
        model = FORMATS[form].model.encode()
        faultd = await serve([send(answer(broken_body))])
        other = "openai" if form != "openai" else "anthropic"
        async with gateway({"MAX_RETRIES": "2"}, providers={form: faultd, other: await start(other)}) as running:
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
def test_U17_an_event_that_is_none(broken, form, path):
    """In a stream that has to be read, before content and after it: an error, never a 500, never a silence."""

    async def main():
        one = FORMATS.get(form)
        preamble, content = (one.preamble, one.content) if one else ([ROLE], [WORD])
        model = one.model.encode() if one else b"groq/m"
        body = STREAM.replace(b"gpt-4o", model)
        if path.endswith("/completions") and "chat" not in path:
            body = body.replace(b'"messages":[{"role":"user","content":"hi"}]', b'"prompt":"hi"')
        for before in ([], preamble, preamble + content):
            if not broken and before != preamble + content:
                continue
            script = stream_of(*before, event(broken))
            outcome = await told(script, body, name=form, path=path)
            assert outcome.verdict == "error", outcome.raw[:500]
            told_of = before and not (form == "gemini" and before == preamble)  # Gemini's preamble is nothing to tell
            assert outcome.status == (200 if told_of else 502)
            assert outcome.error["code"] in ("provider_malformed", "stream_cut")

    run(main())


@pytest.mark.parametrize("status", [200, 502, 503, 520])
@CHAT_AND_STREAM
def test_U19_a_page_of_whatever_stands_in_between(status, body):
    page = (
        b"<!DOCTYPE html><html><head><title>502</title><style>a{}</style></head><body>" + b"<p>Bad &lt;gateway&gt;" * 90
    )

    async def main():
        outcome = await told([send(answer(page, status, content_type=b"text/html; charset=UTF-8"))], body)
        assert (outcome.status, outcome.verdict) == (502, "error")
        assert len(outcome.error["message"]) <= 200
        assert "<" not in outcome.error["message"]

    run(main())


def test_U20_a_letter_across_two_packets_and_one_that_is_none():
    euro = delta("€ U+2028 \u2028 é".encode())
    broken = delta(b"a\xff\xfeb\xe2\x82")

    async def main():
        whole = b"".join(chunks([ROLE, euro, broken, FINISH, DONE])) + LAST_CHUNK
        at = whole.index(b"\xe2\x82\xac") + 1
        for cut in range(at - 1, at + 3):
            outcome = await told([send(STREAM_HEAD, whole[:cut], whole[cut:])], STREAM)
            assert outcome.whole
            assert outcome.body == ROLE + euro + broken + FINISH + DONE

    run(main())


@pytest.mark.parametrize(
    "head",
    [b"x: " + b"a" * 1_048_576, b"".join(b"x-%d: a\r\n" % n for n in range(10_000)), b"x: a\r\n" * 10_000],
    ids=["1 MiB", "10,000 names", "10,000 times one name"],
)
@CHAT_AND_STREAM
def test_U21_a_huge_head(head, body):
    async def main():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.process_time()
        outcome = await told([send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n{}"), fin()], body)
        assert time.process_time() - began <= 1
        assert (outcome.status, outcome.error["code"]) == (502, "provider_malformed")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before <= 8 * 1024  # the sender's copies too

    run(main())


@CHAT_AND_STREAM
def test_U22_interim_answers(body):
    message = GOOD if body is CHAT else good_stream()
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"

    async def main():
        assert (await told([send(interim + message)], body)).verdict == "answer"
        assert (await told([send(interim, message)], body)).verdict == "answer"
        for bad in (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", interim * 500):
            outcome = await told([send(bad + message)], body)
            assert (outcome.status, outcome.verdict) == (502, "error")

    run(main())


@pytest.mark.parametrize(
    "head", [b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\nconnection: close\r\n", b"HTTP/1.1 200 OK\r\n"]
)
def test_U23_an_answer_that_ends_with_its_connection(head):
    """It works, its connection is never used again, and a stream cut there is still seen to be cut."""

    async def main():
        whole = head + b"content-type: application/json\r\n\r\n" + CHAT_ANSWER
        stream = head + b"content-type: text/event-stream\r\n\r\n"
        faultd = await serve(
            [send(whole), fin()],
            [send(stream, ROLE, WORD, FINISH, DONE), fin()],
            [send(stream, ROLE, WORD), fin()],
            [send(stream, ROLE, WORD, FINISH), fin()],
        )
        async with gateway(ONCE, providers={"openai": faultd}) as running:
            assert (await ask(running.port)).body == CHAT_ANSWER
            assert [(await ask(running.port, STREAM)).verdict for _ in range(3)] == ["answer", "error", "error"]
            assert len(faultd.talks) == 4

    run(main())


@pytest.mark.parametrize("status", [204, 301, 302, 303, 304, 307, 308])
@CHAT_AND_STREAM
def test_U24_statuses_without_an_answer_and_redirects(status, body):
    async def main():
        elsewhere = await serve([send(GOOD)])
        message = b"HTTP/1.1 %d X\r\nlocation: %b/x\r\ncontent-length: 2\r\n\r\n{}" % (status, elsewhere.url.encode())
        outcome = await told([send(message)], body)
        assert (outcome.status, outcome.verdict) == (502, "error")
        assert elsewhere.talks == []
        await elsewhere.close()

    run(main())


def packed(data, coding):
    return {b"gzip": gzip.compress(data, mtime=0), b"deflate": zlib.compress(data), b"x-gzip": gzip.compress(data)}[
        coding
    ]


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"x-gzip"])
def test_U25_compressed_although_nobody_asked(coding):
    async def main():
        field = b"content-encoding: " + coding
        whole = await told([send(answer(packed(CHAT_ANSWER, coding), 200, field))])
        assert whole.body == CHAT_ANSWER
        assert "content-encoding" not in whole.headers
        events = packed(ROLE + WORD + FINISH + DONE, coding)
        head = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\n" + field + b"\r\n\r\n")
        pieces = [events[at : at + 20] for at in range(0, len(events), 20)]
        for cut in range(1, len(pieces) + 1):
            stream = await told([send(head, *chunks(pieces[:cut]), LAST_CHUNK)], STREAM)
            plain = zlib.decompressobj(32 + zlib.MAX_WBITS).decompress(b"".join(pieces[:cut]))
            assert stream.verdict == ("answer" if DONE in plain else "error")
            assert stream.text == ("word " if WORD in plain else "")

    run(main())


HOSTILE = {
    "br": (b"br", CHAT_ANSWER),
    "zstd": (b"zstd", CHAT_ANSWER),
    "no gzip at all": (b"gzip", CHAT_ANSWER),
    "half a gzip": (b"gzip", gzip.compress(CHAT_ANSWER)[:-9]),
    "a bomb": (b"gzip", None),
}


@pytest.fixture(scope="module")
def bomb():
    """A GiB of zeros in a MiB."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush()


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
@CHAT_AND_STREAM
def test_U25_compression_that_cannot_be_undone(hostile, body, bomb):
    coding, packed_body = hostile

    async def main():
        message = answer(packed_body or bomb, 200, b"content-encoding: " + coding)
        if body is STREAM:
            message = message.replace(b"application/json", b"text/event-stream")
        before = peak_rss()
        outcome = await told([send(message)], body, {**ONCE, "UPSTREAM_MAX_BODY_BYTES": "1MiB"})
        assert (outcome.status, outcome.verdict) == (502, "error")
        assert peak_rss() - before <= 16 * 1024  # KiB; a MiB, or for a stream the 4 MiB of one event, and its copies

    run(main())


def peak_rss():
    """KiB, since the last look."""
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
def test_U26_all_shapes_of_events_pass_as_they_came(shape):
    """At every split of the wire bytes, but for the largest; decoding at any split is in tests/unit/formats."""

    async def main():
        places = range(1, len(shape)) if len(shape) < 700 else range(1, len(shape), len(shape) // 5)
        faultd = await serve(
            *([send(STREAM_HEAD, chunk(shape[:cut]), chunk(shape[cut:]), LAST_CHUNK)] for cut in places)
        )
        async with gateway({**ONCE, "COALESCE": "false"}, providers={"openai": faultd}) as running:
            for _ in places:
                outcome = await ask(running.port, STREAM)
                assert outcome.whole
                # An event that lacks only its last line ends is given them: readers wait for those.
                assert outcome.body == (shape if shape != SHAPES["no last line end"] else shape + b"\n\n")
                assert not outcome.error

    run(main())


def test_U26_an_event_over_4_MiB_is_refused_where_it_must_be_read():
    async def main():
        for form in ("anthropic", "gemini", "mistral"):
            one = FORMATS[form]
            for before in (one.preamble, one.preamble + one.content):
                huge = [b"data: ", *[b"x" * 100_000] * 50, b"\n\n"]
                script = [send(STREAM_HEAD, *chunks(before), *chunks(huge), LAST_CHUNK)]
                outcome = await told(script, STREAM.replace(b"gpt-4o", one.model.encode()), name=form)
                assert outcome.verdict == "error"
                assert outcome.status == (502 if form == "gemini" and before == one.preamble else 200)

    run(main())


def test_U26_a_preamble_without_an_end_is_not_kept():
    """What comes before content is held back, but not without a bound."""

    async def main():
        faultd = await serve([send(STREAM_HEAD, *[chunk(ROLE * 200)] * 200), silence()])
        settings = {**ONCE, "STREAM_IDLE_TIMEOUT": "5s"}
        async with gateway(settings, providers={"openai": faultd}) as running:
            caller = await Caller.connect(running.port)
            caller.send(post(STREAM))
            seen = await caller.reader.readexactly(2_000_000)
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


@pytest.mark.parametrize(("value", "shown", "rest"), WAITS.values(), ids=WAITS)
@CHAT_AND_STREAM
def test_U27_rate_limits(value, shown, rest, body):
    """The caller hears the provider's own wait, the credential rests 300 s at most, the breaker does not care."""

    async def main():
        limited = answer(b'{"error":{"message":"slow down"}}', 429, *([b"retry-after: " + value] if value else []))
        faultd = await serve([send(limited)])
        async with gateway({**ONCE, "CB_ERROR_THRESHOLD": "1"}, providers={"openai": faultd}) as running:
            if value is DATE:
                date = email.utils.formatdate(time.time() + 30, usegmt=True).encode()
                faultd.scripts = [[send(limited.replace(DATE, date))]]
            outcome = await ask(running.port, body)
            assert (outcome.status, outcome.error["code"]) == (429, "rate_limit_exceeded")
            assert outcome.headers["retry-after"] in shown
            standing, now = running.app.runtime.provider_health["openai"], asyncio.get_running_loop().time()
            assert standing.cooldowns.end_of(0, "gpt-4o", now + rest - 2)
            assert not standing.cooldowns.end_of(0, "gpt-4o", now + rest + 1)
            assert standing.breaker.state.name == "CLOSED"
            assert (await ask(running.port, body)).status == 429  # the only target is asked all the same

    run(main())


def test_U27_of_several_limits_the_shortest_is_told():
    async def main():
        def limit(seconds):
            return serve([send(answer(b"{}", 429, b"retry-after: %d" % seconds))])

        async with gateway(providers={"openai": await limit(30), "mistral": await limit(9)}) as running:
            assert (await ask(running.port)).headers["retry-after"] == "9"

    run(main())


MISMATCHES = {
    "a stream was asked for, JSON comes": (STREAM, GOOD),
    "JSON was asked for, a stream comes": (CHAT, good_stream()),
    "a stream was asked for, a list comes": (STREAM, answer(b"[]")),
}


@pytest.mark.parametrize(("body", "message"), MISMATCHES.values(), ids=MISMATCHES)
def test_U36_the_other_mode_comes(body, message):
    """The mode that was asked for, from somebody, or 502; never a hang."""

    async def main():
        outcome = await told([send(message)], body)
        assert (outcome.status, outcome.verdict) == (502, "error")
        faultd = await serve([send(message)])
        async with gateway(providers={"openai": faultd, "mistral": await start("mistral")}) as running:
            outcome = await ask(running.port, body)
            assert (outcome.verdict, outcome.streamed) == ("answer", body is STREAM)
            await until(lambda: faultd.open <= 1)

    run(main())


def test_the_record_of_a_bad_answer_names_who_sent_it():
    async def main():
        faultd = await serve([send(answer(b"nothing"))])
        async with gateway(ONCE, providers={"openai": faultd}) as running:
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
        ("anthropic", CHAT.replace(b"gpt-4o", b"claude-sonnet-4-5"), b"{%b}" % VALUES, 502),
        ("anthropic", COMPLETION.replace(b"true", b"false"), b"{%b}" % VALUES, 502),
    ],
)
def test_an_answer_of_too_many_names_and_values_is_not_decoded(name, body, content, status):
    path = "/v1/completions" if b"prompt" in body else "/v1/chat/completions"
    outcome = run(told([send(answer(content))], body, NODES, name, path))
    assert outcome.status == status
    if status == 502:
        assert b"provider_malformed" in outcome.body


def test_an_error_of_too_many_names_and_values_is_told_by_its_status():
    content = b'{"error":{"message":"no"},%b}' % VALUES
    outcome = run(told([send(answer(content, 429))], CHAT, NODES))
    assert outcome.status == 429
