"""Requests whose responses may come from the cache."""

import json
from typing import Any

from support.http_client import Caller, post
from support.running_gateway import Running

MEMORY = {"CACHE_MODE": "memory"}
PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions", "embeddings": "/v1/embeddings"}
QUESTION: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}


async def ask(
    running: Running, question: bytes | dict[str, Any] = QUESTION, *fields: str, route: str = "chat"
) -> tuple[int, dict[str, str], bytes]:
    client = await Caller.connect(running.port)
    body = question if isinstance(question, bytes) else json.dumps(question).encode()
    client.send(post(body, PATHS[route], *fields))
    return await client.answer()


async def outcome(
    running: Running, question: bytes | dict[str, Any] = QUESTION, *fields: str, route: str = "chat"
) -> str:
    """Return whether the response came from the cache, as its header says."""
    status, headers, _ = await ask(running, question, *fields, route=route)
    assert status == 200
    return headers["x-cache"]
