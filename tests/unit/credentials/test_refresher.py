"""Tests of CredentialRefresher with a scripted source: it fetches in a thread, one at a time, before the expiry."""

import asyncio
import contextlib
import threading
from datetime import UTC, datetime

import pytest

from nulpoint.credentials import refresher as refresher_module
from nulpoint.credentials import schedule
from nulpoint.credentials.refresher import CredentialRefresher
from nulpoint.credentials.source import Credential, CredentialError
from nulpoint.errors import Failure, Kind
from nulpoint.providers.auth import Bearer
from support.event_loop import run, until


def unix():
    return datetime.now(UTC).timestamp()


class ScriptedSource:
    """A source whose steps are lifetimes of tokens in seconds or exceptions to raise; the last step is repeated."""

    def __init__(self, *steps):
        self.steps = list(steps)
        self.fetches = 0
        self.running = self.max_running = 0
        self.gate = threading.Event()
        self.gate.set()

    def fetch(self):
        self.running += 1
        self.max_running = max(self.max_running, self.running)
        assert threading.current_thread() is not threading.main_thread()
        self.gate.wait(5)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        self.fetches += 1
        self.running -= 1
        if isinstance(step, Exception):
            raise step
        return Credential(Bearer(f"token-{self.fetches}"), unix() + step)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(schedule, "_MIN_WAIT", 0.02)
    monkeypatch.setattr(schedule, "_MIN_BACKOFF", 0.02)
    monkeypatch.setattr(schedule, "MIN_SECONDS_BEFORE_REFUSAL", 0.05)


def with_refresher(use, *steps):
    async def main():
        source = ScriptedSource(*steps)
        refresher = CredentialRefresher("cloud", source, lambda: 0.5)
        try:
            await use(refresher, source)
        finally:
            source.gate.set()
            refresher.stop()
            await asyncio.sleep(0.02)

    run(main(), 10)


def present_secret(refresher):
    return refresher.signer(unix()).secret


def test_the_start_waits_for_the_first_credential():
    async def use(refresher, source):
        with pytest.raises(Failure):
            present_secret(refresher)
        await refresher.start()
        assert present_secret(refresher) == "token-1"
        assert refresher.signer(unix()).headers("POST", "h", "/", b"", 0.0) == b"authorization: Bearer token-1\r\n"
        assert refresher.health() == {"status": "ok", "failures": 0, "expires_in_seconds": 3600}
        assert not refresher.missing

    with_refresher(use, 3600)


def test_a_credential_is_renewed_before_it_expires():
    async def use(refresher, source):
        await refresher.start()
        seen = set()
        end = asyncio.get_running_loop().time() + 0.6
        while asyncio.get_running_loop().time() < end:
            seen.add(present_secret(refresher))
            await asyncio.sleep(0.005)
        assert len(seen) >= 3
        assert source.max_running == 1

    with_refresher(use, 0.2)


def test_a_repeated_failure_is_logged_once_and_recovers(caplog):
    async def use(refresher, source):
        await refresher.start()
        with pytest.raises(Failure) as refused:
            present_secret(refresher)
        assert (refused.value.kind, refused.value.status) == (Kind.UPSTREAM, 502)
        assert refused.value.code == "provider_credential_unavailable"
        assert refresher.missing
        assert refresher.health()["status"] == "missing"
        await until(lambda: not refresher.missing)
        assert present_secret(refresher) == "token-4"
        assert refresher.health()["failures"] == 0

    with_refresher(
        use,
        CredentialError("AADSTS700016: unknown client"),
        CredentialError("AADSTS700016: unknown client"),
        KeyError("k"),
        60,
    )
    assert [record.getMessage() for record in caplog.records] == [
        "cannot fetch a credential for cloud: AADSTS700016: unknown client",
        "started without a credential for cloud: AADSTS700016: unknown client; will try again",
        "cannot fetch a credential for cloud: the library failed with KeyError",
        "fetched a credential for cloud again",
    ]


def test_a_panic_in_a_library_counts_as_a_failure():
    class Panic(BaseException):
        pass

    class Source:
        def fetch(self):
            raise Panic

    async def main():
        with pytest.raises(CredentialError, match="the library failed with Panic"):
            await refresher_module.in_thread(Source().fetch)

    run(main())


