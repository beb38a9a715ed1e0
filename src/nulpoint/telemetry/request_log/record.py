"""The record of one request, from which its log line and its metrics are made."""

from datetime import datetime

import msgspec

from nulpoint.conversation.usage import Usage


class AttemptRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """An attempt, or a target that was skipped (with `ms` 0).

    `outcome` is `ok`, an `errors.Kind`, or why the target was skipped. `at` is when the attempt began, in milliseconds
    after the request's last byte.
    """

    provider: str
    model: str
    outcome: str
    ms: int
    code: str = ""
    at: int = 0


class RequestRecord(msgspec.Struct, omit_defaults=True):
    """The fields of a log record. Times are in microseconds and sizes in bytes. Unknown values are left out."""

    time: datetime
    level: str
    id: str
    route: str
    method: str
    status: int
    model: str = ""  # as the client requested it
    provider: str = ""
    answered_model: str = ""  # as the provider named it; else the name in the request to it
    stream: bool = False
    first_byte_us: int | None = None  # from the request's last byte to the first byte of the provider's response
    total_us: int = 0
    added_us: int = 0  # the part of the time to the first byte that was spent in the gateway
    usage: Usage | None = None
    coalesced: bool = False  # the request shared the call of another request
    cache: str = ""  # HIT, MISS or BYPASS if there is a cache
    limit: str = ""  # the decision of the rate limits if there are any
    attempts: list[AttemptRecord] = []  # all attempts and skipped targets, in order
    bytes_in: int = 0
    bytes_out: int = 0
    key: str = ""  # the first 48 bits of the SHA-256 of the client's key, if clients have keys
    cost: float | None = None  # dollars; None if usage or price is unknown, 0 if no provider was paid
    saved: float | None = None  # dollars saved by the cache or a shared call
    first_token_us: int | None = None  # for a stream: from the request's last byte to the first content
    error: str = ""  # an `errors.Kind`
    code: str = ""
    message: str = ""
    request_body: str = ""  # both bodies only if LOG_BODIES asks for them
    response_body: str = ""
