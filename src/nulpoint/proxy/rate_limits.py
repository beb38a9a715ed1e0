"""The rate limits of a request: asked before anything else is done for it, settled when it is over.

Every request counts as one, whether a provider answers it, the cache or another caller's call: the limit is of what
callers may ask. Tokens are those that a provider reported, so what cost none counts none.
"""

from nulpoint.request.request import Asked
from nulpoint.request.recorder import Entry
from nulpoint.ratelimit.headers import limit_fields, refusal_failure
from nulpoint.ratelimit.limiter import Rules
from nulpoint.ratelimit.backend import Limits
from nulpoint.ratelimit.token_estimate import estimated_tokens

# What they may have said, for log and metrics; the last two while Redis cannot be asked.
ALLOWED, LIMITED, UNCHECKED, UNAVAILABLE = RESULTS = ("allowed", "limited", "unchecked", "unavailable")


class Limiting:
    """`shared`: they are decided in Redis, for all replicas."""

    def __init__(self, limits: Limits, rules: Rules, *, shared: bool) -> None:
        self._limits = limits
        self._rules = rules
        self._counts_tokens = bool(rules.tokens or rules.tokens_per_key)
        self._shared = shared

    async def admit(self, asked: Asked, entry: Entry, now: float) -> None:
        """Take what the request needs, and note it. `now` in loop time. Raises Failure (429, 503)."""
        tokens = 0
        if self._counts_tokens:
            tokens = estimated_tokens(asked.body, entry.route == "embeddings", asked.envelope.frame)
        verdict, grant = await self._limits.admit(asked.caller.identity, tokens, now)
        entry.grant = grant
        entry.limit_fields = limit_fields(verdict)
        refusal = verdict.refusal
        if refusal is None:
            entry.limit = UNCHECKED if self._shared and grant is not None and grant.local else ALLOWED
            return
        entry.limit = UNAVAILABLE if refusal.limit == "unavailable" else LIMITED
        raise refusal_failure(refusal, self._rules.limit_of(refusal))

    def settle(self, entry: Entry, now: float) -> None:
        """Give back what was not used. To be called once a request, when its entry is complete."""
        if entry.grant is not None:
            self._limits.settle(entry.grant, used_tokens(entry), now)


def used_tokens(entry: Entry) -> int | None:
    """What a request took of the limits; None where nobody knows, so that the estimate stands.

    A request that brought its caller nothing, because it failed or the caller left before any of the answer came, takes
    nothing. One whose answer was cut takes what the provider reported, else its estimate: else whoever leaves just
    before the end of every stream would be without limits.
    """
    if entry.cache == "HIT" or entry.coalesced:
        return 0
    if entry.usage is not None:
        return entry.usage.prompt + entry.usage.completion
    return 0 if entry.failure is not None and not entry.committed else None
