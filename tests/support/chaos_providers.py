"""Mock providers in bad weather: now and then a request meets a fault, and now and then a provider is out altogether."""

import re
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

from nulpoint.mock import MockServer, MockSettings, faults
from nulpoint.mock.faults import Fault
from nulpoint.mock.interface import MockRequest, MockResponse

NAMES = ("openai", "anthropic", "gemini")
SHARE = 0.06  # of the requests meet a fault, outages not counted
# Answers that are good all the same.
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
_MARK = "x-chaos"  # put among the headers of a request: the fault it meets


class Provider(MockServer):
    """One. `calls` and `good` answers by the marker of the question."""

    def __init__(self, name: str, chance: Random) -> None:
        super().__init__(name, MockSettings(latency_ms=5, chunk_ms=2))
        self.chance = chance
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
        if self.chance.random() >= SHARE:
            return None
        harmless = self.chance.random() < 0.3
        name, most = self.chance.choice(list((HARMLESS if harmless else HARMFUL).items()))
        if (name == "refuse") is not at_connecting:
            return None
        arg = self.chance.randrange(int(most or 0)) if name.endswith("_mid_stream") else most
        return faults.make(name, arg)

    def respond(self, call: MockRequest) -> MockResponse:
        found = _MARKER.search(str(call.body))
        marker = found[1] if found else ""
        self.calls[marker] += 1
        if call.headers.get(_MARK, "") in ("", *HARMLESS):
            self.good[marker] += 1
        call.word_count = _limit(call.body)
        return super().respond(call)


def _limit(body: dict[str, Any]) -> int:
    """How many words the caller asks for, in any provider's spelling."""
    given = body.get("max_completion_tokens") or body.get("max_tokens")
    return int(given or body.get("generationConfig", {}).get("maxOutputTokens") or 10)


class Weather:
    """Lets one provider after another be out for a while."""

    def __init__(self, providers: list[Provider], chance: Random) -> None:
        self._providers = providers
        self._chance = chance
        self._next = 2.0
        self._out: tuple[Provider, float] | None = None
        self.outages = 0

    def at(self, seconds: float) -> None:
        """`seconds` since the beginning."""
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
