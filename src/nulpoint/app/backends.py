"""The backends of a runtime: the cache, the rate limits, and the Redis connection behind them.

redis-py is an optional package, so the modules that need it are imported only if REDIS_URL is set.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from os import urandom
from typing import TYPE_CHECKING, Any

from nulpoint.app.wiring import limit_rules
from nulpoint.cache.backend import Cache, MemoryCache
from nulpoint.cache.exclusions import CacheExclusions
from nulpoint.cache.layer import CacheServices
from nulpoint.cache.memory import CacheCounts
from nulpoint.config import Config
from nulpoint.http.deadlines import DeadlineSweeper
from nulpoint.proxy.rate_limits import RequestLimiter
from nulpoint.ratelimit.backend import LocalLimitBackend
from nulpoint.ratelimit.limiter import LimitStatus as Limit
from nulpoint.routing.breaker import Breaker
from nulpoint.telemetry.metrics.definitions import MetricValues

if TYPE_CHECKING:
    from nulpoint.ratelimit.redis import RedisLimitBackend
    from nulpoint.redis_client.breaker_hints import BreakerHints
    from nulpoint.redis_client.connection import RedisConnection

logger = logging.getLogger(__name__)


class Backends:
    """The backends for one configuration; those that are turned off are None. Needs a running event loop."""

    def __init__(
        self,
        config: Config,
        deadlines: DeadlineSweeper,
        breakers: Mapping[str, Breaker],
        hinted: Callable[[str], None],
        before: "Backends | None" = None,
    ) -> None:
        """Build the backends, taking over from `before` whatever the new configuration leaves unchanged.

        `breakers` are by provider. `hinted` is called with each provider whose breaker was opened because that of
        another replica was. Nothing in `before` changes until `activate`.
        """
        loop = asyncio.get_running_loop()
        self._config = config
        self._breakers = breakers
        self._rules = limit_rules(config)
        self._local: LocalLimitBackend | None = None
        self._redis_limits: RedisLimitBackend | None = None
        self._counts: CacheCounts = before._counts if before is not None else CacheCounts()
        self._failures: dict[str, int] = before._failures if before is not None else {}
        same_link = before is not None and before._config.redis_url == config.redis_url
        self.redis: RedisConnection | None = (
            before.redis if before is not None and same_link else _redis_connection(config, self._failures)
        )
        self.cache: Cache | None = self._cache(before)
        self.parts: CacheServices | None = None
        if self.cache is not None:
            exact, patterns = config.cache_exclude_exact, config.cache_exclude_patterns
            excluded = CacheExclusions(exact, patterns) if exact or patterns else None
            self.parts = CacheServices(self.cache, excluded, config.cache_ttl, loop.time, lambda: deadlines.unix)
        self.limiter = self._request_limiter(before, loop.time())
        self._hints: BreakerHints | None = (
            before._hints if before is not None and same_link else self._breaker_hints(hinted)
        )

    def _cache(self, before: "Backends | None") -> Cache | None:
        config = self._config
        same_mode = before is not None and before._config.cache_mode == config.cache_mode
        if before is not None and same_mode and (config.cache_mode == "memory" or before.redis is self.redis):
            return before.cache
        if config.cache_mode == "memory":
            return MemoryCache(self._memory_bytes, self._counts)
        if config.cache_mode == "redis" and self.redis is not None:
            from nulpoint.cache.redis import RedisCache

            return RedisCache(self.redis, self._counts)
        return None

    def _request_limiter(self, before: "Backends | None", now: float) -> RequestLimiter | None:
        if not self._rules.any_configured:
            return None
        self._local = before._local if before is not None else None
        if self.redis is None:
            self._local = self._local or LocalLimitBackend(self._rules, now)
            return RequestLimiter(self._local, self._rules, shared=False)
        from nulpoint.ratelimit.redis import RedisLimitBackend

        config = self._config
        worker_share = self._rules.shared_by(config.workers)
        self._local = self._local or LocalLimitBackend(worker_share, now)
        self._redis_limits = RedisLimitBackend(self.redis, self._rules, self._local, config.rate_limit_on_error)
        return RequestLimiter(self._redis_limits, self._rules, shared=True)

    def _breaker_hints(self, hinted: Callable[[str], None]) -> "BreakerHints | None":
        if self.redis is None:
            return None
        from nulpoint.redis_client.breaker_hints import BreakerHints

        replica = urandom(8).hex()
        return BreakerHints(self.redis, self._breakers, replica, self._config.cb_half_open_timeout, hinted)

    async def start(self) -> None:
        """Connect to Redis once; if that fails, the connection is tried again in the background."""
        if self.redis is None or self.redis.started:
            return
        await self.redis.start()
        if not self.redis.up:
            logger.warning("started without Redis: %s; trying again every second", self.redis.problem)

    def activate(self) -> None:
        """Apply this configuration to the state shared with the previous runtime."""
        config = self._config
        memory = self.cache.memory if self.cache is not None else None
        if memory is not None:
            memory.resize(self._memory_bytes)
        if self._local is not None:
            rules = self._rules if self.redis is None else self._rules.shared_by(config.workers)
            self._local.update(rules, asyncio.get_running_loop().time())
        if self._hints is not None:
            self._hints.update(self._breakers, config.cb_half_open_timeout)
            self._hints.start()

    @property
    def closers(self) -> list[tuple[object, Callable[[], None]]]:
        """The parts, each with the function that stops it once no runtime uses it."""
        closers: list[tuple[object, Callable[[], None]]] = []
        if self._redis_limits is not None:
            closers.append((self._redis_limits, self._redis_limits.close))
        if self._hints is not None:
            closers.append((self._hints, self._hints.stop))
        if self.redis is not None:
            closers.append((self.redis, self.redis.stop))
        return closers

    @property
    def _memory_bytes(self) -> int:
        return self._config.cache_max_bytes // self._config.workers

    def limits_now(self, now: float) -> tuple[Limit | None, Limit | None] | None:
        """Return the status of the request and token limits for all clients together; None if Redis keeps them."""
        if self.redis is not None:
            return None
        return self._local.statuses(now) if self._local is not None else (None, None)

    @property
    def degraded(self) -> bool:
        """Return whether a configured backend is unavailable at present."""
        return self.redis is not None and not self.redis.usable

    def health(self) -> dict[str, Any]:
        """Return what /health shows: names and numbers, no addresses."""
        cache: dict[str, Any] = {"mode": self._config.cache_mode}
        if self.cache is not None and self.cache.memory is not None:
            memory = self.cache.memory
            cache |= {"status": "ok", "entries": len(memory), "bytes": memory.bytes, "max_bytes": memory.max_bytes}
        elif self.cache is not None:
            cache["status"] = "unavailable" if self.degraded else "ok"
        page: dict[str, Any] = {"cache": cache}
        if self.redis is not None:
            page["redis"] = {"status": "unavailable" if self.degraded else "ok", "failures": self.redis.failures}
        return page

    def add_metrics(self, values: MetricValues) -> None:
        """Add the values of the cache and Redis metrics."""
        for gauge in (values.cache_bytes, values.cache_entries, values.redis_up):
            gauge.clear()  # the backend may have been turned off since
        if self.cache is not None:
            values.cache_operations = self._counts.operations()
            memory = self.cache.memory
            if memory is not None:
                values.cache_evictions[()] = self._counts.evicted
                values.cache_bytes[()] = memory.bytes
                values.cache_entries[()] = len(memory)
        if self.redis is not None:
            values.redis_up[()] = int(self.redis.usable)
            values.redis_failures = {(reason,): times for reason, times in self._failures.items()}


def _redis_connection(config: Config, failures: dict[str, int]) -> "RedisConnection | None":
    if config.redis_url is None:
        return None
    from nulpoint.redis_client.connection import RedisConnection, connection_factory

    return RedisConnection(connection_factory(config.redis_url.reveal()), failures=failures)
