"""The interface of what stands between a provider's stream and the client's.

A transformer is fed every network read and returns what the client gets. Its results depend only on the bytes, never on
how the network split them.
"""

from typing import Protocol

from nulpoint.errors import Failure
from nulpoint.protocols.openai.usage import ResponseMetadata


class StreamTransformer(Protocol):
    """Turns a provider's stream into the one for the client.

    The result of `feed` is sent to the client in a single write, unless it is empty. Only `close` returns the end of
    a complete response, such as `[DONE]`, because what a provider sends after it must be checked first.
    """

    def feed(self, data: bytes) -> bytes: ...

    def close(self) -> bytes:
        """Return the rest of the stream for the client, including `[DONE]`, when the provider has sent everything."""

    def finished(self) -> bool:
        """Return whether the provider ended its response as its format requires, without any failure."""

    def metadata(self) -> ResponseMetadata: ...

    def error(self, failure: Failure) -> bytes:
        """Return the event that reports a failure to the client, after what has been returned so far."""

    @property
    def failure(self) -> Failure | None:
        """An error that the provider sent, or one found in its stream. Nothing is passed on after it."""

    @property
    def over(self) -> bool:
        """True if the response has ended, properly or with a failure, so that no further event belongs to it."""
