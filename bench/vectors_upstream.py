"""An upstream for embeddings. Usage: vectors_upstream.py PORT COUNT

Every POST gets COUNT vectors of 1,536 numbers in base64.
"""

import asyncio
import base64
import json
import sys
from functools import partial
from typing import cast

import httptools
import uvloop

VECTOR = base64.b64encode(bytes(1536 * 4)).decode()


def response(count: int) -> bytes:
    data = [{"object": "embedding", "index": index, "embedding": VECTOR} for index in range(count)]
    usage = {"prompt_tokens": 4 * count, "total_tokens": 4 * count}
    body = json.dumps({"object": "list", "data": data, "model": "text-embedding-3-small", "usage": usage}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


class Connection(asyncio.Protocol):
    def __init__(self, response: bytes) -> None:
        self._response = response
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(self._response)


async def main(port: int, count: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(Connection, response(count)), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
