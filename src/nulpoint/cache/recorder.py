"""Records a stream, usage included, on its way to the client, so that it can be cached."""

from collections.abc import Callable

from nulpoint.errors import Failure
from nulpoint.protocols.openai.usage import ResponseMetadata
from nulpoint.protocols.stream_transformer import StreamTransformer


class StreamRecorder:
    """Records the output of another transformer, which must not hide the usage.

    `without_usage` removes what is recorded but not passed on to the client, if anything. A stream longer than
    `max_bytes` is not recorded.
    """

    def __init__(
        self, inner: StreamTransformer, without_usage: Callable[[bytes], bytes] | None, max_bytes: int
    ) -> None:
        self._inner = inner
        self._without_usage = without_usage
        self._pieces: list[bytes] | None = []
        self._bytes_left = max_bytes

    def feed(self, data: bytes) -> bytes:
        return self._recorded(self._inner.feed(data))

    def close(self) -> bytes:
        return self._recorded(self._inner.close())

    @property
    def failure(self) -> Failure | None:
        return self._inner.failure

    @property
    def over(self) -> bool:
        return self._inner.over

    def finished(self) -> bool:
        return self._inner.finished()

    def metadata(self) -> ResponseMetadata:
        return self._inner.metadata()

    def error(self, failure: Failure) -> bytes:
        return self._inner.error(failure)

    def _recorded(self, data: bytes) -> bytes:
        if self._pieces is not None and data:
            self._pieces.append(data)
            self._bytes_left -= len(data)
            if self._bytes_left < 0:
                self._pieces = None
        return data if self._without_usage is None or b"usage" not in data else self._without_usage(data)

    def record(self) -> bytes | None:
        """Return all bytes of the stream; None if there were too many."""
        return None if self._pieces is None else b"".join(self._pieces)
