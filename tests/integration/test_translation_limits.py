"""What a translated request may hold, and that a long one is translated beside the event loop."""

import asyncio
import json
import threading
from functools import partial

import pytest

from nulpoint.config.settings import BY_KEY
from nulpoint.protocols.limits import DEFAULT_LIMITS
from nulpoint.proxy import attempt, prepared_requests
from nulpoint.proxy.translation_thread import TranslationThread, takes_long
from support.event_loop import run, until
from support.http_client import CHAT, Caller, post
from support.running_gateway import gateway

CLAUDE = "anthropic/claude-haiku-4-5"
LIMITS = {"MAX_MESSAGES": "3", "MAX_CONTENT_PARTS": "4", "MAX_TOOLS": "2", "MAX_SCHEMA_NODES": "5"}
HI = {"role": "user", "content": "hi"}
PART = {"type": "text", "text": "hi"}


def tool(number, parameters=None):
    return {"type": "function", "function": {"name": f"f{number}", "parameters": parameters or {"type": "object"}}}


def schema(count):
    return {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(count - 1)}}


def structured(count):
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema(count)}}


def request(model, **members):
    return json.dumps({"model": model, "messages": [HI], **members}).encode()


def test_the_defaults_are_those_of_the_settings():
    settings = ("max_messages", "max_content_parts", "max_tools", "max_schema_nodes", "max_json_nodes")
    assert [BY_KEY[name].read_default() for name in settings] == list(DEFAULT_LIMITS)


@pytest.mark.parametrize(
    ("within", "over", "field", "setting"),
    [
        ({"messages": [HI] * 3}, {"messages": [HI] * 4}, "messages", "MAX_MESSAGES"),
        (
            {"messages": [{"role": "user", "content": [PART] * 2}] * 2},
            {"messages": [{"role": "user", "content": [PART] * 2}, {"role": "user", "content": [PART] * 3}]},
            "messages[].content",
            "MAX_CONTENT_PARTS",
        ),
        ({"tools": [tool(1), tool(2)]}, {"tools": [tool(1), tool(2), tool(3)]}, "tools", "MAX_TOOLS"),
        (
            {"functions": [tool(1)["function"]]},
            {"functions": [tool(number)["function"] for number in range(3)]},
            "functions",
            "MAX_TOOLS",
        ),
        (
            {"response_format": structured(5)},
            {"response_format": structured(6)},
            "response_format.json_schema.schema",
            "MAX_SCHEMA_NODES",
        ),
        (
            {"tools": [tool(1, {"anyOf": [schema(2)] * 5})]},
            {"tools": [tool(1, {"anyOf": [schema(2)] * 6})]},
            "tools.function.parameters",
            "MAX_SCHEMA_NODES",
        ),
    ],
)
def test_what_is_translated_is_bounded_and_what_passes_is_not(within, over, field, setting):
    async def main():
        async with gateway(LIMITS, names=("openai", "anthropic")) as running:
            caller = await Caller.connect(running.port)
            caller.send(post(request(CLAUDE, **within)))
            assert (await caller.answer())[0] == 200
            caller.send(post(request(CLAUDE, **over)))
            status, _, body = await caller.answer()
            error = json.loads(body)["error"]
            assert (status, error["param"]) == (400, field), error
            assert setting in error["message"]
            assert LIMITS[setting] in error["message"]
            caller.send(post(request("openai/gpt-4o", **over)))
            assert (await caller.answer())[0] == 200

    run(main())


def test_texts_to_embed_are_bounded():
    async def main():
        async with gateway(LIMITS, names=("gemini",)) as running:
            caller = await Caller.connect(running.port)
            for count, expected in ((4, 200), (5, 400)):
                body = {"model": "gemini/gemini-embedding-001", "input": ["x"] * count}
                caller.send(post(json.dumps(body).encode(), "/v1/embeddings"))
                status, _, body = await caller.answer()
                assert status == expected, body
            assert json.loads(body)["error"]["param"] == "input"

    run(main())


@pytest.mark.parametrize(
    ("body", "long"),
    [
        (b'{"a":"' + b"x" * 60_000 + b'"}', False),
        (b'{"a":"' + b"x" * 1_000_000 + b'"}', False),
        (b'{"a":"' + b"," * 1_000_000 + b'"}', False),
        (b'{"a":"' + b"x" * 3_000_000 + b'"}', True),
        (b'{"a":[' + b'"xxxxxxxxxxxx",' * 8_000 + b"0]}", True),
        (b'{"a":[' + b"0," * 30_000 + b"0]}", False),
    ],
)
def test_what_takes_long(body, long):
    assert takes_long(body) is long


