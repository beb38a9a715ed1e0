"""What the configuration says of how requests are proxied."""

from typing import NamedTuple

from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.request.client_auth import Callers
from nulpoint.routing.attempt_planner import CourseRules
from nulpoint.formats.json_nodes import DEFAULT_MAX_JSON_NODES


class AskRules(NamedTuple):
    """How requests are read: who may call, whether unknown fields are refused, and the longest deadline.

    `max_json_nodes`: names and values of a body that may be decoded as a whole. `translation`: what a request may hold
    that is translated.
    """

    callers: Callers
    strict: bool
    request_timeout: float
    max_json_nodes: int = DEFAULT_MAX_JSON_NODES
    translation: TranslationLimits = DEFAULT_LIMITS


class ProxyRules(NamedTuple):
    """`keepalive`: seconds a streaming caller waits before comments come; `max_answer`: bytes of a whole answer."""

    ask: AskRules
    course: CourseRules
    keepalive: float
    max_answer: int
