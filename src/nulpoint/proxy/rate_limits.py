"""Applies the rate limits to a request: checks them before anything else is done, and settles them at its end.

Each request counts as one, whether its response comes from a provider, from the cache or from a shared call, because
the limit is on what clients request. Tokens are those that a provider reported, so a response without cost has none.
"""

from nulpoint.ratelimit.backend import LimitBackend
from nulpoint.ratelimit.headers import limit_headers, refusal_failure
from nulpoint.ratelimit.limiter import LimitRules
from nulpoint.ratelimit.token_estimate import estimated_tokens
from nulpoint.request.context import RequestContext
from nulpoint.request.request import ProxyRequest

# The results of a check, for log and metrics. The last two are for when Redis cannot be reached.
ALLOWED, LIMITED, UNCHECKED, UNAVAILABLE = ("allowed", "limited", "unchecked", "unavailable")


class RequestLimiter:
    """Checks the limits. `shared` says that they are kept in Redis, for all replicas."""

    def __init__(self, limits: LimitBackend, rules: LimitRules, *, shared: bool) -> None:
        self._limits = limits
        self._rules = rules
        self._counts_tokens = bool(rules.tokens or rules.tokens_per_key)
        self._shared = shared

    async def admit(self, proxy_request: ProxyRequest, context: RequestContext, now: float) -> None:
        """Take what the request needs from the limits. `now` is in loop time. Raises Failure (429 or 503)."""
        tokens = 0
        if self._counts_tokens:
            tokens = estimated_tokens(
                proxy_request.body, proxy_request.operation.generates_text, proxy_request.envelope.frame
            )
        verdict, grant = await self._limits.admit(proxy_request.client.identity, tokens, now)
        refusal = verdict.refusal
        if refusal is not None:
            result = UNAVAILABLE if refusal.limit == "unavailable" else LIMITED
        else:
            result = UNCHECKED if self._shared and grant is not None and grant.local else ALLOWED
        context.limits_checked(result, limit_headers(verdict), grant)
        if refusal is not None:
            raise refusal_failure(refusal, self._rules.limit_of(refusal))

    def finish(self, context: RequestContext, now: float) -> None:
        """Give back what was not used. This must be called once for each request, when its context is complete."""
        if context.grant is not None:
            self._limits.finish(context.grant, used_tokens(context), now)


def used_tokens(context: RequestContext) -> int | None:
    """Return the tokens that a request used; None if that is unknown, so that the estimate counts.

    A request that failed, or whose client left before any content came, uses none. If the response was cut, it uses
    what the provider reported, or else the estimate. Otherwise a client could avoid the limits by leaving just before
    the end of each stream.
    """
    if context.cache == "HIT" or context.coalesced:
        return 0
    if context.usage is not None:
        return context.usage.prompt + context.usage.completion
    return 0 if context.failure is not None and not context.committed else None
