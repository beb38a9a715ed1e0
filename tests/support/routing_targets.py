"""Providers, targets and failures the tests of routing are made of."""

import functools
from typing import Any

from nulpoint.errors import CallerCause, Failure, Kind
from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.spec import Provider, Secret
from nulpoint.routing.attempt_planner import AttemptRules
from nulpoint.routing.breaker import BreakerRules
from nulpoint.routing.chains import Target
from nulpoint.routing.provider_health import ProviderHealth

PROVIDERS = {
    name: Provider(spec=spec, base_url="http://x", credentials=(Secret("k"),)) for name, spec in CATALOG.items()
}
RULES = AttemptRules()


def target(name: Any) -> Any:
    """By `provider/model`; the same provider object each time, as the router has it."""
    provider, _, model = name.partition("/")
    return Target.at(PROVIDERS[provider], model)


def standings(*keys: Any, **rules: Any) -> dict[str, Any]:
    """Of all providers the tests use; `keys` as `("openai", 3)` for those with more than one."""
    count = dict(keys)
    return {name: ProviderHealth(BreakerRules(**rules), count.get(name, 1)) for name in PROVIDERS}


# What an attempt may come to, by a short name.
FAILURES = {
    "connect": lambda: Failure(Kind.CONNECT, 502, "no connection"),
    "timeout": lambda: Failure(Kind.TIMEOUT, 504, "nothing came"),
    "cut": lambda: Failure(Kind.UPSTREAM, 502, "the connection ended"),
    "overloaded": lambda: Failure(Kind.OVERLOADED, 503, "no connection came free"),
    "internal": lambda: Failure(Kind.INTERNAL, 500, "a bug"),
    "left": lambda: Failure(Kind.CALLER_LEFT, 499, "the caller left"),
    "500": lambda: Failure(Kind.UPSTREAM, 502, "500", answered=500),
    "502": lambda: Failure(Kind.UPSTREAM, 502, "502", answered=502),
    "503": lambda: Failure(Kind.UPSTREAM, 502, "503", answered=503),
    "503 in 1": lambda: Failure(Kind.UPSTREAM, 502, "503", answered=503, retry_after=1.0),
    "503 in 9": lambda: Failure(Kind.UPSTREAM, 502, "503", answered=503, retry_after=9.0),
    "504": lambda: Failure(Kind.UPSTREAM, 502, "504", answered=504),
    "501": lambda: Failure(Kind.UPSTREAM, 502, "501", answered=501),
    "529": lambda: Failure(Kind.UPSTREAM, 502, "529", answered=529),
    "529 in 5": lambda: Failure(Kind.UPSTREAM, 502, "529", answered=529, retry_after=5.0),
    "400": lambda: Failure(Kind.REJECTED, 400, "400", answered=400),
    "404": lambda: Failure(Kind.REJECTED, 404, "404", answered=404),
    "408": lambda: Failure(Kind.TIMEOUT, 504, "408", answered=408),
    "413": lambda: Failure(Kind.REJECTED, 413, "413", answered=413),
    "422": lambda: Failure(Kind.REJECTED, 400, "422", answered=422),
    "499": lambda: Failure(Kind.UPSTREAM, 502, "499", answered=499),
    "401": lambda: Failure(Kind.AUTH, 401, "401", answered=401),
    "403": lambda: Failure(Kind.AUTH, 401, "403", answered=403),
    "402": lambda: Failure(Kind.QUOTA, 402, "402", answered=402),
    "quota": lambda: Failure(Kind.QUOTA, 429, "quota", answered=429, retry_after=60.0, wait_guessed=True),
    "429": lambda: Failure(Kind.RATE_LIMIT, 429, "429", answered=429, retry_after=60.0, wait_guessed=True),
    "429 in 0.5": lambda: Failure(Kind.RATE_LIMIT, 429, "429", answered=429, retry_after=0.5),
    "429 in 20": lambda: Failure(Kind.RATE_LIMIT, 429, "429", answered=429, retry_after=20.0),
    "429 in 900": lambda: Failure(Kind.RATE_LIMIT, 429, "429", answered=429, retry_after=900.0),
    "424": lambda: Failure(Kind.UPSTREAM, 502, "the model failed", answered=424),
    **{cause.value: functools.partial(Failure, Kind.UPSTREAM, 502, "a caller's doing", caller_cause=cause) for cause in CallerCause},
}  # fmt: skip
