"""Which header fields pass between caller and provider. Both directions are allow-lists."""

from urllib.parse import quote

from nulpoint.errors import Failure, Kind
from nulpoint.formats.retry_after import format_retry_after
from nulpoint.http.message import JSON_TYPE, Headers, header
from nulpoint.redaction.credential_matcher import REPLACEMENT, CredentialMatcher
from nulpoint.request.client_auth import ClientAuthenticator

_INSTEAD = REPLACEMENT.encode()

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


class _Names:
    """Which fields go back to the caller, remembered by name; providers have few names, attackers many."""

    def __init__(self, prefixes: tuple[bytes, ...]) -> None:
        self._prefixes = prefixes
        self._known: dict[bytes, bool] = {}
        self.known = self._known.get

    def learn(self, name: bytes, credential: CredentialMatcher) -> bool:
        """Whether a field of a new name passes. Prefixes leave room for a credential in the name."""
        passes = name in _TO_CALLER or (name.startswith(self._prefixes) and not credential.is_in(name))
        if len(self._known) < 1024:
            self._known[name] = passes
        return passes


_names = _Names((_LIMIT_PREFIX, *_TO_CALLER_PREFIXES))
_names_beside_limits = _Names(_TO_CALLER_PREFIXES)


def headers_for_provider(headers: Headers, has_client_key: bool, callers: ClientAuthenticator) -> bytes:
    """The fields of a request that go to the provider, as a header block; none that holds a key of the gateway's."""
    allowed = _WITH_OWN_KEY if has_client_key else _TO_PROVIDER
    if allowed.isdisjoint(headers):
        return b""
    skipped = [(name, value) for name, value in headers.items() if name in allowed]
    return b"".join([header(name, value) for name, value in skipped if not callers.withholds(value, headers)])


def headers_for_client(headers: Headers, credential: CredentialMatcher, *, beside_limits: bool) -> bytes:
    """The fields of a provider's answer that go back, as a header block. Content fields are the gateway's own.

    `credential` is what the provider was sent: a value that repeats it is replaced. `beside_limits`: the gateway has
    rate limits too.
    """
    names = _names_beside_limits if beside_limits else _names
    known, shortest = names.known, credential.min_match_length
    lines, searched = [], []
    for item in headers.items():
        passes = known(item[0])
        if passes or (passes is None and names.learn(item[0], credential)):
            lines.append(b"%b: %b\r\n" % item)
            if len(item[1]) >= shortest:  # few are
                searched.append(item[1])
    if not lines:
        return b""
    block = b"".join(lines)
    if credential.may_be_in(b"".join(searched)) or not block.isascii():
        return b"".join([_shown(line, credential) for line in lines])
    return block


def _shown(line: bytes, credential: CredentialMatcher) -> bytes:
    """A field line without the credential; bytes beyond ASCII, which clients read in several ways, percent-encoded."""
    name, _, value = line.removesuffix(b"\r\n").partition(b": ")
    if credential.is_in(value):
        return header(name, _INSTEAD)
    if line.isascii():
        return line
    return b"".join([b"%c" % byte if byte < 0x80 else b"%%%02X" % byte for byte in line])


# The gateway says these itself of an answer that is an error.
_OWN_OF_FAILURES = frozenset({b"retry-after", b"retry-after-ms", b"x-request-id", b"x-should-retry"})


def headers_for_client_error(headers: Headers, credential: CredentialMatcher, *, beside_limits: bool) -> bytes:
    """The fields of a provider's error answer that go back: limits left, ids to ask the provider about."""
    others = {name: value for name, value in headers.items() if name not in _OWN_OF_FAILURES}
    return headers_for_client(others, credential, beside_limits=beside_limits)


def provider_headers(provider: bytes, model: str) -> bytes:
    """Who answers. The caller may have made up the model's name, so it is made safe."""
    shown = model if model.isascii() and model.isprintable() else quote(model)
    return b"x-nulpoint-provider: %b\r\nx-nulpoint-model: %b\r\n" % (provider, shown[:200].encode("ascii"))


# One layer should retry, and the gateway has done so: OpenAI's SDKs obey `x-should-retry`.
_TRIED_ENOUGH = (502, 504)


def failure_headers(failure: Failure, request_id: bytes) -> bytes:
    """The header block of an answer that is an error of ours."""
    block = JSON_TYPE + header(b"x-request-id", request_id) + header(b"x-nulpoint-request-id", request_id)
    if failure.retry_after is not None:
        block += header(b"retry-after", format_retry_after(failure.retry_after))
    if failure.kind is Kind.QUOTA or (failure.status in _TRIED_ENOUGH and len(failure.attempts) > 1):
        block += b"x-should-retry: false\r\n"
    return block + failure.headers
