"""Bringing a provider's answer to the caller: whole, or as a stream that tells the truth about its end."""

import zlib
from typing import Any

import msgspec

from nulpoint.errors import Failure, Kind
from nulpoint.http.reply import Reply
from nulpoint.http.upstream import Upstream
from nulpoint.wire import sse
from nulpoint.wire.provider_error import embedded_error, provider_failure
from nulpoint.wire.stream import Watcher

STREAM_FIELDS = (
    b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"
)
_AUTOMATIC = 32 + zlib.MAX_WBITS  # gzip or zlib, told by the first bytes


def is_stream(connection: Upstream) -> bool:
    return connection.headers.get(b"content-type", b"")[:17].lower() == b"text/event-stream"


async def whole_body(connection: Upstream, limit: int) -> bytes:
    """The body of an answer, decoded where the provider compressed it unasked. Raises Failure."""
    body = await connection.body()
    encoding = connection.headers.get(b"content-encoding", b"identity").lower()
    return body if encoding == b"identity" else _inflate(body, encoding, limit)


def _inflate(body: bytes, encoding: bytes, limit: int) -> bytes:
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        raise _unreadable(f"it is compressed with {encoding.decode('latin-1')[:20]}, which nobody asked for")
    decoder = zlib.decompressobj(_AUTOMATIC)
    try:
        plain = decoder.decompress(body, limit)
    except zlib.error:
        raise _unreadable("its compression is broken") from None
    if decoder.unconsumed_tail:
        raise _unreadable(f"it is over {limit} bytes when decompressed")
    if not decoder.eof:
        raise _unreadable("its compressed body is cut")
    return plain


def check_answer(provider: str, body: bytes, secret: str | None) -> None:
    """Raise Failure for a good status over something that is no answer: not JSON, or an error object."""
    if embedded_error(body):
        raise provider_failure(provider, _embedded_status(body), body, None, secret)
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _unreadable("it is not JSON") from None


def _embedded_status(body: bytes) -> int:
    """Some hosts put the status they meant into `error.code`."""
    answer: Any = msgspec.json.decode(body)
    code = answer["error"].get("code") if isinstance(answer["error"], dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 500


def _unreadable(why: str) -> Failure:
    return Failure(Kind.UPSTREAM, 502, f"the provider's answer cannot be used: {why}", code="provider_malformed")


async def relay_stream(connection: Upstream, reply: Reply, watcher: Watcher, fields: bytes, says_done: bool) -> None:
    """Pass the events on as they come, one write a read.

    Raises Failure when the provider's stream ends before its terminal event (`[DONE]`, or for hosts that never say it
    a finish reason). What has gone out stays: the caller of this function decides how to tell.
    """
    relay = _Relay(reply, watcher, _stream_decoder(connection))
    reply.start(200, fields)
    while not connection.ended:
        await connection.pour(relay.pass_on)
        await reply.drain()
    last = relay.last(connection.take()) + watcher.close()
    if watcher.finished() or (not says_done and watcher.has_finish_reason()):
        reply.end(last)
        return
    if reply.committed or last:
        reply.write(last)
    if watcher.failure is not None:
        raise watcher.failure
    raise Failure(Kind.UPSTREAM, 502, "the stream ended before its answer was whole", code="stream_cut")


class _Relay:
    """Where a stream's reads are poured: one write each. This runs once a chunk, so it calls as little as it can."""

    __slots__ = ("_caller", "_decoder", "_reply", "_watcher")

    def __init__(self, reply: Reply, watcher: Watcher, decoder: Any) -> None:
        self._caller = reply.caller
        self._reply = reply
        self._watcher = watcher
        self._decoder = decoder

    def pass_on(self, data: bytes) -> bool:
        """Says whether the caller reads fast enough to be given more."""
        if self._decoder is not None:
            data = _decompressed(self._decoder, data)
        passed = self._watcher.feed(data)
        if passed:
            self._reply.write(passed)
        return not self._caller.paused

    def last(self, data: bytes) -> bytes:
        """What the caller gets of the last read."""
        if self._decoder is not None and data:
            data = _decompressed(self._decoder, data)
        return self._watcher.feed(data)


def _stream_decoder(connection: Upstream) -> Any:
    encoding = connection.headers.get(b"content-encoding", b"identity").lower()
    if encoding == b"identity":
        return None
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        raise _unreadable(f"it is compressed with {encoding.decode('latin-1')[:20]}, which nobody asked for")
    return zlib.decompressobj(_AUTOMATIC)


def _decompressed(decoder: Any, data: bytes) -> bytes:
    try:
        plain: bytes = decoder.decompress(data, sse.MAX_EVENT_BYTES)
    except zlib.error:
        raise _unreadable("its compression is broken") from None
    if decoder.unconsumed_tail:
        raise _unreadable("it grows too much when decompressed")
    return plain


def error_event(failure: Failure) -> bytes:
    """What a caller is told when a stream is cut: every OpenAI SDK raises on it. No `[DONE]` may follow.

    The empty line first ends whatever event may be open (a very large one is passed on in pieces).
    """
    return b"\n\n" + sse.encode(failure.envelope())
