"""The look for planted keys in every test sees what it is there to see."""

import logging

from support import planted_key_watch
from support.event_loop import run
from support.http_client import Caller
from support.running_gateway import gateway


def test_it_sees_answers_and_logs_of_this_process():
    async def main():
        async with gateway({"LOG_LEVEL": "debug"}) as running:
            caller = await Caller.connect(running.port)
            caller.send(b"GET /sk-configured-told HTTP/1.1\r\nHost: x\r\n\r\n")
            await caller.answer()
        logging.getLogger("nulpoint.gateway").error("a key: %s", "sk-configured-logged")

    run(main())
    seen, planted_key_watch.leaks[:] = list(planted_key_watch.leaks), []
    assert [leak.partition(":")[0] for leak in seen] == ["an answer", "the request log", "a log"]
