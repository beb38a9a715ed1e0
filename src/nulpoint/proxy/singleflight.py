"""Decides which requests may share one call to a provider, and sends the response of a shared call to a client."""

from nulpoint.cache.policy import CacheLookup
from nulpoint.errors import Failure, Kind
from nulpoint.http.message import header
from nulpoint.protocols.openai.envelope import asks_for_usage
from nulpoint.proxy.response_sink import ResponseSink
from nulpoint.proxy.shared_call import Follower, SharedCall
from nulpoint.proxy.streaming.response import StreamResponse
from nulpoint.request.context import RequestContext
from nulpoint.request.request import ProxyRequest

_TIMEOUT = b"x-nulpoint-timeout"


def call_key(proxy_request: ProxyRequest, lookup: CacheLookup) -> bytes:
    """Return a key that is equal for requests that may share a call: same content, same form, same deadline."""
    form = b"stream" if proxy_request.stream else b"whole"
    if proxy_request.envelope.stream_options and asks_for_usage(proxy_request.envelope):
        form += b"+usage"
    return lookup.key + form + proxy_request.request.headers.get(_TIMEOUT, b"")


class SingleFlight:
    """The calls in progress that can be joined, by the key of their requests."""

    def __init__(self) -> None:
        self._leaders: dict[bytes, ResponseSink] = {}

    def find(self, key: bytes) -> SharedCall | None:
        """Return the call that a request with this key can join, or None."""
        leader = self._leaders.get(key)
        if leader is None:
            return None
        shared_call = leader.share()
        return shared_call if shared_call.joinable else None

    def join_or_lead(self, key: bytes, sink: ResponseSink) -> SharedCall | None:
        """Return the call in progress that a request with this key joins.

        Return None if there is none: then the request has to call a provider, and others can join it until its sink is
        closed. For a response that is sent as a whole, nothing is prepared until the first of them arrives.
        """
        shared_call = self.find(key) if key in self._leaders else None
        if shared_call is None:
            self._leaders[key] = sink
            sink.led_calls, sink.call_key = self._leaders, key
            if sink.stream is not None:
                sink.stream.share(sink.share())
        return shared_call

    def __len__(self) -> int:
        return len(self._leaders)


async def follow(shared_call: SharedCall, sink: ResponseSink) -> None:
    """Send the response of another request's call to a client. Raises Failure, the same for all, if the call failed."""
    context, follower = sink.context, shared_call.join()
    context.call_joined()
    try:
        while shared_call.head is None and not shared_call.ended:
            await follower.wakeup
        if shared_call.head is None:
            raise shared_call.failure or Failure(Kind.INTERNAL, 500, "the shared call ended without a response")
        if sink.stream is None:
            await _send_whole(shared_call, follower, sink, context)
        else:
            await _send_stream(shared_call, follower, sink.stream, context)
    finally:
        sink.close()
        shared_call.leave(follower)
        context.shared_call_ended(shared_call.context)


async def _send_whole(shared_call: SharedCall, follower: Follower, sink: ResponseSink, context: RequestContext) -> None:
    while not shared_call.ended:
        await follower.wakeup
    if shared_call.failure is not None:
        raise shared_call.failure
    assert shared_call.head is not None
    status, headers = shared_call.head
    headers += _client_headers(headers, sink.client_headers, context)
    sink.response.send(status, headers, shared_call.read(follower))


async def _send_stream(
    shared_call: SharedCall, follower: Follower, stream: StreamResponse, context: RequestContext
) -> None:
    assert shared_call.head is not None
    headers = shared_call.head[1]
    client_headers = _client_headers(headers, stream.client_headers, context)
    stream.set_headers(headers, client_headers, shared_call.context.provider.encode())
    stream.commit(shared_call.error_event)
    while not shared_call.ended:
        stream.write(shared_call.read(follower))
        await stream.drain()
        if not shared_call.has_unread(follower):
            await follower.wakeup
    last = shared_call.read(follower)
    if shared_call.failure is None:
        stream.end(last)
        return
    stream.write(last)
    raise shared_call.failure


def _client_headers(shared: bytes, client_headers: bytes, context: RequestContext) -> bytes:
    client_headers += b"x-nulpoint-coalesced: 1\r\n"
    return client_headers if b"x-request-id:" in shared else client_headers + header(b"x-request-id", context.id)
