"""What a process keeps for its callers, and shares with others: the cache, the limits, and the Redis behind them.

redis-py is an extra: its modules are imported only where REDIS_URL is set.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from os import urandom
from typing import TYPE_CHECKING, Any

from nulpoint.config import Config
from nulpoint.cache.layer import CacheParts
from nulpoint.proxy.rate_limits import Limiting
from nulpoint.http.deadlines import Ticker
from nulpoint.app.wiring import limit_rules
from nulpoint.routing.breaker import Breaker
from nulpoint.cache.exclusions import Exclusions
from nulpoint.ratelimit.limiter import Standing as Limit
from nulpoint.cache.backend import Cache, MemoryCache
from nulpoint.telemetry.metrics.definitions import Numbers
from nulpoint.ratelimit.backend import LocalLimits
from nulpoint.cache.memory import Counts

if TYPE_CHECKING:
    from nulpoint.redis_client.breaker_hints import BreakerHints
    from nulpoint.ratelimit.redis import RedisLimits
    from nulpoint.redis_client.connection import RedisLink

logger = logging.getLogger("nulpoint")


class Backing:
    """None stands for what is off. `link` is there where REDIS_URL is set. Needs a running event loop."""

    def __init__(
        self,
        config: Config,
        ticker: Ticker,
        breakers: Mapping[str, Breaker],
        hinted: Callable[[str], None],
        before: "Backing | None" = None,
    ) -> None:
        """`breakers` by provider; `hinted` is told of those that were opened because another replica's were.

        `before`: whose place it takes, and what has not changed of it. Nothing changes there until `take_over`.
        """
        loop = asyncio.get_running_loop()
        self._config = config
        self._breakers = breakers
        self._rules = limit_rules(config)
        self._local: LocalLimits | None = None
        self._redis_limits: RedisLimits | None = None
        self._counts: Counts = before._counts if before is not None else Counts()
        self._failures: dict[str, int] = before._failures if before is not None else {}
        same_link = before is not None and before._config.redis_url == config.redis_url
        self.link: RedisLink | None = before.link if before is not None and same_link else _link(config, self._failures)
        self.cache: Cache | None = self._cache(before)
        self.parts: CacheParts | None = None
        if self.cache is not None:
            exact, patterns = config.cache_exclude_exact, config.cache_exclude_patterns
            excluded = Exclusions(exact, patterns) if exact or patterns else None
            self.parts = CacheParts(self.cache, excluded, config.cache_ttl, loop.time, lambda: ticker.unix)
        self.limiting = self._limiting(before, loop.time())
        self._hints: BreakerHints | None = (
            before._hints if before is not None and same_link else self._breaker_hints(hinted)
        )

    def _cache(self, before: "Backing | None") -> Cache | None:
        config = self._config
        same_mode = before is not None and before._config.cache_mode == config.cache_mode
        if before is not None and same_mode and (config.cache_mode == "memory" or before.link is self.link):
            return before.cache
        if config.cache_mode == "memory":
            return MemoryCache(self._memory_bytes, self._counts)
        if config.cache_mode == "redis" and self.link is not None:
            from nulpoint.cache.redis import RedisCache

            return RedisCache(self.link, self._counts)
        return None

    def _limiting(self, before: "Backing | None", now: float) -> Limiting | None:
        if not self._rules.any:
            return None
        self._local = before._local if before is not None else None
        if self.link is None:
            self._local = self._local or LocalLimits(self._rules, now)
            return Limiting(self._local, self._rules, shared=False)
        from nulpoint.ratelimit.redis import RedisLimits

        config = self._config
        own_share = self._rules.shared_by(config.workers)
        self._local = self._local or LocalLimits(own_share, now)
        self._redis_limits = RedisLimits(self.link, self._rules, self._local, config.rate_limit_on_error)
        return Limiting(self._redis_limits, self._rules, shared=True)

    def _breaker_hints(self, hinted: Callable[[str], None]) -> "BreakerHints | None":
        if self.link is None:
            return None
        from nulpoint.redis_client.breaker_hints import BreakerHints

        replica = urandom(8).hex()
        return BreakerHints(self.link, self._breakers, replica, self._config.cb_half_open_timeout, hinted)

    async def start(self) -> None:
        """Look for Redis once; where it is not there, it is looked for beside the requests."""
        if self.link is None or self.link.started:
            return
        await self.link.start()
        if not self.link.up:
            logger.warning("started without Redis: %s; it is tried again every second", self.link.problem)

    def take_over(self) -> None:
        """From now on what is shared with the one before goes by this configuration."""
        config = self._config
        memory = self.cache.memory if self.cache is not None else None
        if memory is not None:
            memory.resize(self._memory_bytes)
        if self._local is not None:
            rules = self._rules if self.link is None else self._rules.shared_by(config.workers)
            self._local.renew(rules, asyncio.get_running_loop().time())
        if self._hints is not None:
            self._hints.renew(self._breakers, config.cb_half_open_timeout)
            self._hints.start()

    @property
    def held(self) -> list[tuple[object, Callable[[], None]]]:
        """What has to be stopped when nobody has it any more, and how."""
        held: list[tuple[object, Callable[[], None]]] = []
        if self._redis_limits is not None:
            held.append((self._redis_limits, self._redis_limits.close))
        if self._hints is not None:
            held.append((self._hints, self._hints.stop))
        if self.link is not None:
            held.append((self.link, self.link.stop))
        return held

    @property
    def _memory_bytes(self) -> int:
        return self._config.cache_max_bytes // self._config.workers

    def limits_now(self, now: float) -> tuple[Limit | None, Limit | None] | None:
        """How the limits of all callers together stand, of requests and tokens; None where Redis keeps them."""
        if self.link is not None:
            return None
        return self._local.standings(now) if self._local is not None else (None, None)

    @property
    def answers_at_once(self) -> bool:
        """Nothing has to be waited for before an answer from the cache."""
        return self.cache is not None and self.cache.memory is not None and self.limiting is None

    @property
    def degraded(self) -> bool:
        """Something that was configured is missing just now."""
        return self.link is not None and not self.link.answering

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
        for gauge in (numbers.cache_bytes, numbers.cache_entries, numbers.redis_up):
            gauge.clear()  # of what is off by now
        if self.cache is not None:
            numbers.cache_operations = self._counts.operations()
            memory = self.cache.memory
            if memory is not None:
                numbers.cache_evictions[()] = self._counts.evicted
                numbers.cache_bytes[()] = memory.bytes
                numbers.cache_entries[()] = len(memory)
        if self.link is not None:
            numbers.redis_up[()] = int(self.link.answering)
            numbers.redis_failures = {(reason,): times for reason, times in self._failures.items()}


def _link(config: Config, failures: dict[str, int]) -> "RedisLink | None":
    if config.redis_url is None:
        return None
    from nulpoint.redis_client.connection import RedisLink, connections

    return RedisLink(connections(config.redis_url.reveal()), failures=failures)
