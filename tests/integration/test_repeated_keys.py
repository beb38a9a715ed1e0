"""A provider that repeats the key it was sent: it reaches neither the caller nor the log, whatever the format."""

import asyncio
import contextlib
import json
import re
from base64 import b64encode

import pytest

from support.credential_spellings import SPELLINGS, shows
from support.event_loop import run
from support.http_client import CHAT, STREAM, Caller, post
from support.running_gateway import gateway

KEY = "an-odd-key-of-no-known-shape"
SAID = f'{{"error":{{"message":"who is {KEY}?","type":"server_error","code":null}}}}'
EVENT = f"data: {SAID}\n\n"
ANTHROPIC_EVENT = f'event: error\ndata: {{"type":"error","error":{{"type":"api_error","message":"who is {KEY}?"}}}}\n\n'
CONTENT = 'data: {"id":"c","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'


def answer(body, content_type, status="200 OK"):
    return f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


JSON, EVENTS = "application/json", "text/event-stream"
CASES = {
    "an error answer": ("openai", CHAT, answer(SAID, JSON, "500 Oops")),
    "an error inside an answer": ("openai", CHAT, answer(SAID, JSON)),
    "an error as a stream's first event": ("openai", STREAM, answer(EVENT, EVENTS)),
    "an error inside a stream": ("openai", STREAM, answer(CONTENT + EVENT, EVENTS)),
    "Gemini's error inside an answer": ("gemini", CHAT, answer(SAID, JSON)),
    "Gemini's error inside a stream": ("gemini", STREAM, answer(EVENT, EVENTS)),
    "Mistral's error inside an answer": ("mistral", CHAT, answer(SAID, JSON)),
    "Mistral's error inside a stream": ("mistral", STREAM, answer(EVENT, EVENTS)),
    "Anthropic's error inside a stream": ("anthropic", STREAM, answer(ANTHROPIC_EVENT, EVENTS)),
}
MODELS = {"openai": "gpt-x", "anthropic": "claude-x", "gemini": "gemini-x", "mistral": "mistral-x"}
VARIABLES = {**{name: f"{name.upper()}_API_KEY" for name in MODELS}, "gemini": "GOOGLE_API_KEY"}


@pytest.mark.parametrize(("provider", "body", "scripted"), CASES.values(), ids=CASES)
def test_a_key_that_is_repeated(provider, body, scripted):
    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        assert KEY.encode() in head
        writer.write(scripted)
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        settings = {VARIABLES[provider]: KEY, f"{provider.upper()}_BASE_URL": url, "MAX_RETRIES": "1"}
        async with gateway({"FALLBACKS": "off", **settings}, names=()) as running:
            caller = await Caller.connect(running.port)
            caller.send(
                post(body.replace(b"gpt-4o", MODELS[provider].encode()), "/v1/chat/completions", "Connection: close")
            )
            told = await caller.rest()
            assert b"who is [redacted]?" in told
            log = running.log()
            assert b"who is [redacted]?" in log
            assert KEY.encode() not in told + log
        server.close()

    run(main())


# -- in every spelling, in every place ---------------------------------------------------------------------------------


OWN_KEY = "sk-Own-Zt7Qp2Lk9Vx4Rm8Wc3Nb6Hy1"
WHOLE = (
    '{"id":"c","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}]}'
)
DONE = "data: [DONE]\n\n"


def error(**members):
    return json.dumps({"error": {"message": "no", "type": "server_error", "param": None, "code": None, **members}})


def with_fields(body, content_type, status, *fields):
    head = [f"HTTP/1.1 {status}", f"content-type: {content_type}", f"content-length: {len(body.encode())}", *fields]
    return "\r\n".join([*head, "", body]).encode()


