"""What the tests share: a running gateway beside mock providers, and a raw caller."""

import pytest
from hypothesis import settings as hypothesis_settings

from nulpoint.redis_client import connection
from support import planted_key_watch
from support.redis_server import redis_patience

# The same examples every time: a gate must not fail by chance. `make test-race` is where chance has its place.
hypothesis_settings.register_profile("gate", derandomize=True, deadline=None)
hypothesis_settings.load_profile("gate")


planted_key_watch.install()


@pytest.fixture(autouse=True, scope="session")
def _redis_may_take_its_time():
    """Gateways in this process wait a hundred times as long for Redis, so that a busy machine changes no outcome."""
    with redis_patience(100 * connection.TIMEOUT):
        yield


@pytest.fixture(autouse=True)
def _no_planted_key_comes_out():
    planted_key_watch.leaks.clear()
    yield
    assert not planted_key_watch.leaks, planted_key_watch.leaks
