"""Two gateways, one Redis: one cache, one limit, one opinion of a provider that is down; and then no Redis."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import openai

from processes import MOCKS

LIMIT = 40  # requests a minute, of both together
KEPT_SECONDS = 0.1  # an answer is kept after it has gone out, so that nobody waits for that
HELLO: list[Any] = [{"role": "user", "content": "Say hello"}]


def settings(redis_port: int) -> dict[str, str]:
    """Of both gateways: the same."""
    return {
        "REDIS_URL": f"redis://127.0.0.1:{redis_port}",
        "CACHE_MODE": "redis",
        "RPM_LIMIT": str(LIMIT),
        "FALLBACKS": "off",
        "CB_ERROR_THRESHOLD": "3",
    }


class Replica:
    """One gateway, and the official SDK pointed at it."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self._port = port
        self._client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any-string", max_retries=0)
        self.headers: Any = {}  # of the newest answer

    def chat(self, model: str = "gpt-5.4", **asked: Any) -> str:
        raw = self._client.chat.completions.with_raw_response.create(**{"model": model, "messages": HELLO, **asked})
        self.headers = raw.headers
        parsed: Any = raw.parse()
        if not asked.get("stream"):
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
    """Run the steps, print the table; gives the number of failed ones."""
    a, b = Replica("A", ports[0]), Replica("B", ports[1])
    print(f"\n  {'what was asked':<36} {'of':<3} {'cache':<5} {'calls':>5}   what came back")
    failed = 0
    for step in (one_cache, embeddings, one_opinion, one_limit, no_redis):
        try:
            for asked, replica, calls, shown, good in step(a, b, kill_redis):
                failed += not good
                cache = replica.headers.get("x-cache", "")
                called = "" if calls is None else calls
                mark = "" if good else "FAILED "
                print(f"  {asked:<36} {replica.name:<3} {cache:<5} {called:>5}   {mark}{shown[:70]}", flush=True)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is shown and counted
            failed += 1
            print(f"  {step.__name__:<36} {'':<15}   FAILED {type(error).__name__}: {error}"[:160])
    print(f"\n  {'all steps did what they should' if not failed else f'{failed} steps FAILED'}\n")
    return failed


Shown = Iterator[tuple[str, Replica, int | None, str, bool]]


def one_cache(a: Replica, b: Replica, _: Callable[[], None]) -> Shown:
    """What A was told, B knows; in both forms."""
    for asked, replica, cache, streamed in (
        ("chat", a, "MISS", False),
        ("the same", b, "HIT", False),
        ("the same as a stream", b, "HIT", True),
        ("the same", a, "HIT", False),
    ):
        calls = _calls("OPENAI")
        text = replica.chat(stream=streamed)
        made = _calls("OPENAI") - calls
        time.sleep(KEPT_SECONDS)
        good = replica.headers["x-cache"] == cache and made == (cache == "MISS")
        yield asked, replica, made, text, good


def embeddings(a: Replica, b: Replica, _: Callable[[], None]) -> Shown:
    """Of a batch only what nobody has asked for goes to the provider."""
    for asked, replica, texts, known in (
        ("embeddings of two texts", a, ("one", "two"), 0),
        ("of four, two of them the same", b, ("two", "three", "one", "four"), 2),
    ):
        calls = _calls("OPENAI")
        count = replica.embed(*texts)
        cached = int(replica.headers.get("x-nulpoint-cached-inputs", 0))
        good = (count, cached) == (len(texts), known)
        time.sleep(KEPT_SECONDS)
        yield asked, replica, _calls("OPENAI") - calls, f"{count} vectors, {cached} of them known", good


def one_opinion(a: Replica, b: Replica, _: Callable[[], None]) -> Shown:
    """A sees Mistral fail; B does not wait to see it too."""
    _break("MISTRAL")
    for number in range(3):
        try:
            a.chat("mistral-large", user=f"caller {number}")
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
    yield "nothing", b, None, f"breaker of B: {b.breaker('mistral')}", b.breaker("mistral") == "open"


def one_limit(a: Replica, b: Replica, _: Callable[[], None]) -> Shown:
    """Both count in one place, cached answers too."""
    for replica in (a, b):
        replica.chat()
        left = replica.headers["x-ratelimit-remaining-requests"]
        yield "chat", replica, 0, f"{left} of {LIMIT} requests left this minute", True
    left, admitted = int(left), 0
    refused: openai.RateLimitError | None = None
    while refused is None and admitted <= LIMIT:
        replica = (a, b)[admitted % 2]
        try:
            replica.chat()
            admitted += 1
        except openai.RateLimitError as error:
            refused, replica.headers = error, error.response.headers
    wait = replica.headers.get("retry-after", "?")
    shown = f"{admitted} more, then 429 and Retry-After: {wait}"
    yield "chat, by turns, until it is refused", replica, None, shown, refused is not None and admitted == left


def no_redis(a: Replica, b: Replica, kill_redis: Callable[[], None]) -> Shown:
    """Redis dies: nobody waits for it, and nobody is refused for it."""
    kill_redis()
    for replica in (a, b):
        calls, began = _calls("OPENAI"), time.monotonic()
        text = replica.chat()
        took = time.monotonic() - began
        good = took < 1 and _calls("OPENAI") - calls == 1
        yield "Redis is killed: chat", replica, _calls("OPENAI") - calls, f"after {took * 1000:.0f} ms: {text}", good


def _calls(provider: str) -> int:
    """How many requests this mock provider has seen."""
    return int(_json(f"http://127.0.0.1:{MOCKS[provider]}/mock/stats")["requests"])


def _break(provider: str) -> None:
    fault = json.dumps({"fault": "status", "arg": 503}).encode()
    _json(urllib.request.Request(f"http://127.0.0.1:{MOCKS[provider]}/mock/fault", fault))


def _json(request: str | urllib.request.Request) -> Any:
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.loads(answer.read())
