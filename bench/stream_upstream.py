"""An upstream whose streams take turns. Usage: stream_upstream.py PORT INTERVAL EVENTS GROUPS

Every POST gets a stream of EVENTS events in the format that its path selects. A line on standard input says which
streams get events now: it is the number of a subject, as in its prompts (`subject 3`). The reply is a line with the
number of events sent so far.

The streams whose turn it is get one event every INTERVAL seconds, in GROUPS groups whose events are sent together. An
event contains the monotonic time (in nanoseconds) at which it was sent. Each event is one write.
"""

import asyncio
import itertools
import re
import sys
import time
from typing import cast

import httptools
import uvloop

from formats import OPENAI, format_of

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n"
SUBJECT = re.compile(rb"subject (\d+)")


class Turns:
    """Decides which streams get events, and when."""

    def __init__(self, interval: float, groups: int) -> None:
        self.interval = interval / groups
        self.groups: list[dict[int, set[Stream]]] = [{} for _ in range(groups)]
        self.ticks, self.joined = itertools.count(), itertools.count()
        self.active_subject, self.sent = 0, 0
        self.next_tick = asyncio.get_running_loop().time()
        self.tick()

    def tick(self) -> None:
        self.next_tick += self.interval
        asyncio.get_running_loop().call_at(self.next_tick, self.tick)
        streams = self.groups[next(self.ticks) % len(self.groups)].get(self.active_subject, ())
        for stream in tuple(streams):
            stream.send()
            self.sent += 1

    def join(self, stream: "Stream", subject: int) -> None:
        self.groups[next(self.joined) % len(self.groups)].setdefault(subject, set()).add(stream)

    def leave(self, stream: "Stream") -> None:
        for group in self.groups:
            for streams in group.values():
                streams.discard(stream)

    def read_command(self) -> None:
        self.active_subject = int(sys.stdin.readline() or "-1")
        print(self.sent, flush=True)


class Stream(asyncio.Protocol):
    def __init__(self, turns: Turns, events: int) -> None:
        self.turns, self.events = turns, events
        self.parser = httptools.HttpRequestParser(self)
        self.path = self.body = b""
        self.format = OPENAI

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.turns.leave(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, path: bytes) -> None:
        self.path += path

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.format = format_of(self.path.decode())
        subject = SUBJECT.search(self.body)
        self.path = self.body = b""
        self.left = self.events
        begin = self.format.begin
        self.transport.write(HEAD % self.format.content_type + (chunk(begin) if begin else b""))
        self.turns.join(self, int(subject[1]) if subject else 0)

    def send(self) -> None:
        data = self.format.frame(self.format.event % time.monotonic_ns())
        self.left -= 1
        end = b""
        if self.left <= 0:
            data, end = data + self.format.done, b"0\r\n\r\n"
            self.turns.leave(self)
        self.transport.write(chunk(data) + end)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def main(port: int, interval: float, events: int, groups: int) -> None:
    loop = asyncio.get_running_loop()
    turns = Turns(interval, groups)
    loop.add_reader(sys.stdin.fileno(), turns.read_command)
    server = await loop.create_server(lambda: Stream(turns, events), "127.0.0.1", port, backlog=8192)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
