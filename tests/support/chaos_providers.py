"""Mock providers with random faults: some requests meet a fault, and at times a whole provider fails."""

import re
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

from nulpoint.mock import MockServer, MockSettings, faults
from nulpoint.mock.faults import Fault
from nulpoint.mock.interface import MockRequest, MockResponse

NAMES = ("openai", "anthropic", "gemini")
FAULT_SHARE = 0.06  # the share of requests that meet a fault outside outages
# Faults with which the response is still complete and correct.
HARMLESS = {"gzip": None, "close_delimited": None, "informational": 2, "short_length": None, "slow_drip": 0.2}
HARMFUL = {
    "reset_before_head": None, "close_before_head": None, "reset_after_head": None, "stall": None,
    "stall_mid_stream": 6, "cut_mid_stream": 6, "reset_mid_stream": 6, "end_mid_stream": 6, "error_mid_stream": 6,
    "error_first": 529, "malformed_json": None, "wrong_length": None, "rate_limit": 1, "status": 500, "html_error": 502,
    "error_in_200": None, "huge_head": None, "refuse": None,
}  # fmt: skip
OUTAGES = {"refuse": None, "reset_before_head": None, "status": 503, "stall": None, "error_first": 500}
OUT_SECONDS = 1.5
BETWEEN_SECONDS = 6.0
_MARKER = re.compile(r"chaos (\w+)")
_MARK = "x-chaos"  # added to the headers of a request: the fault it meets


class Provider(MockServer):
    """A mock provider with random faults. It counts `calls` and `good` responses by the marker of the request."""

    def __init__(self, name: str, rng: Random) -> None:
        super().__init__(name, MockSettings(latency_ms=5, chunk_ms=2))
        self.rng = rng
        self.out: Fault | None = None
        self.calm = False
        self.calls: Counter[str] = Counter()
        self.good: Counter[str] = Counter()
        self.met: Counter[str] = Counter()

    def take_fault(self, headers: Mapping[str, str] | None, path: str = "") -> Fault | None:
        fault = self._fault(at_connecting=headers is None)
        if fault is not None:
            self.met[fault.name] += 1
        if isinstance(headers, dict):
            headers[_MARK] = fault.name if fault else ""
        return fault

    def _fault(self, *, at_connecting: bool) -> Fault | None:
        if self.calm:
            return None
        if self.out is not None:
            return self.out if (self.out.name == "refuse") is at_connecting else None
        if self.rng.random() >= FAULT_SHARE:
            return None
        harmless = self.rng.random() < 0.3
        name, limit = self.rng.choice(list((HARMLESS if harmless else HARMFUL).items()))
        if (name == "refuse") is not at_connecting:
            return None
        arg = self.rng.randrange(int(limit or 0)) if name.endswith("_mid_stream") else limit
        return faults.make(name, arg)

    def respond(self, call: MockRequest) -> MockResponse:
        match = _MARKER.search(str(call.body))
        marker = match[1] if match else ""
        self.calls[marker] += 1
        if call.headers.get(_MARK, "") in ("", *HARMLESS):
            self.good[marker] += 1
        call.word_count = _limit(call.body)
        return super().respond(call)


def _limit(body: dict[str, Any]) -> int:
    """Return the number of words that the request allows, in the format of any provider."""
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return int(limit or body.get("generationConfig", {}).get("maxOutputTokens") or 10)


class Weather:
    """Makes one provider after another fail for a while."""

    def __init__(self, providers: list[Provider], rng: Random) -> None:
        self._providers = providers
        self._chance = rng
        self._next = 2.0
        self._out: tuple[Provider, float] | None = None
        self.outages = 0

    def at(self, seconds: float) -> None:
        """Start or end an outage if it is due. `seconds` is the time since the start of the run."""
        if self._out is not None and seconds >= self._out[1]:
            self._out[0].out = None
            self._out = None
        if self._out is None and seconds >= self._next:
            provider = self._chance.choice(self._providers)
            provider.out = faults.make(*self._chance.choice(list(OUTAGES.items())))
            self._out = provider, seconds + OUT_SECONDS
            self._next = seconds + BETWEEN_SECONDS * self._chance.uniform(0.7, 1.3)
            self.outages += 1

    def clear(self) -> None:
        for provider in self._providers:
            provider.out = None
            provider.calm = True
