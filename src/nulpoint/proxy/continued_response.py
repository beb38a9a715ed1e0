"""Gets the further parts of a response from a provider that gives a long one in several parts."""

from collections.abc import Awaitable, Callable

import msgspec

from nulpoint.errors import Failure, Kind
from nulpoint.http.client.connection import UpstreamConnection
from nulpoint.protocols.provider_protocol import ResponseContinuation
from nulpoint.protocols.stream_transformer import StreamTransformer

# The longest response of a model (1,048,576 tokens) in parts of the smallest size (32,768).
_MAX_PARTS = 32


class ContinuedResponse(msgspec.Struct):
    """The parts of one response.

    Fields:
        continuation: how further parts are requested.
        request: the body of the request for the first part.
        send: sends the body of a request, for a response that is committed or not, and returns the connection with a
            successful response. It takes the place of the connection before. Raises Failure.
        count: how many parts have been requested.
    """

    continuation: ResponseContinuation
    request: bytes
    send: Callable[[bytes, bool], Awaitable[UpstreamConnection]]
    count: int = 1
    _last_token: str | None = None

    async def whole(
        self, connection: UpstreamConnection, first: bytes, read: Callable[[UpstreamConnection], Awaitable[bytes]]
    ) -> tuple[UpstreamConnection, bytes]:
        """Return the complete response that begins with this part, and the last connection. Raises Failure."""
        parts = [first]
        while (token := self.continuation.token_in_response(parts[-1])) is not None:
            connection = await self._next(token, committed=False)
            parts.append(await read(connection))
        return connection, first if len(parts) == 1 else self.continuation.join(parts)

    async def next_stream(self, parser: StreamTransformer, committed: bool) -> UpstreamConnection | None:
        """Return the connection with the next part of a stream, or None if there is none. Raises Failure."""
        token = self.continuation.token_in_stream(parser)
        return None if token is None else await self._next(token, committed=committed)

    async def _next(self, token: str, *, committed: bool) -> UpstreamConnection:
        if token == self._last_token or self.count >= _MAX_PARTS:
            raise Failure(Kind.UPSTREAM, 502, "the provider does not complete its response", code="provider_error")
        self._last_token = token
        self.count += 1
        return await self.send(self.continuation.request(self.request, token), committed)
