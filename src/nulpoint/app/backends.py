"""What a process keeps for its callers, and shares with others: the cache, the limits, and the Redis behind them.

redis-py is an extra: its modules are imported only where REDIS_URL is set.
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
    """None stands for what is off. `link` is there where REDIS_URL is set. Needs a running event loop."""

    def __init__(
        self,
        config: Config,
        deadlines: DeadlineSweeper,
        breakers: Mapping[str, Breaker],
        hinted: Callable[[str], None],
        before: "Backends | None" = None,
    ) -> None:
        """`breakers` by provider; `hinted` is told of those that were opened because another replica's were.

        `before`: whose place it takes, and what has not changed of it. Nothing changes there until `take_over`.
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
            before.redis if before is not None and same_link else _link(config, self._failures)
        )
        self.cache: Cache | None = self._cache(before)
        self.parts: CacheServices | None = None
        if self.cache is not None:
            exact, patterns = config.cache_exclude_exact, config.cache_exclude_patterns
            excluded = CacheExclusions(exact, patterns) if exact or patterns else None
            self.parts = CacheServices(self.cache, excluded, config.cache_ttl, loop.time, lambda: deadlines.unix)
        self.limiter = self._limiting(before, loop.time())
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

    def _limiting(self, before: "Backends | None", now: float) -> RequestLimiter | None:
        if not self._rules.any_configured:
            return None
        self._local = before._local if before is not None else None
        if self.redis is None:
            self._local = self._local or LocalLimitBackend(self._rules, now)
            return RequestLimiter(self._local, self._rules, shared=False)
        from nulpoint.ratelimit.redis import RedisLimitBackend

        config = self._config
        own_share = self._rules.shared_by(config.workers)
        self._local = self._local or LocalLimitBackend(own_share, now)
        self._redis_limits = RedisLimitBackend(self.redis, self._rules, self._local, config.rate_limit_on_error)
        return RequestLimiter(self._redis_limits, self._rules, shared=True)

    def _breaker_hints(self, hinted: Callable[[str], None]) -> "BreakerHints | None":
        if self.redis is None:
            return None
        from nulpoint.redis_client.breaker_hints import BreakerHints

        replica = urandom(8).hex()
        return BreakerHints(self.redis, self._breakers, replica, self._config.cb_half_open_timeout, hinted)

    async def start(self) -> None:
        """Look for Redis once; where it is not there, it is looked for beside the requests."""
        if self.redis is None or self.redis.started:
            return
        await self.redis.start()
        if not self.redis.up:
            logger.warning("started without Redis: %s; it is tried again every second", self.redis.problem)

    def activate(self) -> None:
        """From now on what is shared with the one before goes by this configuration."""
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
        """What has to be stopped when nobody has it any more, and how."""
        held: list[tuple[object, Callable[[], None]]] = []
        if self._redis_limits is not None:
            held.append((self._redis_limits, self._redis_limits.close))
        if self._hints is not None:
            held.append((self._hints, self._hints.stop))
        if self.redis is not None:
            held.append((self.redis, self.redis.stop))
        return held

    @property
    def _memory_bytes(self) -> int:
        return self._config.cache_max_bytes // self._config.workers

    def limits_now(self, now: float) -> tuple[Limit | None, Limit | None] | None:
        """How the limits of all callers together stand, of requests and tokens; None where Redis keeps them."""
        if self.redis is not None:
            return None
        return self._local.statuses(now) if self._local is not None else (None, None)

    @property
    def answers_at_once(self) -> bool:
        """Nothing has to be waited for before an answer from the cache."""
        return self.cache is not None and self.cache.memory is not None and self.limiter is None

    @property
    def degraded(self) -> bool:
        """Something that was configured is missing just now."""
        return self.redis is not None and not self.redis.usable

    def health(self) -> dict[str, Any]:
        """For /health: names and numbers only, no address."""
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
        """For /metrics."""
        for gauge in (values.cache_bytes, values.cache_entries, values.redis_up):
            gauge.clear()  # of what is off by now
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


def _link(config: Config, failures: dict[str, int]) -> "RedisConnection | None":
    if config.redis_url is None:
        return None
    from nulpoint.redis_client.connection import RedisConnection, connection_factory

    return RedisConnection(connection_factory(config.redis_url.reveal()), failures=failures)
