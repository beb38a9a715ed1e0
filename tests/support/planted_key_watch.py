"""The keys that the tests' gateways are given, and a look for them in all that these gateways say, in every test.

S01 has a sweep of its own with everything that can go wrong (tests/integration/test_planted_secrets.py); this is the same look over the whole run.
"""

import logging
from typing import Any

from nulpoint.http.server.connection import ServerConnection

PLANTED = b"sk-configured-"  # every configured provider key of a test begins like this
leaks: list[str] = []


def look(where: str, data: bytes) -> None:
    """Note it where a planted key is in there."""
    at = data.find(PLANTED)
    if at >= 0:
        leaks.append(f"{where}: {data[max(0, at - 80) : at + 60]!r}")


class _Tap:
    """A connection's transport, with a look at what is written to the caller."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._last = b""

    def write(self, data: bytes) -> None:
        look("an answer", self._last + data)
        self._last = data[-len(PLANTED) :]
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _LogTap(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        look("a log", logging.Formatter().format(record).encode())


def install() -> None:
    """For the whole run."""
    connection_made = ServerConnection.connection_made

    def tapped(self: ServerConnection, transport: Any) -> None:
        connection_made(self, _Tap(transport))  # type: ignore[arg-type]  # it passes everything on

    ServerConnection.connection_made = tapped  # type: ignore[method-assign]
    logging.getLogger().addHandler(_LogTap())
