"""An upstream that answers every POST with a stream: EVENTS events, one each INTERVAL seconds; port on the command line.

ARRIVAL is `bursts` (the streams in ten groups, each group's events sent together, as one model server's batch gives
them) or `spread` (every stream by its own timer). Each event holds the monotonic time (ns) it was sent at; one write
an event.
"""

import asyncio
import itertools
import sys
import time

import httptools
import uvloop

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = (
    b'data: {"id":"chatcmpl-123","object":"chat.completion.chunk","created":1710000000,"model":"gpt-4o",'
    b'"system_fingerprint":"fp_44709d6fcb","choices":[{"index":0,"delta":{"content":"%020d"},"logprobs":null,'
    b'"finish_reason":null}]}\n\n'
)
DONE = b"data: [DONE]\n\n"
GROUPS = 10


class Bursts:
    """One timer for all streams: every INTERVAL each of the ten groups has its turn."""

    def __init__(self, interval: float) -> None:
        self.interval = interval / GROUPS
        self.groups: list[set[Stream]] = [set() for _ in range(GROUPS)]
        self.turns = itertools.count()
        self.at = asyncio.get_running_loop().time()
        self.joined = itertools.count()
        self.turn()

    def turn(self) -> None:
        self.at += self.interval
        asyncio.get_running_loop().call_at(self.at, self.turn)
        for stream in tuple(self.groups[next(self.turns) % GROUPS]):
            stream.send()

    def add(self, stream: "Stream") -> None:
        self.groups[next(self.joined) % GROUPS].add(stream)

    def forget(self, stream: "Stream") -> None:
        for group in self.groups:
            group.discard(stream)


class Spread:
    """A timer for each stream."""

    def __init__(self, interval: float) -> None:
        self.interval = interval

    def add(self, stream: "Stream") -> None:
        stream.send()
        stream.timer = asyncio.get_running_loop().call_later(self.interval, self.again, stream)

    def again(self, stream: "Stream") -> None:
        stream.timer = asyncio.get_running_loop().call_later(self.interval, self.again, stream)
        stream.send()

    def forget(self, stream: "Stream") -> None:
        if stream.timer:
            stream.timer.cancel()


class Stream(asyncio.Protocol):
    def __init__(self, arrival: Bursts | Spread, events: int) -> None:
        self.arrival, self.events = arrival, events
        self.parser = httptools.HttpRequestParser(self)
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.arrival.forget(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.left = self.events
        self.head = HEAD
        self.arrival.add(self)

    def send(self) -> None:
        data = EVENT % time.monotonic_ns()
        self.left -= 1
        end = b""
        if self.left <= 0:
            data, end = data + DONE, b"0\r\n\r\n"
            self.arrival.forget(self)
        self.transport.write(b"%b%x\r\n%b\r\n%b" % (self.head, len(data), data, end))
        self.head = b""


async def main(port: int, interval: float, events: int, arrival: str) -> None:
    loop = asyncio.get_running_loop()
    how = Bursts(interval) if arrival == "bursts" else Spread(interval)
    server = await loop.create_server(lambda: Stream(how, events), "127.0.0.1", port, backlog=8192)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
