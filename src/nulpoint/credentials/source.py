"""The interface that each kind of identity implements."""

import logging
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from nulpoint.providers.auth import Signer
from nulpoint.providers.spec import Secret
from nulpoint.redaction.credential_matcher import CredentialMatcher
from nulpoint.redaction.text import redact, redacted_prefix


class Credential(NamedTuple):
    """A fetched credential. It is valid until `expires` (Unix seconds; infinite if it never expires)."""

    signer: Signer
    expires: float


class CredentialError(Exception):
    """No credential could be fetched. The text tells operators why and contains no part of a credential."""


class CredentialSource(Protocol):
    """A source of credentials. It may block, so it is called in a separate thread, one call at a time."""

    def fetch(self) -> Credential:
        """Fetch a credential. Raises CredentialError; of other exceptions, only the type is reported."""


class InvalidSetting(NamedTuple):
    """A problem with a variable: its name, its value or state (never a secret), and the remedy."""

    name: str
    value: str
    remedy: str


Values = Mapping[str, Secret]


class IdentityDescriptor(NamedTuple):
    """The functions and facts that make up a kind of identity.

    Fields:
        extra: the extra of the nulpoint package that installs what this kind needs.
        module: the module that is missing if the extra is not installed.
        variables: the variables it reads in addition to those of the provider, for the documentation.
        remedy: what to set so that this kind can be used.
        read: takes the variables that are set or have a default, by name, and the base URL; returns the values that
            `open` needs, or None if no variable requests this identity. It adds problems to the list, without secrets.
        open: returns the source of credentials; it imports large packages and may raise CredentialError.
        works_without_extra: whether these values can be used without the extra.
        hint_variables: variables that request this identity only if the extra is installed, because they may also be
            set for other reasons.
        has_default_credentials: whether the machine has any credentials, if only a hint requests this identity. It may
            block for some seconds.
    """

    extra: str
    module: str
    variables: tuple[str, ...]
    remedy: str
    read: Callable[[Mapping[str, str], str, list[InvalidSetting]], Values | None]
    open: Callable[[Values], CredentialSource]
    works_without_extra: Callable[[Values], bool] = lambda _: False
    hint_variables: tuple[str, ...] = ()
    has_default_credentials: Callable[[], bool] = lambda: True


_MAX_MESSAGE = 300  # characters of a cloud's error message that are shown
# Text that is shorter than any secret of the clouds, a plain URL, or a path rather than the content of a file.
_HARMLESS = re.compile(r"[\w.:/-]{1,32}|https?://[\w.:/-]{1,100}|(?=.{1,200}$)[~.]{0,2}/[^{\n\x00]*")


def display_value(text: str) -> str:
    """Return a variable's text for a message, or stars if it may be a misplaced credential."""
    return repr(text) if _HARMLESS.fullmatch(text) and redact(text) == text else "'***'"


def safe_message(text: str, secret: str | None = None) -> str:
    """Return the error message of a cloud or its library in one line and without credentials."""
    credential = CredentialMatcher(secret) if secret else None
    return redacted_prefix(" ".join(text.split()), _MAX_MESSAGE, lambda text: redact(text, credential))


def silence_libraries(*libraries: str) -> None:
    """Stop libraries from logging errors, in which they repeat the server's text; CredentialError reports them."""
    for name in libraries:
        logging.getLogger(name).setLevel(logging.CRITICAL)
