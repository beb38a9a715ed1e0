"""Openings of breakers that replicas tell each other: a hint, never a dependency."""

import asyncio

import pytest

from nulpoint.redis_client.breaker_hints import PREFIX, BreakerHints
from nulpoint.redis_client.connection import DOWN, REFUSED, TIMED_OUT, RedisConnection, connections
from nulpoint.routing.breaker import Breaker, BreakerRules, Outcome, State
from support.event_loop import run, until
from support.redis_server import needs_redis, redis_server

TIMEOUT = 30.0
A, B = "openai", "anthropic"


class Shelf:
    """What Redis would keep, for the four commands that are used; the time each key has left stands still."""

    def __init__(self):
        self.values = {}
        self.left = {}  # milliseconds
        self.commands = []
        self.instead = {}  # replies to a command that does not work now
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
        """As if the breaker had been open for all its time."""
        breaker = self.breakers[name]
        breaker.record(breaker.acquire(self.now + TIMEOUT + 1), outcome, self.now)


def with_two(test):
    """Run `test(one, other, shelf)` on a loop."""

    async def main():
        shelf = Shelf()
        await test(Replica(shelf, "one"), Replica(shelf, "other"), shelf)

    run(main())


def test_an_opening_reaches_the_other_and_no_other_provider():
    async def test(one, other, shelf):
        one.fail()
        await one.hints.exchange()
        await other.hints.exchange()
        assert (other.breakers[A].state, other.breakers[B].state) == (State.OPEN, State.CLOSED)
        assert (one.hinted, other.hinted) == ([], [A])

    with_two(test)


@pytest.mark.parametrize("left", [30_000, 20_000, 1, 10**9])
def test_it_lasts_no_longer_than_that_of_the_replica_that_saw_it(left):
    async def test(one, other, shelf):
        one.fail()
        await one.hints.exchange()
        assert 29_000 < shelf.left[PREFIX + A] <= 30_000
        shelf.left[PREFIX + A] = left
        await other.hints.exchange()
        assert other.breakers[A].seconds_to_probe(other.now) == pytest.approx(min(left / 1000, TIMEOUT), abs=0.1)

    with_two(test)


def test_what_is_told_lives_until_the_own_probe():
    async def test(one, other, shelf):
        one.fail()
        one.breakers[A]._opened -= 25  # Redis was away for so long
        await one.hints.exchange()
        assert 4_000 < shelf.left[PREFIX + A] <= 5_000

    with_two(test)


def test_a_hint_is_not_told_on():
    async def test(one, other, shelf):
        one.fail()
        for _ in range(3):
            await one.hints.exchange()
            await other.hints.exchange()
        assert [command[0] for command in shelf.commands].count("SET") == 1

    with_two(test)


@pytest.mark.parametrize("opened_by", ["itself", "a hint"])
def test_a_probe_that_failed_is_not_told(opened_by):
    """One that cannot reach the provider, for reasons of its own, must not close it to the others again and again."""

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


def test_each_opening_is_acted_upon_once():
    async def test(one, other, shelf):
        one.fail()
        await one.hints.exchange()
        await other.hints.exchange()
        other.probe(Outcome.SUCCESS)
        await other.hints.exchange()  # it is still there
        assert other.breakers[A].state is State.CLOSED
        one.probe(Outcome.SUCCESS)
        await one.hints.exchange()
        one.fail()
        await one.hints.exchange()
        await other.hints.exchange()
        assert other.breakers[A].state is State.OPEN
        assert other.hinted == [A, A]

    with_two(test)


def test_nobody_hints_himself():
    async def test(one, other, shelf):
        one.fail()
        await one.hints.exchange()
        one.probe(Outcome.SUCCESS)
        await one.hints.exchange()
        assert one.breakers[A].state is State.CLOSED

    with_two(test)


def test_one_that_is_open_already_stays_as_it_is():
    async def test(one, other, shelf):
        one.fail()
        other.fail()
        opened = other.breakers[A]._opened
        await one.hints.exchange()
        shelf.left[PREFIX + A] = 1000
        await other.hints.exchange()
        assert other.breakers[A]._opened == opened
        assert other.hinted == []

    with_two(test)


@pytest.mark.parametrize("value", [b"", b"what?", b"\xff" * 100, b"third:x"])
@pytest.mark.parametrize("left", [-1, -2, 0])
def test_keys_of_others_that_do_not_end_are_no_hints(value, left):
    async def test(one, other, shelf):
        shelf.values[PREFIX + A], shelf.left[PREFIX + A] = value, left
        await one.hints.exchange()
        assert one.breakers[A].state is State.CLOSED

    with_two(test)


@pytest.mark.parametrize("reply", [DOWN, TIMED_OUT, REFUSED, None, b"OK", [], Exception("NOSCRIPT")])
@pytest.mark.parametrize("command", ["MGET", "PTTL", "SET"])
def test_replies_that_are_none_change_nothing_and_it_works_when_they_come_again(command, reply):
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


def test_while_redis_is_away_nothing_is_asked_and_the_opening_told_afterwards():
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
def test_an_opening_that_is_over_is_not_told(outcome):
    async def test(one, other, shelf):
        shelf.up = False
        one.fail()
        await one.hints.exchange()
        if outcome is Outcome.SUCCESS:
            one.probe(outcome)
        else:
            one.breakers[A]._opened -= TIMEOUT
        shelf.up = True
        await one.hints.exchange()
        assert "SET" not in [command[0] for command in shelf.commands]

    with_two(test)


@needs_redis
def test_with_a_real_redis_that_dies_and_comes_back():
    async def main():
        with redis_server() as server:
            links = [RedisConnection(connections(server.url), retry=0.05) for _ in range(2)]
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
