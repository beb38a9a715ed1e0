"""The health of one provider: its circuit breaker, the cooldowns and the choice of its credentials, its retry budget.

Nothing here does I/O.

Of several credentials, a conversation gets the same one in all of its requests, because providers keep what they have
read of it (prompt caches), and sign their models' reasoning, for one account. Requests that belong to no conversation
use the credentials in turn.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import msgspec

from nulpoint.errors import Cooldown, Evidence, Failure, Kind
from nulpoint.routing.breaker import Breaker, BreakerRules, Outcome, Permit, State
from nulpoint.routing.cooldowns import Cooldowns
from nulpoint.routing.rendezvous import Rendezvous
from nulpoint.routing.retry import RetryBudget

# The evidence that counts as a failure of the provider, by whether the call used a configured credential. All clients
# share the breaker, and a response to a key that the client sent may be about the account behind that key: otherwise
# one client whose account fails, by accident or on purpose, would switch the provider off for all others.
_COUNTED = {True: frozenset({Evidence.ACCOUNT, Evidence.PROVIDER}), False: frozenset({Evidence.PROVIDER})}
COOLING_DOWN = "resting"
# Returns what all requests of a conversation have in common, or None if a request belongs to none.
ConversationKey = Callable[[], bytes | None]
_BY_BREAKER = frozenset({State.OPEN.label, State.HALF_OPEN.label})


def no_conversation() -> None:
    """The ConversationKey of a request that belongs to no conversation."""


class Lease(msgspec.Struct, frozen=True):
    """The permission to make one call, and the credential to use for it.

    `credential` is the position of a configured credential, or the digest of the key that the client sent. `budget` is
    the retry budget the call was taken from, if it is a further attempt. The holder must call `ProviderHealth.record`
    or `release` exactly once.
    """

    credential: Hashable
    permit: Permit
    budget: RetryBudget | None = None


class SkipReason(NamedTuple):
    """Why a target is skipped, and the seconds until that may change.

    `reason` is "open" or "half_open" for the breaker, COOLING_DOWN for the credentials, "unfit" if the target cannot
    express the request, and "foreign" if the client sent a key for another provider.
    """

    reason: str
    wait: float

    @property
    def by_breaker(self) -> bool:
        return self.reason in _BY_BREAKER


class ProviderHealth:
    """The health of one provider. All times are monotonic seconds.

    `credentials` is the number of configured ones. `digests` are those of the credentials: by them, all processes
    choose the same one for a conversation. If they are not given, positions take their place.
    """

    __slots__ = (
        "_configured",
        "_count",
        "_leases",
        "_next_credential",
        "_preferences",
        "_rules",
        "breaker",
        "cooldowns",
        "retry_budget",
    )

    def __init__(self, rules: BreakerRules, credentials: int, digests: Sequence[bytes] = ()) -> None:
        self._rules = rules
        self.breaker = Breaker(rules)
        self.cooldowns = Cooldowns()
        self.retry_budget = RetryBudget()
        self._configured = credentials
        self._count = max(1, credentials)
        self._next_credential = 0
        self._preferences = Rendezvous(digests or [b"%d" % position for position in range(self._count)])
        self._leases = self._unconditional_leases()

    def updated(
        self, rules: BreakerRules, credentials: Sequence[int | None], digests: Sequence[bytes] = ()
    ) -> "ProviderHealth":
        """Return the health of the same provider under other rules or credentials, or itself if neither has changed.

        `credentials` has for each present credential its previous position, or None if it is new, and `digests` has
        those of the present ones. Calls in flight are recorded in the health that issued their leases, so they have no
        effect on the new one.
        """
        if rules == self._rules and list(credentials) == list(range(self._configured)):
            return self
        successor = ProviderHealth(rules, len(credentials), digests)
        successor.breaker = self.breaker.updated(rules)
        successor.cooldowns = self.cooldowns.remapped(
            {old: new for new, old in enumerate(credentials) if old is not None}
        )
        successor.retry_budget.saved = self.retry_budget.saved
        successor._leases = successor._unconditional_leases()
        return successor

    def _unconditional_leases(self) -> list[Lease]:
        """Return the leases for `acquire_unconditionally`, by credential. They are valid until the breaker opens."""
        return [Lease(credential, self.breaker.unconditional_permit) for credential in range(self._count)]

    def acquire(
        self,
        model: str,
        now: float,
        client_key_digest: Hashable | None,
        conversation_key: ConversationKey = no_conversation,
        *,
        last_resort: bool,
        after: Hashable = None,
    ) -> Lease | SkipReason:
        """Return a lease for one call, or the reason why the provider cannot be called.

        `client_key_digest` is the digest of the key that the client sent, or None. As a `last_resort`, a credential
        that is cooling down may be used; of several, the one whose cooldown ends first. `after` is the credential of
        the failed call that is tried again; the conversation's next one is used for it.
        """
        credential, end = self._choose_credential(model, now, client_key_digest, conversation_key, after)
        if end and not last_resort:
            return SkipReason(COOLING_DOWN, end - now)
        permit = self.breaker.acquire(now)
        if permit is None:
            return SkipReason(self.breaker.state.label, self.breaker.seconds_to_probe(now))
        return Lease(credential, permit)

    def acquire_unconditionally(
        self, client_key_digest: Hashable | None, conversation_key: ConversationKey = no_conversation
    ) -> Lease | None:
        """Return a lease if the breaker is closed and no credential is cooling down, else None.

        This is the fast path of nearly every request: the lease has to be recorded only if the call fails.
        """
        if self.breaker.state is not State.CLOSED or self.cooldowns.maybe_active or self.breaker.counts_calls:
            return None
        if client_key_digest is not None:
            return Lease(client_key_digest, self.breaker.unconditional_permit)
        return self._leases[0 if self._count == 1 else self._preferred_credential(conversation_key)]

    def _preferred_credential(self, conversation_key: ConversationKey) -> int:
        """Return the position of the credential of a conversation, or the one whose turn it is without one."""
        conversation = conversation_key()
        return self._next_turn() if conversation is None else self._preferences.first(conversation)

    def _next_turn(self) -> int:
        """Return the position of the configured credential whose turn it is, and move on to the next one."""
        turn = self._next_credential
        self._next_credential = (turn + 1) % self._count
        return turn

    def record(self, lease: Lease, model: str, failure: Failure | None, now: float) -> State | None:
        """Record how a call ended; `failure` is None for success. Return the breaker's new state if it changed."""
        if lease.budget is not None:
            lease.budget.release()
        if failure is not None:
            self._cool_down(lease.credential, model, failure, now)
        changed = self.breaker.record(lease.permit, _outcome(lease, failure), now)
        if changed is State.CLOSED:
            self._leases = self._unconditional_leases()
        return changed

    def release(self, lease: Lease, now: float) -> State | None:
        """Give up a lease whose call was not made, or was abandoned: it says nothing about the provider.

        Return the breaker's new state if it changed, which it does if the call was the probe.
        """
        if lease.budget is not None:
            lease.budget.release()
        return self.breaker.record(lease.permit, Outcome.NEUTRAL, now)

    def has_available_credential(self, model: str, now: float) -> bool:
        """Return whether a configured credential is not cooling down for this model."""
        return any(not self.cooldowns.end_of(credential, model, now) for credential in range(self._count))

    def preview(self, model: str, now: float) -> SkipReason | None:
        """Return why `acquire` would refuse a request without a client key; None if it would not. Takes nothing."""
        end = min(self.cooldowns.end_of(credential, model, now) for credential in range(self._count))
        if end:
            return SkipReason(COOLING_DOWN, end - now)
        wait = self.breaker.seconds_to_probe(now)
        return SkipReason(self.breaker.state.label, wait) if wait > 0 else None

    def _cool_down(self, credential: Hashable, model: str, failure: Failure, now: float) -> None:
        configured = isinstance(credential, int)
        if failure.kind in (Kind.AUTH, Kind.QUOTA):
            if configured:  # the client has to replace a key that it sent itself
                self.cooldowns.credential_refused(credential, cooldown_scope(failure, model), now)
        elif failure.cooldown is Cooldown.KEY_AND_MODEL:
            self.cooldowns.credential_refused(credential, model, now)
        elif failure.kind is Kind.RATE_LIMIT or failure.provider_status == 529:
            self.cooldowns.rate_limited(credential, model, failure.provider_retry_after, now)

    def _choose_credential(
        self,
        model: str,
        now: float,
        client_key_digest: Hashable | None,
        conversation_key: ConversationKey,
        after: Hashable,
    ) -> tuple[Hashable, float]:
        """Return the credential to use and when its cooldown ends, 0 if it is not cooling down.

        It is the first one that is not cooling down, in the order that the conversation prefers, or else the one whose
        cooldown ends first. Without a conversation, the order begins with the one whose turn it is.
        """
        if client_key_digest is not None:
            return client_key_digest, self.cooldowns.end_of(client_key_digest, model, now)
        if not self.cooldowns.maybe_active and after is None:
            return 0 if self._count == 1 else self._preferred_credential(conversation_key), 0.0
        conversation = conversation_key() if self._count > 1 else None
        candidates = self._turns() if conversation is None else self._preferences.order(conversation)
        if conversation is not None and after in candidates:
            next_one = candidates.index(after) + 1
            candidates = candidates[next_one:] + candidates[:next_one]
        ends = [(self.cooldowns.end_of(credential, model, now), credential) for credential in candidates]
        end, credential = min(ends, key=lambda candidate: candidate[0])
        if conversation is None:
            # The turn moves past the chosen one, so that the neighbour of one cooling down gets no double share.
            self._next_credential = (credential + 1) % self._count
        return credential, end

    def _turns(self) -> list[int]:
        """Return the positions of the configured credentials, beginning with the one whose turn it is."""
        return [(self._next_credential + step) % self._count for step in range(self._count)]


def cooldown_scope(failure: Failure, model: str) -> str:
    """Return the model for which a refused credential, or one without credit, cools down; "" for all models.

    Only a 401, and an account that is known to have no credit, are about the credential itself. A 403 or an exceeded
    quota may be about the model or the size of the request. Any client can ask for a model that a key may not use,
    which must not affect requests for other models.
    """
    return "" if failure.provider_status == 401 or failure.cooldown is Cooldown.KEY else model


def _outcome(lease: Lease, failure: Failure | None) -> Outcome:
    """Return what the end of a call says about the provider.

    The success of a call with the client's own key is no evidence, just as its failure is none, unless it is a probe: a
    gateway without configured keys has no other way to learn that the provider has recovered.
    """
    configured = isinstance(lease.credential, int)
    if failure is None:
        return Outcome.SUCCESS if configured or lease.permit.probe else Outcome.NEUTRAL
    return Outcome.FAILURE if failure.evidence in _COUNTED[configured] else Outcome.NEUTRAL
