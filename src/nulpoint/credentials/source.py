"""What a kind of identity has to bring along."""

import logging
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from nulpoint.providers.auth import Signer
from nulpoint.providers.spec import Secret
from nulpoint.redaction.credential_matcher import CredentialMatcher
from nulpoint.redaction.text import redact, redacted_prefix


class Credential(NamedTuple):
    """What was fetched: it signs until `expires` (Unix seconds, infinite for what never ends)."""

    signer: Signer
    expires: float


class CredentialError(Exception):
    """No credential could be had. The text is for operators: it says why, and holds nothing of a credential."""


class CredentialSource(Protocol):
    """Where credentials come from. It may block: it is only called in a thread of its own, one call at a time."""

    def fetch(self) -> Credential:
        """Raises CannotFetch; whatever else it raises is told by its type alone."""


class InvalidSetting(NamedTuple):
    """What is wrong with a variable: its name, what was given (never a secret), and the remedy."""

    name: str
    given: str
    remedy: str


Values = Mapping[str, Secret]


class IdentityDescriptor(NamedTuple):
    """One kind of identity.

    Fields:
        extra: the extra of our package that brings what it needs, and `module`, the one whose absence tells.
        variables: those it reads beside the row's own, for the documentation.
        remedy: what to set so that it can be used.
        read: from set variables by name (a row's own also by their defaults) and the row's base URL to what `open`
            needs; None where none of them asks for it. What is wrong goes to the list, without the value of anything
            secret.
        open: the source. Imports what is heavy. Raises CannotFetch.
        by_itself: whether it can do with these values without the extra.
        hints: variables that ask for it where the extra is installed; elsewhere they are there for other reasons.
        found: whether, by a hint alone, there is any credential on this machine. May block for some seconds.
    """

    extra: str
    module: str
    variables: tuple[str, ...]
    remedy: str
    read: Callable[[Mapping[str, str], str, list[InvalidSetting]], Values | None]
    open: Callable[[Values], CredentialSource]
    by_itself: Callable[[Values], bool] = lambda _: False
    hints: tuple[str, ...] = ()
    found: Callable[[], bool] = lambda: True


_TOLD = 300  # characters of what a cloud says
# Shorter than any secret of the clouds; or a plain URL; or a path, and not the file's content put in its place.
_HARMLESS = re.compile(r"[\w.:/-]{1,32}|https?://[\w.:/-]{1,100}|(?=.{1,200}$)[~.]{0,2}/[^{\n\x00]*")


def shown(text: str) -> str:
    """A variable's text for a message; stars where it may be a credential that got into the wrong place."""
    return repr(text) if _HARMLESS.fullmatch(text) and redact(text) == text else "'***'"


def safe_message(text: str, secret: str | None = None) -> str:
    """What a cloud or its library says of an error, in one line without credentials."""
    credential = CredentialMatcher(secret) if secret else None
    return redacted_prefix(" ".join(text.split()), _TOLD, lambda text: redact(text, credential))


def silence_libraries(*libraries: str) -> None:
    """Keep a library from logging what went wrong: it repeats the server's words as they are. CannotFetch tells it."""
    for name in libraries:
        logging.getLogger(name).setLevel(logging.CRITICAL)
