"""What a process keeps for its callers, and shares with others: the cache, the limits, and the Redis behind them.

redis-py is an extra: its modules are imported only where REDIS_URL is set.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from os import urandom
from typing import TYPE_CHECKING, Any

from nulpoint.config import Config
from nulpoint.gateway.caching import CacheParts
from nulpoint.gateway.limiting import Limiting
from nulpoint.http.ticker import Ticker
from nulpoint.routing.breaker import Breaker
from nulpoint.routing.exclusions import Exclusions
from nulpoint.routing.limits import Rules
from nulpoint.stores.cache import Cache, MemoryCache
from nulpoint.stores.families import Numbers
from nulpoint.stores.limits import LocalLimits

if TYPE_CHECKING:
    from nulpoint.stores.breaker_hints import BreakerHints
    from nulpoint.stores.redis_limits import RedisLimits
    from nulpoint.stores.redis_link import RedisLink

logger = logging.getLogger("nulpoint")


class Backing:
    """None stands for what is off. `link` is there where REDIS_URL is set. Needs a running event loop."""

    def __init__(
        self, config: Config, ticker: Ticker, breakers: Mapping[str, Breaker], hinted: Callable[[str], None]
    ) -> None:
        """`breakers` by provider; `hinted` is told of those that were opened because another replica's were."""
        loop = asyncio.get_running_loop()
        self._config = config
        self._redis_limits: RedisLimits | None = None
        self.link = _link(config)
        self.cache = self._cache()
        self.parts: CacheParts | None = None
        if self.cache is not None:
            exact, patterns = config.cache_exclude_exact, config.cache_exclude_patterns
            excluded = Exclusions(exact, patterns) if exact or patterns else None
            self.parts = CacheParts(self.cache, excluded, config.cache_ttl, loop.time, lambda: ticker.unix)
        self.limiting = self._limiting(loop.time())
        self._hints = self._breaker_hints(breakers, hinted)

    def _cache(self) -> Cache | None:
        config = self._config
        if config.cache_mode == "memory":
            return MemoryCache(config.cache_max_bytes // config.workers)
        if config.cache_mode == "redis" and self.link is not None:
            from nulpoint.stores.redis_cache import RedisCache

            return RedisCache(self.link)
        return None

    def _limiting(self, now: float) -> Limiting | None:
        config = self._config
        rules = Rules(
            config.rpm_limit, config.rpm_limit_per_key, config.tpm_limit, config.tpm_limit_per_key,
            config.max_parallel_per_key,
        )  # fmt: skip
        if not rules.any:
            return None
        if self.link is None:
            return Limiting(LocalLimits(rules, now), rules, shared=False)
        from nulpoint.stores.redis_limits import RedisLimits

        self._redis_limits = RedisLimits(self.link, rules, config.workers, config.rate_limit_on_error)
        return Limiting(self._redis_limits, rules, shared=True)

    def _breaker_hints(self, breakers: Mapping[str, Breaker], hinted: Callable[[str], None]) -> "BreakerHints | None":
        if self.link is None:
            return None
        from nulpoint.stores.breaker_hints import BreakerHints

        replica = urandom(8).hex()
        return BreakerHints(self.link, breakers, replica, self._config.cb_half_open_timeout, hinted)

    async def start(self) -> None:
        """Look for Redis once; where it is not there, it is looked for beside the requests."""
        if self.link is None:
            return
        await self.link.start()
        if not self.link.up:
            logger.warning("started without Redis: %s; it is tried again every second", self.link.problem)
        if self._hints is not None:
            self._hints.start()

    def stop(self) -> None:
        if self._redis_limits is not None:
            self._redis_limits.close()
        if self._hints is not None:
            self._hints.stop()
        if self.link is not None:
            self.link.stop()

    @property
    def answers_at_once(self) -> bool:
        """Nothing has to be waited for before an answer from the cache."""
        return self.cache is not None and self.cache.memory is not None and self.limiting is None

    @property
    def degraded(self) -> bool:
        """Something that was configured is missing just now."""
        return self.link is not None and not self.link.up

    def health(self) -> dict[str, Any]:
        """For /health: names and numbers only, no address."""
        cache: dict[str, Any] = {"mode": self._config.cache_mode}
        if self.cache is not None and self.cache.memory is not None:
            memory = self.cache.memory
            cache |= {"status": "ok", "entries": len(memory), "bytes": memory.bytes, "max_bytes": memory.max_bytes}
        elif self.cache is not None:
            cache["status"] = "unavailable" if self.degraded else "ok"
        page: dict[str, Any] = {"cache": cache}
        if self.link is not None:
            page["redis"] = {"status": "unavailable" if self.degraded else "ok", "failures": self.link.failures}
        return page

    def note(self, numbers: Numbers) -> None:
        """For /metrics."""
        if self.cache is not None:
            numbers.cache_operations = self.cache.operations()
            memory = self.cache.memory
            if memory is not None:
                numbers.cache_evictions[()] = memory.evicted
                numbers.cache_bytes[()] = memory.bytes
                numbers.cache_entries[()] = len(memory)
        if self.link is not None:
            numbers.redis_up[()] = int(self.link.up)
            numbers.redis_failures = {(reason,): times for reason, times in self.link.failures.items()}


def _link(config: Config) -> "RedisLink | None":
    if config.redis_url is None:
        return None
    from nulpoint.stores.redis_link import RedisLink, connections

    return RedisLink(connections(config.redis_url.reveal()))
