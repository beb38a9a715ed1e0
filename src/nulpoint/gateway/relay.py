"""Bringing a provider's stream to the caller so that it tells the truth about its end."""

import asyncio
import zlib
from typing import Any

from nulpoint.errors import Failure, Kind
from nulpoint.gateway.stream_answer import StreamAnswer
from nulpoint.gateway.whole import AUTOMATIC, embedded_status, unreadable
from nulpoint.http.upstream import Upstream
from nulpoint.wire import sse
from nulpoint.wire.opening import Opening, is_error
from nulpoint.wire.provider_error import provider_failure
from nulpoint.wire.stream import Watcher

# A read that is nothing but comments shows that the connection lives, not that the answer grows.
_COLON = ord(":")
_ERROR = b'"error"'  # within text its quotes would be escaped
MOST_HELD = 65_536  # bytes held back for want of content; then they pass, whatever they are


def is_stream(connection: Upstream) -> bool:
    return connection.headers.get(b"content-type", b"")[:17].lower() == b"text/event-stream"


class Relay:
    """One attempt's stream. Reads are poured into it, first up to the first content, then past it."""

    __slots__ = ("_answer", "_caller", "_connection", "_decoder", "_idle", "_now", "_opening", "_provider",
                 "_says_done", "_secret", "_watcher", "_write", "committed", "failed")  # fmt: skip

    def __init__(
        self, connection: Upstream, answer: StreamAnswer, watcher: Watcher, provider: str, secret: str | None,
        says_done: bool,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._answer = answer
        self._caller = answer.caller
        self._write = answer.write
        self._now = asyncio.get_running_loop().time
        self._idle = connection.pace()
        self._watcher = watcher
        self._opening = Opening()
        self._decoder = _stream_decoder(connection)
        self._provider = provider
        self._secret = secret
        self._says_done = says_done
        self.committed = False  # content has come, or too much without: no other provider can take over
        self.failed = False  # the provider itself said so

    async def run(self) -> None:
        """Pass the events on as they come, one write a read.

        Raises Failure when the provider's stream ends before its terminal event (`[DONE]`, or for hosts that never say
        it a finish reason). What has gone out stays: the caller of this function decides how to tell.
        """
        try:
            await self._run()
        except (sse.TooLarge, UnicodeDecodeError, RecursionError):
            raise unreadable("an event of its stream is too large, too deep, or no text") from None
        except Failure:
            if self.failed or not self.committed or not self._watcher.finished():
                raise
            self._answer.end(b"")  # the connection broke when all had been said

    async def _run(self) -> None:
        connection, answer = self._connection, self._answer
        while not connection.ended and not self.committed:
            await connection.pour(self._open)
        if self.committed:
            while not connection.ended:
                await connection.pour(self._pass_on)
                await answer.drain()
        passed = self._watcher.feed(self._plain(connection.take()))
        self._finish(passed, self._watcher.close())

    def _open(self, data: bytes) -> bool:
        """Hold what comes before content. Says whether to go on so."""
        passed = self._watcher.feed(self._plain(data))
        self._look_at(passed)
        if self.committed:
            self._give(self._opening.held())
        if self._watcher.failure is not None:
            raise self._watcher.failure
        if self._opening.begun and not self.committed:
            self._answer.show_head()
        return not self.committed

    def _look_at(self, passed: bytes) -> None:
        opening = self._opening
        opening.feed(passed)
        if opening.error is not None:
            raise self._said(opening.error)
        if passed and (passed[0] != _COLON or b"\ndata" in passed):
            self._connection.progress()
        if opening.has_content or opening.size > MOST_HELD:
            self.committed = True
            self._answer.commit()
            self._connection.may_go_on()

    def _pass_on(self, data: bytes) -> bool:
        """Says whether the caller reads fast enough to be given more. This runs once a chunk: it calls little."""
        if self._decoder is not None:
            data = self._plain(data)
        passed = self._watcher.feed(data)
        if passed:
            if _ERROR in passed:
                self._stop_at_error(passed)
            self._write(passed)
            if passed[0] != _COLON or b"\ndata" in passed:
                self._connection.deadline = self._now() + self._idle
        if self._watcher.failure is not None:
            raise self._watcher.failure
        return not self._caller.paused

    def _give(self, passed: bytes) -> None:
        if _ERROR in passed:
            self._stop_at_error(passed)
        self._write(passed)

    def _stop_at_error(self, passed: bytes) -> None:
        """Give what comes before an event that says the provider failed, and raise that as a Failure.

        The caller is told once, and no `[DONE]` that may follow it gets through.
        """
        splitter = sse.Splitter()
        before: list[bytes] = []
        for block in [*splitter.feed(passed), splitter.rest()]:
            event = sse.parse(block) if _ERROR in block else None
            if event is not None and is_error(event.data):
                self._write(b"".join(before))
                raise self._said(event.data)
            before.append(block)

    def _said(self, error: bytes) -> Failure:
        """The failure the provider itself told of in its stream."""
        self.failed = True
        return provider_failure(self._provider, embedded_status(error), error, None, self._secret)

    def _finish(self, passed: bytes, rest: bytes) -> None:
        """The provider has sent everything; `rest` is what lacks the end of its event."""
        watcher = self._watcher
        whole = watcher.finished() or (not self._says_done and watcher.has_finish_reason())
        if whole:
            passed += rest
        if not self.committed:
            self._look_at(passed)
            if whole and not self.committed:  # a stream with an end and nothing in it
                self.committed = True
                self._answer.commit()
            passed = self._opening.held() if self.committed else b""
        if _ERROR in passed:
            self._stop_at_error(passed)
        if whole:
            self._answer.end(passed)
            return
        if passed:
            self._answer.write(passed)
        if watcher.failure is not None:
            raise watcher.failure
        raise Failure(Kind.UPSTREAM, 502, "the stream ended before its answer was whole", code="stream_cut")

    def _plain(self, data: bytes) -> bytes:
        if self._decoder is None or not data:
            return data
        try:
            plain: bytes = self._decoder.decompress(data, sse.MAX_EVENT_BYTES)
        except zlib.error:
            raise unreadable("its compression is broken") from None
        if self._decoder.unconsumed_tail:
            raise unreadable("it grows too much when decompressed")
        return plain


def _stream_decoder(connection: Upstream) -> Any:
    encoding = connection.headers.get(b"content-encoding", b"identity").lower()
    if encoding == b"identity":
        return None
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        raise unreadable(f"it is compressed with {encoding.decode('latin-1')[:20]}, which nobody asked for")
    return zlib.decompressobj(AUTOMATIC)


def error_event(failure: Failure) -> bytes:
    """What a caller is told when a stream is cut: every OpenAI SDK raises on it. No `[DONE]` may follow.

    The empty line first ends whatever event may be open (a very large one is passed on in pieces).
    """
    return b"\n\n" + sse.encode(failure.envelope())
