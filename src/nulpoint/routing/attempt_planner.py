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
from nulpoint.routing.retry import BUDGET_SHARE, FIRST_SHARE, LAST_CHANCE, again_in, elsewhere
from nulpoint.routing.provider_health import RESTING, Admission, Passed, Standing

_BY_CREDENTIAL = frozenset({Kind.AUTH, Kind.QUOTA, Kind.RATE_LIMIT})  # another key of the same provider may do better


class CourseRules(msgspec.Struct, frozen=True, kw_only=True):
    """`attempts` a request, the first included; `provider_timeout` in seconds, to the first byte of an answer."""

    attempts: int = 3
    provider_timeout: float = 30.0


class Leg(msgspec.Struct, frozen=True):
    """One attempt to make: `number` is 1 for the first, `wait` the seconds before it, `timeout` to its first byte."""

    target: Target
    admission: Admission
    number: int
    timeout: float
    wait: float = 0.0


def settle(
    leg: Leg, standings: Mapping[str, Standing], rules: CourseRules, failure: Failure, now: float
) -> State | None:
    """An attempt has failed. Gives the breaker's new state where that changes it.

    A timer that a short deadline cut below PROVIDER_TIMEOUT says nothing about the provider.
    """
    standing = standings[leg.target.provider.spec.name]
    if failure.kind is Kind.TIMEOUT and leg.timeout < rules.provider_timeout:
        return standing.forgo(leg.admission, now)
    return standing.settle(leg.admission, leg.target.model, failure, now)


def straight(
    targets: Sequence[Target],
    standings: Mapping[str, Standing],
    rules: CourseRules,
    until: float,
    own: Hashable | None,
    now: float,
) -> Leg | None:
    """The first attempt where nothing stands against it, and nothing is to be noted of its success: nearly always.

    Then no course need be made, unless it fails; it needs to be settled only then.
    """
    target = targets[0]
    standing = standings[target.provider.spec.name]
    admission = standing.admit_plainly(own)
    if admission is None:
        return None
    standing.budget.saved += BUDGET_SHARE
    shared = len(targets) > 1 and rules.attempts > 1
    if shared and own is not None:
        shared = not all(_is_foreign(one, target, own) for one in targets[1:])
    timeout = min(rules.provider_timeout, (until - now) * (FIRST_SHARE if shared else 1.0))
    return Leg(target, admission, 1, timeout)


