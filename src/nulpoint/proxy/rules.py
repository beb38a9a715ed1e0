"""The settings for proxying requests."""

from typing import NamedTuple

from nulpoint.request.rules import RequestRules
from nulpoint.routing.attempt_planner import AttemptRules


class ProxyRules(NamedTuple):
    """The settings of a proxy handler.

    `keepalive` is the time in seconds after which a waiting client of a stream gets a comment. `max_response` is the
    most bytes of a response that is not a stream.
    """

    request: RequestRules
    attempts: AttemptRules
    keepalive: float
    max_response: int
