"""What would happen to a request for a model just now, and why: nothing is sent, and nothing taken."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Protocol

from nulpoint.errors import Failure
from nulpoint.cache.layer import CacheParts
from nulpoint.cache.policy import is_excluded
from nulpoint.providers.spec import Route
from nulpoint.routing.chains import Plan, Target
from nulpoint.ratelimit.limiter import Rules
from nulpoint.ratelimit.limiter import Standing as Limit
from nulpoint.routing.router import Router, Rule, Trace
from nulpoint.routing.provider_health import RESTING, Standing

Page = dict[str, Any]


class Kept(Protocol):
    """The cache and the limits. `parts`: None where there is no cache."""

    @property
    def parts(self) -> CacheParts | None: ...

    def limits_now(self, now: float) -> tuple[Limit | None, Limit | None] | None:
        """How the limits of all callers together stand, of requests and tokens; None where Redis keeps them."""


class Explainer:
    """As things stand under one configuration. `attempts` a request; `clock` gives loop time in seconds."""

    def __init__(
        self,
        router: Router,
        standings: Mapping[str, Standing],
        attempts: int,
        kept: Kept,
        rules: Rules,
        clock: Callable[[], float],
    ) -> None:
        self._router = router
        self._standings = standings
        self._attempts = attempts
        self._kept = kept
        self._rules = rules
        self._clock = clock

    def explain(self, model: str, route: Route) -> Page:
        """Names and numbers: no address, no key."""
        trace = self._router.trace(model, route)
        page: Page = {
            "model": model,
            "route": route,
            "provider": trace.named.provider,
            "model_there": trace.named.model,
            "found_by": trace.named.rule.value,
            "chain": _chain(trace, model),
        }
        try:
            plan = self._router.plan(model, route)
        except Failure as failure:
            return page | {"refused": {"status": failure.status, "code": failure.code, "message": failure.message}}
        now = self._clock()
        targets = self._targets(plan, now)
        page |= {"attempts": self._attempts, "targets": targets, "left_out": dict(trace.left_out)}
        page |= {"outcome": _outcome(targets), "cache": self._cache(model, plan), "limits": self._limits(now)}
        if trace.named.rule is Rule.DEFAULT:
            asked = trace.named.provider
            page["note"] = f"nothing says whose model {model[:100]!r} is; {asked} is asked whether it has it"
            page["similar"] = get_close_matches(model[:100], [name for name, _ in self._router.models()], 3)
        return page

    def _targets(self, plan: Plan, now: float) -> list[Page]:
        """In the order in which they would be tried."""
        listed = [
            self._target(target, number, weight, len(step), now)
            for number, step in enumerate(plan.upcoming(), 1)
            for target, weight in step
        ]
        usable = [one for one in listed if not one["passed_over"]]
        for place, one in enumerate(usable or [one for one in listed if one["resting"]], 1):
            one["try"] = place if place <= self._attempts else None
        return listed

    def _target(self, target: Target, step: int, weight: int, beside: int, now: float) -> Page:
        provider = target.provider
        standing = self._standings[provider.spec.name]
        outlook = standing.outlook(target.model, now)
        page: Page = {"target": target.name, "step": step, "format": provider.spec.wire, "try": None}
        page |= {"weight": weight} if beside > 1 else {}
        page |= {
            "keys": len(provider.credentials),
            "circuit_breaker": standing.breaker.state.label,
            "resting": outlook is not None and outlook.why == RESTING,
            "passed_over": "",
        }
        if outlook is not None:
            what = "its keys rest" if outlook.why == RESTING else f"its circuit breaker is {outlook.why}"
            page["passed_over"] = f"{what}, for {outlook.wait:.0f} s more"
        elif provider.spec.auth != "none" and not provider.credentials:
            page["needs"] = "the caller's own key"
        return page

    def _cache(self, model: str, plan: Plan) -> Page:
        parts = self._kept.parts
        if parts is None:
            return {"asked": False, "why": "CACHE_MODE=none"}
        if parts.excluded is not None and is_excluded(parts.excluded, model, plan):
            return {"asked": False, "why": "the model is in CACHE_EXCLUDE_EXACT or CACHE_EXCLUDE_PATTERNS"}
        where = "memory" if parts.cache.memory is not None else "redis"
        return {"asked": True, "where": where, "ttl_seconds": parts.ttl, "keeps_answers_of": sorted(plan.keeps)}

    def _limits(self, now: float) -> Page:
        if not self._rules.any:
            return {}
        page: Page = {name: limit for name, limit in self._rules._asdict().items() if limit}
        standings = self._kept.limits_now(now)
        if standings is None:
            return page | {"counted": "in Redis"}
        left = {name: one.remaining for name, one in zip(("requests", "tokens"), standings, strict=True) if one}
        return page | {"counted": "in this process", "remaining": left}


def _chain(trace: Trace, model: str) -> str:
    if trace.own_chain is not None:
        return f"fallbacks.{trace.own_chain} of config.yaml"
    if trace.chained:
        return "the built-in equivalents (FALLBACKS=auto)"
    if trace.named.rule is Rule.PREFIX:
        return "none: a name with its provider stays there"
    return "none"


def _outcome(targets: list[Page]) -> str:
    """What a request that the cache does not answer would come to."""
    order = [one["target"] for one in sorted(targets, key=lambda one: one["try"] or 0) if one["try"]]
    if not order:
        return "503: no target can be called now"
    then = f", then {', '.join(order[1:])} where that fails" if order[1:] else ""
    return f"{order[0]} is asked{then}"
