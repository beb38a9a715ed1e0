"""Tests that the watch for planted keys, which runs in every test, notices them."""

import logging

from support import planted_key_watch
from support.event_loop import run
from support.http_client import Caller
from support.running_gateway import gateway


def test_it_notices_keys_in_responses_and_logs_of_this_process():
    async def main():
        async with gateway({"LOG_LEVEL": "debug"}) as running:
            client = await Caller.connect(running.port)
            client.send(b"GET /sk-configured-told HTTP/1.1\r\nHost: x\r\n\r\n")
            await client.answer()
        logging.getLogger("nulpoint.gateway").error("a key: %s", "sk-configured-logged")

    run(main())
    leaks, planted_key_watch.leaks[:] = list(planted_key_watch.leaks), []
    assert [leak.partition(":")[0] for leak in leaks] == ["a response", "the request log", "a log"]
