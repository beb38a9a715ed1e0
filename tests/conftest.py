"""What the tests share: a running gateway beside mock providers, and a raw caller."""

import functools

import pytest
from hypothesis import settings as hypothesis_settings

from nulpoint.redis_client import connection
from support import planted_key_watch

# The same examples every time: a gate must not fail by chance. `make test-race` is where chance has its place.
hypothesis_settings.register_profile("gate", derandomize=True, deadline=None)
hypothesis_settings.load_profile("gate")


planted_key_watch.install()


@pytest.fixture(autouse=True, scope="session")
def _redis_may_take_its_time():
    """Gateways in this process wait ten times as long for Redis, so that a busy machine changes no outcome."""
    with pytest.MonkeyPatch.context() as patched:
        patient = functools.partial(connection.RedisConnection, timeout=10 * connection.TIMEOUT)
        patched.setattr(connection, "RedisConnection", patient)
        yield


@pytest.fixture(autouse=True)
def _no_planted_key_comes_out():
    planted_key_watch.leaks.clear()
    yield
    assert not planted_key_watch.leaks, planted_key_watch.leaks
