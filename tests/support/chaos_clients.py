"""Clients of the chaos test: each knows what it must receive and reports what it received."""

import asyncio
import contextlib
import socket
from random import Random
from typing import NamedTuple

import msgspec

from nulpoint.mock.model import sample_words
from support.client_outcome import Outcome
from support.http_client import post

MODELS = ("gpt-4o", "claude-haiku-4-5", "gemini-2.5-pro")
SHARED_REQUESTS = 4
CLIENT_TIMEOUT = 20.0  # seconds; longer than the gateway's deadline and all its timers


class Plan(NamedTuple):
    """One request.

    `leaves` is the number of seconds after which the client disconnects. A `slow` client reads little at a time. A
    `shared` request is also sent by other clients.
    """

    id: str
    marker: str
    model: str
    stream: bool
    words: int
    shared: bool
    leaves: float | None
    slow: bool

    @property
    def message(self) -> bytes:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": f"chaos {self.marker}"}],
            "max_tokens": self.words,
            **({"stream": True} if self.stream else {}),
        }
        headers = ("Connection: close", f"X-Request-ID: {self.id}")
        return post(msgspec.json.encode(body), "/v1/chat/completions", *headers)


def plan(number: int, rng: Random) -> Plan:
    shared = rng.random() < 0.1
    slow = not shared and rng.random() < 0.02
    return Plan(
        id=f"storm-{number}",
        marker=f"shared{rng.randrange(SHARED_REQUESTS)}" if shared else f"q{number}",
        model=MODELS[0] if shared else rng.choice(MODELS),
        stream=shared or slow or rng.random() < 0.6,
        words=20 if shared else 2000 if slow else rng.randrange(1, 40),
        shared=shared,
        leaves=rng.random() * 0.2 if not slow and rng.random() < 0.05 else None,
        slow=slow,
    )


async def carry_out(port: int, planned: Plan) -> str:
    """Send the request and return `answer`, `error` or `left`, or a description of a failure of the gateway."""
    try:
        raw = await asyncio.wait_for(_read_all(port, planned), planned.leaves or CLIENT_TIMEOUT)
    except TimeoutError:
        return "left" if planned.leaves else "lost: no end came"
    except OSError as error:
        return f"lost: {error.strerror}"
    if not raw:
        return "lost: closed without a word"
    try:
        outcome = Outcome(raw)
    except (ValueError, LookupError, AssertionError) as problem:
        return f"lost: unreadable, {problem!r}"
    if outcome.verdict == "error":
        return "error"
    if outcome.verdict != "answer":
        return f"lost: {outcome.verdict}"
    return "answer" if outcome.text == "".join(sample_words(planned.words)) else f"false: {outcome.text[:80]!r}"


async def _read_all(port: int, planned: Plan) -> bytes:
    loop, sock = asyncio.get_running_loop(), socket.socket()
    sock.setblocking(False)
    if planned.slow:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        await loop.sock_connect(sock, ("127.0.0.1", port))
        await loop.sock_sendall(sock, planned.message)
        parts = []
        with contextlib.suppress(ConnectionResetError):
            while part := await loop.sock_recv(sock, 2048 if planned.slow else 65_536):
                parts.append(part)
                if planned.slow:
                    await asyncio.sleep(0.005)
        return b"".join(parts)
    finally:
        sock.close()