LONG = request(CLAUDE, messages=[HI, {"role": "assistant", "content": "ho"}] * 5_000 + [HI])


class Held:
    """Translating waits until it is let go; says in which threads it was done."""

    def __init__(self, monkeypatch, module, name):
        self.go = threading.Event()
        self.threads = []
        self._inner = getattr(module, name)
        monkeypatch.setattr(module, name, self)

    def __get__(self, instance, owner):
        return partial(self, instance) if instance is not None else self

    def __call__(self, *args, **kwargs):
        thread = threading.current_thread()
        self.threads.append(thread.name)
        if thread is not threading.main_thread():
            assert self.go.wait(20)
        return self._inner(*args, **kwargs)


def test_a_long_request_is_translated_while_others_are_served(monkeypatch):
    held = Held(monkeypatch, prepared_requests, "prepare")

    async def main():
        async with gateway(names=("openai", "anthropic")) as running:
            slow, quick = await Caller.connect(running.port), await Caller.connect(running.port)
            slow.send(post(LONG))
            await until(lambda: held.threads)
            quick.send(post(CHAT))
            assert (await quick.answer())[0] == 200
            held.go.set()
            assert (await slow.answer())[0] == 200
            assert held.threads == ["translation_0", "MainThread"]

    run(main())


def test_a_caller_who_leaves_meanwhile_leaves_nothing_behind(monkeypatch):
    held = Held(monkeypatch, prepared_requests, "prepare")

    async def main():
        async with gateway(names=("anthropic",)) as running:
            callers = [await Caller.connect(running.port) for _ in range(3)]
            for caller in callers:  # the first is being translated, the others wait for the thread
                caller.send(post(LONG))
            await until(lambda: held.threads and running.app.runtime.recorder.inflight == 3)
            for caller in callers:
                await caller.close()
            await until(lambda: running.app.runtime.recorder.inflight == 0)
            held.go.set()
            last = await Caller.connect(running.port)
            last.send(post(LONG))
            assert (await last.answer())[0] == 200
            assert len(held.threads) == 2  # those that had not begun were dropped
            assert running.mocks["anthropic"].requests == 1

    run(main())


def test_a_long_request_that_fails_over_is_translated_in_the_thread(monkeypatch, tmp_path):
    (tmp_path / "config.yaml").write_text(f"fallbacks:\n  gpt-4o: [openai/gpt-4o, {CLAUDE}, gemini/gemini-2.5-pro]\n")
    held = Held(monkeypatch, prepared_requests, "prepare")
    held.go.set()

    async def main():
        async with gateway(names=("openai", "anthropic", "gemini"), directory=tmp_path) as running:
            running.mocks["openai"].set_fault("status", arg=500)
            caller = await Caller.connect(running.port)
            caller.send(post(LONG.replace(CLAUDE.encode(), b"gpt-4o")))
            status, headers, _ = await caller.answer()
            assert (status, headers["x-nulpoint-provider"]) == (200, "anthropic")
            assert held.threads == ["MainThread", "translation_0", "translation_0"]

    run(main())


def test_a_wrong_long_request_is_told_so_from_the_thread():
    async def main():
        async with gateway(names=("anthropic",)) as running:
            caller = await Caller.connect(running.port)
            caller.send(post(LONG.replace(b'"ho"', b"5", 1)))
            status, _, body = await caller.answer()
            assert (status, json.loads(body)["error"]["param"]) == (400, "messages[1].content")

    run(main())


def test_a_long_answer_is_translated_in_the_thread(monkeypatch):
    held = Held(monkeypatch, attempt.UpstreamAttempt, "_read_whole")
    held.go.set()
    words = [{"type": "text", "text": "word "}] * 10_000
    answer = {
        "id": "m",
        "model": "c",
        "content": words,
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }
    body = json.dumps(answer).encode()

    async def provider(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )
        await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(provider, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        settings = {"ANTHROPIC_API_KEY": "sk-x", "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}/v1"}
        async with gateway(settings, providers={}) as running:
            caller = await Caller.connect(running.port)
            caller.send(post(request(CLAUDE)))
            status, _, given = await caller.answer()
            assert (status, json.loads(given)["choices"][0]["message"]["content"]) == (200, "word " * 10_000)
            assert held.threads == ["translation_0"]
        server.close()

    run(main())


def test_the_thread_gives_what_the_work_gives_or_raises():
    async def main():
        thread = TranslationThread()
        assert await thread.run(lambda: 5) == 5
        with pytest.raises(ZeroDivisionError):
            await thread.run(lambda: 1 // 0)
        thread.close()

    run(main())
