"""Which requests may share one call, and how a caller follows the call of another."""

from nulpoint.cache.policy import CacheLookup
from nulpoint.errors import Failure, Kind
from nulpoint.http.message import header
from nulpoint.protocols.openai.envelope import asks_for_usage
from nulpoint.proxy.response_sink import ResponseSink
from nulpoint.proxy.shared_call import Follower, SharedCall
from nulpoint.proxy.stream_response import StreamResponse
from nulpoint.request.recorder import RequestContext
from nulpoint.request.request import ProxyRequest

_TIMEOUT = b"x-nulpoint-timeout"


def call_key(proxy_request: ProxyRequest, lookup: CacheLookup) -> bytes:
    """What is the same for requests that may share a call: the question, and how the answer is to be delivered."""
    delivery = (b"stream" if proxy_request.stream else b"whole") + (
        b"+usage" if asks_for_usage(proxy_request.envelope) else b""
    )
    return lookup.key + delivery + proxy_request.request.headers.get(_TIMEOUT, b"")


class SingleFlight:
    """The calls under way that can be joined: their callers' outlets, by what identifies their requests."""

    def __init__(self) -> None:
        self._leaders: dict[bytes, ResponseSink] = {}

    def find(self, key: bytes) -> SharedCall | None:
        leader = self._leaders.get(key)
        if leader is None:
            return None
        shared_call = leader.share()
        return shared_call if shared_call.joinable else None

    def lead(self, key: bytes, leader: ResponseSink) -> None:
        """Begin one; it must be given to `land`. An answer that comes whole needs nothing until others come."""
        self._leaders[key] = leader
        if leader.stream is not None:
            leader.stream.share(leader.share())

    def finish(self, key: bytes, leader: ResponseSink, failure: Failure | None) -> None:
        if self._leaders.get(key) is leader:
            del self._leaders[key]
        if leader.shared_call is not None:
            leader.shared_call.finish(failure)

    def __len__(self) -> int:
        return len(self._leaders)


async def follow(shared_call: SharedCall, sink: ResponseSink) -> None:
    """Give a caller the answer of another's call. Raises Failure, the same for everybody, when there is none."""
    context, follower = sink.context, shared_call.join()
    try:
        while shared_call.head is None and not shared_call.ended:
            await follower.wakeup
        if shared_call.head is None:
            raise shared_call.failure or Failure(Kind.INTERNAL, 500, "the shared call ended without an answer")
        if sink.stream is None:
            await _whole(shared_call, follower, sink, context)
        else:
            await _stream(shared_call, follower, sink.stream, context)
    finally:
        sink.close()
        shared_call.leave(follower)
        _copy_result(shared_call.context, context)


async def _whole(shared_call: SharedCall, follower: Follower, sink: ResponseSink, context: RequestContext) -> None:
    while not shared_call.ended:
        await follower.wakeup
    if shared_call.failure is not None:
        raise shared_call.failure
    assert shared_call.head is not None
    status, fields = shared_call.head
    sink.response.send(
        status, fields + _client_headers(fields, sink.client_headers, context), shared_call.read(follower)
    )


async def _stream(shared_call: SharedCall, follower: Follower, answer: StreamResponse, context: RequestContext) -> None:
    assert shared_call.head is not None
    fields = shared_call.head[1]
    answer.set_headers(
        fields, _client_headers(fields, answer.client_headers, context), shared_call.context.provider.encode()
    )
    answer.commit()
    while not shared_call.ended:
        answer.write(shared_call.read(follower))
        await answer.drain()
        if not shared_call.has_unread(follower):
            await follower.wakeup
    last = shared_call.read(follower)
    if shared_call.failure is None:
        answer.end(last)
        return
    answer.write(last)
    raise shared_call.failure


def _client_headers(shared: bytes, client_headers: bytes, context: RequestContext) -> bytes:
    client_headers += b"x-nulpoint-coalesced: 1\r\n"
    return client_headers if b"x-request-id:" in shared else client_headers + header(b"x-request-id", context.id)


def _copy_result(leader: RequestContext, context: RequestContext) -> None:
    context.provider = leader.provider
    context.response_model = leader.response_model
    context.upstream_model = leader.upstream_model
    context.usage = leader.usage
