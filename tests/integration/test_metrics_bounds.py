"""Tests that the metrics page does not grow, whatever clients send."""

import re

from support.event_loop import run
from support.http_client import CHAT, Caller, post
from support.running_gateway import gateway

ODD = [
    b"GET /%b HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /v1/models/%b HTTP/1.1\r\nhost: x\r\n\r\n",
    b"BREW /%b HTTP/1.1\r\nhost: x\r\n\r\n",
    b"%b /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
    b"DELETE /v1/models?%b HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n\r\n",
]


async def page(port):
    caller = await Caller.connect(port)
    caller.send(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
    text = (await caller.answer())[2].decode()
    await caller.close()
    return text


async def odd_requests(port, number):
    for request in ODD:
        caller = await Caller.connect(port)
        caller.send(request.replace(b"%b", b"X%d" % number))
        await caller.rest() if b"X%d /v1" % number in request else await caller.answer()
        await caller.close()


async def models(port, numbers, pattern):
    """Send requests with many model names on one connection."""
    caller = await Caller.connect(port)
    for number in numbers:
        caller.send(post(CHAT.replace(b"gpt-4o", pattern % number)))
        await caller.answer()


def test_clients_cannot_make_the_page_grow():
    """Neither 10,000 models, 300 of which reach a provider, nor paths, methods, queries or keys make it grow."""

    async def main():
        async with gateway({"LOG_LEVEL": "error"}) as running:
            port = running.port
            await odd_requests(port, 0)
            await models(port, [0, 4, 5], b"gpt-%d")  # the second model has ended, the third has a price
            await models(port, [0], b"none/gpt-%d")
            await page(port)
            before = await page(port)
            for number in range(1, 30):
                await odd_requests(port, number)
            await models(port, range(1, 300), b"gpt-%d")
            await models(port, range(1, 9_700), b"none/gpt-%d")
            return before, await page(port)

    before, after = run(main())
    assert samples(after) == samples(before)
    counted = re.findall(r'^gateway_http_requests_total\{route="chat",status="\d+"\} (\d+)', after, re.MULTILINE)
    assert sum(map(int, counted)) >= 10_000
    assert "X1" not in after
    assert "gpt" not in after


def samples(text):
    return [line.rsplit(" ", 1)[0] for line in text.splitlines()]
