"""How streams end, in the cases the matrix has no room for: several events in one read, and what comes after the end."""

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
    """What a caller sees of a stream scripted so, and its log record."""
    faultd = await serve([send(STREAM_HEAD), *steps])
    async with gateway(settings, providers={"openai": faultd}) as running:
        outcome = await ask(running.port, STREAM)
        return outcome, json.loads(running.log())


@pytest.mark.parametrize("end", [reset(), fin(), silence()], ids=["reset", "end", "stall"])
@pytest.mark.parametrize("apart", [True, False], ids=["event by event", "in one read"])
def test_a_connection_that_breaks_after_the_terminal_event_takes_nothing_back(end, apart):
    events = [chunk(one) for one in (ROLE, WORD, FINISH, DONE)]

    async def main():
        outcome, record = await relayed(send(*events) if apart else send(b"".join(events)), end)
        assert (outcome.verdict, outcome.text) == ("answer", "word ")
        assert "error" not in record

    run(main())


@pytest.mark.parametrize("piece", [DONE[:8], DONE[:-1], WORD[:20], WORD[:-2]])
def test_of_a_stream_that_ends_within_an_event_that_event_is_not_shown(piece):
    """Without its empty line `[DONE]` is an end all the same, and whole JSON an event; the rest is half of one."""

    async def main():
        events = [chunk(one) for one in (ROLE, WORD, FINISH, piece)]
        outcome, _ = await relayed(send(*events, LAST_CHUNK))
        assert outcome.verdict == ("answer" if piece == DONE[:-1] else "error")
        assert [one for one in outcome.events if one != b"[DONE]" and not json.loads(one)] == []
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
def test_U18_an_error_the_provider_tells_in_its_stream_is_told_once_and_nothing_follows(error, before, after, apart):
    """Even if `[DONE]` follows it, and even in one read with all the rest; no credential shows."""

    async def main():
        events = [chunk(one) for one in (*before, event(error), *after)] + [LAST_CHUNK]
        settings = {**SETTINGS, "OPENAI_API_KEY": "CANARY-4711"}
        outcome, record = await relayed(send(*events) if apart else send(b"".join(events)), settings=settings)
        assert outcome.verdict == "error"
        assert outcome.error["message"] == "key [redacted] broke"
        assert outcome.status == (502 if not before or (before == [ROLE] and not apart) else 200)
        assert outcome.text == ("word " if WORD in before else "")
        assert (record["error"], record["code"]) == ("upstream", outcome.error["code"])
        assert b"CANARY" not in outcome.raw

    run(main())


def test_text_that_speaks_of_errors_is_no_error():
    async def main():
        word = delta(rb"{\"error\": {\"message\": \"x\"}} ")
        null = event(b'{"id":"c","choices":[{"index":0,"delta":{"content":"y"},"finish_reason":null}],"error":null}')
        events = [chunk(one) for one in (ROLE, word, null, FINISH, DONE)]
        outcome, _ = await relayed(send(*events, LAST_CHUNK))
        assert outcome.verdict == "answer"
        assert outcome.text == '{"error": {"message": "x"}} y'

    run(main())


@pytest.mark.parametrize("form", ["anthropic", "gemini", "mistral", "bedrock"])
def test_content_and_an_error_in_one_read(form):
    """What has come is the caller's, and the status line cannot say any more what went wrong."""
    one = {**FORMATS, **CLOUDS}[form]

    async def main():
        faultd = await serve([send(one.head + b"".join(chunks([*one.preamble, one.content[0], one.error_event])))])
        async with gateway(SETTINGS, providers={form: faultd}) as running:
            followed, outcome = await asyncio.gather(*[ask(running.port, model_of(one)) for _ in range(2)])
            for seen in (followed, outcome):
                assert (seen.status, seen.verdict, seen.text) == (200, "error", "a")

    run(main())


def model_of(form):
    return STREAM.replace(b"gpt-4o", form.model.encode())


BEDROCK = CLOUDS["bedrock"]
_, STOP, COST = BEDROCK.terminal
EXCEPTION = BEDROCK.error_event


@pytest.mark.parametrize(
    ("events", "whole"),
    [
        ([*BEDROCK.events, *BEDROCK.events], True),  # what follows the end is nobody's
        ([*BEDROCK.events, EXCEPTION], True),
        ([*BEDROCK.events, COST[:40]], True),
        ([*BEDROCK.events[:-1]], True),  # without what it cost
        ([*BEDROCK.events[:-1], EXCEPTION], False),
        ([*BEDROCK.events[:-1], COST[:-1]], False),
        ([*BEDROCK.preamble, *BEDROCK.content], False),
        ([*BEDROCK.preamble, *BEDROCK.content, COST], False),  # what it cost says not that it has ended
        ([*BEDROCK.preamble, *BEDROCK.content, *BEDROCK.events], False),
        ([STOP, COST], False),
        ([COST], False),
        ([], False),
    ],
)
@pytest.mark.parametrize("apart", [True, False], ids=["event by event", "in one read"])
def test_how_bedrock_s_streams_end(events, whole, apart):
    async def main():
        sent = [*map(chunk, events), LAST_CHUNK]
        faultd = await serve([send(BEDROCK.head, *(sent if apart else [b"".join(sent)]))])
        async with gateway(SETTINGS, providers={"bedrock": faultd}) as running:
            outcome = await ask(running.port, model_of(BEDROCK))
            assert outcome.verdict == ("answer" if whole else "error")
            assert outcome.text == (TEXT if whole else outcome.text)
            assert TEXT.startswith(outcome.text)
            assert not whole or ("usage" in json.loads(running.log())) is (COST in events)

    run(main())


OLD_CALLER = {
    "a whole stream": ([send(STREAM_HEAD, *map(chunk, (ROLE, WORD, FINISH, DONE)), LAST_CHUNK)], True, True),
    "cut in content": ([send(STREAM_HEAD, chunk(ROLE), chunk(WORD)), fin()], True, False),
    "cut before content": ([send(STREAM_HEAD, chunk(ROLE)), fin()], False, True),
    "a long silence first": ([silence()], False, True),
}


@pytest.mark.parametrize(("script", "first", "whole"), OLD_CALLER.values(), ids=OLD_CALLER)
@pytest.mark.parametrize("field", ["X: y", "Connection: keep-alive"])
def test_a_caller_who_speaks_http_1_0_hears_the_same_truth(script, first, whole, field):
    """There are no chunks for it: only `[DONE]` says that the answer is whole, and the connection ends in any case."""

    async def main():
        providers = {"openai": await serve(script), "anthropic": await start("anthropic")}
        settings = {"PROVIDER_TIMEOUT": "400ms", "STREAM_KEEPALIVE": "200ms"}
        async with gateway(settings, providers=providers) as running:
            caller = await Caller.connect(running.port)
            caller.send(post(STREAM, "/v1/chat/completions", field).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
            outcome = Outcome(await caller.rest())
            assert outcome.status == 200
            assert "transfer-encoding" not in outcome.headers
            assert outcome.headers["connection"] == "close"
            assert outcome.done is whole
            assert bool(outcome.error) is not whole
            answered = outcome.headers.get("x-nulpoint-provider"), b": answered by anthropic" in outcome.body
            assert first is (answered[0] == "openai" and not answered[1])

    run(main())
