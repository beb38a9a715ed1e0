"""Measures what the choice of a provider's key costs a request, in this process, without sockets.

Run it alone with `python bench/key_choice.py`.
"""

import json
import time
from collections.abc import Callable
from functools import partial
from statistics import median

from nulpoint.http.message import HttpRequest
from nulpoint.providers.operations import OPERATIONS
from nulpoint.request.client_auth import ClientAuthenticator
from nulpoint.request.request import ProxyRequest, parse_request
from nulpoint.request.rules import RequestRules
from nulpoint.routing.breaker import BreakerRules
from nulpoint.routing.provider_health import ProviderHealth, no_conversation

CALLS = 2_000  # per round
ROUNDS = 15
KEYS = [b"%032d" % number for number in range(4)]
_RULES = RequestRules(
    ClientAuthenticator((), forward=False, distinguish=False),
    strict=False,
    request_timeout=600.0,
    max_body_bytes=1 << 24,
)


def chat(turns: int, characters: int, system: int, **members: str) -> bytes:
    """Return a request with so many messages of so many characters, after a system message."""
    messages = [{"role": "system", "content": "s " * (system // 2)}]
    for number in range(turns):
        messages.append({"role": ("user", "assistant")[number % 2], "content": "word " * (characters // 5)})
    return json.dumps({"model": "claude-sonnet-5-5", "messages": messages, **members}).encode()


def parsed(body: bytes, **headers: bytes) -> ProxyRequest:
    fields = {b"content-type": b"application/json", **{name.encode(): value for name, value in headers.items()}}
    request = HttpRequest("POST", b"/v1/chat/completions", fields, "1.1", True, 0.0)
    request.body = body
    return parse_request(request, _RULES, OPERATIONS["chat"], 0.0)


def microseconds(call: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(CALLS):
            call()
        times.append((time.process_time() - began) / CALLS * 1e6)
    return median(times)


def main() -> None:
    one, four = ProviderHealth(BreakerRules(), 1), ProviderHealth(BreakerRules(), len(KEYS), KEYS)
    short, long = chat(1, 50, 50), chat(100, 1000, 4000)
    huge = chat(400, 2500, 32_000)
    rows: list[tuple[str, ProviderHealth, ProxyRequest | None]] = [
        ("one key", one, parsed(short)),
        ("four keys, no conversation", four, None),
        ("four keys, a request of 200 B", four, parsed(short)),
        ("four keys, 100 kB", four, parsed(long)),
        ("four keys, 1 MB after a system message of 32 kB", four, parsed(huge)),
        ("four keys, 100 kB with prompt_cache_key", four, parsed(chat(100, 1000, 4000, prompt_cache_key="session"))),
        ("four keys, 100 kB with a session header", four, parsed(long, session_id=b"4ab1-77")),
    ]
    for name, health, request in rows:
        key = no_conversation if request is None else request.conversation_key
        print(f"{name}: {microseconds(partial(health.acquire_unconditionally, None, key)):.1f} us")


if __name__ == "__main__":
    main()
