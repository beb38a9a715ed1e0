"""A watch for configured keys in everything that the gateways of all tests send or log.

tests/integration/test_planted_secrets.py searches the same way in a sweep of everything that can go wrong.
"""

import logging
from typing import Any

from nulpoint.http.server.connection import ServerConnection

PLANTED = b"sk-configured-"  # every configured provider key of a test begins like this
leaks: list[str] = []


def check(where: str, data: bytes) -> None:
    """Record a leak if the data contains a planted key."""
    at = data.find(PLANTED)
    if at >= 0:
        leaks.append(f"{where}: {data[max(0, at - 80) : at + 60]!r}")


class _Tap:
    """The transport of a connection, with a check of everything that is written to the client."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._last = b""

    def write(self, data: bytes) -> None:
        check("a response", self._last + data)
        self._last = data[-len(PLANTED) :]
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _LogTap(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        check("a log", logging.Formatter().format(record).encode())


def install() -> None:
    """Install the watch for the whole test run."""
    connection_made = ServerConnection.connection_made

    def tapped(self: ServerConnection, transport: Any) -> None:
        connection_made(self, _Tap(transport))  # type: ignore[arg-type]  # it forwards every other attribute

    ServerConnection.connection_made = tapped  # type: ignore[method-assign]
    logging.getLogger().addHandler(_LogTap())