PLACES = {
    "an error's message": lambda said: with_fields(error(message=f"who is {said}?"), JSON, "401 No"),
    "an error's code": lambda said: with_fields(error(code=f"bad_{said}"), JSON, "400 No"),
    "an error's param": lambda said: with_fields(error(param=said), JSON, "400 No"),
    "an error's type": lambda said: with_fields(error(type=said), JSON, "500 No"),
    "an error's inner error": lambda said: with_fields(error(innererror={"a": [{"b": said}]}), JSON, "400 No"),
    "an error's detail": lambda said: with_fields(json.dumps({"detail": [{"input": said}]}), JSON, "422 No"),
    "an error that is text": lambda said: with_fields(f"oops {said}", "text/plain", "500 No"),
    "an error that is a page": lambda said: with_fields(f"<html><p>{said}</p></html>", "text/html", "502 No"),
    "an error with a name twice as long": lambda said: with_fields(error(message="x" * 8180 + said), JSON, "500 No"),
    "an error inside an answer": lambda said: with_fields(error(message=said), JSON, "200 OK"),
    "a header field of an error": lambda said: with_fields(error(), JSON, "500 No", f"cf-ray: {said}"),
    "a limit's field of an error": lambda said: with_fields(error(), JSON, "429 No", f"x-ratelimit-reset-tokens: {said}"),
    "the wait of an error": lambda said: with_fields(error(), JSON, "429 No", f"retry-after: {said}"),
    "the request id of an answer": lambda said: with_fields(WHOLE, JSON, "200 OK", f"x-request-id: {said}"),
    "other fields of an answer": lambda said: with_fields(
        WHOLE, JSON, "200 OK", f"cf-ray: {said}", f"openai-model: {said}", f"x-ratelimit-limit-tokens: 5 {said} 6", f"retry-after: {said}"
    ),
    "the request id of a stream": lambda said: with_fields(CONTENT + DONE, EVENTS, "200 OK", f"x-request-id: {said}"),
    "a stream's first event": lambda said: with_fields(f"data: {error(message=said)}\n\n", EVENTS, "200 OK"),
    "an event inside a stream": lambda said: with_fields(f"{CONTENT}data: {error(message=said, code=said)}\n\n", EVENTS, "200 OK"),
    "the model of a stream that fails": lambda said: with_fields(
        f'data: {{"model":{json.dumps(said)},"choices":[]}}\n\ndata: {error()}\n\n', EVENTS, "200 OK"
    ),
    "a redirect": lambda said: with_fields("", JSON, "302 Found", f"location: /{said}", f"x-request-id: {said}"),
    "an unknown compression": lambda said: with_fields(WHOLE, JSON, "200 OK", f"content-encoding: {said}"),
}  # fmt: skip


@contextlib.asynccontextmanager
async def repeating(settings, model=b"gpt-4o", variable="OPENAI"):
    """A gateway before a provider that says what is put into the list; `ask` gives all that the caller gets."""
    answers, heads = [], []

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            heads.append(head.decode())
            writer.write(answers[-1])
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    base = {f"{variable}_BASE_URL": url, "MAX_RETRIES": "1", "FALLBACKS": "off", "CB_ERROR_THRESHOLD": "1000000"}
    async with gateway({**base, **settings}, names=()) as running:

        async def ask(answer, *fields):
            answers.append(answer)
            body = STREAM if EVENTS.encode() in answer else CHAT
            caller = await Caller.connect(running.port)
            request = post(body.replace(b"gpt-4o", model), "/v1/chat/completions", "Connection: close", *fields)
            caller.send(request)
            return (await caller.rest()).decode()

        yield ask, running, heads
    server.close()


@pytest.mark.parametrize("place", PLACES)
def test_no_spelling_comes_out_of_any_place(place):
    key = "nk-Zt7Qp2Lk9Vx4Rm8Wc3Nb6Hy1-Jd5"

    async def main():
        async with repeating({"OPENAI_API_KEY": key}) as (ask, running, heads):
            for spelling in SPELLINGS.values():
                told = await ask(PLACES[place](spelling(key)))
                assert told.startswith("HTTP/1.1 "), told
                assert not shows(told, key), told
            assert len(heads) >= len(SPELLINGS)
            assert not shows(running.log().decode(), key)

    run(main())


