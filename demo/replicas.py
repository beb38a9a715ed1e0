"""Shows what two gateways share through one Redis: the cache, the rate limit, and which provider is down.

In the last step Redis is killed.
"""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import openai

from processes import MOCKS

LIMIT = 40  # requests per minute, for both gateways together
STORE_SECONDS = 0.1  # a response is stored in the cache after it was sent, so that no client waits for it
HELLO: list[Any] = [{"role": "user", "content": "Say hello"}]


def settings(redis_port: int) -> dict[str, str]:
    """Return the settings of both gateways."""
    return {
        "REDIS_URL": f"redis://127.0.0.1:{redis_port}",
        "CACHE_MODE": "redis",
        "RPM_LIMIT": str(LIMIT),
        "FALLBACKS": "off",
        "CB_ERROR_THRESHOLD": "3",
    }


class Replica:
    """One gateway, and the official SDK that uses it."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self._port = port
        self._client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any-string", max_retries=0)
        self.headers: Any = {}  # of the last response

    def chat(self, model: str = "gpt-5.4", **parameters: Any) -> str:
        raw = self._client.chat.completions.with_raw_response.create(
            **{"model": model, "messages": HELLO, **parameters}
        )
        self.headers = raw.headers
        parsed: Any = raw.parse()
        if not parameters.get("stream"):
            return parsed.choices[0].message.content or ""
        return "".join(chunk.choices[0].delta.content or "" for chunk in parsed if chunk.choices)

    def embed(self, *texts: str) -> int:
        raw = self._client.embeddings.with_raw_response.create(model="text-embedding-3-small", input=list(texts))
        self.headers = raw.headers
        return len(raw.parse().data)

    def breaker(self, provider: str) -> str:
        health = _json(f"http://127.0.0.1:{self._port}/health")
        return str(health["providers"][provider]["circuit_breaker"])


def play(ports: tuple[int, ...], kill_redis: Callable[[], None]) -> int:
    """Run the steps and print the table. Return the number of failed steps."""
    a, b = Replica("A", ports[0]), Replica("B", ports[1])
    print(f"\n  {'request':<36} {'to':<3} {'cache':<5} {'calls':>5}   response")
    failed = 0
    for step in (shared_cache, embeddings, shared_breaker, shared_limit, redis_down):
        try:
            for request, replica, calls, result, good in step(a, b, kill_redis):
                failed += not good
                cache = replica.headers.get("x-cache", "")
                call_count = "" if calls is None else calls
                mark = "" if good else "FAILED "
                print(f"  {request:<36} {replica.name:<3} {cache:<5} {call_count:>5}   {mark}{result[:70]}", flush=True)
        except Exception as error:  # noqa: BLE001 - every error is shown and counted
            failed += 1
            print(f"  {step.__name__:<36} {'':<15}   FAILED {type(error).__name__}: {error}"[:160])
    print(f"\n  {'all steps did what they should' if not failed else f'{failed} steps FAILED'}\n")
    return failed


# For each line: the request, the replica, the number of calls to the provider, the result, and whether it is right.
Lines = Iterator[tuple[str, Replica, int | None, str, bool]]


def shared_cache(a: Replica, b: Replica, _: Callable[[], None]) -> Lines:
    """B serves from the cache what A requested, whole and as a stream."""
    for request, replica, cache, streamed in (
        ("chat", a, "MISS", False),
        ("the same", b, "HIT", False),
        ("the same as a stream", b, "HIT", True),
        ("the same", a, "HIT", False),
    ):
        calls = _calls("OPENAI")
        text = replica.chat(stream=streamed)
        new_calls = _calls("OPENAI") - calls
        time.sleep(STORE_SECONDS)
        good = replica.headers["x-cache"] == cache and new_calls == (cache == "MISS")
        yield request, replica, new_calls, text, good


def embeddings(a: Replica, b: Replica, _: Callable[[], None]) -> Lines:
    """Only those inputs of a batch go to the provider that are not in the cache."""
    for request, replica, texts, known in (
        ("embeddings of two texts", a, ("one", "two"), 0),
        ("of four, two of them repeated", b, ("two", "three", "one", "four"), 2),
    ):
        calls = _calls("OPENAI")
        count = replica.embed(*texts)
        cached = int(replica.headers.get("x-nulpoint-cached-inputs", 0))
        good = (count, cached) == (len(texts), known)
        time.sleep(STORE_SECONDS)
        yield request, replica, _calls("OPENAI") - calls, f"{count} vectors, {cached} of them cached", good


def shared_breaker(a: Replica, b: Replica, _: Callable[[], None]) -> Lines:
    """A sees Mistral fail, and the breaker of B opens too."""
    _break("MISTRAL")
    for number in range(3):
        try:
            a.chat("mistral-large", user=f"client {number}")
        except openai.APIStatusError as error:
            a.headers = error.response.headers
    yield (
        "Mistral, which is down, three times",
        a,
        None,
        f"breaker of A: {a.breaker('mistral')}",
        a.breaker("mistral") == "open",
    )
    end = time.monotonic() + 5
    while b.breaker("mistral") != "open" and time.monotonic() < end:
        time.sleep(0.1)
    b.headers = {}
    yield "no request", b, None, f"breaker of B: {b.breaker('mistral')}", b.breaker("mistral") == "open"


def shared_limit(a: Replica, b: Replica, _: Callable[[], None]) -> Lines:
    """Both gateways count in one place, and count cached responses too."""
    for replica in (a, b):
        replica.chat()
        left = replica.headers["x-ratelimit-remaining-requests"]
        yield "chat", replica, 0, f"{left} of {LIMIT} requests left this minute", True
    left, admitted = int(left), 0
    rejection: openai.RateLimitError | None = None
    while rejection is None and admitted <= LIMIT:
        replica = (a, b)[admitted % 2]
        try:
            replica.chat()
            admitted += 1
        except openai.RateLimitError as error:
            rejection, replica.headers = error, error.response.headers
    wait = replica.headers.get("retry-after", "?")
    result = f"{admitted} more, then 429 and Retry-After: {wait}"
    good = rejection is not None and admitted == left
    yield "chat with A and B until rejected", replica, None, result, good


def redis_down(a: Replica, b: Replica, kill_redis: Callable[[], None]) -> Lines:
    """Redis is killed, and requests are still served at once."""
    kill_redis()
    for replica in (a, b):
        calls, began = _calls("OPENAI"), time.monotonic()
        text = replica.chat()
        took = time.monotonic() - began
        good = took < 1 and _calls("OPENAI") - calls == 1
        yield "Redis is killed: chat", replica, _calls("OPENAI") - calls, f"after {took * 1000:.0f} ms: {text}", good


def _calls(provider: str) -> int:
    """Return how many requests this mock provider has received."""
    return int(_json(f"http://127.0.0.1:{MOCKS[provider]}/mock/stats")["requests"])


def _break(provider: str) -> None:
    fault = json.dumps({"fault": "status", "arg": 503}).encode()
    _json(urllib.request.Request(f"http://127.0.0.1:{MOCKS[provider]}/mock/fault", fault))


def _json(request: str | urllib.request.Request) -> Any:
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.loads(response.read())
