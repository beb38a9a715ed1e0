"""Relays a provider's stream to the client. A stream that was cut is never presented as complete."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from nulpoint.errors import Failure, Kind
from nulpoint.formats import sse
from nulpoint.http.client.connection import UpstreamConnection
from nulpoint.http.deadlines import NEVER
from nulpoint.http.message import Headers
from nulpoint.protocols.client_protocol import ConversationFormat
from nulpoint.protocols.first_content import FirstContentDetector
from nulpoint.protocols.stream_transformer import StreamTransformer
from nulpoint.proxy.response_body import decompressor_for
from nulpoint.proxy.streaming.response import StreamResponse

END_SECONDS = 0.5  # for the body to end after `[DONE]`; nearly always its end is in the same packet
# A read that has only comments shows that the connection is alive, but not that the response makes progress.
_COLON = ord(":")
# Returns the connection of the next stream of a response, which is committed or not, or None after the last stream.
NextPart = Callable[[bool], Awaitable[UpstreamConnection | None]]


def is_stream(headers: Headers, content: bytes) -> bool:
    """Return whether a response has the content type of this wire format's streams."""
    return headers.get(b"content-type", b"")[: len(content)].lower() == content


class StreamRelay:
    """Relays the stream of one attempt: first it holds events back up to the first content, then it passes them on."""

    __slots__ = (
        "_check_silence",
        "_client",
        "_connection",
        "_decompressor",
        "_end_by",
        "_first_content",
        "_idle",
        "_now",
        "_stream",
        "_transformer",
        "_write",
        "committed",
    )  # fmt: skip

    def __init__(
        self,
        connection: UpstreamConnection,
        stream: StreamResponse,
        transformer: StreamTransformer,
        client_format: ConversationFormat,
        check_silence: Callable[[bytes, bool], None],
    ) -> None:
        """`client_format` is that of the events which the client gets.

        `check_silence` is called with all events of a stream without content, and with whether it is complete. It
        raises Failure if that is an error.
        """
        self._check_silence = check_silence
        self._connection = connection
        self._stream = stream
        self._client = stream.client
        self._write = stream.writer()
        self._now = asyncio.get_running_loop().time
        self._idle = connection.start_idle_timeout()
        self._transformer = transformer
        self._first_content = FirstContentDetector(client_format.has_content)
        self._decompressor = decompressor_for(connection.headers)
        self._end_by = NEVER
        self.committed = False  # content has been sent, so that no other provider can take over

    async def run(self, next_part: NextPart | None = None) -> None:
        """Pass the events on as they arrive, with one write for each read.

        `next_part` is given if the provider may send the response in several streams. Raises Failure if the provider's
        stream ends before its terminal event, contains an error, goes on after its end, or cannot be read. If events
        have been sent to the client already, the caller has to report the failure inside the stream.
        """
        await self._relay_stream()
        while next_part is not None and await self._continue(next_part):
            await self._relay_stream()
        self._finish()

    async def _relay_stream(self) -> None:
        connection, transformer = self._connection, self._transformer
        while not connection.ended and not self.committed and not transformer.over:
            await connection.pump_to(self._open)
        while not connection.ended and not transformer.over:
            await self._stream.drain()
            await connection.pump_to(self._pass_on)
        if not connection.ended and transformer.failure is None:
            await self._check_end_of_body()

    async def _continue(self, next_part: NextPart) -> bool:
        """Go on with the next stream of the response. Return whether there is one."""
        if not self._connection.ended or self._transformer.over:
            return False
        events = self._transformer.feed(self._plain(self._connection.take()) + b"\n\n")  # ends the last event
        if self.committed:
            self._stream.write(events)
        else:
            self._check_events(events)
            if self.committed:
                self._stream.write(self._first_content.take_held())
        connection = await next_part(self.committed)
        if connection is None:
            return False
        self._connection = connection
        self._idle = connection.start_idle_timeout()
        self._decompressor = decompressor_for(connection.headers)
        if self.committed:
            connection.lift_deadline()
        return True

    async def _check_end_of_body(self) -> None:
        """Wait for the end of the body after the terminal event, in case an error follows.

        A client stops reading at `[DONE]`, so that event is held back until then. The body has END_SECONDS to end. If
        the connection breaks in this time, or stays silent, the response still counts as complete.
        """
        self._end_by = self._now() + END_SECONDS
        self._hurry()
        with contextlib.suppress(Failure):
            while not self._connection.ended and self._transformer.failure is None:
                await self._connection.pump_to(self._drop)

    def _hurry(self) -> None:
        self._connection.deadline = min(self._connection.deadline, self._end_by)

    def _drop(self, data: bytes) -> bool:
        self._hurry()  # the read may have extended the deadline
        self._transformer.feed(self._plain(data))
        return self._transformer.failure is None

    def _open(self, data: bytes) -> bool:
        """Hold events back until there is content. Return whether to go on like this. Raises Failure for an error."""
        events = self._transformer.feed(self._plain(data))
        self._check_events(events)
        if self.committed:
            self._stream.write(self._first_content.take_held())
        if self._transformer.over:
            return False
        if self._first_content.has_event and not self.committed:
            self._check_silence(events, False)
            self._stream.send_head()
        return not self.committed

    def _check_events(self, events: bytes) -> None:
        """Pass the second commit point if there is content among the events."""
        first_content = self._first_content
        first_content.feed(events)
        if events and (events[0] != _COLON or b"\ndata" in events):
            self._connection.progress()
        if first_content.has_content:
            self.committed = True
            self._stream.commit(self._transformer.error)
            self._connection.lift_deadline()

    def _pass_on(self, data: bytes) -> bool:
        """Send events to the client. Return whether it reads fast enough to get more.

        This runs once for each chunk, so it makes few calls.
        """
        if self._decompressor is not None:
            data = self._plain(data)
        events = self._transformer.feed(data)
        if events:
            self._write(events)
            if events[0] != _COLON or b"\ndata" in events:
                self._connection.deadline = self._now() + self._idle
        return not (self._transformer.over or self._client.paused)

    def _finish(self) -> None:
        """End the response to the client. Raises Failure if the provider's stream did not end properly."""
        transformer = self._transformer
        last = (
            transformer.feed(self._plain(self._connection.take())) if self._connection.ended else b""
        ) + transformer.close()
        if not self.committed:
            self._check_events(last)
            if not self.committed and transformer.failure is None:
                self._check_silence(self._first_content.held(), transformer.finished())
            last = self._first_content.take_held() if self.committed else b""
        if transformer.finished():
            if not self.committed:  # a complete stream without content
                self.committed = True
                self._stream.commit(self._transformer.error)
                last = self._first_content.take_held()
            self._stream.end(last)
            return
        if last:
            self._stream.write(last)
        if transformer.failure is not None:
            raise transformer.failure
        raise Failure(Kind.UPSTREAM, 502, "the stream ended before the response was complete", code="stream_cut")

    def _plain(self, data: bytes) -> bytes:
        return data if self._decompressor is None or not data else self._decompressor.feed(data, sse.MAX_EVENT_BYTES)
