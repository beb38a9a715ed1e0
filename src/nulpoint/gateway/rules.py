"""What the configuration says of how requests are proxied."""

from typing import NamedTuple

from nulpoint.routing.course import CourseRules


class AskRules(NamedTuple):
    """How requests are read: whether callers' keys are forwarded, unknown fields refused, and the longest deadline."""

    forward_keys: bool
    strict: bool
    request_timeout: float


class ProxyRules(NamedTuple):
    """`keepalive`: seconds a streaming caller waits before comments come; `max_answer`: bytes of a whole answer."""

    ask: AskRules
    course: CourseRules
    keepalive: float
    max_answer: int
