"""The rate limits of a request: asked before anything else is done for it, settled when it is over.

Every request counts as one, whether a provider answers it, the cache or another caller's call: the limit is of what
callers may ask. Tokens are those that a provider reported, so what cost none counts none.
"""

from nulpoint.ratelimit.backend import LimitBackend
from nulpoint.ratelimit.headers import limit_headers, refusal_failure
from nulpoint.ratelimit.limiter import LimitRules
from nulpoint.ratelimit.token_estimate import estimated_tokens
from nulpoint.request.context import RequestContext
from nulpoint.request.request import ProxyRequest

# What they may have said, for log and metrics; the last two while Redis cannot be asked.
ALLOWED, LIMITED, UNCHECKED, UNAVAILABLE = RESULTS = ("allowed", "limited", "unchecked", "unavailable")


class RequestLimiter:
    """`shared`: they are decided in Redis, for all replicas."""

    def __init__(self, limits: LimitBackend, rules: LimitRules, *, shared: bool) -> None:
        self._limits = limits
        self._rules = rules
        self._counts_tokens = bool(rules.tokens or rules.tokens_per_key)
        self._shared = shared

    async def admit(self, proxy_request: ProxyRequest, context: RequestContext, now: float) -> None:
        """Take what the request needs, and note it. `now` in loop time. Raises Failure (429, 503)."""
        tokens = 0
        if self._counts_tokens:
            tokens = estimated_tokens(proxy_request.body, context.route == "embeddings", proxy_request.envelope.frame)
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
        """Give back what was not used. To be called once a request, when its entry is complete."""
        if context.grant is not None:
            self._limits.finish(context.grant, used_tokens(context), now)


def used_tokens(context: RequestContext) -> int | None:
    """What a request took of the limits; None where nobody knows, so that the estimate stands.

    A request that brought its caller nothing, because it failed or the caller left before any of the answer came, takes
    nothing. One whose answer was cut takes what the provider reported, else its estimate: else whoever leaves just
    before the end of every stream would be without limits.
    """
    if context.cache == "HIT" or context.coalesced:
        return 0
    if context.usage is not None:
        return context.usage.prompt + context.usage.completion
    return 0 if context.failure is not None and not context.committed else None
