"""Keeps track of which credentials are cooling down, and until when. `now` is always in monotonic seconds.

A credential cools down for one model (after a rate limit, a missing permission or used-up credit, or if the model does
not exist) or for all models (if the provider does not accept it at all, or its account has no credit). Meanwhile it is
used last: only if no other target can be called, since what stopped one request need not stop the next.
"""

from collections.abc import Hashable, Mapping

MAX_SECONDS = 300.0  # if a provider asks for a longer wait, the credential is tried again after this time
DEFAULT_SECONDS = 60.0  # for a 429 that does not say how long to wait
REFUSED_SECONDS = 300.0  # for a credential that the provider refused
_MAX_ENTRIES = 4096  # the newest are kept; the limit is needed because clients can send any number of keys


class Cooldowns:
    """The cooldowns at one provider.

    A credential is the position of a configured key, or the digest of a key that a client sent. The model "" stands for
    all models.
    """

    __slots__ = ("_ends", "_latest_end", "maybe_active")

    def __init__(self) -> None:
        self._ends: dict[tuple[Hashable, str], float] = {}  # by (credential, model), oldest first
        self._latest_end = 0.0
        self.maybe_active = False  # false if there is surely no cooldown

    def rate_limited(self, credential: Hashable, model: str, retry_after: float | None, now: float) -> None:
        """Start the cooldown after a rate limit. `retry_after`: the seconds that the provider named."""
        seconds = DEFAULT_SECONDS if retry_after is None else min(retry_after, MAX_SECONDS)
        self._put((credential, model), now + seconds)

    def credential_refused(self, credential: Hashable, model: str, now: float) -> None:
        """Start the cooldown of a credential that was refused for this model, or whose credit is used up."""
        self._put((credential, model), now + REFUSED_SECONDS)

    def end_of(self, credential: Hashable, model: str, now: float) -> float:
        """Return when the cooldown of this credential for this model ends; 0 if it is not cooling down."""
        if now >= self._latest_end:  # all cooldowns have ended
            self._ends.clear()
            self.maybe_active = False
            return 0.0
        ends = max(self._ends.get((credential, name), 0.0) for name in ("", model))
        return ends if ends > now else 0.0

    def remapped(self, credentials: Mapping[Hashable, Hashable]) -> "Cooldowns":
        """Return these cooldowns with the configured credentials at their new positions.

        Credentials missing from the mapping are dropped. Keys that clients sent keep their cooldowns.
        """
        result = Cooldowns()
        for (credential, model), end in self._ends.items():
            name = credentials.get(credential) if isinstance(credential, int) else credential
            if name is not None:
                result._put((name, model), end)
        return result

    def active(self, now: float) -> int:
        """Return the number of cooldowns that have not ended."""
        return sum(end > now for end in self._ends.values())

    def _put(self, key: tuple[Hashable, str], end: float) -> None:
        self._ends.pop(key, None)
        if len(self._ends) >= _MAX_ENTRIES:
            del self._ends[next(iter(self._ends))]
        self._ends[key] = end
        self._latest_end = max(self._latest_end, end)
        self.maybe_active = True
