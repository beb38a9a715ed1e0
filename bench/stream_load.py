"""Opens STREAMS streams against PORT, counts events for SECONDS and prints `events p50_us p99_us lost`."""

import asyncio
import re
import resource
import sys
import time

import uvloop

BODY = b'{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Tell me a long story, please."}]}'
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
)
STAMP = re.compile(rb'"content":"(\d{20})"')


class Load:
    def __init__(self) -> None:
        self.counting = False
        self.events = 0
        self.lost = 0
        self.latencies: list[int] = []


class Stream(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self.load = load

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(REQUEST % (len(BODY), BODY))

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.lost += self.load.counting

    def data_received(self, data: bytes) -> None:
        load = self.load
        if load.counting:
            now = time.monotonic_ns()
            stamps = STAMP.findall(data)
            load.events += len(stamps)
            if stamps:
                load.latencies.append(now - int(stamps[-1]))
        if b"[DONE]" in data:
            self.transport.write(REQUEST % (len(BODY), BODY))


async def main(port: int, streams: int, seconds: float) -> None:
    load = Load()
    loop = asyncio.get_running_loop()
    for number in range(streams):
        await loop.create_connection(lambda: Stream(load), "127.0.0.1", port)
        if number % 50 == 0:
            await asyncio.sleep(0.02)
    await asyncio.sleep(1.5)
    print("counting", flush=True)
    load.counting = True
    await asyncio.sleep(seconds)
    load.counting = False
    latencies = sorted(load.latencies) or [0]
    print(
        load.events,
        latencies[len(latencies) // 2] // 1000,
        latencies[len(latencies) * 99 // 100] // 1000,
        load.lost,
        flush=True,
    )
    sys.stdin.read()  # the streams stay open until told


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
