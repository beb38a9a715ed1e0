"""How one provider stands: its breaker, its credentials' rests and turns, its budget of further attempts. Pure."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import msgspec

from nulpoint.errors import Evidence, Failure, Kind
from nulpoint.routing.breaker import Breaker, BreakerRules, Outcome, Permit, State
from nulpoint.routing.cooldowns import Cooldowns
from nulpoint.routing.retry import RetryBudget

# The evidence that counts against a provider, by whether the call was made with a configured credential. The breaker is
# everybody's, and what comes back to a caller's own key may be about the account behind it: one caller whose account
# fails, or who makes it fail, would switch the provider off for all others.
_COUNTED = {True: frozenset({Evidence.ACCOUNT, Evidence.PROVIDER}), False: frozenset({Evidence.PROVIDER})}
COOLING_DOWN = "resting"
_BY_BREAKER = frozenset({State.OPEN.label, State.HALF_OPEN.label})


class Lease(msgspec.Struct, frozen=True):
    """Leave for one call: with which configured credential (its position) or caller's own (its digest).

    It must be given back, exactly once, with `settle` or `forgo`. `budget`: where it was taken from, if it is a further
    attempt.
    """

    credential: Hashable
    permit: Permit
    budget: RetryBudget | None = None


class SkipReason(NamedTuple):
    """Why a target is skipped, and the seconds until that may change.

    `reason` is "open" or "half_open" for the breaker, COOLING_DOWN for the credentials, and "unfit" or "foreign" where
    the request cannot go to the target.
    """

    reason: str
    wait: float

    @property
    def by_breaker(self) -> bool:
        return self.reason in _BY_BREAKER


class ProviderHealth:
    """One provider's, with so many configured credentials. All times are monotonic seconds."""

    __slots__ = (
        "_configured",
        "_count",
        "_leases",
        "_next_credential",
        "_rules",
        "breaker",
        "cooldowns",
        "retry_budget",
    )

    def __init__(self, rules: BreakerRules, credentials: int) -> None:
        self._rules = rules
        self.breaker = Breaker(rules)
        self.cooldowns = Cooldowns()
        self.retry_budget = RetryBudget()
        self._configured = credentials
        self._count = max(1, credentials)
        self._next_credential = 0
        self._leases = self._unconditional_leases()

    def updated(self, rules: BreakerRules, credentials: Sequence[int | None]) -> "ProviderHealth":
        """The standing of the same host when its rules or its credentials change; itself where neither does.

        `credentials`: of each that there is now, the position it had before, None where it is new. What is under way is
        settled where it was admitted: it decides nothing here any more.
        """
        if rules == self._rules and list(credentials) == list(range(self._configured)):
            return self
        successor = ProviderHealth(rules, len(credentials))
        successor.breaker = self.breaker.updated(rules)
        successor.cooldowns = self.cooldowns.remapped(
            {old: new for new, old in enumerate(credentials) if old is not None}
        )
        successor.retry_budget.saved = self.retry_budget.saved
        successor._leases = successor._unconditional_leases()
        return successor

    def _unconditional_leases(self) -> list[Lease]:
        """Those of calls against which nothing stands, by credential: made once for every time the breaker closes."""
        return [Lease(credential, self.breaker.unconditional_permit) for credential in range(self._count)]

    def acquire(
        self, model: str, now: float, client_key_digest: Hashable | None, *, last_resort: bool
    ) -> Lease | SkipReason:
        """Leave to call the provider, or why not. `own`: the digest of the key the caller brought.

        As a `last_resort` a credential that rests may be used too: of several the one that rests shortest.
        """
        credential, end = self._choose_credential(model, now, client_key_digest)
        if end and not last_resort:
            return SkipReason(COOLING_DOWN, end - now)
        permit = self.breaker.acquire(now)
        if permit is None:
            return SkipReason(self.breaker.state.label, self.breaker.seconds_to_probe(now))
        return Lease(credential, permit)

    def acquire_unconditionally(self, client_key_digest: Hashable | None) -> Lease | None:
        """The same where nothing stands against it, no breaker and no rest, which is nearly always; else None.

        It need not be given back, unless the call has failed.
        """
        if self.breaker.state is not State.CLOSED or self.cooldowns.any or self.breaker.counts_calls:
            return None
        if client_key_digest is not None:
            return Lease(client_key_digest, self.breaker.unconditional_permit)
        return self._leases[0 if self._count == 1 else self.next_credential()]

    def next_credential(self) -> int:
        """The configured credential whose turn it is."""
        turn = self._next_credential
        self._next_credential = (turn + 1) % self._count
        return turn

    def record(self, lease: Lease, model: str, failure: Failure | None, now: float) -> State | None:
        """The call has ended; `failure` is None for success. Gives the breaker's new state where that changes it."""
        if lease.budget is not None:
            lease.budget.done()
        if failure is not None:
            self._cool_down(lease.credential, model, failure, now)
        changed = self.breaker.record(lease.permit, _outcome(lease, failure), now)
        if changed is State.CLOSED:
            self._leases = self._unconditional_leases()
        return changed

    def release(self, lease: Lease, now: float) -> State | None:
        """The call was not made, or nobody waits for its end: it says nothing about the provider.

        Gives the breaker's new state where that changes it: a probe's place is free again.
        """
        if lease.budget is not None:
            lease.budget.done()
        return self.breaker.record(lease.permit, Outcome.NEUTRAL, now)

    def has_available_credential(self, model: str, now: float) -> bool:
        """Whether a configured credential does not rest."""
        return any(not self.cooldowns.end(credential, model, now) for credential in range(self._count))

    def preview(self, model: str, now: float) -> SkipReason | None:
        """What `admit` would say to a request without a key of its own: None for leave. Nothing is taken."""
        end = min(self.cooldowns.end(credential, model, now) for credential in range(self._count))
        if end:
            return SkipReason(COOLING_DOWN, end - now)
        wait = self.breaker.seconds_to_probe(now)
        return SkipReason(self.breaker.state.label, wait) if wait > 0 else None

    def _cool_down(self, credential: Hashable, model: str, failure: Failure, now: float) -> None:
        configured = isinstance(credential, int)
        if failure.kind in (Kind.AUTH, Kind.QUOTA):
            if configured:  # a key the caller brought is the caller's to mend
                self.cooldowns.credential_refused(credential, rest_scope(failure, model), now)
        elif failure.kind is Kind.RATE_LIMIT or failure.provider_status == 529:
            self.cooldowns.rate_limited(credential, model, failure.provider_retry_after, now)

    def _choose_credential(self, model: str, now: float, client_key_digest: Hashable | None) -> tuple[Hashable, float]:
        """The first credential that does not rest, beginning with the one whose turn it is, and 0; else the one that
        rests shortest, and until when."""
        if not self.cooldowns.any:
            return (self.next_credential() if client_key_digest is None else client_key_digest), 0.0
        if client_key_digest is not None:
            return client_key_digest, self.cooldowns.end(client_key_digest, model, now)
        candidates = [(self._next_credential + step) % self._count for step in range(self._count)]
        ends = [(self.cooldowns.end(credential, model, now), credential) for credential in candidates]
        end, credential = min(ends, key=lambda one: one[0])
        self._next_credential = (
            credential + 1
        ) % self._count  # so that no neighbour of one that rests gets a double share
        return credential, end


def rest_scope(failure: Failure, model: str) -> str:
    """The model for which a credential rests that was refused, or whose credit is used up; "" for all models.

    Only a 401 is about the credential itself. A 403 or a quota may be about the model, or the size of the request, and
    any caller can ask for what a key may not use: that must not move the others away from its other models.
    """
    return "" if failure.provider_status == 401 else model


def _outcome(lease: Lease, failure: Failure | None) -> Outcome:
    """What the end of a call says about the provider.

    A success of a caller's own key is no more evidence than its failures, except as a probe: a gateway that has no keys
    of its own learns by nothing else that the provider is well again.
    """
    configured = isinstance(lease.credential, int)
    if failure is None:
        return Outcome.SUCCESS if configured or lease.permit.probe else Outcome.NEUTRAL
    return Outcome.FAILURE if failure.evidence in _COUNTED[configured] else Outcome.NEUTRAL
