"""Which header fields pass between caller and provider. Both directions are allow-lists."""

from urllib.parse import quote

from nulpoint.errors import Failure, Kind
from nulpoint.http.message import JSON_TYPE, Headers, field
from nulpoint.wire.retry_after import retry_after_value

# Of a caller's request, besides what the gateway writes itself. Credentials, cookies and forwarding fields never pass.
_TO_PROVIDER = frozenset(
    {b"openai-beta", b"anthropic-beta", b"idempotency-key", b"x-client-request-id", b"http-referer", b"x-title"}
)
# These name an account, so they only make sense beside the caller's own key.
_WITH_OWN_KEY = _TO_PROVIDER | {b"openai-organization", b"openai-project"}

_TO_CALLER = frozenset(
    {
        b"cf-ray",
        b"content-language",
        b"mistral-correlation-id",
        b"openai-model",
        b"openai-processing-ms",
        b"openai-version",
        b"request-id",
        b"retry-after",
        b"retry-after-ms",
        b"x-amzn-requestid",
        b"x-request-id",
        b"x-should-retry",
    }
)
_LIMIT_PREFIX = b"x-ratelimit-"  # where the gateway has limits of its own it tells of those under these names
_TO_CALLER_PREFIXES = (b"anthropic-ratelimit-", b"ratelimit-", b"x-groq-")


class _Passes(dict[bytes, bool]):
    """Whether a field goes back to the caller, remembered by name; providers have few names, attackers many."""

    def __init__(self, prefixes: tuple[bytes, ...]) -> None:
        super().__init__()
        self._prefixes = prefixes

    def __missing__(self, name: bytes) -> bool:
        passes = name in _TO_CALLER or name.startswith(self._prefixes)
        if len(self) < 1024:
            self[name] = passes
        return passes


_passes = _Passes((_LIMIT_PREFIX, *_TO_CALLER_PREFIXES))
_passes_beside_limits = _Passes(_TO_CALLER_PREFIXES)


def for_provider(headers: Headers, own_key: bool) -> bytes:
    """The fields of a request that go to the provider, as a header block."""
    allowed = _WITH_OWN_KEY if own_key else _TO_PROVIDER
    if allowed.isdisjoint(headers):
        return b""
    return b"".join([field(name, value) for name, value in headers.items() if name in allowed])


def for_caller(headers: Headers, *, beside_limits: bool) -> bytes:
    """The fields of a provider's answer that go back, as a header block. Content fields are the gateway's own.

    `beside_limits`: the gateway has rate limits too.
    """
    passes = _passes_beside_limits if beside_limits else _passes
    return b"".join([b"%b: %b\r\n" % item for item in headers.items() if passes[item[0]]])


# The gateway says these itself of an answer that is an error.
_OWN_OF_FAILURES = frozenset({b"retry-after", b"retry-after-ms", b"x-request-id", b"x-should-retry"})


def for_caller_of_failure(headers: Headers, *, beside_limits: bool) -> bytes:
    """The fields of a provider's error answer that go back: limits left, ids to ask the provider about."""
    others = {name: value for name, value in headers.items() if name not in _OWN_OF_FAILURES}
    return for_caller(others, beside_limits=beside_limits)


def provider_fields(provider: bytes, model: str) -> bytes:
    """Who answers. The caller may have made up the model's name, so it is made safe."""
    shown = model if model.isascii() and model.isprintable() else quote(model)
    return b"x-nulpoint-provider: %b\r\nx-nulpoint-model: %b\r\n" % (provider, shown[:200].encode("ascii"))


# One layer should retry, and the gateway has done so: OpenAI's SDKs obey `x-should-retry`.
_TRIED_ENOUGH = (502, 504)


def failure_fields(failure: Failure, request_id: bytes) -> bytes:
    """The header block of an answer that is an error of ours."""
    block = JSON_TYPE + field(b"x-request-id", request_id) + field(b"x-nulpoint-request-id", request_id)
    if failure.retry_after is not None:
        block += field(b"retry-after", retry_after_value(failure.retry_after))
    if failure.kind is Kind.QUOTA or (failure.status in _TRIED_ENOUGH and len(failure.attempts) > 1):
        block += b"x-should-retry: false\r\n"
    return block + failure.fields
