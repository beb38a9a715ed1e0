"""Requests whose responses may come from the cache."""

import json

from support.http_client import Caller, post

MEMORY = {"CACHE_MODE": "memory"}
PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions", "embeddings": "/v1/embeddings"}
QUESTION = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}


async def ask(running, question=QUESTION, *fields, route="chat"):
    caller = await Caller.connect(running.port)
    body = question if isinstance(question, bytes) else json.dumps(question).encode()
    caller.send(post(body, PATHS[route], *fields))
    return await caller.answer()


async def outcome(running, question=QUESTION, *fields, route="chat"):
    status, headers, _ = await ask(running, question, *fields, route=route)
    assert status == 200
    return headers["x-cache"]
