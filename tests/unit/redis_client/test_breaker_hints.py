"""Tests the hints by which replicas share the openings of circuit breakers."""

import asyncio

import pytest

from nulpoint.redis_client.breaker_hints import PREFIX, BreakerHints
from nulpoint.redis_client.connection import DOWN, REFUSED, TIMED_OUT, RedisConnection, connection_factory
from nulpoint.routing.breaker import Breaker, BreakerRules, Outcome, State
from support.event_loop import run, until
from support.redis_server import needs_redis, redis_server

TIMEOUT = 30.0
A, B = "openai", "anthropic"


class Shelf:
    """Imitates Redis for the four commands that are used. The remaining lifetime of keys does not change."""

    def __init__(self):
        self.values = {}
        self.left = {}  # milliseconds
        self.commands = []
        self.instead = {}  # the replies to commands that fail at present
        self.up = True

    async def call(self, command, *arguments):
        self.commands.append((command, *arguments))
        if command in self.instead:
            return self.instead[command]
        if command == "SET":
            key, value, px, left = arguments
            assert px == "PX"
            assert isinstance(left, int)
            self.values[key], self.left[key] = value.encode(), left
            return b"OK"
        if command == "MGET":
            return [self.values.get(key) for key in arguments]
        assert command == "PTTL"
        return self.left.get(arguments[0], -2)


class Replica:
    def __init__(self, shelf, name):
        rules = BreakerRules(threshold=2, window=60, half_open_timeout=TIMEOUT)
        self.breakers = {A: Breaker(rules), B: Breaker(rules)}
        self.hinted = []
        self.hints = BreakerHints(shelf, self.breakers, name, TIMEOUT, self.hinted.append, period=0.01)

    @property
    def now(self):
        return asyncio.get_running_loop().time()

    def fail(self, name=A):
        breaker = self.breakers[name]
        for _ in range(2):
            breaker.record(breaker.unconditional_permit, Outcome.FAILURE, self.now)
        assert breaker.state is State.OPEN

    def probe(self, outcome, name=A):
        """Make the breaker ready for a probe, as if its time had passed."""
        breaker = self.breakers[name]
        breaker.record(breaker.acquire(self.now + TIMEOUT + 1), outcome, self.now)


def with_two(test):
    """Run `test(one, other, shelf)` in an event loop."""

    async def main():
        shelf = Shelf()
        await test(Replica(shelf, "one"), Replica(shelf, "other"), shelf)

    run(main())


def test_an_opening_reaches_the_other_replica():
    async def test(one, other, shelf):
        one.fail()
        await one.hints.exchange()
        await other.hints.exchange()
        assert (other.breakers[A].state, other.breakers[B].state) == (State.OPEN, State.CLOSED)
        assert (one.hinted, other.hinted) == ([], [A])

    with_two(test)


@pytest.mark.parametrize("left", [30_000, 20_000, 1, 10**9])
def test_a_hint_lasts_no_longer_than_the_original_opening(left):
    async def test(one, other, shelf):
        one.fail()
        await one.hints.exchange()
        assert 29_000 < shelf.left[PREFIX + A] <= 30_000
        shelf.left[PREFIX + A] = left
        await other.hints.exchange()
        assert other.breakers[A].seconds_to_probe(other.now) == pytest.approx(min(left / 1000, TIMEOUT), abs=0.1)

    with_two(test)


def test_the_key_expires_at_the_next_probe():
    async def test(one, other, shelf):
        one.fail()
        one.breakers[A]._opened_at -= 25  # Redis was unreachable for this time
        await one.hints.exchange()
        assert 4_000 < shelf.left[PREFIX + A] <= 5_000

    with_two(test)


def test_a_hint_is_not_published_again():
    async def test(one, other, shelf):
        one.fail()
        for _ in range(3):
            await one.hints.exchange()
            await other.hints.exchange()
        assert [command[0] for command in shelf.commands].count("SET") == 1

    with_two(test)


@pytest.mark.parametrize("opened_by", ["itself", "a hint"])
def test_a_failed_probe_is_not_published(opened_by):
    """A replica that alone cannot reach the provider must not switch it off for the others again and again."""

    async def test(one, other, shelf):
        one.fail()
        await one.hints.exchange()
        await other.hints.exchange()
        failing = one if opened_by == "itself" else other
        shelf.commands.clear()
        for _ in range(3):
            failing.probe(Outcome.FAILURE)
            await failing.hints.exchange()
        assert "SET" not in [command[0] for command in shelf.commands]

    with_two(test)


