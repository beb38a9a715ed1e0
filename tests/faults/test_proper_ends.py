"""Tests that only a proper end completes a response.

A failure in the last event, content after the end, and a status other than 200 are reported as failures to every client
that shares the call, with and without the cache.
"""

import asyncio
import json

import pytest

from nulpoint.mock import start
from support.client_outcome import ask
from support.event_loop import run
from support.http_client import CHAT, STREAM
from support.provider_bytes import (
    CHAT_ANSWER,
    CLOUDS,
    DONE,
    FORMATS,
    GOOD,
    LAST_CHUNK,
    ROLE,
    STREAM_HEAD,
    TEXT,
    WORD,
    answer,
    chunk,
    chunks,
    delta,
    event,
    good_stream,
)
from support.running_gateway import gateway
from support.scripted_provider import fin, pause, send, serve, silence

FINISH = delta(b"", b'"stop"')
ONCE = {"MAX_RETRIES": "1"}
CACHES = pytest.mark.parametrize("cache", ["none", "memory"])
WITH_USAGE = STREAM.replace(b"{", b'{"stream_options":{"include_usage":true},', 1)


USAGE_OF_ANTHROPIC = (
    b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":%b}}\n\n'
)
USAGE_OF_GEMINI = b'data: {"candidates":[{"finishReason":"STOP","index":0}],"usageMetadata":%b}\n\n'
USAGE_OF_MISTRAL = (
    b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":%b}\n\n'
)
LAST_EVENTS = {
    "anthropic, a list": ("anthropic", USAGE_OF_ANTHROPIC % b"[7]"),
    "anthropic, a text": ("anthropic", USAGE_OF_ANTHROPIC % b'"7"'),
    "anthropic, negative": ("anthropic", USAGE_OF_ANTHROPIC % b"-7"),
    "anthropic, an invalid reason": (
        "anthropic",
        USAGE_OF_ANTHROPIC.replace(b'"end_turn"', b'["end_turn"]') % b"7",
    ),
    "gemini, a text": ("gemini", USAGE_OF_GEMINI % b'"7"'),
    "gemini, details that are texts": ("gemini", USAGE_OF_GEMINI % b'{"promptTokensDetails":["TEXT"]}'),
    "gemini, sources that are a text": (
        "gemini",
        USAGE_OF_GEMINI.replace(b'"index"', b'"groundingMetadata":"x","index"') % b"{}",
    ),
    "mistral, a list": ("mistral", USAGE_OF_MISTRAL % b"[7]"),
    "mistral, a float": ("mistral", USAGE_OF_MISTRAL % b'{"prompt_tokens":1.5}'),
}


@CACHES
@pytest.mark.parametrize("body", [STREAM, WITH_USAGE], ids=["", "usage shown"])
@pytest.mark.parametrize(("wire", "last"), LAST_EVENTS.values(), ids=LAST_EVENTS)
def test_a_stream_that_fails_in_its_last_event_is_an_error(wire, last, body, cache):
    form = FORMATS[wire]
    ends = {"anthropic": form.terminal[-1:], "gemini": [], "mistral": [DONE]}[wire]
    events = [*form.preamble, *form.content, last, *ends]

    async def main():
        provider = await serve([send(STREAM_HEAD, *chunks(events), LAST_CHUNK)])
        request = body.replace(b"gpt-4o", form.model.encode())
        async with gateway({**ONCE, "CACHE_MODE": cache}, providers={wire: provider}) as running:
            outcomes = await asyncio.gather(*[ask(running.port, request) for _ in range(3)])
            outcomes.append(await ask(running.port, request))
            for outcome in outcomes:
                assert (outcome.verdict, outcome.error["code"]) == ("error", "provider_malformed"), outcome.raw[-300:]
                assert outcome.text
                assert TEXT.startswith(outcome.text)
            records = [json.loads(line) for line in running.log().splitlines()]
            assert {(record["error"], record["code"]) for record in records} == {("upstream", "provider_malformed")}

    run(main())


@pytest.mark.parametrize(
    "script",
    [
        [send(STREAM_HEAD, *chunks([*FORMATS["anthropic"].events[:-2], USAGE_OF_ANTHROPIC % b"[]"]), LAST_CHUNK)],
        [send(good_stream().replace(b" 200 ", b" 206 ", 1))],
    ],
    ids=["odd usage", "206"],
)
def test_the_breaker_counts_an_improper_end(script):
    async def main():
        provider = await serve(script)
        async with gateway({**ONCE, "CB_ERROR_THRESHOLD": "1"}, providers={"anthropic": provider}) as running:
            request = STREAM.replace(b"gpt-4o", FORMATS["anthropic"].model.encode())
            assert (await ask(running.port, request)).verdict == "error"
            assert running.app.runtime.provider_health["anthropic"].breaker.state.name == "OPEN"

    run(main())


