"""Process faults, X08: an exception at every place of a request's way, once."""

import asyncio
import importlib
import itertools

import pytest

from conftest import CHAT, STREAM, Caller, gateway, left_in, post, run, until
from faultd import reset, send, serve
from nulpoint.mock import MockSettings, start
from outcome import Outcome, ask
from provider_bytes import ROLE, SERVER_ERROR, STREAM_HEAD, chunk

PLACES = [
    "gateway.proxy.read_request",
    "gateway.proxy.identity",
    "gateway.proxy.follow",
    "gateway.proxy.straight",
    "gateway.proxy.prepare_call",
    "gateway.proxy.Attempt.make",
    "gateway.failover.settle",
    "gateway.failover.Calls.to",
    "gateway.failover.Failover._attempt",
    "gateway.failover.Course.__init__",
    "gateway.failover.Course.first",
    "gateway.failover.Course.after",
    "gateway.failover.Course.last_word",
    "gateway.failover.Attempts.failed",
    "gateway.failover.Attempts.succeeded",
    "gateway.failover.Attempts.passed_over",
    "gateway.proxy.StreamAnswer.__init__",
    "gateway.stream_answer.StreamAnswer.offer",
    "gateway.stream_answer.StreamAnswer.show_head",
    "gateway.stream_answer.StreamAnswer.commit",
    "gateway.stream_answer.StreamAnswer.end",
    "gateway.stream_answer.StreamAnswer.drain",
    "gateway.stream_answer.StreamAnswer.expire",
    "gateway.attempt.for_provider",
    "gateway.attempt.for_caller",
    "gateway.attempt.read_facts",
    "gateway.attempt.whole_body",
    "gateway.attempt.provider_failure",
    "gateway.attempt.Relay.__init__",
    "gateway.attempt.Relay.run",
    "gateway.relay.Relay._open",
    "gateway.relay.Relay._pass_on",
    "gateway.relay.Relay._finish",
    "gateway.destination.Destination.message",
    "gateway.preparation.Prepared.watcher",
    "gateway.preparation.prepare",
    "gateway.sharing.Flights.find",
    "gateway.sharing.Flights.lead",
    "gateway.flight.Flight.start",
    "gateway.flight.Flight.write",
    "gateway.flight.Flight.add",
    "gateway.flight.Flight.next_for",
    "gateway.gate.Gate.take",
    "gateway.journal.Journal.attempt_failed",
    "gateway.journal.Journal.failed_over",
    "gateway.journal.Journal.failover_exhausted",
    "gateway.journal.Journal.failover_succeeded",
    "gateway.journal.Journal.passed_over",
    "gateway.journal.Journal.breaker_changed",
    "gateway.journal.Journal.settle",
    "http.client.Client.send",
    "http.client.Pool.take",
    "http.client.Pool.wait",
    "http.upstream.Upstream.send",
    "http.upstream.Upstream.answers",
    "http.upstream.Upstream.body",
    "http.upstream.Upstream.pour",
    "http.upstream.Upstream.take",
    "http.upstream.Upstream.on_body",
    "http.upstream.Upstream.on_headers_complete",
    "http.reply.Reply.start",
    "http.reply.Reply.write",
    "http.reply.Reply.end",
    "http.reply.Reply.send",
    "routing.plan.Router.plan",
    "routing.standing.Standing.admit",
    "routing.standing.Standing.admit_plainly",
    "routing.standing.Standing.settle",
    "wire.stream.HideUsage.feed",
    "wire.stream.PassOn.finished",
    "wire.stream.PassOn.facts",
    "wire.opening.Opening.feed",
]

SCENARIOS = {
    "whole": (CHAT, None),
    "stream": (STREAM, None),
    "whole, second target": (CHAT, [send(SERVER_ERROR)]),
    "stream, second target": (STREAM, [send(STREAM_HEAD, chunk(ROLE)), reset()]),
}


class Injected(Exception):
    """By the test."""


def inject(monkeypatch, place, turn):
    """Let the function at `place` raise at its n-th call."""
    *path, owner, name = ["nulpoint", *place.split(".")]
    if owner[0].isupper():
        target = getattr(importlib.import_module(".".join(path)), owner)
    else:
        target = importlib.import_module(".".join([*path, owner]))
    real, calls = getattr(target, name), itertools.count(1)

    def raising(*given, **named):
        if next(calls) == turn:
            raise Injected(place)
        return real(*given, **named)

    monkeypatch.setattr(target, name, raising)


@pytest.mark.parametrize(
    "turn", [1, pytest.param(2, marks=pytest.mark.slow)], ids=["at the first call", "at the second call"]
)
@pytest.mark.parametrize("place", PLACES)
def test_X08_an_exception_anywhere_leaves_nothing_behind(place, turn, monkeypatch):
    """Callers get an answer or are told of an error; every permit, place and connection comes back; the next is well."""

    async def play(body, script):
        mock = MockSettings(latency_ms=3, chunk_ms=1, stream_words=3)
        other = await start("mistral", settings=mock)
        first = await serve(script) if script else await start("openai", settings=mock)
        async with gateway(
            {"CACHE_MODE": "memory", "CB_ERROR_THRESHOLD": "2"}, providers={"openai": first, "mistral": other}
        ) as running:
            with monkeypatch.context() as patched:
                inject(patched, place, turn)
                callers = [await Caller.connect(running.port) for _ in range(2)]  # one call that they share
                for caller in callers:
                    caller.send(post(body, "/v1/chat/completions", "Connection: close"))
                for caller in callers:
                    outcome = Outcome(await asyncio.wait_for(caller.rest(), 3))
                    # Once all has been said, a bug can only take the last chunk away.
                    if outcome.verdict not in ("answer", "error") and not (outcome.done and not outcome.whole):
                        return f"{outcome.verdict}: {outcome.raw[-300:]!r}"
            await until(lambda: not left_in(running.app), 1)
            outcome = await ask(running.port, body)
            return None if outcome.verdict == "answer" else f"the next: {outcome.raw[-300:]!r}"

    async def main():
        found = {}
        for name, (body, script) in SCENARIOS.items():
            try:
                found[name] = await play(body, script)
            except AssertionError as error:
                found[name] = str(error)
        return found

    wrong = {name: problem for name, problem in run(main()).items() if problem}
    assert not wrong, wrong
