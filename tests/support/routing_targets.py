"""Providers, targets and failures for the routing tests."""

import functools
from typing import Any

from nulpoint.errors import ClientCause, Cooldown, Failure, Kind
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
    """Return the target named `provider/model`. A provider is the same object each time, as in the router."""
    provider, _, model = name.partition("/")
    return Target.at(PROVIDERS[provider], model)


def all_providers_health(*keys: Any, **rules: Any) -> dict[str, Any]:
    """Return the health of all providers in the tests. `keys`, such as `("openai", 3)`, are those with several keys."""
    count = dict(keys)
    return {name: ProviderHealth(BreakerRules(**rules), count.get(name, 1)) for name in PROVIDERS}


# The failures of attempts, by a short name.
FAILURES = {
    "connect": lambda: Failure(Kind.CONNECT, 502, "no connection"),
    "timeout": lambda: Failure(Kind.TIMEOUT, 504, "nothing came"),
    "cut": lambda: Failure(Kind.UPSTREAM, 502, "the connection ended"),
    "overloaded": lambda: Failure(Kind.OVERLOADED, 503, "no connection came free"),
    "internal": lambda: Failure(Kind.INTERNAL, 500, "a bug"),
    "left": lambda: Failure(Kind.CLIENT_DISCONNECTED, 499, "the caller left"),
    "500": lambda: Failure(Kind.UPSTREAM, 502, "500", provider_status=500),
    "502": lambda: Failure(Kind.UPSTREAM, 502, "502", provider_status=502),
    "503": lambda: Failure(Kind.UPSTREAM, 502, "503", provider_status=503),
    "503 in 1": lambda: Failure(Kind.UPSTREAM, 502, "503", provider_status=503, retry_after=1.0),
    "503 in 9": lambda: Failure(Kind.UPSTREAM, 502, "503", provider_status=503, retry_after=9.0),
    "504": lambda: Failure(Kind.UPSTREAM, 502, "504", provider_status=504),
    "501": lambda: Failure(Kind.UPSTREAM, 502, "501", provider_status=501),
    "529": lambda: Failure(Kind.UPSTREAM, 502, "529", provider_status=529),
    "529 in 5": lambda: Failure(Kind.UPSTREAM, 502, "529", provider_status=529, retry_after=5.0),
    "400": lambda: Failure(Kind.REJECTED, 400, "400", provider_status=400),
    "404": lambda: Failure(Kind.NOT_FOUND, 404, "404", provider_status=404),
    "no model": lambda: Failure(Kind.NOT_FOUND, 404, "404", provider_status=404, cooldown=Cooldown.KEY_AND_MODEL),
    "too long": lambda: Failure(Kind.TOO_LONG, 400, "400", provider_status=400),
    "no credit": lambda: Failure(Kind.QUOTA, 402, "402", provider_status=402, cooldown=Cooldown.KEY),
    "408": lambda: Failure(Kind.TIMEOUT, 504, "408", provider_status=408),
    "413": lambda: Failure(Kind.TOO_LONG, 413, "413", provider_status=413),
    "422": lambda: Failure(Kind.REJECTED, 400, "422", provider_status=422),
    "499": lambda: Failure(Kind.UPSTREAM, 502, "499", provider_status=499),
    "401": lambda: Failure(Kind.AUTH, 401, "401", provider_status=401),
    "403": lambda: Failure(Kind.AUTH, 401, "403", provider_status=403),
    "402": lambda: Failure(Kind.QUOTA, 402, "402", provider_status=402),
    "quota": lambda: Failure(Kind.QUOTA, 429, "quota", provider_status=429, retry_after=60.0, retry_after_guessed=True),
    "429": lambda: Failure(Kind.RATE_LIMIT, 429, "429", provider_status=429, retry_after=60.0, retry_after_guessed=True),
    "429 in 0.5": lambda: Failure(Kind.RATE_LIMIT, 429, "429", provider_status=429, retry_after=0.5),
    "429 in 20": lambda: Failure(Kind.RATE_LIMIT, 429, "429", provider_status=429, retry_after=20.0),
    "429 in 900": lambda: Failure(Kind.RATE_LIMIT, 429, "429", provider_status=429, retry_after=900.0),
    "424": lambda: Failure(Kind.UPSTREAM, 502, "the model failed", provider_status=424),
    **{cause.value: functools.partial(Failure, Kind.UPSTREAM, 502, "a caller's doing", client_cause=cause) for cause in ClientCause},
}  # fmt: skip
