"""Tests the metrics and log messages about attempts, failovers and breakers, over real sockets."""

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from nulpoint.app.supervisor import METRICS_DIRECTORY
from nulpoint.routing.breaker import State
from nulpoint.telemetry.metrics.definitions import MetricValues
from support.event_loop import run, until
from support.http_client import CHAT, STREAM, Caller, post
from support.running_gateway import gateway

NAMES = ("openai", "anthropic")
ALONE = CHAT.replace(b"gpt-4o", b"openai/gpt-4o")
SETTINGS = {"COALESCE": "false", "CB_ERROR_THRESHOLD": "2", "MAX_RETRIES": "2"}


class Asking:
    def __init__(self, caller):
        self.caller = caller

    async def statuses(self, *bodies):
        given = []
        for body in bodies:
            self.caller.send(post(body))
            status, _, _ = await self.caller.answer()
            given.append(status)
        return given

    async def counted(self, name):
        """Return the values of a family by label values, in the order of the label names, without zeros."""
        self.caller.send(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        _, _, page = await self.caller.answer()
        (family,) = [one for one in text_string_to_metric_families(page.decode()) if one.name == name]
        return {tuple(sample.labels.values()): sample.value for sample in family.samples if sample.value}


def scenario(play, settings=SETTINGS):
    async def main():
        async with gateway(settings, names=NAMES) as running:
            await play(running, Asking(await Caller.connect(running.port)))

    run(main())


def test_a_failover_that_succeeds():
    async def play(running, asking):
        running.mocks["openai"].set_fault("status", count=1, arg=503)
        assert await asking.statuses(CHAT, CHAT) == [200, 200]
        assert await asking.counted("gateway_failover_events") == {("openai", "openai", "upstream", "anthropic"): 1}
        assert await asking.counted("gateway_failover_success") == {("openai", "anthropic"): 1}
        assert await asking.counted("gateway_failover_exhausted") == {}
        assert await asking.counted("gateway_upstream_attempts") == {
            ("upstream", "openai", "chat"): 1,
            ("success", "openai", "chat"): 1,
            ("success", "anthropic", "chat"): 1,
        }

    scenario(play)


def test_a_retry_at_the_same_target_is_no_failover():
    async def play(running, asking):
        running.mocks["openai"].set_fault("status", count=1, arg=503)
        assert await asking.statuses(ALONE) == [200]
        assert await asking.counted("gateway_failover_events") == {("openai", "openai", "upstream", "openai"): 1}
        assert await asking.counted("gateway_failover_success") == {}

    scenario(play)


def test_failover_exhausted():
    async def play(running, asking):
        for mock in running.mocks.values():
            mock.set_fault("status", arg=500)
        assert await asking.statuses(CHAT) == [502]
        assert await asking.counted("gateway_failover_exhausted") == {("openai",): 1}
        running.mocks["openai"].set_fault("status", arg=400)
        assert await asking.statuses(CHAT, ALONE) == [400, 400]  # a mistake of the client is no reason to fail over
        assert await asking.counted("gateway_failover_exhausted") == {("openai",): 1}

    scenario(play)


def test_a_broken_stream_is_no_exhausted_failover():
    async def play(running, asking):
        running.mocks["openai"].set_fault("cut_mid_stream", arg=3)
        asking.caller.send(post(STREAM))
        assert b"provider_disconnected" in await asking.caller.rest()
        asking = Asking(await Caller.connect(running.port))
        assert await asking.counted("gateway_failover_exhausted") == {}
        assert await asking.counted("gateway_failover_events") == {}

    scenario(play)


def test_breaker_transitions_and_rejections():
    async def play(running, asking):
        running.mocks["openai"].set_fault("status", count=2, arg=500)
        assert await asking.statuses(CHAT, CHAT) == [200, 200]
        assert await asking.counted("circuit_breaker_state") == {("openai",): State.OPEN}
        assert await asking.statuses(CHAT) == [200]
        assert await asking.counted("gateway_circuit_breaker_rejections") == {("openai", "open"): 1}
        assert await asking.counted("gateway_failover_success") == {("openai", "anthropic"): 3}
        assert await asking.counted("gateway_circuit_breaker_transitions") == {("openai", "open"): 1}

    scenario(play)


def test_a_probe_is_a_transition_as_well():
    async def play(running, asking):
        assert running.app.runtime.provider_health["openai"].breaker.open_by_hint(-100.0) is State.OPEN
        assert await asking.statuses(CHAT) == [200]
        assert await asking.counted("gateway_circuit_breaker_transitions") == {
            ("openai", "half_open"): 1,
            ("openai", "closed"): 1,
        }
        running.mocks["openai"].set_fault("status", count=1, arg=400)
        running.app.runtime.provider_health["openai"].breaker.open_by_hint(-100.0)
        assert await asking.statuses(CHAT) == [400]
        assert await asking.counted("gateway_circuit_breaker_transitions") == {
            ("openai", "half_open"): 2,
            ("openai", "closed"): 1,
            ("openai", "open"): 1,  # the probe gave no evidence
        }

    scenario(play)


def test_a_client_that_disconnects_returns_the_probe_and_the_budget():
    async def play(running, asking):
        standings = running.app.runtime.provider_health
        for name in NAMES:
            standings[name].breaker.open_by_hint(-100.0)
        running.mocks["openai"].set_fault("status", arg=500)
        running.mocks["anthropic"].set_fault("stall")
        asking.caller.send(post(CHAT))
        await until(lambda: running.mocks["anthropic"].requests == 1)
        assert standings["anthropic"].breaker.state is State.HALF_OPEN
        assert standings["openai"].retry_budget.running == 1
        await asking.caller.close()
        await until(lambda: standings["anthropic"].breaker.state is State.OPEN)
        assert standings["openai"].retry_budget.running == 0
        asking = Asking(await Caller.connect(running.port))
        assert await asking.counted("gateway_circuit_breaker_transitions") == {
            ("openai", "half_open"): 1,
            ("openai", "open"): 1,
            ("anthropic", "half_open"): 1,
            ("anthropic", "open"): 1,
        }
        assert await asking.counted("gateway_failover_exhausted") == {}

    scenario(play)


def test_a_refused_key_is_logged_once(caplog):
    async def play(running, asking):
        running.mocks["openai"].set_fault("status", arg=401)
        assert await asking.statuses(CHAT) == [
            200
        ]  # the second key was refused too, so another provider serves the request
        assert await asking.statuses(ALONE, ALONE) == [
            401,
            401,
        ]  # keys in cooldown are used as the last resort, without another log line
        assert await asking.counted("gateway_upstream_attempts") == {
            ("auth", "openai", "chat"): 4,
            ("success", "anthropic", "chat"): 1,
        }

    scenario(play, {**SETTINGS, "OPENAI_API_KEYS": "sk-secret-2", "MAX_RETRIES": "3"})
    told = [record.getMessage() for record in caplog.records if "is not used" in record.getMessage()]
    expected = [f"key {number} of openai was refused (status 401): it is not used for 300 s" for number in (1, 2)]
    assert sorted(told) == expected  # which one is tried first depends on the conversation


def test_a_key_without_access_to_a_model_is_logged_with_the_model(caplog):
    async def play(running, asking):
        running.mocks["openai"].set_fault("status", arg=403)
        odd = ALONE.replace(b"gpt-4o", rb"gpt\n\u001b[31m-4o")
        assert await asking.statuses(odd, odd) == [401, 401]

    scenario(play)
    told = [record.getMessage() for record in caplog.records if "is not used" in record.getMessage()]
    (line,) = told
    assert line.startswith(
        "key 1 of openai was refused (status 403): it is not used for 300 s, for the model 'gpt\\n\\x1b[31m-4o"
    )


def test_all_breakers_open_is_an_exhausted_failover():
    async def play(running, asking):
        for name in NAMES:
            running.app.runtime.provider_health[name].breaker.open_by_hint(1e9)
        assert await asking.statuses(CHAT) == [503]
        assert await asking.counted("gateway_failover_exhausted") == {("openai",): 1}
        assert await asking.counted("gateway_circuit_breaker_rejections") == {
            ("openai", "open"): 1,
            ("anthropic", "open"): 1,
        }

    scenario(play)


def test_other_workers_see_the_state_of_a_breaker(tmp_path, monkeypatch):
    monkeypatch.setenv(METRICS_DIRECTORY, str(tmp_path))

    async def play(running, asking):
        running.app.runtime.provider_health["openai"].breaker.open_by_hint(0.0)
        running.app._publish()
        (snapshot,) = tmp_path.glob("*.snapshot")
        numbers = msgspec.msgpack.decode(snapshot.read_bytes(), type=MetricValues)
        assert numbers.breakers == {("openai",): 1, ("anthropic",): 0}

    scenario(play)
