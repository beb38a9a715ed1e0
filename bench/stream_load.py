"""Opens STREAMS streams through each of PORTS (comma between) and prints `open`; at a line on standard input ends.

The streams of the n-th port say `"user":"n"`. At the end a line a port: events got, streams lost, P50 and P99 of the
events' way in microseconds.
"""

import asyncio
import re
import resource
import sys
import time

import uvloop

BODY = b'{"model":"gpt-4o","stream":true,"user":"%d","messages":[{"role":"user","content":"Tell me a long story."}]}'
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
)
STAMP = re.compile(rb'"content":"(\d{20})"')


class Load:
    """What came through one port."""

    def __init__(self, number: int) -> None:
        body = BODY % number
        self.request = REQUEST % (len(body), body)
        self.ended = False
        self.events = 0
        self.lost = 0
        self.ways: list[int] = []

    def line(self) -> str:
        ways = sorted(self.ways) or [0]
        p50, p99 = (ways[len(ways) * part // 100] // 1000 for part in (50, 99))
        return f"{self.events} {self.lost} {p50} {p99}"


class Stream(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self.load = load

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self.load.request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.lost += not self.load.ended

    def data_received(self, data: bytes) -> None:
        load = self.load
        stamps = STAMP.findall(data)
        if stamps:
            load.events += len(stamps)
            load.ways.append(time.monotonic_ns() - int(stamps[-1]))
        if b"[DONE]" in data:
            self.transport.write(load.request)


async def main(ports: list[int], streams: int) -> None:
    loop = asyncio.get_running_loop()
    loads = [Load(number) for number in range(len(ports))]
    for number, (port, load) in enumerate(zip(ports * streams, loads * streams, strict=True)):
        await loop.create_connection(lambda load=load: Stream(load), "127.0.0.1", port)  # type: ignore[misc]
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
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(main([int(port) for port in sys.argv[1].split(",")], int(sys.argv[2])))