def test_each_opening_is_applied_once():
    async def test(one, other, shelf):
        one.fail()
        await one.hints.exchange()
        await other.hints.exchange()
        other.probe(Outcome.SUCCESS)
        await other.hints.exchange()  # the key is still there
        assert other.breakers[A].state is State.CLOSED
        one.probe(Outcome.SUCCESS)
        await one.hints.exchange()
        one.fail()
        await one.hints.exchange()
        await other.hints.exchange()
        assert other.breakers[A].state is State.OPEN
        assert other.hinted == [A, A]

    with_two(test)


def test_a_replica_ignores_its_own_hints():
    async def test(one, other, shelf):
        one.fail()
        await one.hints.exchange()
        one.probe(Outcome.SUCCESS)
        await one.hints.exchange()
        assert one.breakers[A].state is State.CLOSED

    with_two(test)


def test_a_breaker_that_is_already_open_does_not_change():
    async def test(one, other, shelf):
        one.fail()
        other.fail()
        opened = other.breakers[A]._opened_at
        await one.hints.exchange()
        shelf.left[PREFIX + A] = 1000
        await other.hints.exchange()
        assert other.breakers[A]._opened_at == opened
        assert other.hinted == []

    with_two(test)


@pytest.mark.parametrize("value", [b"", b"what?", b"\xff" * 100, b"third:x"])
@pytest.mark.parametrize("left", [-1, -2, 0])
def test_keys_that_never_expire_are_ignored(value, left):
    async def test(one, other, shelf):
        shelf.values[PREFIX + A], shelf.left[PREFIX + A] = value, left
        await one.hints.exchange()
        assert one.breakers[A].state is State.CLOSED

    with_two(test)


@pytest.mark.parametrize("reply", [DOWN, TIMED_OUT, REFUSED, None, b"OK", [], Exception("NOSCRIPT")])
@pytest.mark.parametrize("command", ["MGET", "PTTL", "SET"])
def test_failed_commands_change_nothing(command, reply):
    async def test(one, other, shelf):
        shelf.instead[command] = reply
        one.fail()
        await one.hints.exchange()
        await other.hints.exchange()
        if command != "SET":
            assert other.breakers[A].state is State.CLOSED
        shelf.instead.clear()
        await one.hints.exchange()
        await other.hints.exchange()
        told = command != "SET" or reply not in (None, b"OK", [])
        assert (other.breakers[A].state is State.OPEN) == told

    with_two(test)


def test_an_opening_is_published_when_redis_is_back():
    async def test(one, other, shelf):
        shelf.up = False
        one.fail()
        await one.hints.exchange()
        assert shelf.commands == []
        shelf.up = True
        await one.hints.exchange()
        await other.hints.exchange()
        assert other.breakers[A].state is State.OPEN

    with_two(test)


@pytest.mark.parametrize("outcome", [Outcome.SUCCESS, Outcome.FAILURE])
def test_an_opening_that_has_ended_is_not_published(outcome):
    async def test(one, other, shelf):
        shelf.up = False
        one.fail()
        await one.hints.exchange()
        if outcome is Outcome.SUCCESS:
            one.probe(outcome)
        else:
            one.breakers[A]._opened_at -= TIMEOUT
        shelf.up = True
        await one.hints.exchange()
        assert "SET" not in [command[0] for command in shelf.commands]

    with_two(test)


@needs_redis
def test_with_a_real_redis_that_dies_and_comes_back():
    async def main():
        with redis_server() as server:
            links = [RedisConnection(connection_factory(server.url), retry=0.05) for _ in range(2)]
            one, other = (Replica(link, name) for link, name in zip(links, ("one", "other"), strict=True))
            for link in links:
                await link.start()
            for replica in (one, other):
                replica.hints.start()
            one.fail()
            await until(lambda: other.breakers[A].state is State.OPEN)
            assert 0 < int(server.cli("PTTL", PREFIX + A).strip(b":\r\n")) <= TIMEOUT * 1000
            server.kill()
            await until(lambda: not any(link.up for link in links))
            one.fail(B)
            await asyncio.sleep(0.1)
            assert other.breakers[B].state is State.CLOSED
            server.start()
            await until(lambda: other.breakers[B].state is State.OPEN)
            assert (one.hinted, other.hinted) == ([], [A, B])
            for replica in (one, other):
                replica.hints.stop()
            for link in links:
                await link.close()

    run(main())
