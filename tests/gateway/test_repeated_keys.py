"""A provider that repeats the key it was sent: it reaches neither the caller nor the log, whatever the format."""

import asyncio

import pytest

from conftest import CHAT, STREAM, Caller, gateway, post, run

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
