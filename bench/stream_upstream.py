"""An upstream whose streams take turns: PORT INTERVAL EVENTS GROUPS on the command line.

Every POST gets a stream of EVENTS events. Which streams get their events now is told by a line on standard input: the
number of a subject, as the requests have it in `"user"`; the answer is a line with how many events went out before.
The streams that have their turn get one event each INTERVAL seconds, in GROUPS groups whose events go out together.
An event holds the monotonic time (ns) it was sent at; one write an event.
"""

import asyncio
import itertools
import re
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
USER = re.compile(rb'"user":"(\d+)"')


class Turns:
    """Who gets events, and when."""

    def __init__(self, interval: float, groups: int) -> None:
        self.interval = interval / groups
        self.groups: list[dict[int, set[Stream]]] = [{} for _ in range(groups)]
        self.ticks, self.joined = itertools.count(), itertools.count()
        self.turn_of, self.sent = 0, 0
        self.at = asyncio.get_running_loop().time()
        self.tick()

    def tick(self) -> None:
        self.at += self.interval
        asyncio.get_running_loop().call_at(self.at, self.tick)
        streams = self.groups[next(self.ticks) % len(self.groups)].get(self.turn_of, ())
        for stream in tuple(streams):
            stream.send()
            self.sent += 1

    def join(self, stream: "Stream", user: int) -> None:
        self.groups[next(self.joined) % len(self.groups)].setdefault(user, set()).add(stream)

    def leave(self, stream: "Stream") -> None:
        for group in self.groups:
            for streams in group.values():
                streams.discard(stream)

    def told(self) -> None:
        self.turn_of = int(sys.stdin.readline() or "-1")
        print(self.sent, flush=True)


class Stream(asyncio.Protocol):
    def __init__(self, turns: Turns, events: int) -> None:
        self.turns, self.events = turns, events
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.turns.leave(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        user = USER.search(self.body)
        self.body = b""
        self.left = self.events
        self.transport.write(HEAD)
        self.turns.join(self, int(user[1]) if user else 0)

    def send(self) -> None:
        data = EVENT % time.monotonic_ns()
        self.left -= 1
        end = b""
        if self.left <= 0:
            data, end = data + DONE, b"0\r\n\r\n"
            self.turns.leave(self)
        self.transport.write(b"%x\r\n%b\r\n%b" % (len(data), data, end))


async def main(port: int, interval: float, events: int, groups: int) -> None:
    loop = asyncio.get_running_loop()
    turns = Turns(interval, groups)
    loop.add_reader(sys.stdin.fileno(), turns.told)
    server = await loop.create_server(lambda: Stream(turns, events), "127.0.0.1", port, backlog=8192)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