class Course:
    """One request's.

    `until` is its deadline, `own` the digest of a key the caller brought. `fits` says whether a target other than the
    first can express the request. `begun`: the first attempt has been made straight.
    """

    __slots__ = ("_budget", "_fits", "_left", "_number", "_own", "_primary", "_rules", "_standings", "_until", "_waits",
                 "passed")  # fmt: skip

    def __init__(
        self,
        targets: Sequence[Target],
        standings: Mapping[str, Standing],
        rules: CourseRules,
        until: float,
        own: Hashable | None,
        fits: Callable[[Target], bool],
        *,
        begun: bool,
    ) -> None:
        self._primary = targets[0]
        self._left = list(targets[1:] if begun else targets)
        self._standings = standings
        self._budget = standings[self._primary.provider.spec.name].budget
        self._rules = rules
        self._until = until
        self._own = own
        self._fits = fits
        self._number = 1 if begun else 0
        self._waits: list[float | None] = []  # after each failed attempt: seconds, where it was a rate limit
        self.passed: list[tuple[Target, Passed]] = []  # over targets that could not be called

    def first(self, now: float) -> Leg:
        """The first attempt. Raises Failure (503) when no target can be called: every breaker is open."""
        leg = self._next(now)
        if leg is None:
            raise self._nobody()
        self._budget = self._standings[leg.target.provider.spec.name].budget
        self._budget.saved += BUDGET_SHARE
        return leg

    def after(self, leg: Leg, failure: Failure, now: float, chance: float) -> Leg | None:
        """The attempt that follows a failed and settled one; None when there is none."""
        self._waits.append(failure.retry_after if failure.kind is Kind.RATE_LIMIT else None)
        possible = (
            self._number < self._rules.attempts
            and self._until - now > LAST_CHANCE
            and elsewhere(failure, own_key=self._own is not None)
        )
        if not possible:
            return None
        standing = self._standings[leg.target.provider.spec.name]
        if failure.kind in _BY_CREDENTIAL and self._own is None and standing.has_spare(leg.target.model, now):
            self._left.insert(0, leg.target)
        following = self._next(now) or self._again(leg, failure, now, chance)
        return self._within_budget(following, now) if following is not None else None

    def last_word(self, failure: Failure) -> Failure:
        """What the caller is told when nothing is left: the last failure, with the shortest wait if all were limits."""
        waits = [wait for wait in self._waits if wait is not None]
        if waits and len(waits) == len(self._waits):
            failure.retry_after = min(waits)
        return failure

    def _next(self, now: float) -> Leg | None:
        """The first target that can be called; only when there is none, one whose credential rests."""
        leg, passed = self._pick(now, last_resort=False)
        if leg is None and any(why.why == RESTING for _, why in passed):
            leg, passed = self._pick(now, last_resort=True)
        self._note(passed)
        return leg

    def _pick(self, now: float, *, last_resort: bool) -> tuple[Leg | None, list[tuple[Target, Passed]]]:
        """The first of those left that can be called, and what was passed over before it.

        A target that rests keeps its place; the others that were passed over are not asked again.
        """
        passed: list[tuple[Target, Passed]] = []
        for position, target in enumerate(self._left):
            admitted = self._admit(target, now, last_resort)
            if isinstance(admitted, Admission):
                self._left[: position + 1] = [one for one, why in passed if why.why == RESTING]
                return self._leg(target, admitted, now), passed
            passed.append((target, admitted))
        return None, passed

    def _note(self, passed: list[tuple[Target, Passed]]) -> None:
        """A target that goes on resting is noted once."""
        noted = {(target.name, why.why) for target, why in self.passed}
        self.passed += [(target, why) for target, why in passed if (target.name, why.why) not in noted]

    def _admit(self, target: Target, now: float, last_resort: bool) -> Admission | Passed:
        if _is_foreign(target, self._primary, self._own):
            return Passed("foreign", 0.0)
        if target is not self._primary and not self._fits(target):
            return Passed("unfit", 0.0)
        standing = self._standings[target.provider.spec.name]
        return standing.admit(target.model, now, self._own, last_resort=last_resort)

    def _again(self, leg: Leg, failure: Failure, now: float, chance: float) -> Leg | None:
        """The same target, after a wait."""
        wait = again_in(failure, self._number, chance)
        if wait is None or now + wait + LAST_CHANCE > self._until:
            return None
        admitted = self._admit(leg.target, now + wait, True)
        return self._leg(leg.target, admitted, now + wait, wait) if isinstance(admitted, Admission) else None

    def _leg(self, target: Target, admission: Admission, now: float, wait: float = 0.0) -> Leg:
        self._number = number = self._number + 1
        first = number == 1 and self._rules.attempts > 1
        shared = first and not all(_is_foreign(one, self._primary, self._own) for one in self._left)
        timeout = min(self._rules.provider_timeout, (self._until - now) * (FIRST_SHARE if shared else 1.0))
        return Leg(target, admission, number, timeout, wait)

    def _within_budget(self, leg: Leg, now: float) -> Leg | None:
        if self._budget.take():
            further = Admission(leg.admission.credential, leg.admission.permit, self._budget)
            return Leg(leg.target, further, leg.number, leg.timeout, leg.wait)
        self._standings[leg.target.provider.spec.name].forgo(leg.admission, now)
        return None

    def _nobody(self) -> Failure:
        wait = max(1, math.ceil(min(why.wait for _, why in self.passed if why.by_breaker)))
        text = f"no provider of this model can be called now (circuit breaker open); try again in {wait} s"
        return Failure(Kind.OVERLOADED, 503, text, code="no_provider_available", retry_after=float(wait))


def _is_foreign(target: Target, primary: Target, own: Hashable | None) -> bool:
    """A key the caller brought goes to nobody but the provider it was brought for."""
    return own is not None and target.provider is not primary.provider
