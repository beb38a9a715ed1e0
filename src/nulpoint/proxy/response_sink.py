"""Where the answer to a request goes."""

import msgspec

from nulpoint.cache.writer import CacheWriter
from nulpoint.http.server.response import ResponseWriter
from nulpoint.proxy.shared_call import SharedCall
from nulpoint.proxy.stream_response import StreamResponse
from nulpoint.request.recorder import RequestContext


class ResponseSink(msgspec.Struct):
    """One request's.

    `stream` is there for those that asked for one, `flight` where the answer is shared with others, `keeper` where it
    may be kept. `own_fields` are the header fields that are this caller's alone, `shared_fields` are for all.
    """

    response: ResponseWriter
    context: RequestContext
    client_headers: bytes
    stream: StreamResponse | None = None
    shared_call: SharedCall | None = None
    cache_writer: CacheWriter | None = None
    shared_headers: bytes = b""

    def share(self) -> SharedCall:
        """The flight that others can join, made when the first of them comes."""
        if self.shared_call is None:
            self.shared_call = SharedCall(self.response, self.context)
        return self.shared_call

    def close(self) -> None:
        """Nobody waits any more."""
        if self.stream is not None:
            self.stream.close()