@pytest.mark.parametrize("token", ["a b", "a\r\nx: y", "ü", "a\x00"])
def test_a_token_that_could_inject_a_header_is_rejected(token):
    with pytest.raises(ValueError, match="not a token") as error:
        Bearer(token)
    assert token not in str(error.value)


def test_an_expired_credential_is_not_used():
    async def use(refresher, source):
        await refresher.start()
        assert present_secret(refresher) == "token-1"
        await until(lambda: refresher.missing)
        with pytest.raises(Failure, match="no valid credential"):
            present_secret(refresher)

    with_refresher(use, 0.1, CredentialError("away"))


def test_the_start_does_not_wait_for_a_silent_server(monkeypatch):
    monkeypatch.setattr(refresher_module, "PATIENCE", 0.05)

    async def use(refresher, source):
        source.gate.clear()
        await refresher.start()
        assert refresher.missing
        source.gate.set()
        await until(lambda: not refresher.missing)

    with_refresher(use, 60)


def test_concurrent_rejections_cause_one_fetch():
    async def use(refresher, source):
        await refresher.start()
        await asyncio.sleep(0.06)
        refused = refresher.signer(unix())
        answers = await asyncio.gather(*(refresher.renew(refused) for _ in range(50)))
        assert answers == [True] * 50
        assert source.fetches == 2
        assert source.max_running == 1
        assert await refresher.renew(refused)  # it has been replaced already
        assert not await refresher.renew(
            refresher.signer(unix())
        )  # too soon after the fetch: a new one would be rejected too
        assert source.fetches == 2

    with_refresher(use, 3600)


def test_a_rejected_credential_that_cannot_be_replaced():
    async def use(refresher, source):
        await refresher.start()
        await asyncio.sleep(0.06)
        assert not await refresher.renew(refresher.signer(unix()))
        assert present_secret(refresher) == "token-1"

    with_refresher(use, 3600, CredentialError("away"))


def test_a_refresher_can_be_stopped_during_a_fetch():
    async def use(refresher, source):
        source.gate.clear()
        starting = asyncio.ensure_future(refresher.start())
        await until(lambda: source.running)
        refresher.stop()
        starting.cancel()
        await asyncio.sleep(0)

    with_refresher(use, 60)


def test_after_a_clock_change_the_next_request_gets_a_new_credential(monkeypatch):
    """The refresher sleeps for an hour by the old clock; a request that finds the credential expired wakes it."""

    async def use(refresher, source):
        await refresher.start()
        await asyncio.sleep(0.01)
        monkeypatch.setattr(refresher_module, "_unix", lambda: unix() + 86_400)
        source.steps = [90_000]
        with pytest.raises(Failure):
            refresher.signer(unix() + 86_400)
        await until(lambda: source.fetches == 2)
        await until(lambda: signs_with(refresher, "token-2", unix() + 86_400))

    with_refresher(use, 3600)


def signs_with(refresher, secret, now):
    with contextlib.suppress(Failure):
        return refresher.signer(now).secret == secret
    return False


def test_a_slow_fetch_is_logged(monkeypatch, caplog):
    monkeypatch.setattr(refresher_module, "SLOW", 0.05)
    monkeypatch.setattr(refresher_module, "PATIENCE", 0.1)

    async def use(refresher, source):
        source.gate.clear()
        await refresher.start()
        source.gate.set()
        await until(lambda: not refresher.missing)

    with_refresher(use, 60)
    assert "fetching a credential for cloud has taken 0.05 s so far: the token server does not respond" in caplog.text


def test_waiting_for_a_new_credential_ends_at_the_request_deadline():
    async def use(refresher, source):
        await refresher.start()
        await asyncio.sleep(0.06)
        source.gate.clear()
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert not await refresher.renew(refresher.signer(unix()), began + 0.05)
        assert 0.04 < loop.time() - began < 10
        source.gate.set()
        await until(lambda: source.fetches == 2)

    with_refresher(use, 3600)
