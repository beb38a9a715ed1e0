"""Defines `Failure`, which describes anything that can go wrong with a request, and the error it makes for the client.

Every failure from outside (a socket, TLS, a provider's response) becomes a `Failure` once, in the code that sees it
first. All other code reads `kind`, and never the type of an exception or the text of a message.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Self

import msgspec


class Kind(StrEnum):
    """The kinds of failures. They decide what is done next, and are the `error` label of logs and metrics."""

    REJECTED = "rejected"  # the client's request is wrong, and every provider would reject it
    AUTH = "auth"  # a credential is missing or was refused
    QUOTA = "quota"  # a credential is out of credit, so waiting does not help
    RATE_LIMIT = "rate_limit"  # too many requests for a limit of the gateway or of the provider
    TIMEOUT = "timeout"  # nothing came in time
    CONNECT = "connect"  # no connection to the provider: DNS, TCP, TLS or proxy
    UPSTREAM = "upstream"  # the provider returned an error or a malformed response
    OVERLOADED = "overloaded"  # the gateway itself has no capacity left
    CLIENT_DISCONNECTED = "caller_left"  # the client closed its connection
    INTERNAL = "internal"  # a bug in nulpoint


class Evidence(StrEnum):
    """What a failure says about the health of the provider, which decides whether its circuit breaker counts it."""

    NONE = "none"  # nothing
    OF_ACCOUNT = "account"  # the provider or the account of the key is at fault: counted for configured keys
    OF_PROVIDER = "provider"  # no request and no key can cause it: always counted


_EVIDENCE = {Kind.CONNECT: Evidence.OF_PROVIDER, Kind.UPSTREAM: Evidence.OF_ACCOUNT, Kind.TIMEOUT: Evidence.OF_ACCOUNT}


class ClientCause(StrEnum):
    """Why a failure that looks like the provider's may have been caused by a client, at will, at a healthy provider.

    All clients share a provider's breaker, so what one of them can cause must not open it. Apart from that such a
    failure is like any other of its kind: the client gets the error, and other targets are tried.
    """

    OTHER_FORM = "other_form"  # a body instead of a stream, or the reverse: a host may act on a member we do not know
    OVER_BOUND = "over_bound"  # a response over a limit of the gateway: clients can ask for as much as they like
    DEADLINE = "deadline"  # the request's own: `x-nulpoint-timeout`, or a response longer than REQUEST_TIMEOUT
    NO_PLACE = "no_place"  # all connections to the provider were in use for clients' requests
    REQUEST_UNREAD = "request_unread"  # the host hung up before reading the request, as hosts do if it is too large
    NOTHING_MADE = "nothing_made"  # a valid response in which the provider says that the model produced nothing
    INPUTS_UNMATCHED = "inputs_unmatched"  # not one vector for each input, which is valid without the cache


# The `type` member of an error, in the words of the OpenAI API.
ERROR_TYPES = {
    Kind.REJECTED: "invalid_request_error",
    Kind.AUTH: "authentication_error",
    Kind.QUOTA: "insufficient_quota",
    Kind.RATE_LIMIT: "rate_limit_error",
    Kind.TIMEOUT: "timeout_error",
    Kind.CONNECT: "api_error",
    Kind.UPSTREAM: "api_error",
    Kind.OVERLOADED: "overloaded_error",
    Kind.CLIENT_DISCONNECTED: "api_error",
    Kind.INTERNAL: "internal_error",
}


class Failure(Exception):
    """The reason why a request cannot be served. It never changes; the `with_` methods return a changed copy.

    Fields:
        status: the HTTP status for the client.
        message: the text for the client: what is wrong and what to do. It never contains a credential.
        retry_after: in seconds.
        provider_status: the status of the provider's response, or 0 if there was no complete response.
        wait_guessed: `retry_after` is the gateway's own, because the provider named no time.
        client_cause: set if a client can cause this failure at will.
        attempts: what was tried before the gateway gave up, for the error's JSON object.
        inner_error: what a provider reported beyond the usual members, shown to the client as `innererror`.
        headers: further header lines for the client, such as those of the provider's response.
    """

    kind: Kind
    status: int
    message: str
    code: str | None
    param: str | None
    retry_after: float | None
    type: str
    provider_status: int
    wait_guessed: bool
    client_cause: ClientCause | None
    attempts: Sequence[dict[str, Any]]
    inner_error: dict[str, Any] | None
    headers: bytes

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
        provider_status: int = 0,
        wait_guessed: bool = False,
        client_cause: ClientCause | None = None,
        inner_error: dict[str, Any] | None = None,
        headers: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.__dict__.update(
            kind=kind,
            status=status,
            message=message,
            code=code,
            param=param,
            retry_after=retry_after,
            type=type or ERROR_TYPES[kind],
            provider_status=provider_status,
            wait_guessed=wait_guessed,
            client_cause=client_cause,
            attempts=(),
            inner_error=inner_error,
            headers=headers,
        )

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse to change an attribute. A subclass may set one of its own, once."""
        if name in self.__dict__:
            raise AttributeError(f"a Failure is immutable; make a copy with another {name}")
        super().__setattr__(name, value)

    def with_attempts(self, attempts: Sequence[dict[str, Any]]) -> Self:
        return self._with(attempts=attempts)

    def with_headers(self, headers: bytes) -> Self:
        return self._with(headers=headers)

    def with_retry_after(self, seconds: float) -> Self:
        return self._with(retry_after=seconds)

    def with_texts(
        self, message: str, code: str | None, param: str | None, type: str, inner_error: dict[str, Any] | None
    ) -> Self:
        """Return a copy with other texts, for instance after a credential was removed from them."""
        return self._with(message=message, code=code, param=param, type=type, inner_error=inner_error)

    def _with(self, **changes: Any) -> Self:
        copy = self.__class__.__new__(self.__class__)
        copy.__dict__.update(self.__dict__, **changes)
        copy.args = (copy.message,)
        return copy.with_traceback(self.__traceback__)

    @property
    def named_wait(self) -> float | None:
        """The wait in seconds that the provider itself asked for."""
        return None if self.wait_guessed else self.retry_after

    @property
    def evidence(self) -> Evidence:
        """What the failure says about the provider. A 4xx is always about the request or the key."""
        if self.client_cause is not None or 400 <= self.provider_status < 500:
            return Evidence.NONE
        return _EVIDENCE.get(self.kind, Evidence.NONE)

    def envelope(self) -> bytes:
        """Return the failure as the JSON body of a response, in the shape of OpenAI's errors."""
        return msgspec.json.encode({"error": self.error_object()})

    def error_object(self) -> dict[str, Any]:
        """Return the value of the member `error`."""
        error: dict[str, Any] = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        if self.inner_error is not None:
            error["innererror"] = self.inner_error
        if self.attempts:
            error["attempts"] = self.attempts
        return error


def rejected(message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> Failure:
    """Return the failure for a mistake of the client. `param` names the member or header that is wrong."""
    return Failure(Kind.REJECTED, status, message, param=param, code=code)
