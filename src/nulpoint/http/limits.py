"""What a caller or a provider may take of us: sizes in bytes, times in seconds."""

import msgspec


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits on the caller's side."""

    max_connections: int = 100_000  # more are told to come again, and far more are dropped
    max_head: int = 32 * 1024
    max_headers: int = 100
    max_body: int = 20 * 1024 * 1024
    head_timeout: float = 10.0
    body_timeout: float = 30.0  # grace on top of what `body_min_rate` allows
    body_min_rate: int = 1024  # bytes a second
    keepalive_timeout: float = 75.0
    write_timeout: float = 60.0  # without any progress
    stream_buffer: int = 128 * 1024  # bytes held for one caller between the provider's socket and the caller's


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits on the provider's side."""

    connect_timeout: float = 5.0  # DNS, TCP, proxy and TLS together
    first_byte_timeout: float = 30.0
    read_timeout: float = 120.0  # between two reads of one answer
    write_timeout: float = 30.0  # without any progress
    idle_timeout: float = 30.0  # a kept connection, when its origin says nothing else
    max_connections: int = 1000  # an origin
    wait_timeout: float = 5.0  # for one of them to come free
    max_head: int = 64 * 1024
    max_body: int = 64 * 1024 * 1024