AFTER = {
    "content": [WORD],
    "another response": [ROLE, WORD, FINISH, DONE],
    "an error": [b'event: error\ndata: {"message":"broken"}\n\n'],
    "usage": [event(b'{"choices":[],"usage":{"prompt_tokens":1}}')],
}
HARMLESS = {"nothing": [], "a comment": [b": bye\n\n"], "once more": [DONE], "empty lines": [b"\n\n\n"]}


@CACHES
@pytest.mark.parametrize("apart", ["one read", "event by event", "later"])
@pytest.mark.parametrize(
    ("name", "path"),
    [("openai", "/v1/chat/completions"), ("groq", "/v1/completions"), ("mistral", "/v1/chat/completions")],
)
@pytest.mark.parametrize("after", [*AFTER, *HARMLESS])
def test_events_after_done_do_not_pass_as_success(after, apart, name, path, cache):
    more = {**AFTER, **HARMLESS}[after]
    first_chunks, later_chunks = chunks([ROLE, WORD, FINISH, DONE]), [*chunks(more), LAST_CHUNK]
    steps = {
        "one read": [send(b"".join([*first_chunks, *later_chunks]))],
        "event by event": [send(*first_chunks, *later_chunks)],
        "later": [send(*first_chunks), pause(0.05), send(*later_chunks)],
    }[apart]

    async def main():
        provider = await serve([send(STREAM_HEAD), *steps])
        body = STREAM.replace(b"gpt-4o", b"%b/m" % name.encode())
        if path == "/v1/completions":
            body = body.replace(b'"messages":[{"role":"user","content":"hi"}]', b'"prompt":"hi"')
        async with gateway({**ONCE, "CACHE_MODE": cache}, providers={name: provider}) as running:
            outcomes = await asyncio.gather(*[ask(running.port, body, path) for _ in range(2)])
            outcomes.append(await ask(running.port, body, path))
            for outcome in outcomes:
                assert outcome.verdict == ("error" if after in AFTER else "answer"), outcome.raw
                assert outcome.raw.count(b"word ") == 1
            assert not (cache == "memory" and after in AFTER) or len(provider.requests) == 2

    run(main())


def test_a_body_that_stays_open_after_done_is_not_waited_for():
    async def main():
        provider = await serve([send(STREAM_HEAD, *chunks([ROLE, WORD, FINISH, DONE])), silence()])
        async with gateway(ONCE, providers={"openai": provider}) as running:
            began = asyncio.get_running_loop().time()
            outcome = await ask(running.port, STREAM)
            assert (outcome.verdict, outcome.text) == ("answer", "word ")
            assert (
                asyncio.get_running_loop().time() - began < 60
            )  # less than the idle timeout of 120 s, which would also end it
            assert "error" not in json.loads(running.log())

    run(main())


