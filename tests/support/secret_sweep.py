"""A gateway process with planted secrets, requests of every kind to it, and everything that it sends or logs."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

from nulpoint.mock import MockServer, start
from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.operations import OPERATIONS
from support.http_client import Caller, post
from support.planted_secrets import PROMPT, Planted, marker
from support.ports import free_port

FAST = {
    "LOG_LEVEL": "debug", "CONNECT_TIMEOUT": "300ms", "PROVIDER_TIMEOUT": "300ms", "STREAM_IDLE_TIMEOUT": "300ms",
    "CB_ERROR_THRESHOLD": "1000000", "SHUTDOWN_DELAY": "0", "UPSTREAM_MAX_HEAD_BYTES": "64KiB",
}  # fmt: skip
# The models for each operation; the providers without one are asked for it too, and the gateway rejects that.
MODELS = {
    "openai": ("gpt-4o", "gpt-oss-20b", "text-embedding-3-small", "omni-moderation-latest", "openai/r"),
    "anthropic": ("claude-haiku-4-5",) * 5,
    "gemini": ("gemini-2.5-flash", "gemini-2.5-flash", "gemini-embedding-001", "gemini/m", "gemini/r"),
    "mistral": ("mistral-large-latest", "mistral-large-latest", "mistral-embed", "mistral/m", "mistral/r"),
    "cohere": ("cohere/c", "cohere/c", "cohere/e", "cohere/m", "rerank-v3.5"),
    "voyage": ("voyage/c", "voyage/c", "voyage/e", "voyage/m", "rerank-2.5"),
}
ROUTES = ("chat", "chat stream", "completions", "completions stream", "embeddings", "moderations", "rerank")


def body_of(route: str, provider: str, prompt: str) -> bytes:
    """Return a request body with the prompt in every place for text."""
    kind, _, streamed = route.partition(" ")
    model = MODELS[provider][list(OPERATIONS).index(kind)]
    body: dict[str, Any] = {"model": model, "user": prompt}
    if kind == "chat":
        tool = {"name": "lookup", "description": prompt, "parameters": {"type": "object", "properties": {}}}
        turns = [{"role": "system", "content": f"You know {prompt}."}, {"role": "user", "content": f"And {prompt}?"}]
        body |= {"messages": turns, "tools": [{"type": "function", "function": tool}]}
    elif kind == "completions":
        body["prompt"] = prompt
    elif kind == "rerank":
        del body["user"]  # Voyage rejects members that it does not know
        body |= {"query": prompt, "documents": [prompt, f"again {prompt}"]}
    else:
        body["input"] = [prompt, f"again {prompt}"]
    return json.dumps({**body, "stream": True} if streamed else body).encode()


class Process:
    """A process of `nulpoint serve`. Its output goes to files, because a pipe would fill up."""

    def __init__(self, settings: dict[str, str], folder: Path) -> None:
        self.port = free_port()
        self._outputs = [folder / "stdout", folder / "stderr"]
        keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with self._outputs[0].open("wb") as stdout, self._outputs[1].open("wb") as stderr:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "nulpoint", "serve"],
                env={**keep, **FAST, **settings, "PORT": str(self.port)}, cwd=folder, stdout=stdout, stderr=stderr,
            )  # fmt: skip

    async def until_up(self) -> None:
        for _ in range(1000):
            with contextlib.suppress(OSError):
                await (await Caller.connect(self.port)).close()
                return
            assert self._child.poll() is None, self.output()
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        self._child.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(self._child.wait, 60) == 0

    def kill(self) -> None:
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()

    def output(self) -> bytes:
        return b"".join(path.read_bytes() for path in self._outputs)


class Sweep:
    """A gateway process, its mock providers, and what either received.

    `answers` are pairs of a request's prompt and the bytes of its response. `heads` are the request headers that reached
    each provider.
    """

    def __init__(self, planted: Planted, process: Process, mocks: dict[str, MockServer]) -> None:
        self.planted = planted
        self.process = process
        self.mocks = mocks
        self.answers: list[tuple[str, bytes]] = []
        self.heads: dict[str, list[dict[str, str]]] = defaultdict(list)
        for name, mock in mocks.items():
            self._record(name, mock)

    def _record(self, name: str, mock: MockServer) -> None:
        answer = mock.respond

        def recorded(request: Any) -> Any:
            self.heads[name].append(dict(request.headers))
            return answer(request)

        mock.respond = recorded  # type: ignore[method-assign]

    async def send(self, data: bytes, prompt: str = "") -> bytes:
        """Send raw bytes and return everything up to the end of the connection."""
        client = await Caller.connect(self.process.port)
        client.send(data)
        answer = await asyncio.wait_for(client.rest(), 15)
        self.answers.append((prompt, answer))
        return answer

    async def ask(self, route: str, provider: str, *fields: str) -> bytes:
        prompt = marker()
        path = "/v1/" + {"chat": "chat/completions"}.get(route.split()[0], route.split()[0])
        return await self.send(post(body_of(route, provider, prompt), path, "Connection: close", *fields), prompt)

    async def get(self, path: str, *fields: str, method: str = "GET") -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *fields]
        return await self.send("\r\n".join([*lines, "", ""]).encode())

    async def with_every_fault(self, faults: Any, routes: Any, fields: Any) -> None:
        """Request every route that a provider offers, with every fault, all providers in parallel.

        `fields` returns the headers for a provider.
        """

        async def sweep(provider: str) -> None:
            for fault in faults:
                for route in routes:
                    if not CATALOG[provider].offers(route.partition(" ")[0]):
                        continue
                    arg = 0.2 if fault == "slow_drip" else None
                    self.mocks[provider].set_fault(fault, count=1, arg=arg)
                    await self.ask(route, provider, *fields(provider))
                    self.mocks[provider].clear()

        await asyncio.gather(*map(sweep, self.mocks))

    def leaks(self) -> dict[str, set[object]]:
        """Return the secrets and prompts that appeared where they must not."""
        found: dict[str, set[object]] = {
            "answers": {
                (*sorted(names), answer) for _, answer in self.answers if (names := self.planted.found_in(answer))
            },
            "logs": {*self.planted.found_in(self.process.output())},
            "prompts in answers": {
                other.decode()
                for prompt, answer in self.answers
                for other in PROMPT.findall(answer)
                if other.decode() != prompt
            },
        }
        return {where: names for where, names in found.items() if names}

    def sent_to(self, provider: str) -> set[str]:
        """Return the names of the secrets in the headers that reached this provider."""
        return self.planted.found_in("\n".join(map(str, self.heads[provider])).encode())


@contextlib.asynccontextmanager
async def sweeping(
    planted: Planted, settings: dict[str, str], folder: Path, names: Iterable[str] = MODELS
) -> AsyncIterator[Any]:
    """Run a gateway process with mock providers, each with a planted key."""
    mocks = {name: await start(name) for name in names}
    environ: dict[str, str] = {}
    for name, mock in mocks.items():
        variable = {"gemini": "GOOGLE"}.get(name, name.upper())
        path = {"gemini": "/v1beta", "cohere": "/v2"}.get(name, "/v1")
        environ |= {f"{variable}_API_KEY": planted(f"key of {name}"), f"{name.upper()}_BASE_URL": mock.url + path}
    process = Process({**environ, **settings}, folder)
    try:
        await process.until_up()
        yield Sweep(planted, process, mocks)
    finally:
        process.kill()
        for mock in mocks.values():
            await mock.close()
