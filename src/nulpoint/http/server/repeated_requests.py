"""Requests that come again, byte for byte, and can be answered at once: they need not be read again.

Reading a request and asking what it means costs most of an answer from memory. Equal bytes mean the same while the
gateway runs, so what was found out for them is kept under their SHA-256: nothing of a request itself, least of all its
key, is stored.
"""

from collections.abc import Callable
from hashlib import sha256

from nulpoint.http.server.response import Repeat

MOST_BYTES = 4096  # of a request, head and body; hashing costs a microsecond for each 2 kB
MOST = 4096  # requests that are known; about a kilobyte each


class Again:
    """The ones that are known, or have been seen once: most requests never come again, and nothing is made for them."""

    def __init__(self) -> None:
        self._known: dict[bytes, Repeat | None] = {}

    def find(self, data: bytes) -> Repeat | None:
        """`data`: all that has come of a request."""
        return self._known.get(sha256(data).digest()) if len(data) <= MOST_BYTES else None

    def note(self, data: bytes, make: Callable[[], Repeat | None]) -> None:
        """`data` is exactly one request, and was answered at once."""
        if len(data) > MOST_BYTES:
            return
        key = sha256(data).digest()
        if key in self._known:
            self._known[key] = make()
            return
        if len(self._known) >= MOST:
            del self._known[next(iter(self._known))]
        self._known[key] = None
