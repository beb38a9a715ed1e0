"""What the configuration says of how requests are read."""

from typing import NamedTuple

from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.request.client_auth import ClientAuthenticator


class RequestRules(NamedTuple):
    """How requests are read: who may call, whether unknown fields are refused, and the longest deadline.

    `translation` are the limits on a request that is translated, and on the JSON text that is decoded for it.
    """

    authenticator: ClientAuthenticator
    strict: bool
    request_timeout: float
    translation: TranslationLimits = DEFAULT_LIMITS
