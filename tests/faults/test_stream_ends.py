"""Tests of how streams end beyond the matrix: several events in one read, and bytes after the end."""

import asyncio
import json

import pytest

from nulpoint.mock import start
from support.client_outcome import Outcome, ask
from support.event_loop import run
from support.http_client import STREAM, Caller, post
from support.provider_bytes import (
    CLOUDS,
    DONE,
    FORMATS,
    LAST_CHUNK,
    ROLE,
    STREAM_HEAD,
    TEXT,
    WORD,
    chunk,
    chunks,
    delta,
    event,
)
from support.running_gateway import gateway
from support.scripted_provider import fin, reset, send, serve, silence

FINISH = delta(b"", b'"stop"')
SETTINGS = {"STREAM_IDLE_TIMEOUT": "200ms", "MAX_RETRIES": "1"}


async def relayed(*steps, settings=SETTINGS):
    """Relay a stream with these steps and return what the client received and the log record."""
    provider = await serve([send(STREAM_HEAD), *steps])
    async with gateway(settings, providers={"openai": provider}) as running:
        outcome = await ask(running.port, STREAM)
        return outcome, json.loads(running.log())


@pytest.mark.parametrize("end", [reset(), fin(), silence()], ids=["reset", "end", "stall"])
@pytest.mark.parametrize("apart", [True, False], ids=["event by event", "in one read"])
def test_a_connection_that_breaks_after_the_terminal_event_does_not_fail_the_request(end, apart):
    events = [chunk(data) for data in (ROLE, WORD, FINISH, DONE)]

    async def main():
        outcome, record = await relayed(send(*events) if apart else send(b"".join(events)), end)
        assert (outcome.verdict, outcome.text) == ("answer", "word ")
        assert "error" not in record

    run(main())


@pytest.mark.parametrize("piece", [DONE[:8], DONE[:-1], WORD[:20], WORD[:-2]])
def test_an_event_in_which_the_stream_ends_is_not_passed_on(piece):
    """`[DONE]` and complete JSON count even without the empty line after them; anything shorter is dropped."""

    async def main():
        events = [chunk(data) for data in (ROLE, WORD, FINISH, piece)]
        outcome, _ = await relayed(send(*events, LAST_CHUNK))
        assert outcome.verdict == ("answer" if piece in (DONE[:-1], WORD[:-2]) else "error")
        assert [data for data in outcome.events if data != b"[DONE]" and not json.loads(data)] == []
        assert outcome.text == ("word word " if piece == WORD[:-2] else "word ")

    run(main())


