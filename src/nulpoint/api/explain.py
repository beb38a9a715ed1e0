"""What would happen to a request for a model just now, and why: nothing is sent, and nothing taken."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Protocol

from nulpoint.cache.layer import CacheServices
from nulpoint.cache.policy import is_excluded
from nulpoint.errors import Failure
from nulpoint.providers.spec import Route
from nulpoint.ratelimit.limiter import LimitRules
from nulpoint.ratelimit.limiter import LimitStatus as Limit
from nulpoint.routing.chains import Target, TargetPlan
from nulpoint.routing.provider_health import COOLING_DOWN, ProviderHealth
from nulpoint.routing.router import ResolutionRule, Router, RoutingTrace

Page = dict[str, Any]


class CacheAndLimitStatus(Protocol):
    """The cache and the limits. `parts`: None where there is no cache."""

    @property
    def parts(self) -> CacheServices | None: ...

    def limits_now(self, now: float) -> tuple[Limit | None, Limit | None] | None:
        """How the limits of all callers together stand, of requests and tokens; None where Redis keeps them."""


class RoutingExplainer:
    """As things stand under one configuration. `attempts` a request; `clock` gives loop time in seconds."""

    def __init__(
        self,
        router: Router,
        provider_health: Mapping[str, ProviderHealth],
        attempts: int,
        status: CacheAndLimitStatus,
        rules: LimitRules,
        clock: Callable[[], float],
    ) -> None:
        self._router = router
        self._provider_health = provider_health
        self._attempts = attempts
        self._status = status
        self._rules = rules
        self._clock = clock

    def explain(self, model: str, route: Route) -> Page:
        """Names and numbers: no address, no key."""
        trace = self._router.trace(model, route)
        page: Page = {
            "model": model,
            "route": route,
            "provider": trace.resolution.provider,
            "model_there": trace.resolution.model,
            "found_by": trace.resolution.rule.value,
            "chain": _chain(trace, model),
        }
        try:
            plan = self._router.plan(model, route)
        except Failure as failure:
            return page | {"refused": {"status": failure.status, "code": failure.code, "message": failure.message}}
        now = self._clock()
        targets = self._targets(plan, now)
        page |= {"attempts": self._attempts, "targets": targets, "left_out": dict(trace.unusable_targets)}
        page |= {"outcome": _outcome(targets), "cache": self._cache(model, plan), "limits": self._limits(now)}
        if trace.resolution.rule is ResolutionRule.DEFAULT:
            asked = trace.resolution.provider
            page["note"] = f"nothing says whose model {model[:100]!r} is; {asked} is asked whether it has it"
            page["similar"] = get_close_matches(model[:100], [name for name, _ in self._router.models()], 3)
        return page

    def _targets(self, plan: TargetPlan, now: float) -> list[Page]:
        """In the order in which they would be tried."""
        listed = [
            self._target(target, number, weight, len(step), now)
            for number, step in enumerate(plan.preview(), 1)
            for target, weight in step
        ]
        usable = [one for one in listed if not one["passed_over"]]
        for place, one in enumerate(usable or [one for one in listed if one["resting"]], 1):
            one["try"] = place if place <= self._attempts else None
        return listed

    def _target(self, target: Target, step: int, weight: int, beside: int, now: float) -> Page:
        provider = target.provider
        health = self._provider_health[provider.spec.name]
        outlook = health.preview(target.model, now)
        page: Page = {"target": target.name, "step": step, "format": provider.spec.wire, "try": None}
        page |= {"weight": weight} if beside > 1 else {}
        page |= {
            "keys": len(provider.credentials),
            "circuit_breaker": health.breaker.state.label,
            "resting": outlook is not None and outlook.reason == COOLING_DOWN,
            "passed_over": "",
        }
        if outlook is not None:
            what = "its keys rest" if outlook.reason == COOLING_DOWN else f"its circuit breaker is {outlook.reason}"
            page["passed_over"] = f"{what}, for {outlook.wait:.0f} s more"
        elif provider.spec.auth != "none" and not provider.credentials:
            page["needs"] = "the caller's own key"
        return page

    def _cache(self, model: str, plan: TargetPlan) -> Page:
        parts = self._status.parts
        if parts is None:
            return {"asked": False, "why": "CACHE_MODE=none"}
        if parts.exclusions is not None and is_excluded(parts.exclusions, model, plan):
            return {"asked": False, "why": "the model is in CACHE_EXCLUDE_EXACT or CACHE_EXCLUDE_PATTERNS"}
        where = "memory" if parts.cache.memory is not None else "redis"
        return {"asked": True, "where": where, "ttl_seconds": parts.ttl, "keeps_answers_of": sorted(plan.cacheable)}

    def _limits(self, now: float) -> Page:
        if not self._rules.any_configured:
            return {}
        page: Page = {name: limit for name, limit in self._rules._asdict().items() if limit}
        provider_health = self._status.limits_now(now)
        if provider_health is None:
            return page | {"counted": "in Redis"}
        left = {name: one.remaining for name, one in zip(("requests", "tokens"), provider_health, strict=True) if one}
        return page | {"counted": "in this process", "remaining": left}


def _chain(trace: RoutingTrace, model: str) -> str:
    if trace.configured_chain is not None:
        return f"fallbacks.{trace.configured_chain} of config.yaml"
    if trace.uses_chain:
        return "the built-in equivalents (FALLBACKS=auto)"
    if trace.resolution.rule is ResolutionRule.PREFIX:
        return "none: a name with its provider stays there"
    return "none"


def _outcome(targets: list[Page]) -> str:
    """What a request that the cache does not answer would come to."""
    order = [one["target"] for one in sorted(targets, key=lambda one: one["try"] or 0) if one["try"]]
    if not order:
        return "503: no target can be called now"
    then = f", then {', '.join(order[1:])} where that fails" if order[1:] else ""
    return f"{order[0]} is asked{then}"