ERRORS = {
    "by name": b'event: error\ndata: {"message":"broken"}\n\n',
    "by name, CRLF": b'event:error\r\ndata:{"message":"broken"}\r\n\r\n',
    "by name, CR": b'data: {"message":"broken"}\revent: error\r\r',
    "by name, without data": b"event: error\n\n",
    "escaped": b'data: {"\\u0065rro\\u0072":{"message":"broken"}}\n\n',
    "over lines": b'data: {"error":\ndata: {"message":\ndata: "broken"}}\n\n',
    "vLLM's": b'data: {"object":"error","message":"broken","code":500}\n\n',
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("first", [True, False], ids=["first", "after content"])
def test_an_error_event_is_recognized_in_whatever_pieces_it_arrives(error, first):
    before = b"\xef\xbb\xbf" if first else ROLE + WORD
    stream = before + error + FINISH + DONE

    async def main():
        split_positions = range(len(before), len(before + error) + 1, 3)
        provider = await serve(
            *(
                [send(STREAM_HEAD, chunk(stream[:at] or b": \n"), chunk(stream[at:]), LAST_CHUNK)]
                for at in split_positions
            )
        )
        async with gateway(
            {**ONCE, "COALESCE": "false", "CB_ERROR_THRESHOLD": "1000"}, providers={"openai": provider}
        ) as running:
            for _ in split_positions:
                outcome = await ask(running.port, STREAM)
                assert outcome.verdict == "error", outcome.raw
                assert outcome.status == (502 if first else 200)
                assert first or outcome.body.startswith(before + b"\n\ndata: ")

    run(main())


@pytest.mark.parametrize("status", [201, 202, 203, 205, 206, 207, 226, 299])
@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
def test_a_good_response_with_a_status_other_than_200_is_malformed(status, body):
    good = GOOD if body is CHAT else good_stream()
    message = good.replace(b" 200 ", b" %d " % status, 1)

    async def main():
        provider = await serve([send(message)])
        providers = {"openai": provider, "mistral": await start("mistral")}
        async with gateway({"MAX_RETRIES": "2"}, providers=providers) as running:
            outcome = await ask(running.port, body.replace(b"gpt-4o", b"openai/gpt-4o"))
            assert (outcome.status, outcome.error["code"]) == (502, "provider_malformed")
            assert str(status) in outcome.error["message"]
            outcome = await ask(running.port, body)
            assert (outcome.verdict, outcome.headers["x-nulpoint-provider"]) == ("answer", "mistral")

    run(main())


USAGES = {
    "a text": b'"many"', "a list": b"[1]", "negative": b'{"prompt_tokens":-5,"completion_tokens":-5}',
    "a float": b'{"prompt_tokens":1.5}', "true": b'{"prompt_tokens":true}', "1e300": b'{"completion_tokens":1e300}',
    "more than 64 bits": b'{"prompt_tokens":%b}' % (b"1" * 30), "400 digits": b'{"prompt_tokens":%b}' % (b"1" * 400),
    "texts": b'{"prompt_tokens":"5","completion_tokens":"7"}', "details": b'{"prompt_tokens_details":["a"]}',
}  # fmt: skip


@CACHES
@pytest.mark.parametrize("usage", USAGES.values(), ids=USAGES)
def test_invalid_usage_counts_as_not_reported(usage, cache):
    """The response is still passed on unchanged; limits, metrics and the log count no tokens."""
    whole = CHAT_ANSWER.replace(b'{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}', usage)
    usage_event = event(b'{"id":"c","model":"m","choices":[],"usage":%b}' % usage)

    async def main():
        stream = [ROLE, WORD, FINISH, usage_event, DONE]
        provider = await serve([send(answer(whole))], [send(STREAM_HEAD, *chunks(stream), LAST_CHUNK)])
        settings = {**ONCE, "CACHE_MODE": cache, "TPM_LIMIT": "100000"}
        async with gateway(settings, providers={"openai": provider}) as running:
            assert (await ask(running.port, CHAT)).body == whole
            request = WITH_USAGE.replace(b"hi", b"ho")
            assert (await ask(running.port, request)).body == b"".join(stream)
            records = [json.loads(line) for line in running.log().splitlines()]
            assert [(record["answered_model"], "usage" in record, "cost" in record) for record in records] == [
                ("m", False, False)
            ] * 2
            assert b"gateway_tokens_total{" not in running.app.metrics.page()

    run(main())


ODD_ERRORS = {
    "violations that are a number": b'{"error":{"message":"broken","status":"x","details":[{"violations":7}]}}',
    "violations of numbers": b'{"error":{"message":"broken","details":[{"violations":[7]}]}}',
    "details that are a text": b'{"error":{"message":"broken","details":"x"}}',
    "everything a list": b'{"error":{"message":"broken","code":[1],"type":{"a":1},"param":[],"status":7,"innererror":[]}}',
    "a list of errors": b'[{"error":{"message":"broken","details":[[{"violations":[{"quotaId":[]}]}]]}}]',
}


@pytest.mark.parametrize("error", ODD_ERRORS.values(), ids=ODD_ERRORS)
@pytest.mark.parametrize("form", ["openai", "gemini", "anthropic", "mistral", "bedrock"])
def test_an_odd_error_body_keeps_its_status_and_message(error, form):
    spec = {**FORMATS, **CLOUDS}[form]

    async def main():
        provider = await serve([send(answer(error, 429))], [send(answer(error))])
        async with gateway(ONCE, providers={form: provider}) as running:
            request = CHAT.replace(b"gpt-4o", f"{form}/{spec.model}".encode())
            outcome = await ask(running.port, request)
            assert (outcome.status, outcome.error["message"]) == (429, "broken")
            outcome = await ask(running.port, request)
            assert outcome.verdict == "error"
            assert outcome.error["type"] != "internal_error"

    run(main())


def test_events_before_broken_framing_count_even_in_the_same_read():
    """`[DONE]` followed by invalid HTTP is a complete response, whether both come in one packet or in two."""

    async def main():
        events = b"".join(chunks([ROLE, WORD, FINISH, DONE]))
        provider = await serve(
            [send(STREAM_HEAD, events + b"no chunk\r\n"), fin()], [send(STREAM_HEAD, events, b"no chunk\r\n"), fin()]
        )
        async with gateway({**ONCE, "COALESCE": "false"}, providers={"openai": provider}) as running:
            assert [(await ask(running.port, STREAM)).verdict for _ in range(2)] == ["answer", "answer"]

    run(main())
