"""What the configuration says of how requests are proxied."""

from typing import NamedTuple

from nulpoint.request.rules import RequestRules
from nulpoint.routing.attempt_planner import AttemptRules


class ProxyRules(NamedTuple):
    """`keepalive`: seconds a streaming caller waits before comments come; `max_answer`: bytes of a whole answer."""

    request: RequestRules
    attempts: AttemptRules
    keepalive: float
    max_response: int