ERRORS = {
    "plain": b'{"error":{"message":"key CANARY-4711 broke","type":"server_error","code":"oops"}}',
    "with choices": b'{"id":"c","error":{"message":"key CANARY-4711 broke","code":502},"choices":[{"index":0,"delta":'
    b'{"content":""},"finish_reason":"error"}]}',
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("before", [[], [ROLE], [ROLE, WORD], [ROLE, WORD, FINISH]], ids=len)
@pytest.mark.parametrize("after", [[], [DONE], [FINISH, DONE]], ids=len)
@pytest.mark.parametrize("apart", [True, False], ids=["event by event", "in one read"])
def test_an_error_event_in_a_stream_is_reported_once_and_nothing_follows(error, before, after, apart):
    """This holds even if `[DONE]` follows and if all comes in one read, and credentials in the error are redacted."""

    async def main():
        events = [chunk(data) for data in (*before, event(error), *after)] + [LAST_CHUNK]
        settings = {**SETTINGS, "OPENAI_API_KEY": "CANARY-4711"}
        outcome, record = await relayed(send(*events) if apart else send(b"".join(events)), settings=settings)
        assert outcome.verdict == "error"
        assert outcome.error["message"] == "key [redacted] broke"
        assert outcome.status == (502 if not before or (before == [ROLE] and not apart) else 200)
        assert outcome.text == ("word " if WORD in before else "")
        assert (record["error"], record["code"]) == ("upstream", outcome.error["code"])
        assert b"CANARY" not in outcome.raw

    run(main())


def test_content_that_looks_like_an_error_is_not_one():
    async def main():
        word = delta(rb"{\"error\": {\"message\": \"x\"}} ")
        null = event(b'{"id":"c","choices":[{"index":0,"delta":{"content":"y"},"finish_reason":null}],"error":null}')
        events = [chunk(data) for data in (ROLE, word, null, FINISH, DONE)]
        outcome, _ = await relayed(send(*events, LAST_CHUNK))
        assert outcome.verdict == "answer"
        assert outcome.text == '{"error": {"message": "x"}} y'

    run(main())


@pytest.mark.parametrize("form", ["anthropic", "gemini", "mistral", "bedrock"])
def test_content_and_an_error_in_one_read(form):
    """The content before the error is passed on, so the status line cannot report the error any more."""
    spec = {**FORMATS, **CLOUDS}[form]

    async def main():
        provider = await serve(
            [send(spec.head + b"".join(chunks([*spec.preamble, spec.content[0], spec.error_event])))]
        )
        async with gateway(SETTINGS, providers={form: provider}) as running:
            outcomes = await asyncio.gather(*[ask(running.port, request_for(spec)) for _ in range(2)])
            for outcome in outcomes:
                assert (outcome.status, outcome.verdict, outcome.text) == (200, "error", "a")

    run(main())


def request_for(form):
    return STREAM.replace(b"gpt-4o", form.model.encode())


BEDROCK = CLOUDS["bedrock"]
_, STOP, COST = BEDROCK.terminal
EXCEPTION = BEDROCK.error_event


@pytest.mark.parametrize(
    ("events", "whole"),
    [
        ([*BEDROCK.events, *BEDROCK.events], True),  # bytes after the end are ignored
        ([*BEDROCK.events, EXCEPTION], True),
        ([*BEDROCK.events, COST[:40]], True),
        ([*BEDROCK.events[:-1]], True),  # the usage is missing
        ([*BEDROCK.events[:-1], EXCEPTION], False),
        ([*BEDROCK.events[:-1], COST[:-1]], False),
        ([*BEDROCK.preamble, *BEDROCK.content], False),
        ([*BEDROCK.preamble, *BEDROCK.content, COST], False),  # usage alone does not end a stream
        ([*BEDROCK.preamble, *BEDROCK.content, *BEDROCK.events], False),
        ([STOP, COST], False),
        ([COST], False),
        ([], False),
    ],
)
@pytest.mark.parametrize("apart", [True, False], ids=["event by event", "in one read"])
def test_how_bedrock_streams_end(events, whole, apart):
    async def main():
        sent = [*map(chunk, events), LAST_CHUNK]
        provider = await serve([send(BEDROCK.head, *(sent if apart else [b"".join(sent)]))])
        async with gateway(SETTINGS, providers={"bedrock": provider}) as running:
            outcome = await ask(running.port, request_for(BEDROCK))
            assert outcome.verdict == ("answer" if whole else "error")
            assert outcome.text == (TEXT if whole else outcome.text)
            assert TEXT.startswith(outcome.text)
            assert not whole or ("usage" in json.loads(running.log())) is (COST in events)

    run(main())


HTTP_1_0_STREAMS = {
    "a whole stream": ([send(STREAM_HEAD, *map(chunk, (ROLE, WORD, FINISH, DONE)), LAST_CHUNK)], True, True),
    "cut in content": ([send(STREAM_HEAD, chunk(ROLE), chunk(WORD)), fin()], True, False),
    "cut before content": ([send(STREAM_HEAD, chunk(ROLE)), fin()], False, True),
    "a long silence first": ([silence()], False, True),
}


@pytest.mark.parametrize(("script", "first", "whole"), HTTP_1_0_STREAMS.values(), ids=HTTP_1_0_STREAMS)
@pytest.mark.parametrize("header", ["X: y", "Connection: keep-alive"])
def test_a_client_with_http_1_0_gets_the_same_result(script, first, whole, header):
    """HTTP/1.0 has no chunks: only `[DONE]` shows that the response is complete, and the connection always closes."""

    async def main():
        providers = {"openai": await serve(script), "anthropic": await start("anthropic")}
        settings = {"PROVIDER_TIMEOUT": "400ms", "STREAM_KEEPALIVE": "200ms"}
        async with gateway(settings, providers=providers) as running:
            client = await Caller.connect(running.port)
            client.send(post(STREAM, "/v1/chat/completions", header).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
            outcome = Outcome(await client.rest())
            assert outcome.status == 200
            assert "transfer-encoding" not in outcome.headers
            assert outcome.headers["connection"] == "close"
            assert outcome.done is whole
            assert bool(outcome.error) is not whole
            served_by = outcome.headers.get("x-nulpoint-provider"), b": answered by anthropic" in outcome.body
            assert first is (served_by[0] == "openai" and not served_by[1])

    run(main())
