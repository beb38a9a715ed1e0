"""Decides which headers pass between client and provider. There is an allow-list for each direction."""

from urllib.parse import quote

from nulpoint.errors import Failure, Kind
from nulpoint.formats.retry_after import format_retry_after
from nulpoint.http.message import JSON_TYPE, Headers, header
from nulpoint.redaction.credential_matcher import REPLACEMENT, CredentialMatcher
from nulpoint.request.client_auth import ClientAuthenticator

_REPLACEMENT = REPLACEMENT.encode()

# The headers of a client's request that go to the provider, besides those that the gateway writes itself. Credentials,
# cookies and forwarding headers are never among them.
_TO_PROVIDER = frozenset(
    {b"openai-beta", b"anthropic-beta", b"idempotency-key", b"x-client-request-id", b"http-referer", b"x-title"}
)
# These name an account, so they only make sense with the client's own key.
_WITH_CLIENT_KEY = _TO_PROVIDER | {b"openai-organization", b"openai-project"}

_TO_CLIENT = frozenset(
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
_LIMIT_PREFIX = b"x-ratelimit-"  # if the gateway has limits of its own, it reports those under these names
_TO_CLIENT_PREFIXES = (b"anthropic-ratelimit-", b"ratelimit-", b"x-groq-")


class _PassedNames:
    """Decides which headers of a response go to the client.

    Decisions are cached by name. The cache is bounded, because a provider can send arbitrary names.
    """

    def __init__(self, prefixes: tuple[bytes, ...]) -> None:
        self._prefixes = prefixes
        self._known: dict[bytes, bool] = {}
        self.known = self._known.get

    def learn(self, name: bytes, credential: CredentialMatcher) -> bool:
        """Decide about a new name. If only its prefix is on the list, the rest could be a credential."""
        passes = name in _TO_CLIENT or (name.startswith(self._prefixes) and not credential.is_in(name))
        if len(self._known) < 1024:
            self._known[name] = passes
        return passes


_names = _PassedNames((_LIMIT_PREFIX, *_TO_CLIENT_PREFIXES))
_names_beside_limits = _PassedNames(_TO_CLIENT_PREFIXES)


def headers_for_provider(
    headers: Headers,
    has_client_key: bool,
    authenticator: ClientAuthenticator,
    gateway_key: bytes,
    added: Headers | None = None,
) -> bytes:
    """Return the header lines of a request that go to the provider, without any that contains a key of the gateway.

    `gateway_key` is the one with which the client authenticated. `added` are headers of the translation; where the
    client sends one of them too, its value comes first in the same list.
    """
    allowed = _WITH_CLIENT_KEY if has_client_key else _TO_PROVIDER
    if allowed.isdisjoint(headers) and not added:
        return b""
    passed = {
        name: value
        for name, value in headers.items()
        if name in allowed and not authenticator.withholds(value, gateway_key)
    }
    for name, value in (added or {}).items():
        passed[name] = b"%b, %b" % (passed[name], value) if passed.get(name) else value
    return b"".join([header(name, value) for name, value in passed.items()])


def headers_for_client(headers: Headers, credential: CredentialMatcher, *, beside_limits: bool) -> bytes:
    """Return the header lines of a provider's response that go to the client. Content headers are the gateway's own.

    `credential` is what was sent to the provider; a value that contains it is replaced. `beside_limits` says whether
    the gateway has rate limits of its own.
    """
    names = _names_beside_limits if beside_limits else _names
    known, shortest = names.known, credential.min_match_length
    lines, searched = [], []
    for item in headers.items():
        passes = known(item[0])
        if passes or (passes is None and names.learn(item[0], credential)):
            lines.append(b"%b: %b\r\n" % item)
            if len(item[1]) >= shortest:  # few values are that long
                searched.append(item[1])
    if not lines:
        return b""
    block = b"".join(lines)
    if credential.may_be_in(b"".join(searched)) or not block.isascii():
        return b"".join([_redacted(line, credential) for line in lines])
    return block


def _redacted(line: bytes, credential: CredentialMatcher) -> bytes:
    """Return a header line without the credential, and with percent-encoding for bytes beyond ASCII."""
    name, _, value = line.removesuffix(b"\r\n").partition(b": ")
    if credential.is_in(value):
        return header(name, _REPLACEMENT)
    if line.isascii():
        return line
    return b"".join([b"%c" % byte if byte < 0x80 else b"%%%02X" % byte for byte in line])


# The gateway sets these itself in an error response.
_SET_BY_GATEWAY = frozenset({b"retry-after", b"retry-after-ms", b"x-request-id", b"x-should-retry"})


def headers_for_client_error(headers: Headers, credential: CredentialMatcher, *, beside_limits: bool) -> bytes:
    """Return the header lines of a provider's error that go to the client, such as remaining limits and ids."""
    others = {name: value for name, value in headers.items() if name not in _SET_BY_GATEWAY}
    return headers_for_client(others, credential, beside_limits=beside_limits)


def provider_headers(provider: bytes, model: str) -> bytes:
    """Return the headers that name provider and model. The name may come from the client, so it is escaped."""
    escaped = model if model.isascii() and model.isprintable() else quote(model)
    return b"x-nulpoint-provider: %b\r\nx-nulpoint-model: %b\r\n" % (provider, escaped[:200].encode("ascii"))


# Only one layer should retry, and the gateway has done so. OpenAI's SDKs obey `x-should-retry`.
_RETRIED_STATUSES = (502, 504)


def failure_headers(failure: Failure, request_id: bytes) -> bytes:
    """Return the header lines of an error response."""
    block = JSON_TYPE + header(b"x-request-id", request_id) + header(b"x-nulpoint-request-id", request_id)
    if failure.retry_after is not None:
        block += header(b"retry-after", format_retry_after(failure.retry_after))
    if failure.kind is Kind.QUOTA or (failure.status in _RETRIED_STATUSES and len(failure.attempts) > 1):
        block += b"x-should-retry: false\r\n"
    return block + failure.headers
