"""Tests with an exception raised once at every step of a request."""

import asyncio
import importlib
import itertools

import pytest

from nulpoint.mock import MockSettings, start
from support.client_outcome import Outcome, ask
from support.event_loop import run, until
from support.http_client import CHAT, STREAM, Caller, post
from support.provider_bytes import ROLE, SERVER_ERROR, STREAM_HEAD, chunk
from support.running_gateway import gateway, left_in
from support.scripted_provider import reset, send, serve

PLACES = [
    "proxy.handler.parse_request",
    "proxy.handler.call_key",
    "proxy.handler.follow",
    "proxy.attempt_loop.plan_first_attempt",
    "proxy.attempt_loop.prepare_call",
    "proxy.attempt_loop.UpstreamAttempt.run",
    "proxy.attempt_loop.record_failure",
    "proxy.attempt_loop.PreparedCalls.prepare_for",
    "proxy.attempt_loop.Failover.__init__",
    "proxy.attempt_loop.Failover.first_attempt",
    "proxy.attempt_loop.Failover.next_attempt",
    "proxy.attempt_loop.Failover.succeeded",
    "proxy.attempt_loop.Failover._begin",
    "proxy.attempt_loop.AttemptPlanner.__init__",
    "proxy.attempt_loop.AttemptPlanner.first",
    "proxy.attempt_loop.AttemptPlanner.next_after",
    "proxy.attempt_loop.AttemptPlanner.final_error",
    "request.attempts.AttemptHistory.failed",
    "request.attempts.AttemptHistory.succeeded",
    "request.attempts.AttemptHistory.skipped",
    "proxy.handler.StreamResponse.__init__",
    "proxy.streaming.response.StreamResponse.set_headers",
    "proxy.streaming.response.StreamResponse.send_head",
    "proxy.streaming.response.StreamResponse.commit",
    "proxy.streaming.response.StreamResponse.end",
    "proxy.streaming.response.StreamResponse.drain",
    "proxy.streaming.response.StreamResponse.on_deadline",
    "proxy.attempt.headers_for_provider",
    "proxy.attempt.headers_for_client",
    "proxy.attempt.UpstreamAttempt._read_whole",
    "proxy.attempt.read_body",
    "proxy.attempt.provider_failure",
    "proxy.attempt.StreamRelay.__init__",
    "proxy.attempt.StreamRelay.run",
    "proxy.streaming.relay.StreamRelay._open",
    "proxy.streaming.relay.StreamRelay._pass_on",
    "proxy.streaming.relay.StreamRelay._finish",
    "proxy.endpoint.ProviderEndpoint.request_head",
    "proxy.upstream_request.UpstreamRequest.stream_transformer",
    "proxy.upstream_request.prepare",
    "proxy.upstream_request.translate",
    "proxy.singleflight.SingleFlight.find",
    "proxy.singleflight.SingleFlight.join_or_lead",
    "proxy.shared_call.SharedCall.start",
    "proxy.shared_call.SharedCall.write",
    "proxy.shared_call.SharedCall.add",
    "proxy.shared_call.SharedCall.read",
    "proxy.admission.controller.AdmissionController.try_acquire",
    "request.recorder.RequestRecorder.attempt_failed",
    "request.recorder.RequestRecorder.failed_over",
    "request.recorder.RequestRecorder.failover_exhausted",
    "request.recorder.RequestRecorder.failover_succeeded",
    "request.recorder.RequestRecorder.targets_skipped",
    "request.recorder.RequestRecorder.breaker_changed",
    "request.recorder.RequestRecorder.finish",
    "http.client.pool.UpstreamClient.send",
    "http.client.pool.ConnectionPool.try_acquire",
    "http.client.pool.ConnectionPool.acquire",
    "http.client.connection.UpstreamConnection.send",
    "http.client.connection.UpstreamConnection.head_received",
    "http.client.connection.UpstreamConnection.body",
    "http.client.connection.UpstreamConnection.pump_to",
    "http.client.connection.UpstreamConnection.take",
    "http.client.connection.UpstreamConnection.on_body",
    "http.client.connection.UpstreamConnection.on_headers_complete",
    "http.server.response.ResponseWriter.start",
    "http.server.response.ResponseWriter.write",
    "http.server.response.ResponseWriter.end",
    "http.server.response.ResponseWriter.send",
    "routing.router.Router.plan",
    "routing.provider_health.ProviderHealth.acquire",
    "routing.provider_health.ProviderHealth.acquire_unconditionally",
    "routing.provider_health.ProviderHealth.record",
    "protocols.openai.stream.UsageStripper.feed",
    "protocols.openai.stream.PassThrough.finished",
    "protocols.openai.stream.PassThrough.metadata",
    "protocols.first_content.FirstContentDetector.feed",
    "protocols.translation.Translation.response",
    "protocols.translation.Translation.stream",
]

SCENARIOS = {
    "whole": (CHAT, None),
    "stream": (STREAM, None),
    "whole, second target": (CHAT, [send(SERVER_ERROR)]),
    "stream, second target": (STREAM, [send(STREAM_HEAD, chunk(ROLE)), reset()]),
}


class Injected(Exception):
    """The exception that these tests raise inside the gateway."""


def inject(monkeypatch, place, turn):
    """Make the function at `place` raise at its call number `turn`."""
    *path, owner, name = ["nulpoint", *place.split(".")]
    if owner[0].isupper():
        target = getattr(importlib.import_module(".".join(path)), owner)
    else:
        target = importlib.import_module(".".join([*path, owner]))
    real, calls = getattr(target, name), itertools.count(1)

    def raising(*args, **kwargs):
        if next(calls) == turn:
            raise Injected(place)
        return real(*args, **kwargs)

    monkeypatch.setattr(target, name, raising)


@pytest.mark.parametrize(
    "turn", [1, pytest.param(2, marks=pytest.mark.slow)], ids=["at the first call", "at the second call"]
)
@pytest.mark.parametrize("place", PLACES)
def test_an_exception_anywhere_leaves_nothing_behind(place, turn, monkeypatch):
    """Clients get a response or an error, nothing stays in use, and the next request succeeds."""

    async def play(body, script):
        mock = MockSettings(latency_ms=3, chunk_ms=1, stream_words=3)
        other = await start("mistral", settings=mock)
        first = await serve(script) if script else await start("openai", settings=mock)
        async with gateway(
            {"CACHE_MODE": "memory", "CB_ERROR_THRESHOLD": "2"}, providers={"openai": first, "mistral": other}
        ) as running:
            with monkeypatch.context() as patched:
                inject(patched, place, turn)
                clients = [await Caller.connect(running.port) for _ in range(2)]  # both share one upstream call
                for client in clients:
                    client.send(post(body, "/v1/chat/completions", "Connection: close"))
                for client in clients:
                    outcome = Outcome(await asyncio.wait_for(client.rest(), 3))
                    # After the terminal event an exception can only cost the last chunk of the framing.
                    if outcome.verdict not in ("answer", "error") and not (outcome.done and not outcome.whole):
                        return f"{outcome.verdict}: {outcome.raw[-300:]!r}"
            await until(lambda: not left_in(running.app))
            outcome = await ask(running.port, body)
            return None if outcome.verdict == "answer" else f"the next: {outcome.raw[-300:]!r}"

    async def main():
        problems = {}
        for name, (body, script) in SCENARIOS.items():
            try:
                problems[name] = await play(body, script)
            except AssertionError as error:
                problems[name] = str(error)
        return problems

    wrong = {name: problem for name, problem in run(main()).items() if problem}
    assert not wrong, wrong
