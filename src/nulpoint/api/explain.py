"""Explains how a request for a model would be served now, without sending anything or taking turns or limits."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Protocol

from nulpoint.cache.layer import CacheServices
from nulpoint.cache.policy import is_excluded
from nulpoint.errors import Failure
from nulpoint.models.retirement import describe
from nulpoint.providers.spec import Route
from nulpoint.ratelimit.limiter import LimitRules, LimitStatus
from nulpoint.routing.chains import Target, TargetPlan
from nulpoint.routing.provider_health import COOLING_DOWN, ProviderHealth
from nulpoint.routing.router import ResolutionRule, Router, RoutingTrace

Page = dict[str, Any]


class CacheAndLimitStatus(Protocol):
    """The status of the cache and of the limits. `parts` is None if there is no cache."""

    @property
    def parts(self) -> CacheServices | None: ...

    def limits_now(self, now: float) -> tuple[LimitStatus | None, LimitStatus | None] | None:
        """Return the status of the request limit and the token limit for all clients together.

        Return None if the limits are counted in Redis.
        """


class RoutingExplainer:
    """Explains routing under one configuration.

    `attempts` is the most attempts per request, and `clock` returns the event loop's time in seconds.
    """

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
        """Return the explanation for a model and a route. It contains no addresses and no keys."""
        page: Page = {"model": model, "route": route, "provider": None, "model_there": None, "found_by": None}
        try:
            trace = self._router.trace(model, route)
            page |= {
                "provider": trace.resolution.provider,
                "model_there": trace.resolution.model,
                "found_by": trace.resolution.rule.value,
                "chain": _chain(trace),
            }
            plan = self._router.plan(model, route)
        except Failure as failure:
            return page | {"refused": {"status": failure.status, "code": failure.code, "message": failure.message}}
        now = self._clock()
        targets = self._targets(plan, now)
        page |= {"attempts": self._attempts, "targets": targets, "left_out": dict(trace.unusable_targets)}
        page |= {"outcome": _outcome(targets), "cache": self._cache(model, plan), "limits": self._limits(now)}
        if trace.resolution.rule is ResolutionRule.DEFAULT:
            default = trace.resolution.provider
            page["note"] = f"the name {model[:100]!r} does not say which provider has the model; {default} is tried"
            page["similar"] = get_close_matches(model[:100], [name for name, _ in self._router.models()], 3)
        return page

    def _targets(self, plan: TargetPlan, now: float) -> list[Page]:
        """Return all targets in the order in which they would be tried."""
        listed = [
            self._target(target, number, weight, len(step), now)
            for number, step in enumerate(plan.preview(), 1)
            for target, weight in step
        ]
        usable = [entry for entry in listed if not entry["passed_over"]]
        for position, entry in enumerate(usable or [entry for entry in listed if entry["resting"]], 1):
            entry["try"] = position if position <= self._attempts else None
        return listed

    def _target(self, target: Target, step: int, weight: int, step_size: int, now: float) -> Page:
        provider = target.provider
        health = self._provider_health[provider.spec.name]
        skip_reason = health.preview(target.model, now)
        page: Page = {"target": target.name, "step": step, "format": provider.spec.wire, "try": None}
        page |= {"weight": weight} if step_size > 1 else {}
        page |= {
            "keys": len(provider.credentials),
            "circuit_breaker": health.breaker.state.label,
            "resting": skip_reason is not None and skip_reason.reason == COOLING_DOWN,
            "passed_over": "",
            **self._facts(target),
        }
        if skip_reason is not None:
            cooling_down = skip_reason.reason == COOLING_DOWN
            reason = "its keys are cooling down" if cooling_down else f"its circuit breaker is {skip_reason.reason}"
            page["passed_over"] = f"{reason}, for {skip_reason.wait:.0f} s more"
        elif provider.spec.auth != "none" and not provider.credentials:
            page["needs"] = "a key sent by the client"
        return page

    def _facts(self, target: Target) -> Page:
        """Return what is known of the model and matters to the one who routes requests to it."""
        facts = target.facts
        page: Page = {"context": facts.context, "output": facts.output, "efforts": list(facts.efforts)}
        page["retirement"] = describe(facts, self._router.today)
        return {name: value for name, value in page.items() if value}

    def _cache(self, model: str, plan: TargetPlan) -> Page:
        parts = self._status.parts
        if parts is None:
            return {"asked": False, "why": "CACHE_MODE=none"}
        if parts.exclusions is not None and is_excluded(parts.exclusions, model, plan):
            return {"asked": False, "why": "the model is in CACHE_EXCLUDE_EXACT or CACHE_EXCLUDE_PATTERNS"}
        storage = "memory" if parts.cache.memory is not None else "redis"
        return {"asked": True, "where": storage, "ttl_seconds": parts.ttl, "keeps_answers_of": sorted(plan.cacheable)}

    def _limits(self, now: float) -> Page:
        if not self._rules.any_configured:
            return {}
        page: Page = {name: limit for name, limit in self._rules._asdict().items() if limit}
        statuses = self._status.limits_now(now)
        if statuses is None:
            return page | {"counted": "in Redis"}
        named = zip(("requests", "tokens"), statuses, strict=True)
        remaining = {name: status.remaining for name, status in named if status}
        return page | {"counted": "in this process", "remaining": remaining}


def _chain(trace: RoutingTrace) -> str:
    if trace.configured_chain is not None:
        return f"fallbacks.{trace.configured_chain} of config.yaml"
    if trace.uses_chain:
        return "the built-in equivalents (FALLBACKS=auto)"
    if trace.resolution.rule is ResolutionRule.PREFIX:
        return "none: a name that begins with a provider is served by that provider only"
    return "none"


def _outcome(targets: list[Page]) -> str:
    """Describe what happens to a request that is not served from the cache."""
    in_order = sorted(targets, key=lambda entry: entry["try"] or 0)
    order = [entry["target"] for entry in in_order if entry["try"]]
    if not order:
        return "503: no target can be called now"
    then = f", then {', '.join(order[1:])} if that fails" if order[1:] else ""
    return f"{order[0]} is tried{then}"
