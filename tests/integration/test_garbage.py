"""Requests leave no reference cycles behind: their memory is free at once, and the garbage collector has nothing to do."""

import asyncio
import gc
import json

import pytest

from support.event_loop import run
from support.http_client import Caller, post
from support.running_gateway import gateway

QUESTIONS = {
    "whole": {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]},
    "streamed": {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "stream": True},
    "translated": {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "hi"}]},
    "translated, streamed": {
        "model": "claude-haiku-4-5",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
    },
}


@pytest.mark.parametrize("settings", [{"CACHE_MODE": "memory"}, {"CACHE_MODE": "none"}], ids=["cache", "no cache"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_requests_leave_no_cycles(question, settings):
    async def main():
        async with gateway(settings, names=("openai", "anthropic")) as running:
            caller = await Caller.connect(running.port)

            async def ask(count):
                for number in range(count):
                    body = {**QUESTIONS[question], "seed": number % 20}  # hits and misses
                    caller.send(post(json.dumps(body).encode(), "/v1/chat/completions"))
                    await caller.answer()
                await asyncio.sleep(0)

            await ask(5)
            gc.collect()
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                await ask(30)
                gc.collect()
                found = {type(one).__qualname__ for one in gc.garbage if type(one).__module__.startswith("nulpoint.")}
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
            assert not {name for name in found if "Mock" not in name}, found

    run(main())
