"""The record of one request: what the log line says and the metrics count."""

from datetime import datetime

import msgspec

from nulpoint.protocols.openai.usage import Usage


class AttemptRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One attempt, or one target passed over (`ms` 0).

    `outcome`: `ok`, an `errors.Kind`, or why it was passed over. `at`: milliseconds from the request's last byte to its
    begin.
    """

    provider: str
    model: str
    outcome: str
    ms: int
    code: str = ""
    at: int = 0


class RequestRecord(msgspec.Struct, omit_defaults=True):
    """Times in microseconds, sizes in bytes. What is not known is left out."""

    time: datetime
    level: str
    id: str
    route: str
    method: str
    status: int
    model: str = ""  # as the caller asked
    provider: str = ""
    answered_model: str = ""  # as the provider says; the name sent to it where it does not
    stream: bool = False
    first_byte_us: int | None = None  # from the request's last byte to the first byte of the provider's answer
    total_us: int = 0
    added_us: int = 0  # the part of the way to the first byte that was spent in the gateway itself
    usage: Usage | None = None
    coalesced: bool = False  # the answer to another caller's request was shared
    cache: str = ""  # HIT, MISS or BYPASS, where there is a cache
    limit: str = ""  # what the rate limits said, where there are any
    attempts: list[AttemptRecord] = []  # every one that was made, and targets passed over on the way
    bytes_in: int = 0
    bytes_out: int = 0
    key: str = ""  # of the caller: the first 48 bits of its SHA-256, where callers are told apart
    cost: float | None = None  # dollars; None where usage or price is not known, 0 where nothing was bought
    saved: float | None = None  # what it would have cost, had the cache or another caller's call not answered it
    first_token_us: int | None = None  # of a stream: from the request's last byte to its first content
    error: str = ""  # an `errors.Kind`
    code: str = ""
    message: str = ""
    request_body: str = ""  # these two only by LOG_BODIES
    response_body: str = ""
