"""How one provider stands: its breaker, its credentials' rests and turns, its budget of further attempts. Pure."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import msgspec

from nulpoint.errors import Evidence, Failure, Kind
from nulpoint.routing.breaker import Breaker, BreakerRules, Outcome, Permit, State
from nulpoint.routing.cooldowns import Rests
from nulpoint.routing.retry import Budget

# The evidence that counts against a provider, by whether the call was made with a configured credential. The breaker is
# everybody's, and what comes back to a caller's own key may be about the account behind it: one caller whose account
# fails, or who makes it fail, would switch the provider off for all others.
_COUNTED = {True: frozenset({Evidence.OF_ACCOUNT, Evidence.OF_PROVIDER}), False: frozenset({Evidence.OF_PROVIDER})}
RESTING = "resting"
_BY_BREAKER = frozenset({State.OPEN.label, State.HALF_OPEN.label})


class Admission(msgspec.Struct, frozen=True):
    """Leave for one call: with which configured credential (its position) or caller's own (its digest).

    It must be given back, exactly once, with `settle` or `forgo`. `budget`: where it was taken from, if it is a further
    attempt.
    """

    credential: Hashable
    permit: Permit
    budget: Budget | None = None


class Passed(NamedTuple):
    """Why a target is passed over, and the seconds until that may change."""

    why: str  # the breaker is "open" or "half_open", the credentials are RESTING, or by the request: "unfit", "foreign"
    wait: float

    @property
    def by_breaker(self) -> bool:
        return self.why in _BY_BREAKER


class Standing:
    """One provider's, with so many configured credentials. All times are monotonic seconds."""

    __slots__ = ("_configured", "_count", "_plain", "_rules", "_turn", "breaker", "budget", "rests")

    def __init__(self, rules: BreakerRules, credentials: int) -> None:
        self._rules = rules
        self.breaker = Breaker(rules)
        self.rests = Rests()
        self.budget = Budget()
        self._configured = credentials
        self._count = max(1, credentials)
        self._turn = 0
        self._plain = self._plain_admissions()

    def going_on(self, rules: BreakerRules, credentials: Sequence[int | None]) -> "Standing":
        """The standing of the same host when its rules or its credentials change; itself where neither does.

        `credentials`: of each that there is now, the position it had before, None where it is new. What is under way is
        settled where it was admitted: it decides nothing here any more.
        """
        if rules == self._rules and list(credentials) == list(range(self._configured)):
            return self
        successor = Standing(rules, len(credentials))
        successor.breaker = self.breaker.going_on(rules)
        successor.rests = self.rests.kept({old: new for new, old in enumerate(credentials) if old is not None})
        successor.budget.saved = self.budget.saved
        successor._plain = successor._plain_admissions()
        return successor

    def _plain_admissions(self) -> list[Admission]:
        """Those of calls against which nothing stands, by credential: made once for every time the breaker closes."""
        return [Admission(credential, self.breaker.normal) for credential in range(self._count)]

    def admit(self, model: str, now: float, own: Hashable | None, *, last_resort: bool) -> Admission | Passed:
        """Leave to call the provider, or why not. `own`: the digest of the key the caller brought.

        As a `last_resort` a credential that rests may be used too: of several the one that rests shortest.
        """
        credential, until = self._choose(model, now, own)
        if until and not last_resort:
            return Passed(RESTING, until - now)
        permit = self.breaker.admit(now)
        if permit is None:
            return Passed(self.breaker.state.label, self.breaker.probe_in(now))
        return Admission(credential, permit)

    def admit_plainly(self, own: Hashable | None) -> Admission | None:
        """The same where nothing stands against it, no breaker and no rest, which is nearly always; else None.

        It need not be given back, unless the call has failed.
        """
        if self.breaker.state is not State.CLOSED or self.rests.any or self.breaker.counts_calls:
            return None
        if own is not None:
            return Admission(own, self.breaker.normal)
        return self._plain[0 if self._count == 1 else self.turn()]

    def turn(self) -> int:
        """The configured credential whose turn it is."""
        turn = self._turn
        self._turn = (turn + 1) % self._count
        return turn

    def settle(self, admission: Admission, model: str, failure: Failure | None, now: float) -> State | None:
        """The call has ended; `failure` is None for success. Gives the breaker's new state where that changes it."""
        if admission.budget is not None:
            admission.budget.done()
        if failure is not None:
            self._rest(admission.credential, model, failure, now)
        changed = self.breaker.settle(admission.permit, _outcome(admission, failure), now)
        if changed is State.CLOSED:
            self._plain = self._plain_admissions()
        return changed

    def forgo(self, admission: Admission, now: float) -> State | None:
        """The call was not made, or nobody waits for its end: it says nothing about the provider.

        Gives the breaker's new state where that changes it: a probe's place is free again.
        """
        if admission.budget is not None:
            admission.budget.done()
        return self.breaker.settle(admission.permit, Outcome.NEUTRAL, now)

    def has_spare(self, model: str, now: float) -> bool:
        """Whether a configured credential does not rest."""
        return any(not self.rests.until(credential, model, now) for credential in range(self._count))

    def outlook(self, model: str, now: float) -> Passed | None:
        """What `admit` would say to a request without a key of its own: None for leave. Nothing is taken."""
        until = min(self.rests.until(credential, model, now) for credential in range(self._count))
        if until:
            return Passed(RESTING, until - now)
        wait = self.breaker.probe_in(now)
        return Passed(self.breaker.state.label, wait) if wait > 0 else None

    def _rest(self, credential: Hashable, model: str, failure: Failure, now: float) -> None:
        configured = isinstance(credential, int)
        if failure.kind in (Kind.AUTH, Kind.QUOTA):
            if configured:  # a key the caller brought is the caller's to mend
                self.rests.refused(credential, rest_scope(failure, model), now)
        elif failure.kind is Kind.RATE_LIMIT or failure.answered == 529:
            self.rests.limited(credential, model, failure.named_wait, now)

    def _choose(self, model: str, now: float, own: Hashable | None) -> tuple[Hashable, float]:
        """The first credential that does not rest, beginning with the one whose turn it is, and 0; else the one that
        rests shortest, and until when."""
        if not self.rests.any:
            return (self.turn() if own is None else own), 0.0
        if own is not None:
            return own, self.rests.until(own, model, now)
        candidates = [(self._turn + step) % self._count for step in range(self._count)]
        ends = [(self.rests.until(credential, model, now), credential) for credential in candidates]
        until, credential = min(ends, key=lambda one: one[0])
        self._turn = (credential + 1) % self._count  # so that no neighbour of one that rests gets a double share
        return credential, until


def rest_scope(failure: Failure, model: str) -> str:
    """The model for which a credential rests that was refused, or whose credit is used up; "" for all models.

    Only a 401 is about the credential itself. A 403 or a quota may be about the model, or the size of the request, and
    any caller can ask for what a key may not use: that must not move the others away from its other models.
    """
    return "" if failure.answered == 401 else model


def _outcome(admission: Admission, failure: Failure | None) -> Outcome:
    """What the end of a call says about the provider.

    A success of a caller's own key is no more evidence than its failures, except as a probe: a gateway that has no keys
    of its own learns by nothing else that the provider is well again.
    """
    configured = isinstance(admission.credential, int)
    if failure is None:
        return Outcome.SUCCESS if configured or admission.permit.probe else Outcome.NEUTRAL
    return Outcome.FAILURE if failure.evidence in _COUNTED[configured] else Outcome.NEUTRAL
