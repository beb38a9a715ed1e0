"""Opens STREAMS streams with each SUBJECT (`port/model`) and prints `open`; at a line on standard input ends.

STREAMS SUBJECT... on the command line. The prompts of the n-th subject say `subject n`, and no two are the same, so that
the gateway can neither share a call nor remember an answer. At the end a line a subject: events got, streams lost (ended
or refused), P50 and P99 of the events' way in microseconds.
"""

import asyncio
import itertools
import re
import sys
import time

import uvloop

from subjects import allow_many_files

BODY = b'{"model":"%b","stream":true,"messages":[{"role":"user","content":"Tell story %d, subject %d."}]}'
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
)
_STORIES = itertools.count(time.time_ns())
STAMP = re.compile(rb'"content":"(\d{20})"')


class Load:
    """What one subject is asked and what came through it."""

    def __init__(self, number: int, subject: str) -> None:
        port, _, model = subject.partition("/")
        self.port = int(port)
        self._asked = model.encode(), number
        self.ended = False
        self.events = 0
        self.lost = 0
        self.ways: list[int] = []

    def request(self) -> bytes:
        model, number = self._asked
        body = BODY % (model, next(_STORIES), number)
        return REQUEST % (len(body), body)

    def line(self) -> str:
        ways = sorted(self.ways) or [0]
        p50, p99 = (ways[len(ways) * part // 100] // 1000 for part in (50, 99))
        return f"{self.events} {self.lost} {p50} {p99}"


class Stream(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self.load = load

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self.load.request())

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.lost += not self.load.ended

    def data_received(self, data: bytes) -> None:
        load = self.load
        if data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 200 "):
            load.lost += 1
        stamps = STAMP.findall(data)
        if stamps:
            load.events += len(stamps)
            load.ways.append(time.monotonic_ns() - int(stamps[-1]))
        if b"[DONE]" in data:
            self.transport.write(load.request())


async def main(streams: int, subjects: list[str]) -> None:
    loop = asyncio.get_running_loop()
    loads = [Load(number, subject) for number, subject in enumerate(subjects)]
    for number, load in enumerate(loads * streams):
        await loop.create_connection(lambda load=load: Stream(load), "127.0.0.1", load.port)  # type: ignore[misc]
        if number % 50 == 0:
            await asyncio.sleep(0.02)
    print("open", flush=True)
    told = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), told.set)
    await told.wait()
    for load in loads:
        load.ended = True
        print(load.line(), flush=True)


if __name__ == "__main__":
    allow_many_files()
    uvloop.run(main(int(sys.argv[1]), sys.argv[2:]))
