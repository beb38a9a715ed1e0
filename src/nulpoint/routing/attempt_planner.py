"""The course of one request along its targets: which is tried next, and with how much time. Pure.

Time is an argument, in monotonic seconds; chance (0 to 1) too. A target that cannot be called now, or cannot express
the request, is passed over: that is no attempt and costs nothing.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence

import msgspec

from nulpoint.errors import Failure, Kind
from nulpoint.routing.breaker import State
from nulpoint.routing.chains import Target
from nulpoint.routing.provider_health import COOLING_DOWN, Lease, ProviderHealth, SkipReason
from nulpoint.routing.retry import (
    BUDGET_SHARE,
    FIRST_ATTEMPT_SHARE,
    MIN_ATTEMPT_SECONDS,
    backoff_before_retry,
    can_fail_over,
)

_BY_CREDENTIAL = frozenset({Kind.AUTH, Kind.QUOTA, Kind.RATE_LIMIT})  # another key of the same provider may do better


class AttemptRules(msgspec.Struct, frozen=True, kw_only=True):
    """`attempts` a request, the first included; `provider_timeout` in seconds, to the first byte of an answer."""

    attempts: int = 3
    provider_timeout: float = 30.0


class PlannedAttempt(msgspec.Struct, frozen=True):
    """One attempt to make: `number` is 1 for the first, `wait` the seconds before it, `timeout` to its first byte."""

    target: Target
    lease: Lease
    number: int
    timeout: float
    wait: float = 0.0


def record_failure(
    planned: PlannedAttempt,
    provider_health: Mapping[str, ProviderHealth],
    rules: AttemptRules,
    failure: Failure,
    now: float,
) -> State | None:
    """An attempt has failed. Gives the breaker's new state where that changes it.

    A timer that a short deadline cut below PROVIDER_TIMEOUT says nothing about the provider.
    """
    health = provider_health[planned.target.provider.spec.name]
    if failure.kind is Kind.TIMEOUT and planned.timeout < rules.provider_timeout:
        return health.release(planned.lease, now)
    return health.record(planned.lease, planned.target.model, failure, now)


def plan_first_attempt(
    targets: Sequence[Target],
    provider_health: Mapping[str, ProviderHealth],
    rules: AttemptRules,
    deadline: float,
    client_key_digest: Hashable | None,
    now: float,
) -> PlannedAttempt | None:
    """The first attempt where nothing stands against it, and nothing is to be noted of its success: nearly always.

    Then no course need be made, unless it fails; it needs to be settled only then.
    """
    target = targets[0]
    health = provider_health[target.provider.spec.name]
    lease = health.acquire_unconditionally(client_key_digest)
    if lease is None:
        return None
    health.retry_budget.saved += BUDGET_SHARE
    shared = len(targets) > 1 and rules.attempts > 1
    if shared and client_key_digest is not None:
        shared = not all(_is_foreign(one, target, client_key_digest) for one in targets[1:])
    timeout = min(rules.provider_timeout, (deadline - now) * (FIRST_ATTEMPT_SHARE if shared else 1.0))
    return PlannedAttempt(target, lease, 1, timeout)


class AttemptPlanner:
    """One request's.

    `until` is its deadline, `own` the digest of a key the caller brought. `fits` says whether a target other than the
    first can express the request. `begun`: the first attempt has been made straight.
    """

    __slots__ = (
        "_budget",
        "_client_key_digest",
        "_deadline",
        "_fits",
        "_number",
        "_primary",
        "_provider_health",
        "_rate_limit_waits",
        "_remaining",
        "_rules",
        "skipped",
    )  # fmt: skip

    def __init__(
        self,
        targets: Sequence[Target],
        provider_health: Mapping[str, ProviderHealth],
        rules: AttemptRules,
        deadline: float,
        client_key_digest: Hashable | None,
        fits: Callable[[Target], bool],
        *,
        first_attempt_made: bool,
    ) -> None:
        self._primary = targets[0]
        self._remaining = list(targets[1:] if first_attempt_made else targets)
        self._provider_health = provider_health
        self._budget = provider_health[self._primary.provider.spec.name].retry_budget
        self._rules = rules
        self._deadline = deadline
        self._client_key_digest = client_key_digest
        self._fits = fits
        self._number = 1 if first_attempt_made else 0
        self._rate_limit_waits: list[float | None] = []  # after each failed attempt: seconds, where it was a rate limit
        self.skipped: list[tuple[Target, SkipReason]] = []  # over targets that could not be called

    def first(self, now: float) -> PlannedAttempt:
        """The first attempt. Raises Failure (503) when no target can be called: every breaker is open."""
        planned = self._next(now)
        if planned is None:
            raise self._no_provider_available()
        self._budget = self._provider_health[planned.target.provider.spec.name].retry_budget
        self._budget.saved += BUDGET_SHARE
        return planned

    def next_after(self, planned: PlannedAttempt, failure: Failure, now: float, random: float) -> PlannedAttempt | None:
        """The attempt that follows a failed and settled one; None when there is none."""
        self._rate_limit_waits.append(failure.retry_after if failure.kind is Kind.RATE_LIMIT else None)
        possible = (
            self._number < self._rules.attempts
            and self._deadline - now > MIN_ATTEMPT_SECONDS
            and can_fail_over(failure, has_client_key=self._client_key_digest is not None)
        )
        if not possible:
            return None
        health = self._provider_health[planned.target.provider.spec.name]
        if (
            failure.kind in _BY_CREDENTIAL
            and self._client_key_digest is None
            and health.has_available_credential(planned.target.model, now)
        ):
            self._remaining.insert(0, planned.target)
        following = self._next(now) or self._retry(planned, failure, now, random)
        return self._within_budget(following, now) if following is not None else None

    def final_error(self, failure: Failure) -> Failure:
        """What the caller is told when nothing is left: the last failure, with the shortest wait if all were limits."""
        waits = [wait for wait in self._rate_limit_waits if wait is not None]
        if waits and len(waits) == len(self._rate_limit_waits):
            failure.retry_after = min(waits)
        return failure

    def _next(self, now: float) -> PlannedAttempt | None:
        """The first target that can be called; only when there is none, one whose credential rests."""
        planned, skipped = self._pick(now, last_resort=False)
        if planned is None and any(why.reason == COOLING_DOWN for _, why in skipped):
            planned, skipped = self._pick(now, last_resort=True)
        self._add_skipped(skipped)
        return planned

    def _pick(self, now: float, *, last_resort: bool) -> tuple[PlannedAttempt | None, list[tuple[Target, SkipReason]]]:
        """The first of those left that can be called, and what was passed over before it.

        A target that rests keeps its place; the others that were passed over are not asked again.
        """
        skipped: list[tuple[Target, SkipReason]] = []
        for position, target in enumerate(self._remaining):
            admitted = self._acquire(target, now, last_resort)
            if isinstance(admitted, Lease):
                self._remaining[: position + 1] = [one for one, why in skipped if why.reason == COOLING_DOWN]
                return self._planned(target, admitted, now), skipped
            skipped.append((target, admitted))
        return None, skipped

    def _add_skipped(self, skipped: list[tuple[Target, SkipReason]]) -> None:
        """A target that goes on resting is noted once."""
        noted = {(target.name, why.reason) for target, why in self.skipped}
        self.skipped += [(target, why) for target, why in skipped if (target.name, why.reason) not in noted]

    def _acquire(self, target: Target, now: float, last_resort: bool) -> Lease | SkipReason:
        if _is_foreign(target, self._primary, self._client_key_digest):
            return SkipReason("foreign", 0.0)
        if target is not self._primary and not self._fits(target):
            return SkipReason("unfit", 0.0)
        health = self._provider_health[target.provider.spec.name]
        return health.acquire(target.model, now, self._client_key_digest, last_resort=last_resort)

    def _retry(self, planned: PlannedAttempt, failure: Failure, now: float, random: float) -> PlannedAttempt | None:
        """The same target, after a wait."""
        wait = backoff_before_retry(failure, self._number, random)
        if wait is None or now + wait + MIN_ATTEMPT_SECONDS > self._deadline:
            return None
        admitted = self._acquire(planned.target, now + wait, True)
        return self._planned(planned.target, admitted, now + wait, wait) if isinstance(admitted, Lease) else None

    def _planned(self, target: Target, lease: Lease, now: float, wait: float = 0.0) -> PlannedAttempt:
        self._number = number = self._number + 1
        first = number == 1 and self._rules.attempts > 1
        shared = first and not all(_is_foreign(one, self._primary, self._client_key_digest) for one in self._remaining)
        timeout = min(self._rules.provider_timeout, (self._deadline - now) * (FIRST_ATTEMPT_SHARE if shared else 1.0))
        return PlannedAttempt(target, lease, number, timeout, wait)

    def _within_budget(self, planned: PlannedAttempt, now: float) -> PlannedAttempt | None:
        if self._budget.acquire():
            further = Lease(planned.lease.credential, planned.lease.permit, self._budget)
            return PlannedAttempt(planned.target, further, planned.number, planned.timeout, planned.wait)
        self._provider_health[planned.target.provider.spec.name].release(planned.lease, now)
        return None

    def _no_provider_available(self) -> Failure:
        wait = max(1, math.ceil(min(why.wait for _, why in self.skipped if why.by_breaker)))
        text = f"no provider of this model can be called now (circuit breaker open); try again in {wait} s"
        return Failure(Kind.OVERLOADED, 503, text, code="no_provider_available", retry_after=float(wait))


def _is_foreign(target: Target, primary: Target, client_key_digest: Hashable | None) -> bool:
    """A key the caller brought goes to nobody but the provider it was brought for."""
    return client_key_digest is not None and target.provider is not primary.provider
