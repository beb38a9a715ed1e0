"""What can go wrong with a request, as one value, and how a caller is told: the OpenAI error envelope.

Every foreign failure (socket, TLS, provider answer) is turned into a `Failure` once, at the border where it is seen.
Above that border code reads `kind`, never an exception type and never prose.
"""

from enum import StrEnum
from typing import Any

import msgspec


class Kind(StrEnum):
    """Whose fault a failure is and what may be done about it; also the `error` label of logs and metrics."""

    REJECTED = "rejected"  # the caller's request is wrong; nobody else would take it either
    AUTH = "auth"  # a credential is missing or refused
    QUOTA = "quota"  # a credential's credit is used up: waiting does not help
    RATE_LIMIT = "rate_limit"  # too many requests, ours or the provider's limit
    TIMEOUT = "timeout"  # nothing came in time
    CONNECT = "connect"  # no connection to the provider: DNS, TCP, TLS or proxy
    UPSTREAM = "upstream"  # the provider answered, but with a failure or with nonsense
    OVERLOADED = "overloaded"  # the gateway itself has no room
    CALLER_LEFT = "caller_left"  # nobody is there to be told
    INTERNAL = "internal"  # a bug of ours


class Evidence(StrEnum):
    """What a failure says about the health of the provider, and so whether its circuit breaker counts it."""

    NONE = "none"  # nothing
    OF_ACCOUNT = "account"  # the provider is unwell, or the account whose key was sent is: counted for configured keys
    OF_PROVIDER = "provider"  # no request and no key can cause it: always counted


_EVIDENCE = {Kind.CONNECT: Evidence.OF_PROVIDER, Kind.UPSTREAM: Evidence.OF_ACCOUNT, Kind.TIMEOUT: Evidence.OF_ACCOUNT}


class CallerCause(StrEnum):
    """Why a failure that looks like the provider's may be one that a caller caused, at will, at a healthy provider.

    All callers share the breaker of a provider, so what one of them can cause must not open it. Such a failure is told
    to the caller, and other targets are tried, like any other of its kind.
    """

    OTHER_FORM = "other_form"  # a whole answer for a stream, or the reverse: a host may read a member we do not know
    OVER_BOUND = "over_bound"  # an answer over one of our own bounds: callers can ask for as much as they like
    DEADLINE = "deadline"  # the request's own: `x-nulpoint-timeout`, or an answer longer than REQUEST_TIMEOUT
    NO_PLACE = "no_place"  # all connections to the provider were busy with callers' requests
    REQUEST_UNREAD = "request_unread"  # it hung up before it had read the request, as hosts do with what is too large
    NOTHING_MADE = "nothing_made"  # a proper answer in which the provider says that the model has made none
    INPUTS_UNMATCHED = "inputs_unmatched"  # vectors that are not one for each input: right without the cache


# The `type` field of the envelope, in the words the OpenAI API uses.
ENVELOPE_TYPES = {
    Kind.REJECTED: "invalid_request_error",
    Kind.AUTH: "authentication_error",
    Kind.QUOTA: "insufficient_quota",
    Kind.RATE_LIMIT: "rate_limit_error",
    Kind.TIMEOUT: "timeout_error",
    Kind.CONNECT: "api_error",
    Kind.UPSTREAM: "api_error",
    Kind.OVERLOADED: "overloaded_error",
    Kind.CALLER_LEFT: "api_error",
    Kind.INTERNAL: "internal_error",
}


class Failure(Exception):  # noqa: N818  # it is what a client is told, not what went wrong in this program
    """A request that cannot be answered as asked.

    `status` is what the caller sees. `retry_after` is in seconds. `message` is shown to the caller: it names what is
    wrong and what to do, and never holds a credential. `answered` is the status a provider answered with, 0 where it
    gave no complete answer. `wait_guessed`: the provider named no time, `retry_after` is ours. `caller_cause` is set
    where a caller can bring it about at will. `attempts` tells what was tried before the request was given up.
    """

    def __init__(
        self,
        kind: Kind,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        type: str | None = None,
        answered: int = 0,
        wait_guessed: bool = False,
        caller_cause: CallerCause | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after
        self.type = type or ENVELOPE_TYPES[kind]
        self.answered = answered
        self.wait_guessed = wait_guessed
        self.caller_cause = caller_cause
        self.attempts: list[dict[str, Any]] = []
        self.inner: dict[str, Any] | None = None  # what a provider tells beyond the envelope, as `innererror`
        self.fields = b""  # of the provider's answer: header fields that go to the caller with it

    @property
    def named_wait(self) -> float | None:
        """The seconds the provider itself asked to wait."""
        return None if self.wait_guessed else self.retry_after

    @property
    def evidence(self) -> Evidence:
        """What it says about the health of the provider. A 4xx is about the request or the key, never about that."""
        if self.caller_cause is not None or 400 <= self.answered < 500:
            return Evidence.NONE
        return _EVIDENCE.get(self.kind, Evidence.NONE)

    def envelope(self) -> bytes:
        """The failure as the JSON body of an answer, in the OpenAI error shape."""
        return msgspec.json.encode({"error": self._fields()})

    def _fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "message": self.message, "type": self.type, "param": self.param, "code": self.code
        }  # fmt: skip
        if self.inner is not None:
            fields["innererror"] = self.inner
        return {**fields, "attempts": self.attempts} if self.attempts else fields


def rejected(message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> Failure:
    """The caller's own mistake, named by field."""
    return Failure(Kind.REJECTED, status, message, param=param, code=code)
