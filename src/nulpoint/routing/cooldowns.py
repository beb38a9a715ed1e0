"""Which credentials rest, and until when: pure, `now` is monotonic seconds.

A credential rests for one model (a limit, no permission, its credit used up) or as a whole (not accepted at all). A
rest puts it last: it is used all the same where no other target can be called, since what held one request back need
not hold the next.
"""

from collections.abc import Hashable, Mapping

MAX_SECONDS = 300.0  # seconds; a provider may ask callers to wait longer, but we look again by then
DEFAULT_SECONDS = 60.0  # where a 429 does not say how long (product brief)
REFUSED_SECONDS = 300.0  # of a credential that the provider refused
_MAX_ENTRIES = 4096  # rests, the newest; callers bring as many keys as they like


class Cooldowns:
    """The rests at one provider. Keys are (credential, model), or (credential, "") for all its models."""

    __slots__ = ("_ends", "_latest_end", "maybe_active")

    def __init__(self) -> None:
        self._ends: dict[tuple[Hashable, str], float] = {}  # in the order in which they were begun
        self._latest_end = 0.0
        self.maybe_active = False  # there may be one

    def rate_limited(self, credential: Hashable, model: str, retry_after: float | None, now: float) -> None:
        """The provider had too many requests; `retry_after` is the wait it named, in seconds."""
        seconds = DEFAULT_SECONDS if retry_after is None else min(retry_after, MAX_SECONDS)
        self._put((credential, model), now + seconds)

    def credential_refused(self, credential: Hashable, model: str, now: float) -> None:
        """The provider did not accept the credential for this model, or its credit is used up; "" is for any model."""
        self._put((credential, model), now + REFUSED_SECONDS)

    def end_of(self, credential: Hashable, model: str, now: float) -> float:
        """When the rest that keeps this credential from this model ends; 0 where it does not rest."""
        if now >= self._latest_end:  # all have ended
            self._ends.clear()
            self.maybe_active = False
            return 0.0
        ends = max(self._ends.get((credential, name), 0.0) for name in ("", model))
        return ends if ends > now else 0.0

    def remapped(self, credentials: Mapping[Hashable, Hashable]) -> "Cooldowns":
        """Those of the credentials named, under their new names. Others, which callers brought, keep theirs."""
        same = Cooldowns()
        for (credential, model), end in self._ends.items():
            name = credentials.get(credential) if isinstance(credential, int) else credential
            if name is not None:
                same._put((name, model), end)
        return same

    def active(self, now: float) -> int:
        """How many there are."""
        return sum(end > now for end in self._ends.values())

    def _put(self, key: tuple[Hashable, str], end: float) -> None:
        self._ends.pop(key, None)
        if len(self._ends) >= _MAX_ENTRIES:
            del self._ends[next(iter(self._ends))]
        self._ends[key] = end
        self._latest_end = max(self._latest_end, end)
        self.maybe_active = True