@pytest.mark.parametrize("place", PLACES)
def test_nor_does_the_key_that_a_caller_has_brought(place):
    async def main():
        async with repeating({"ALLOW_CLIENT_API_KEYS": "true"}) as (ask, running, heads):
            for spelling in ("as it is", "in upper case", "percent-encoded throughout", "base64 of a Bearer token"):
                told = await ask(PLACES[place](SPELLINGS[spelling](OWN_KEY)), f"Authorization: Bearer {OWN_KEY}")
                assert OWN_KEY in heads[-1]
                assert not shows(told, OWN_KEY), told
            assert not shows(running.log().decode(), OWN_KEY)

    run(main())


AWS_ID, AWS_SECRET, AWS_TOKEN = (
    "ASIAZT7QP2LK9VX4RM8W",
    "wJalrXUtnFEMI/K7MDENG+bPxRfiCYzt7qp2lk9v",
    "IQoJb3JpZ2luX2VjEZt7Qp2Lk9Vx4Rm8Wc3Nb6Hy1//" * 9,
)


def test_nor_anything_of_aws():
    settings = {
        "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": AWS_ID, "AWS_SECRET_ACCESS_KEY": AWS_SECRET,
        "AWS_SESSION_TOKEN": AWS_TOKEN,
    }  # fmt: skip

    async def main():
        async with repeating(settings, b"bedrock/amazon.nova-pro-v1:0", "BEDROCK") as (ask, _running, heads):
            for key in (AWS_ID, AWS_SECRET, AWS_TOKEN):
                for said in (
                    key,
                    key.lower(),
                    SPELLINGS["percent-encoded throughout"](key),
                    b64encode(key.encode()).decode(),
                ):
                    body = json.dumps({"message": f"what is {said} for?", "__type": "InternalServerException"})
                    told = await ask(with_fields(body, JSON, "500 No", f"x-amzn-requestid: {said}"))
                    assert not shows(told, key), told
            signature = re.search("Signature=([0-9a-f]{64})", heads[-1])[1]
            told = await ask(
                with_fields(json.dumps({"message": f"the signature {signature} is wrong"}), JSON, "403 No")
            )
            assert signature not in told
            assert "the signature [redacted] is wrong" in told

    run(main())


def test_fields_that_repeat_nothing_pass_as_they_are():
    fields = (
        "x-request-id: req_5f1e0c7d9b8a4f3e9c2d1a0b7e6f5d4c", "cf-ray: 8a1b2c3d4e5f6a7b-FRA", "openai-model: gpt-4o 50%25 & more",
        "x-ratelimit-reset-tokens: 6m0s",
    )  # fmt: skip

    async def main():
        async with repeating({"OPENAI_API_KEY": KEY}) as (ask, _, _):
            told = await ask(with_fields(WHOLE, JSON, "200 OK", *fields))
            assert all(f"{one}\r\n" in told for one in fields)
            assert told.endswith(WHOLE)

    run(main())


def test_bytes_beyond_ascii_are_percent_encoded():
    async def main():
        async with repeating({"OPENAI_API_KEY": KEY}) as (ask, _, _):
            answer = with_fields(WHOLE, JSON, "200 OK", "x-request-id: a-@@-b", "cf-ray: plain")
            told = await ask(answer.replace(b"@@", b"\xc3\xa9\xff"))
            assert "x-request-id: a-%C3%A9%FF-b\r\n" in told
            assert "cf-ray: plain\r\n" in told

    run(main())


def test_good_answers_are_not_searched():
    """The body of an answer is the caller's: it passes byte for byte, whatever it says."""
    body = WHOLE.replace('"a"', f'"{KEY}"')

    async def main():
        async with repeating({"OPENAI_API_KEY": KEY}) as (ask, _, _):
            assert (await ask(with_fields(body, JSON, "200 OK"))).endswith(body)

    run(main())
