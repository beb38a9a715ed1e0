"""The settings for parsing requests."""

from typing import NamedTuple

from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.request.client_auth import ClientAuthenticator


class RequestRules(NamedTuple):
    """The settings for parsing requests.

    `strict` says that members which a provider does not support are rejected. `request_timeout` is the longest deadline
    in seconds. `max_body_bytes` is the most bytes of a compressed body when it is decompressed. `translation` has the
    limits on a request that is translated, and on the JSON text decoded for it.
    """

    authenticator: ClientAuthenticator
    strict: bool
    request_timeout: float
    max_body_bytes: int
    translation: TranslationLimits = DEFAULT_LIMITS
