"""Several gateways in front of one provider that share a Redis."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from nulpoint.mock import MockSettings, start
from support.http_client import Caller
from support.running_gateway import Running, addresses, gateway


def settings(url: str, **more: str) -> dict[str, str]:
    return {"CACHE_MODE": "redis", "REDIS_URL": url, "OPENAI_API_KEY": "sk-configured-openai", **more}


@contextlib.asynccontextmanager
async def replicas(
    url: str, number: int = 2, mock: MockSettings | None = None, **more: str
) -> AsyncIterator[list[Running]]:
    """Run several gateways in front of one provider."""
    provider = await start("openai", settings=mock)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(provider.close)
        gateways = []
        for _ in range(number):
            environ = settings(url, **{**addresses({"openai": provider}), **more})
            gateways.append(await stack.enter_async_context(gateway(environ, providers={"openai": provider})))
        yield gateways


async def health(running: Running) -> Any:
    client = await Caller.connect(running.port)
    client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    return json.loads((await client.answer())[2])
