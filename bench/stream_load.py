"""Opens streams and measures how long their events take. Usage: stream_load.py STREAMS SUBJECT...

Opens STREAMS streams with each SUBJECT (`port/model`), prints `open`, and ends when it reads a line from standard
input. The prompts of the n-th subject contain `subject n`. No two prompts are the same, so that the gateway can neither
share a call nor use its cache. At the end it prints a line for each subject: the number of events received, the number
of streams lost (ended or rejected), and P50 and P99 of the time that an event took, in microseconds.
"""

import asyncio
import itertools
import re
import sys
import time
from functools import partial
from typing import cast

import uvloop

from subjects import allow_many_files

BODY = b'{"model":"%b","stream":true,"messages":[{"role":"user","content":"Tell story %d, subject %d."}]}'
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
)
_STORIES = itertools.count(time.time_ns())
STAMP = re.compile(rb'"content":"(\d{20})"')


class Load:
    """The streams of one subject: what to request, and what was received."""

    def __init__(self, number: int, subject: str) -> None:
        port, _, model = subject.partition("/")
        self.port = int(port)
        self._model, self._number = model.encode(), number
        self.ended = False
        self.events = 0
        self.lost = 0
        self.delays: list[int] = []  # of the events, in nanoseconds

    def request(self) -> bytes:
        body = BODY % (self._model, next(_STORIES), self._number)
        return REQUEST % (len(body), body)

    def line(self) -> str:
        delays = sorted(self.delays) or [0]
        p50, p99 = (delays[len(delays) * part // 100] // 1000 for part in (50, 99))
        return f"{self.events} {self.lost} {p50} {p99}"


class Stream(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self.load = load

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self.load.request())

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.lost += not self.load.ended

    def data_received(self, data: bytes) -> None:
        load = self.load
        if data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 200 "):
            load.lost += 1
        stamps = STAMP.findall(data)
        if stamps:
            load.events += len(stamps)
            load.delays.append(time.monotonic_ns() - int(stamps[-1]))
        if b"[DONE]" in data:
            self.transport.write(load.request())


async def main(streams: int, subjects: list[str]) -> None:
    loop = asyncio.get_running_loop()
    loads = [Load(number, subject) for number, subject in enumerate(subjects)]
    for number, load in enumerate(loads * streams):
        await loop.create_connection(partial(Stream, load), "127.0.0.1", load.port)
        if number % 50 == 0:
            await asyncio.sleep(0.02)
    print("open", flush=True)
    stop = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), stop.set)
    await stop.wait()
    for load in loads:
        load.ended = True
        print(load.line(), flush=True)


if __name__ == "__main__":
    allow_many_files()
    uvloop.run(main(int(sys.argv[1]), sys.argv[2:]))
