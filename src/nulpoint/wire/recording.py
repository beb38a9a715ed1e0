"""Remembering a stream on its way to the caller, usage included, so that it can be given out again."""

from nulpoint.errors import Failure
from nulpoint.wire.stream import USAGE, Watcher, without_usage


class Recorder:
    """A watcher over another one, whose usage must not be hidden: here it is, with `hide_usage`, from the caller.

    What is longer than `most` bytes is forgotten.
    """

    def __init__(self, inner: Watcher, hide_usage: bool, most: int) -> None:
        self._inner = inner
        self._hide_usage = hide_usage
        self._pieces: list[bytes] | None = []
        self._left = most
        self.finished = inner.finished
        self.has_finish_reason = inner.has_finish_reason
        self.facts = inner.facts

    @property
    def failure(self) -> Failure | None:
        return self._inner.failure

    def feed(self, data: bytes) -> bytes:
        data = self._inner.feed(data)
        if self._pieces is not None and data:
            self._pieces.append(data)
            self._left -= len(data)
            if self._left < 0:
                self._pieces = None
        if not self._hide_usage or b"usage" not in data or USAGE.search(data) is None:
            return data
        return without_usage(data)

    def close(self) -> bytes:
        last = self._inner.close()
        if self._pieces is not None:
            self._pieces.append(last)
        return without_usage(last) if self._hide_usage else last

    def record(self) -> bytes | None:
        """All bytes of the stream; None where they were too many."""
        return None if self._pieces is None else b"".join(self._pieces)
