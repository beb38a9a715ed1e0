"""An upstream for embeddings: PORT COUNT on the command line. Every POST gets COUNT vectors of 1,536 numbers in base64."""

import asyncio
import base64
import json
import sys

import httptools
import uvloop

VECTOR = base64.b64encode(bytes(1536 * 4)).decode()


def answer(count: int) -> bytes:
    data = [{"object": "embedding", "index": index, "embedding": VECTOR} for index in range(count)]
    usage = {"prompt_tokens": 4 * count, "total_tokens": 4 * count}
    body = json.dumps({"object": "list", "data": data, "model": "text-embedding-3-small", "usage": usage}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


class Connection(asyncio.Protocol):
    def __init__(self, said: bytes) -> None:
        self._said = said
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(self._said)


async def main(port: int, count: int) -> None:
    said = answer(count)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(said), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
