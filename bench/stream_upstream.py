"""An upstream that answers every POST with a stream: EVENTS events, one each INTERVAL seconds; port on the command line.

Each event holds the monotonic time (ns) it was sent at. One write an event.
"""

import asyncio
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


class Stream(asyncio.Protocol):
    def __init__(self, interval: float, events: int) -> None:
        self.interval, self.events = interval, events
        self.parser = httptools.HttpRequestParser(self)
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.timer:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.left = self.events
        self.head = HEAD
        self.send()

    def send(self) -> None:
        data = EVENT % time.monotonic_ns()
        self.left -= 1
        end = b""
        if self.left <= 0:
            data, end = data + DONE, b"0\r\n\r\n"
        self.transport.write(b"%b%x\r\n%b\r\n%b" % (self.head, len(data), data, end))
        self.head = b""
        if self.left > 0:
            self.timer = asyncio.get_running_loop().call_later(self.interval, self.send)


async def main(port: int, interval: float, events: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stream(interval, events), "127.0.0.1", port, backlog=8192)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
