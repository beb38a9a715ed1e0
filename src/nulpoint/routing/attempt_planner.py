"""Plans the attempts of one request: which target is tried next, and how much time the attempt gets.

The planner does no I/O. The time (in monotonic seconds) and a random number (0 to 1) are arguments. A target that
cannot be called now, or that cannot express the request, is skipped; a skipped target does not count as an attempt.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence

import msgspec

from nulpoint.errors import Cooldown, Failure, Kind
from nulpoint.routing.breaker import State
from nulpoint.routing.chains import Target
from nulpoint.routing.provider_health import (
    COOLING_DOWN,
    ConversationKey,
    Lease,
    ProviderHealth,
    SkipReason,
    no_conversation,
)
from nulpoint.routing.retry import (
    BUDGET_SHARE,
    FIRST_ATTEMPT_SHARE,
    MIN_ATTEMPT_SECONDS,
    backoff_before_retry,
    can_fail_over,
)

_BY_CREDENTIAL = frozenset({Kind.AUTH, Kind.QUOTA, Kind.RATE_LIMIT})  # another key of the same provider may succeed


class AttemptRules(msgspec.Struct, frozen=True, kw_only=True):
    """The limits on the attempts of one request.

    `attempts` is the most attempts per request, including the first one. `provider_timeout` is the longest time in
    seconds to the first byte of a response. `retries` says whether a target may be tried again.
    """

    attempts: int = 3
    provider_timeout: float = 30.0
    retries: bool = True

    def without_retries(self) -> "AttemptRules":
        return msgspec.structs.replace(self, retries=False)


class PlannedAttempt(msgspec.Struct, frozen=True):
    """An attempt to be made at one target.

    `number` counts from 1. `wait` is the delay in seconds before the attempt, and `timeout` the time in seconds it has
    to the first byte of the response.
    """

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
    *,
    has_alternative: bool = True,
) -> State | None:
    """Record a failed attempt in the health of its provider. Return the breaker's new state if it changed.

    A timeout that was shortened below PROVIDER_TIMEOUT by the request's deadline does not count against the provider.
    A model that does not exist need not be avoided if the request has no alternative to it.
    """
    health = provider_health[planned.target.provider.spec.name]
    if not has_alternative and failure.cooldown is Cooldown.KEY_AND_MODEL:
        return health.release(planned.lease, now)
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
    conversation_key: ConversationKey = no_conversation,
) -> PlannedAttempt | None:
    """Return the first attempt if it can be made unconditionally, else None.

    This is the fast path: most requests succeed on the first attempt, so they need no AttemptPlanner. The attempt has
    to be recorded only if it fails. `conversation_key` is asked only if there are several credentials.
    """
    target = targets[0]
    health = provider_health[target.provider.spec.name]
    lease = health.acquire_unconditionally(client_key_digest, conversation_key)
    if lease is None:
        return None
    health.retry_budget.saved += BUDGET_SHARE
    has_alternative = len(targets) > 1 and rules.attempts > 1
    if has_alternative and client_key_digest is not None:
        has_alternative = not all(_is_foreign(other, target, client_key_digest) for other in targets[1:])
    timeout = min(rules.provider_timeout, (deadline - now) * (FIRST_ATTEMPT_SHARE if has_alternative else 1.0))
    return PlannedAttempt(target, lease, 1, timeout)


class AttemptPlanner:
    """Chooses the attempts of one request, one after another.

    `client_key_digest` is the digest of the provider key that the client sent, or None. `fits` says whether a target
    other than the first can express the request. `conversation_key` returns what identifies the conversation.
    `first_attempt_made` is true if the first attempt came from `plan_first_attempt`.
    """

    __slots__ = (
        "_budget",
        "_client_key_digest",
        "_conversation_key",
        "_deadline",
        "_failures",
        "_fits",
        "_is_final",
        "_number",
        "_primary",
        "_provider_health",
        "_remaining",
        "_rules",
        "_too_small",
        "skipped",
    )

    def __init__(
        self,
        targets: Sequence[Target],
        provider_health: Mapping[str, ProviderHealth],
        rules: AttemptRules,
        deadline: float,
        client_key_digest: Hashable | None,
        fits: Callable[[Target], bool],
        conversation_key: ConversationKey = no_conversation,
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
        self._conversation_key = conversation_key
        self._number = 1 if first_attempt_made else 0
        self._failures: list[tuple[Failure, bool]] = []  # of the attempts so far, with whether the primary failed
        self._is_final = False  # no other target could succeed after the last failure
        self._too_small = 0  # input tokens; the largest context for which the request turned out to be too long
        self.skipped: list[tuple[Target, SkipReason]] = []

    def first(self, now: float) -> PlannedAttempt:
        """Return the first attempt. Raises Failure (503) if no target can be called because every breaker is open."""
        planned = self._next(now)
        if planned is None:
            raise self._no_provider_available()
        self._budget = self._provider_health[planned.target.provider.spec.name].retry_budget
        self._budget.saved += BUDGET_SHARE
        return planned

    def next_after(self, planned: PlannedAttempt, failure: Failure, now: float, random: float) -> PlannedAttempt | None:
        """Return the attempt that follows a failed one, which must have been recorded; None if there is none."""
        self._failures.append((failure, planned.target is self._primary))
        self._is_final = not self.can_fail_over(planned, failure)
        has_room = self._number < self._rules.attempts and self._deadline - now > MIN_ATTEMPT_SECONDS
        if self._is_final or not has_room:
            return None
        if failure.kind is Kind.TOO_LONG:
            self._too_small = max(self._too_small, planned.target.facts.context or 0)
        health = self._provider_health[planned.target.provider.spec.name]
        if (
            failure.kind in _BY_CREDENTIAL
            and self._client_key_digest is None
            and health.has_available_credential(planned.target.model, now)
        ):
            self._remaining.insert(0, planned.target)
        next_attempt = self._next(now) or self._retry(planned, failure, now, random)
        return self._within_budget(next_attempt, now) if next_attempt is not None else None

    def can_fail_over(self, planned: PlannedAttempt, failure: Failure) -> bool:
        """Return whether another target may succeed after this failure, whether there is one or not."""
        has_client_key = self._client_key_digest is not None
        return can_fail_over(failure, has_client_key=has_client_key, at_primary=planned.target is self._primary)

    def final_error(self, failure: Failure) -> Failure:
        """Return the error for the client when no attempt is left. The failure is the last one.

        If another target might have succeeded after it, the client gets the first failure instead: of the primary, or
        of the target that had to stand in for it. What a fallback rejects is told only if all that were tried did so.
        If every other attempt hit a rate limit, the error names the shortest of their waits.
        """
        if self._is_final:
            return failure
        relevant = [failed for failed, at_primary in self._failures if at_primary or failed.kind is not Kind.REJECTED]
        if not relevant:
            return self._failures[0][0]
        waits = [failed.retry_after for failed in relevant if failed.kind is Kind.RATE_LIMIT]
        known_waits = [wait for wait in waits if wait is not None]
        if len(known_waits) == len(relevant):
            return relevant[0].with_retry_after(min(known_waits))
        return relevant[0]

    def _next(self, now: float) -> PlannedAttempt | None:
        """Plan an attempt at the first callable target, or else at one whose credentials are cooling down."""
        planned, skipped = self._pick(now, last_resort=False)
        if planned is None and any(why.reason == COOLING_DOWN for _, why in skipped):
            planned, skipped = self._pick(now, last_resort=True)
        self._add_skipped(skipped)
        return planned

    def _pick(self, now: float, *, last_resort: bool) -> tuple[PlannedAttempt | None, list[tuple[Target, SkipReason]]]:
        """Return an attempt at the first remaining target that can be called, and the targets skipped before it.

        Skipped targets whose credentials are cooling down stay among the remaining ones; other skipped targets do not.
        """
        skipped: list[tuple[Target, SkipReason]] = []
        for position, target in enumerate(self._remaining):
            lease = self._acquire(target, now, last_resort)
            if isinstance(lease, Lease):
                self._remaining[: position + 1] = [other for other, why in skipped if why.reason == COOLING_DOWN]
                return self._planned(target, lease, now), skipped
            skipped.append((target, lease))
        return None, skipped

    def _add_skipped(self, skipped: list[tuple[Target, SkipReason]]) -> None:
        """Add the skipped targets to `skipped`, each once for the same reason."""
        listed = {(target.name, why.reason) for target, why in self.skipped}
        self.skipped += [(target, why) for target, why in skipped if (target.name, why.reason) not in listed]

    def _acquire(self, target: Target, now: float, last_resort: bool, after: Hashable = None) -> Lease | SkipReason:
        if _is_foreign(target, self._primary, self._client_key_digest):
            return SkipReason("foreign", 0.0)
        if target is not self._primary and (self._is_too_small(target) or not self._fits(target)):
            return SkipReason("unfit", 0.0)
        health = self._provider_health[target.provider.spec.name]
        return health.acquire(
            target.model, now, self._client_key_digest, self._conversation_key, last_resort=last_resort, after=after
        )

    def _is_too_small(self, target: Target) -> bool:
        """Return whether the request is too long for the target, as far as its context and the attempts show."""
        return target.facts.context is not None and target.facts.context <= self._too_small

    def _retry(self, planned: PlannedAttempt, failure: Failure, now: float, random: float) -> PlannedAttempt | None:
        """Plan another attempt at the same target after a backoff; None if that is not possible."""
        wait = backoff_before_retry(failure, self._number, random) if self._rules.retries else None
        if wait is None or now + wait + MIN_ATTEMPT_SECONDS > self._deadline:
            return None
        lease = self._acquire(planned.target, now + wait, True, after=planned.lease.credential)
        return self._planned(planned.target, lease, now + wait, wait) if isinstance(lease, Lease) else None

    def _planned(self, target: Target, lease: Lease, now: float, wait: float = 0.0) -> PlannedAttempt:
        self._number = number = self._number + 1
        first = number == 1 and self._rules.attempts > 1
        has_alternative = first and not all(
            _is_foreign(target, self._primary, self._client_key_digest) for target in self._remaining
        )
        share = FIRST_ATTEMPT_SHARE if has_alternative else 1.0
        timeout = min(self._rules.provider_timeout, (self._deadline - now) * share)
        return PlannedAttempt(target, lease, number, timeout, wait)

    def _within_budget(self, planned: PlannedAttempt, now: float) -> PlannedAttempt | None:
        if self._budget.acquire():
            lease = Lease(planned.lease.credential, planned.lease.permit, self._budget)
            return PlannedAttempt(planned.target, lease, planned.number, planned.timeout, planned.wait)
        self._provider_health[planned.target.provider.spec.name].release(planned.lease, now)
        return None

    def _no_provider_available(self) -> Failure:
        wait = max(1, math.ceil(min(why.wait for _, why in self.skipped if why.by_breaker)))
        text = f"no provider of this model can be called now (circuit breaker open); try again in {wait} s"
        return Failure(Kind.OVERLOADED, 503, text, code="no_provider_available", retry_after=float(wait))


def _is_foreign(target: Target, primary: Target, client_key_digest: Hashable | None) -> bool:
    """Return whether the client sent a key that must not go to this target because it is for another provider."""
    return client_key_digest is not None and target.provider is not primary.provider
