"""The interface of a client protocol: a public API that clients speak to the gateway."""

from typing import Protocol

from nulpoint.errors import Failure


class ClientProtocol(Protocol):
    """Writes what the gateway itself says to clients in the form of their API."""

    def error_body(self, failure: Failure) -> bytes:
        """Return the body of an error response."""

    def error_event(self, failure: Failure) -> bytes:
        """Return the event that reports a failure inside a stream, after which the stream ends without its proper end.

        It may follow an incomplete event, because very large events are sent in pieces.
        """
