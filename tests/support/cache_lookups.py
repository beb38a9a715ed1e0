"""Cache lookups for requests with certain headers and bodies."""

from typing import Any

from nulpoint.cache.policy import CachePolicy
from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.operations import OPERATIONS
from nulpoint.providers.spec import Provider
from nulpoint.routing.chains import Target, TargetPlan
from support.proxy_requests import BODY, parsed_request

OPENAI = Provider(spec=CATALOG["openai"], base_url="http://x")
TARGET, OTHER = Target.at(OPENAI, "there"), Target.at(OPENAI, "elsewhere")
PLAN = TargetPlan(TARGET, [[(TARGET, 1)], [(OTHER, 1)]])
TTL = 3600.0


def read(
    headers: Any = (), *, body: Any = BODY, route: Any = "chat", plan: Any = PLAN, excluded: Any = None, **how: Any
) -> Any:
    request = parsed_request(headers, body=body, route=route, **how)
    return CachePolicy(OPERATIONS[route], excluded, TTL).lookup_for(request, plan)


OWN = TargetPlan(TARGET, [[(TARGET, 1)], [(OTHER, 1)]], configured=True)
