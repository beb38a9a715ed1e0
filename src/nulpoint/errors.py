"""Describes everything that can go wrong with a request as one value, `Failure`.

How a client is told depends on the API that it speaks; that is in `protocols/`.

Errors from sockets, TLS and provider responses are turned into a `Failure` once, where they are first seen. All other
code decides by `kind` alone. It never looks at exception types or at message text.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self


class Kind(StrEnum):
    """Whose fault a failure is and how it may be handled. It is also the `error` label in logs and metrics."""

    REJECTED = "rejected"  # the request is wrong, or cannot be expressed at this provider
    NOT_FOUND = "not_found"  # the provider does not have the model; another one may
    TOO_LONG = "too_long"  # the request is too long for the model at this provider; another one may accept it
    AUTH = "auth"  # a credential is missing or was rejected
    QUOTA = "quota"  # the credit of a credential is used up, so waiting does not help
    RATE_LIMIT = "rate_limit"  # too many requests, by the gateway's limit or the provider's
    TIMEOUT = "timeout"  # no response came in time
    CONNECT = "connect"  # no connection to the provider: DNS, TCP, TLS or proxy
    UPSTREAM = "upstream"  # the provider's response is an error or cannot be read
    OVERLOADED = "overloaded"  # the gateway has no capacity left
    CLIENT_DISCONNECTED = "caller_left"  # the client has closed its connection
    INTERNAL = "internal"  # a bug in the gateway


class Evidence(StrEnum):
    """The meaning of a failure for the health of the provider, which decides whether the circuit breaker counts it."""

    NONE = "none"  # it says nothing about the provider
    ACCOUNT = "account"  # the provider or the account of the API key has a problem; counted for configured keys only
    PROVIDER = "provider"  # no request and no key can cause it, so it is always counted


_EVIDENCE = {Kind.CONNECT: Evidence.PROVIDER, Kind.UPSTREAM: Evidence.ACCOUNT, Kind.TIMEOUT: Evidence.ACCOUNT}


class ClientCause(StrEnum):
    """Why a client may have caused, at will, a failure that looks like the provider's.

    All clients share the circuit breaker of a provider, so nothing that a single client can cause may open it. Apart
    from that, such a failure is handled like any other of its kind: it is reported and other targets are tried.
    """

    # The response is a stream although none was requested, or the reverse: a host may read a member that the gateway
    # does not know.
    STREAM_MISMATCH = "stream_mismatch"
    OVER_LIMIT = "over_limit"  # the response exceeds a limit of the gateway, and clients can ask for long responses
    DEADLINE = "deadline"  # the deadline of the request: `x-nulpoint-timeout`, or REQUEST_TIMEOUT for a long response
    NO_FREE_CONNECTION = "no_free_connection"  # all connections to the provider were busy with requests of clients
    REQUEST_UNREAD = "request_unread"  # the host hung up before it read the request, often because it is too large
    NO_OUTPUT = "no_output"  # the response is well-formed and says that the model generated nothing
    VECTOR_COUNT_MISMATCH = "vector_count_mismatch"  # not one vector per input, which is valid if nothing is cached


class Cooldown(StrEnum):
    """What must not be used for a while after a failure, whatever the next request is."""

    KEY = "key"  # the credential, for all models: its account has no credit
    KEY_AND_MODEL = "key_and_model"  # the credential for this model: the model does not exist there


# The `type` of an error by its kind, in the words of the OpenAI API.
ERROR_TYPES = {
    Kind.REJECTED: "invalid_request_error",
    Kind.NOT_FOUND: "invalid_request_error",
    Kind.TOO_LONG: "invalid_request_error",
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


class Failure(Exception):  # noqa: N818  # it is what a client is told, not what went wrong in this program
    """The reason why a request cannot be served. It never changes: the `with_` methods return a changed copy.

    Fields:
        status: the HTTP status for the client.
        message: the text for the client: what is wrong and what to do. It never contains a credential.
        retry_after: in seconds.
        provider_status: the status of the provider's response, or 0 if no complete response came.
        retry_after_guessed: `retry_after` is the gateway's guess, because the provider named no time.
        client_cause: set if a client can cause the failure at will.
        attempts: the targets that were tried before the gateway gave up.
        provider_members: further members of the provider's error, which the client gets as they are.
        cooldown: set if the failure says for certain what to leave alone for a while, and its kind does not.
        headers: header lines that are sent to the client with the error.
    """

    kind: Kind
    status: int
    message: str
    code: str | None
    param: str | None
    retry_after: float | None
    type: str
    provider_status: int
    retry_after_guessed: bool
    client_cause: ClientCause | None
    attempts: Sequence[dict[str, Any]]
    provider_members: Mapping[str, Any]
    cooldown: Cooldown | None
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
        retry_after_guessed: bool = False,
        client_cause: ClientCause | None = None,
        provider_members: Mapping[str, Any] = MappingProxyType({}),
        cooldown: Cooldown | None = None,
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
            retry_after_guessed=retry_after_guessed,
            client_cause=client_cause,
            attempts=(),
            provider_members=provider_members,
            cooldown=cooldown,
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

    def with_param(self, param: str) -> Self:
        return self._with(param=param)

    def with_texts(
        self, message: str, code: str | None, param: str | None, type: str, provider_members: Mapping[str, Any]
    ) -> Self:
        """Return a copy with other texts, for instance after a credential was removed from them."""
        return self._with(message=message, code=code, param=param, type=type, provider_members=provider_members)

    def _with(self, **changes: Any) -> Self:
        copy = self.__class__.__new__(self.__class__)
        copy.__dict__.update(self.__dict__, **changes)
        copy.args = (copy.message,)
        return copy.with_traceback(self.__traceback__)

    def more_members(self) -> dict[str, Any]:
        """Return the members that an error of this class has in addition to those of every error."""
        return {}

    @property
    def provider_retry_after(self) -> float | None:
        """The seconds to wait that the provider itself asked for."""
        return None if self.retry_after_guessed else self.retry_after

    @property
    def evidence(self) -> Evidence:
        """The meaning of the failure for the health of the provider. A 4xx concerns only the request or the key."""
        if self.client_cause is not None or 400 <= self.provider_status < 500:
            return Evidence.NONE
        return _EVIDENCE.get(self.kind, Evidence.NONE)


def rejected(message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> Failure:
    """Return the failure for a mistake in the client's request; `param` names the member that is wrong."""
    return Failure(Kind.REJECTED, status, message, param=param, code=code)
