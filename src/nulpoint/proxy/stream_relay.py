"""Bringing a provider's stream to the caller so that it tells the truth about its end."""

import asyncio
import contextlib
import zlib
from typing import Any

from nulpoint.errors import ClientCause, Failure, Kind
from nulpoint.formats import sse
from nulpoint.formats.malformed import unusable_response
from nulpoint.http.client.connection import UpstreamConnection
from nulpoint.http.deadlines import NEVER
from nulpoint.http.message import Headers
from nulpoint.protocols.openai.first_content import FirstContentDetector
from nulpoint.protocols.openai.stream import DONE, StreamTransformer
from nulpoint.proxy.response_body import AUTOMATIC
from nulpoint.proxy.stream_response import StreamResponse

END_SECONDS = 0.5  # after `[DONE]`, for the body to end; nearly always that comes in the same packet
# A read that is nothing but comments shows that the connection lives, not that the answer grows.
_COLON = ord(":")


def is_stream(headers: Headers, content: bytes) -> bool:
    """Whether the answer comes as what this format's streams are."""
    return headers.get(b"content-type", b"")[: len(content)].lower() == content


class StreamRelay:
    """One attempt's stream. Reads are poured into it, first up to the first content, then past it."""

    __slots__ = (
        "_answer",
        "_caller",
        "_connection",
        "_decoder",
        "_end_by",
        "_first_content",
        "_idle",
        "_now",
        "_says_done",
        "_transformer",
        "_write",
        "committed",
    )  # fmt: skip

    def __init__(
        self, connection: UpstreamConnection, answer: StreamResponse, transformer: StreamTransformer, says_done: bool
    ) -> None:
        self._connection = connection
        self._answer = answer
        self._caller = answer.client
        self._write = answer.write
        self._now = asyncio.get_running_loop().time
        self._idle = connection.start_idle_timeout()
        self._transformer = transformer
        self._first_content = FirstContentDetector()
        self._decoder = _stream_decoder(connection)
        self._says_done = says_done
        self._end_by = NEVER
        self.committed = False  # content has come: no other provider can take over

    async def run(self) -> None:
        """Pass the events on as they come, one write a read.

        Raises Failure when the provider's stream ends before its terminal event (`[DONE]`, or for hosts that never say
        it a finish reason: then it is said here), holds an error, goes on after its end, or cannot be read. What has
        gone out stays: the caller of this function decides how to tell.
        """
        connection, transformer = self._connection, self._transformer
        while not connection.ended and not self.committed and not transformer.over:
            await connection.pump_to(self._open)
        while not connection.ended and not transformer.over:
            await self._answer.drain()
            await connection.pump_to(self._pass_on)
        if not connection.ended and transformer.failure is None:
            await self._look_behind_the_end()
        self._finish()

    async def _look_behind_the_end(self) -> None:
        """The provider has said that its answer ends: see whether its body ends there too.

        A caller who has read `[DONE]` reads no further, so it is kept back until then. A provider that leaves its body
        open gets END_SECONDS for it. A connection that breaks here, or says nothing more, takes nothing back.
        """
        self._end_by = self._now() + END_SECONDS
        self._hurry()
        with contextlib.suppress(Failure):
            while not self._connection.ended and self._transformer.failure is None:
                await self._connection.pump_to(self._drop)

    def _hurry(self) -> None:
        self._connection.deadline = min(self._connection.deadline, self._end_by)

    def _drop(self, data: bytes) -> bool:
        self._hurry()  # reading it may have given it more time
        self._transformer.feed(self._plain(data))
        return self._transformer.failure is None

    def _open(self, data: bytes) -> bool:
        """Hold what comes before content. Says whether to go on so."""
        skipped = self._transformer.feed(self._plain(data))
        self._look_at(skipped)
        if self.committed:
            self._answer.write(self._first_content.held())
        if self._transformer.over:
            return False
        if self._first_content.begun and not self.committed:
            self._answer.send_head()
        return not self.committed

    def _look_at(self, skipped: bytes) -> None:
        first_content = self._first_content
        first_content.feed(skipped)
        if skipped and (skipped[0] != _COLON or b"\ndata" in skipped):
            self._connection.progress()
        if first_content.has_content:
            self.committed = True
            self._answer.commit()
            self._connection.lift_deadline()

    def _pass_on(self, data: bytes) -> bool:
        """Says whether the caller reads fast enough to be given more. This runs once a chunk: it calls little."""
        if self._decoder is not None:
            data = self._plain(data)
        skipped = self._transformer.feed(data)
        if skipped:
            self._write(skipped)
            if skipped[0] != _COLON or b"\ndata" in skipped:
                self._connection.deadline = self._now() + self._idle
        return not (self._transformer.over or self._caller.paused)

    def _finish(self) -> None:
        """End the caller's answer. Raises Failure where the provider's did not end, or should not have gone on."""
        transformer = self._transformer
        last = (
            transformer.feed(self._plain(self._connection.take())) if self._connection.ended else b""
        ) + transformer.close()
        if not self.committed:
            self._look_at(last)
            last = self._first_content.held() if self.committed else b""
        finished = transformer.finished()
        if finished or (not self._says_done and transformer.has_finish_reason()):
            if not self.committed:  # a stream with an end and nothing in it
                self.committed = True
                self._answer.commit()
                last = self._first_content.held()
            self._answer.end(last if finished else last + sse.encode(DONE))
            return
        if last:
            self._answer.write(last)
        if transformer.failure is not None:
            raise transformer.failure
        raise Failure(Kind.UPSTREAM, 502, "the stream ended before its answer was whole", code="stream_cut")

    def _plain(self, data: bytes) -> bytes:
        if self._decoder is None or not data:
            return data
        try:
            plain: bytes = self._decoder.decompress(data, sse.MAX_EVENT_BYTES)
        except zlib.error:
            raise unusable_response("its compression is broken") from None
        if self._decoder.unconsumed_tail:
            raise unusable_response("it grows too much when decompressed", ClientCause.OVER_BOUND)
        return plain


def _stream_decoder(connection: UpstreamConnection) -> Any:
    encoding = connection.headers.get(b"content-encoding", b"identity").lower()
    if encoding == b"identity":
        return None
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        raise unusable_response(f"it is compressed with {encoding.decode('latin-1')[:20]}, which nobody asked for")
    return zlib.decompressobj(AUTOMATIC)


def error_event(failure: Failure) -> bytes:
    """What a caller is told when a stream is cut: every OpenAI SDK raises on it. No `[DONE]` may follow.

    The empty line first ends whatever event may be open (a very large one is passed on in pieces).
    """
    return b"\n\n" + sse.encode(failure.envelope())
