"""The destination of the response to one request: its client, the clients that share the call, and the cache."""

from collections.abc import Callable

import msgspec

from nulpoint.cache.writer import CacheWriter
from nulpoint.http.server.response import ResponseWriter
from nulpoint.proxy.shared_call import SharedCall
from nulpoint.proxy.stream_response import StreamResponse
from nulpoint.request.context import RequestContext


class ResponseSink(msgspec.Struct):
    """Receives the response to one request.

    Fields:
        client_headers: headers for this client alone.
        stream: the response as a stream, if the client asked for one.
        shared_call: what others follow, if they share the call.
        cache_writer: stores the response, if it may be cached.
        shared_headers: headers for every client that shares the response.
        on_close: keeps others from joining the call, if they can.
    """

    response: ResponseWriter
    context: RequestContext
    client_headers: bytes
    stream: StreamResponse | None = None
    shared_call: SharedCall | None = None
    cache_writer: CacheWriter | None = None
    shared_headers: bytes = b""
    on_close: Callable[[], None] | None = None

    def share(self) -> SharedCall:
        """Return the call that others can join. It is created when the first of them arrives."""
        if self.shared_call is None:
            self.shared_call = SharedCall(self.response, self.context)
        return self.shared_call

    def close(self) -> None:
        """Let nobody join the call any more, and stop keeping the client's connection alive with comments."""
        if self.stream is not None:
            self.stream.close()
        on_close, self.on_close = self.on_close, None  # it refers to this sink, which must not become cyclic garbage
        if on_close is not None:
            on_close()
