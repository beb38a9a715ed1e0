"""The destination of the response to one request: its client, the clients that share the call, and the cache."""

import msgspec

from nulpoint.cache.writer import CacheWriter
from nulpoint.http.server.response import ResponseWriter
from nulpoint.proxy.shared_call import SharedCall
from nulpoint.proxy.streaming.response import StreamResponse
from nulpoint.request.context import RequestContext


class ResponseSink(msgspec.Struct):
    """Receives the response to one request.

    Fields:
        client_headers: headers for this client alone.
        stream: the response as a stream, if the client asked for one.
        shared_call: what others follow, if they share the call.
        cache_writer: stores the response, if it may be cached.
        shared_headers: headers for every client that shares the response.
        led_calls, call_key: the calls that others can join, and the key of this one among them, if it is one.
    """

    response: ResponseWriter
    context: RequestContext
    client_headers: bytes
    stream: StreamResponse | None = None
    shared_call: SharedCall | None = None
    cache_writer: CacheWriter | None = None
    shared_headers: bytes = b""
    led_calls: "dict[bytes, ResponseSink] | None" = None
    call_key: bytes = b""

    def share(self) -> SharedCall:
        """Return the call that others can join. It is created when the first of them arrives."""
        if self.shared_call is None:
            self.shared_call = SharedCall(self.response, self.context)
        return self.shared_call

    def close(self) -> None:
        """Let nobody join the call any more, and stop keeping the client's connection alive with comments."""
        if self.stream is not None:
            self.stream.close()
        calls = self.led_calls
        if calls is not None and calls.get(self.call_key) is self:  # no other call has taken its place
            del calls[self.call_key]
