"""Limits on what clients and providers may use. Sizes are in bytes, times in seconds.

The fields have the names of the settings that they hold.
"""

import msgspec


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits on the connections from clients."""

    max_connections: int = 100_000  # those just above this get a 503, and those far above it are closed
    max_head_bytes: int = 32 * 1024
    max_headers: int = 100
    max_body_bytes: int = 20 * 1024 * 1024
    head_timeout: float = 10.0
    body_timeout: float = 30.0  # in addition to the time that `body_min_rate` allows
    body_min_rate: int = 1024  # bytes a second
    keepalive_timeout: float = 75.0
    write_timeout: float = 60.0  # without any progress
    stream_buffer_bytes: int = 128 * 1024  # bytes kept for one client between the provider's socket and the client's


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits on the connections to providers."""

    connect_timeout: float = 5.0  # for DNS, TCP, proxy and TLS together
    provider_timeout: float = 30.0
    stream_idle_timeout: float = 120.0  # between two reads of one response
    upstream_write_timeout: float = 30.0  # without any progress
    upstream_idle_timeout: float = 30.0  # for an idle connection, unless its origin has a timeout of its own
    upstream_max_connections: int = 1000  # to one origin
    upstream_wait_timeout: float = 5.0  # for a connection, when all are in use
    upstream_max_head_bytes: int = 64 * 1024
    upstream_max_body_bytes: int = 64 * 1024 * 1024
