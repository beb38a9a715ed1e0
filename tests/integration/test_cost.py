"""What a request costs in things that can be counted: system calls, calls of our own functions, memory left behind.

Seconds vary with the machine, counts do not. A change that raises one of these figures on purpose says so here.
"""

import asyncio
import collections
import contextlib
import gc
import itertools
import socket
import sys
from pathlib import Path

import pytest

import nulpoint
from nulpoint.mock import MockSettings, start
from support.event_loop import run, until
from support.http_client import CHAT, STREAM, Caller, post
from support.ports import free_port
from support.processes import process
from support.running_gateway import gateway

REQUESTS = 300
CALLS_A_REQUEST = 109  # 106 were counted; checking the names of a request and fitting it to its model are two and three
CALLS_A_CHUNK = 10
CALLS_A_TRANSLATED_REQUEST = 205
CALLS_A_TRANSLATED_CHUNK = 16
CALLS_OF_AN_AWS_EVENT = 17  # its framing has two checksums
CALLS_OF_A_SIGNATURE = 25  # and of Bedrock's format, beyond Anthropic's
CALLS_OF_A_TOKEN = 17  # and of Gemini's format, beyond Anthropic's
OURS = str(Path(nulpoint.__file__).parent)


async def ask(caller, times, body=CHAT):
    for _ in range(times):
        caller.send(post(body))
        status, _, _ = await caller.answer()
        assert status == 200


def reads_and_writes(pid):
    io = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(io["syscr"]), int(io["syscw"])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counted by Linux")
def test_a_request_is_two_reads_and_two_writes():
    async def main():
        mock = await start("openai")
        port = free_port()
        environ = {
            "PORT": str(port),
            "OPENAI_API_KEY": "sk-x",
            "OPENAI_BASE_URL": f"{mock.url}/v1",
            "LOG_LEVEL": "error",
            "CACHE_MODE": "none",
        }
        with process("serve", **environ) as child:
            await until(lambda: listens(port))
            caller = await Caller.connect(port)
            await ask(caller, 20)
            before = reads_and_writes(child.pid)
            await ask(caller, REQUESTS)
            after = reads_and_writes(child.pid)
        await mock.close()
        return [later - earlier for earlier, later in zip(before, after, strict=True)]

    reads, writes = run(main())
    assert 2 * REQUESTS <= reads <= 2 * REQUESTS + 5
    assert 2 * REQUESTS <= writes <= 2 * REQUESTS + 5


def listens(port):
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 0.2).close()
        return True
    return False


@contextlib.contextmanager
def counting_calls():
    """Calls of the gateway's own Python functions, by name."""
    calls = collections.Counter()

    def seen(frame, event, _):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(OURS) and "/mock/" not in code.co_filename:
            calls[code.co_qualname] += 1

    sys.setprofile(seen)
    try:
        yield calls
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize(
    ("provider", "model", "allowed"),
    [
        ("openai", "gpt-4o", CALLS_A_REQUEST),
        ("anthropic", "claude-haiku-4-5", CALLS_A_TRANSLATED_REQUEST),
        ("azure", "azure-gpt-4o", CALLS_A_REQUEST),
        ("vertexai", "vertexai-gemini-2.5-flash", CALLS_A_TRANSLATED_REQUEST + CALLS_OF_A_TOKEN),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", CALLS_A_TRANSLATED_REQUEST + CALLS_OF_A_SIGNATURE),
    ],
)
def test_calls_a_request(provider, model, allowed):
    async def main():
        body = CHAT.replace(b"gpt-4o", model.encode())
        async with gateway({"LOG_LEVEL": "error", "CACHE_MODE": "none"}, names=(provider,)) as running:
            caller = await Caller.connect(running.port)
            await ask(caller, 20, body)
            with counting_calls() as calls:
                await ask(caller, REQUESTS, body)
            return calls

    calls = run(main())
    assert calls["RequestRecorder.finish"] == REQUESTS
    assert calls.total() / REQUESTS <= allowed, calls.most_common(60)


@pytest.mark.parametrize(
    ("provider", "model", "around", "allowed"),
    [
        ("openai", "gpt-4o", CALLS_A_REQUEST, CALLS_A_CHUNK),
        ("anthropic", "claude-haiku-4-5", CALLS_A_TRANSLATED_REQUEST, CALLS_A_TRANSLATED_CHUNK),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", CALLS_A_TRANSLATED_REQUEST, CALLS_OF_AN_AWS_EVENT),
    ],
)
def test_calls_a_chunk(provider, model, around, allowed):
    async def main():
        mock = MockSettings(stream_words=300, chunk_ms=1.0)
        body = STREAM.replace(b"gpt-4o", model.encode())
        async with gateway({"LOG_LEVEL": "error", "CACHE_MODE": "none"}, names=(provider,), mock=mock) as running:
            caller = await Caller.connect(running.port)
            await ask(caller, 1, body)
            with counting_calls() as calls:
                await ask(caller, 1, body)
            return calls

    calls = run(main())
    reads = calls["UpstreamConnection.buffer_updated"]
    assert reads > 100
    assert (calls.total() - around) / reads <= allowed, calls.most_common(20)


@pytest.mark.parametrize("body", [CHAT, STREAM])
def test_a_request_leaves_no_memory_behind(body):
    async def main():
        async with gateway() as running:
            caller = await Caller.connect(running.port)
            blocks = []
            for _ in range(6):
                await ask(caller, REQUESTS, body)
                await asyncio.sleep(0.15)  # the log's batch
                gc.collect()
                blocks.append(sys.getallocatedblocks())
            return blocks

    blocks = run(main())
    growth = [later - earlier for earlier, later in itertools.pairwise(blocks)]
    assert min(growth) < REQUESTS / 10, growth


def test_the_collector_rests():
    """No garbage in cycles on the path of a request: the collector would have to run for it."""

    async def main():
        async with gateway() as running:
            caller = await Caller.connect(running.port)
            await ask(caller, 20)
            gc.collect()
            gc.disable()
            try:
                await ask(caller, REQUESTS)
                await asyncio.sleep(0.25)
                return gc.collect()
            finally:
                gc.enable()

    assert run(main()) < REQUESTS / 10
