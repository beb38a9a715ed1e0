"""Remembering a stream on its way to the caller, usage included, so that it can be given out again."""

from nulpoint.protocols.openai.stream import USAGE, StreamTransformer, WrappingTransformer, without_usage


class StreamRecorder(WrappingTransformer):
    """A watcher over another one, whose usage must not be hidden: here it is, with `hide_usage`, from the caller.

    What is longer than `most` bytes is forgotten.
    """

    def __init__(self, inner: StreamTransformer, hide_usage: bool, max_bytes: int) -> None:
        super().__init__(inner)
        self._hide_usage = hide_usage
        self._pieces: list[bytes] | None = []
        self._bytes_left = max_bytes

    def feed(self, data: bytes) -> bytes:
        return self._recorded(self._inner.feed(data))

    def close(self) -> bytes:
        return self._recorded(self._inner.close())

    def _recorded(self, data: bytes) -> bytes:
        if self._pieces is not None and data:
            self._pieces.append(data)
            self._bytes_left -= len(data)
            if self._bytes_left < 0:
                self._pieces = None
        if not self._hide_usage or b"usage" not in data or USAGE.search(data) is None:
            return data
        return without_usage(data)

    def record(self) -> bytes | None:
        """All bytes of the stream; None where they were too many."""
        return None if self._pieces is None else b"".join(self._pieces)
