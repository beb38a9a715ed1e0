"""A keeper and a source that is scripted: one fetch at a time, in a thread, ahead of the end."""

import asyncio
import threading
from datetime import UTC, datetime

import pytest

from nulpoint.credentials import refresher as keeper_module
from nulpoint.credentials import schedule
from nulpoint.credentials.refresher import CredentialRefresher
from nulpoint.credentials.source import Credential, CredentialError
from nulpoint.errors import Failure, Kind
from nulpoint.providers.auth import Bearer
from support.event_loop import run, until


def unix():
    return datetime.now(UTC).timestamp()


class Scripted:
    """Each step is how long a token lasts, in seconds, or what is raised; the last one counts for ever."""

    def __init__(self, *steps):
        self.steps = list(steps)
        self.fetches = 0
        self.running = self.most = 0
        self.gate = threading.Event()
        self.gate.set()

    def fetch(self):
        self.running += 1
        self.most = max(self.most, self.running)
        assert threading.current_thread() is not threading.main_thread()
        self.gate.wait(5)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        self.fetches += 1
        self.running -= 1
        if isinstance(step, Exception):
            raise step
        return Credential(Bearer(f"token-{self.fetches}"), unix() + step)


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(schedule, "_LEAST", 0.02)
    monkeypatch.setattr(schedule, "_BACKOFF_FIRST", 0.02)
    monkeypatch.setattr(schedule, "REFUSED_APART", 0.05)


def kept(use, *steps):
    async def main():
        source = Scripted(*steps)
        keeper = CredentialRefresher("cloud", source, lambda: 0.5)
        try:
            await use(keeper, source)
        finally:
            source.gate.set()
            keeper.stop()
            await asyncio.sleep(0.02)

    run(main(), 10)


def held(keeper):
    return keeper.signer(unix()).secret


def test_the_first_one_is_there_when_the_start_returns():
    async def use(keeper, source):
        with pytest.raises(Failure):
            held(keeper)
        await keeper.start()
        assert held(keeper) == "token-1"
        assert keeper.signer(unix()).fields("POST", "h", "/", b"", 0.0) == b"authorization: Bearer token-1\r\n"
        assert keeper.health() == {"status": "ok", "failures": 0, "expires_in_seconds": 3600}
        assert not keeper.missing

    kept(use, 3600)


def test_it_is_renewed_before_it_ends_and_never_missing():
    async def use(keeper, source):
        await keeper.start()
        seen = set()
        end = asyncio.get_running_loop().time() + 0.6
        while asyncio.get_running_loop().time() < end:
            seen.add(held(keeper))
            await asyncio.sleep(0.005)
        assert len(seen) >= 3
        assert source.most == 1

    kept(use, 0.2)


def test_what_cannot_be_fetched_is_told_once_and_comes_by_itself(caplog):
    async def use(keeper, source):
        await keeper.start()
        with pytest.raises(Failure) as refused:
            held(keeper)
        assert (refused.value.kind, refused.value.status) == (Kind.UPSTREAM, 502)
        assert refused.value.code == "provider_credential_unavailable"
        assert keeper.missing
        assert keeper.health()["status"] == "missing"
        await until(lambda: not keeper.missing)
        assert held(keeper) == "token-4"
        assert keeper.health()["failures"] == 0

    kept(
        use,
        CredentialError("AADSTS700016: unknown client"),
        CredentialError("AADSTS700016: unknown client"),
        KeyError("k"),
        60,
    )
    assert [record.getMessage() for record in caplog.records] == [
        "no credential for cloud can be fetched: AADSTS700016: unknown client",
        "started without a credential for cloud: AADSTS700016: unknown client; it is tried again",
        "no credential for cloud can be fetched: KeyError of its library",
        "a credential for cloud has come",
    ]


