"""What the configuration says of how requests are read."""

from typing import NamedTuple

from nulpoint.formats.json_nodes import DEFAULT_MAX_JSON_NODES
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.request.client_auth import ClientAuthenticator


class RequestRules(NamedTuple):
    """How requests are read: who may call, whether unknown fields are refused, and the longest deadline.

    `max_json_nodes`: names and values of a body that may be decoded as a whole. `translation`: what a request may hold
    that is translated.
    """

    authenticator: ClientAuthenticator
    strict: bool
    request_timeout: float
    max_json_nodes: int = DEFAULT_MAX_JSON_NODES
    translation: TranslationLimits = DEFAULT_LIMITS