def test_a_panic_of_a_library_is_a_failure_too():
    class Panic(BaseException):
        pass

    class Source:
        def fetch(self):
            raise Panic

    async def main():
        with pytest.raises(CredentialError, match="Panic of its library"):
            await keeper_module.in_thread(Source().fetch)

    run(main())


@pytest.mark.parametrize("token", ["a b", "a\r\nx: y", "ü", "a\x00"])
def test_what_could_be_another_field_is_no_token(token):
    with pytest.raises(ValueError, match="not a token") as told:
        Bearer(token)
    assert token not in str(told.value)


def test_one_that_ran_out_is_not_used():
    async def use(keeper, source):
        await keeper.start()
        assert held(keeper) == "token-1"
        await until(lambda: keeper.missing)
        with pytest.raises(Failure, match="no valid credential"):
            held(keeper)

    kept(use, 0.1, CredentialError("away"))


def test_a_start_does_not_wait_for_a_server_that_is_silent(monkeypatch):
    monkeypatch.setattr(keeper_module, "PATIENCE", 0.05)

    async def use(keeper, source):
        source.gate.clear()
        await keeper.start()
        assert keeper.missing
        source.gate.set()
        await until(lambda: not keeper.missing)

    kept(use, 60)


def test_many_refusals_at_once_make_one_fetch():
    async def use(keeper, source):
        await keeper.start()
        await asyncio.sleep(0.06)
        refused = keeper.signer(unix())
        answers = await asyncio.gather(*(keeper.renewed(refused) for _ in range(50)))
        assert answers == [True] * 50
        assert source.fetches == 2
        assert source.most == 1
        assert await keeper.renewed(refused)  # known to be replaced already
        assert not await keeper.renewed(keeper.signer(unix()))  # so soon after: it would be refused again
        assert source.fetches == 2

    kept(use, 3600)


def test_a_refused_one_that_cannot_be_replaced():
    async def use(keeper, source):
        await keeper.start()
        await asyncio.sleep(0.06)
        assert not await keeper.renewed(keeper.signer(unix()))
        assert held(keeper) == "token-1"

    kept(use, 3600, CredentialError("away"))


def test_it_can_be_stopped_in_the_middle_of_a_fetch():
    async def use(keeper, source):
        source.gate.clear()
        starting = asyncio.ensure_future(keeper.start())
        await until(lambda: source.running)
        keeper.stop()
        starting.cancel()
        await asyncio.sleep(0)

    kept(use, 60)


def test_the_clock_is_set_on_and_the_next_request_has_another_one(monkeypatch):
    """It sleeps for an hour by the clock as it was; whoever finds that what is held has run out wakes it."""

    async def use(keeper, source):
        await keeper.start()
        await asyncio.sleep(0.01)
        monkeypatch.setattr(keeper_module, "_unix", lambda: unix() + 86_400)
        source.steps = [90_000]
        with pytest.raises(Failure):
            keeper.signer(unix() + 86_400)
        await until(lambda: source.fetches == 2)
        assert keeper.signer(unix() + 86_400).secret == "token-2"

    kept(use, 3600)


def test_a_fetch_that_takes_long_is_told_of(monkeypatch, caplog):
    monkeypatch.setattr(keeper_module, "SLOW", 0.05)
    monkeypatch.setattr(keeper_module, "PATIENCE", 0.1)

    async def use(keeper, source):
        source.gate.clear()
        await keeper.start()
        source.gate.set()
        await until(lambda: not keeper.missing)

    kept(use, 60)
    assert "a credential for cloud is being fetched for 0.05 s now: whoever gives it out does not answer" in caplog.text


def test_who_waits_for_another_one_waits_no_longer_than_the_request_may_last():
    async def use(keeper, source):
        await keeper.start()
        await asyncio.sleep(0.06)
        source.gate.clear()
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert not await keeper.renewed(keeper.signer(unix()), began + 0.05)
        assert 0.04 < loop.time() - began < 10
        source.gate.set()
        await until(lambda: source.fetches == 2)

    kept(use, 3600)
