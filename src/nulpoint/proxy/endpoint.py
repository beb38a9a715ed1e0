"""Where a route of a provider is reached, with everything about it that is the same for every request."""

from collections.abc import Hashable
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from nulpoint import __version__
from nulpoint.errors import Failure, Kind
from nulpoint.http.client.connector import Origin, origin_of
from nulpoint.http.client.pool import ConnectionPool, UpstreamClient
from nulpoint.http.message import header
from nulpoint.protocols.registry import CODECS, ERROR_READERS
from nulpoint.providers.auth import Identity, Signer, credential_headers
from nulpoint.providers.spec import Provider, Route
from nulpoint.providers.wire_formats import WIRE_FORMATS, Paths
from nulpoint.redaction.credential_matcher import NO_CREDENTIAL, CredentialMatcher
from nulpoint.request.headers import provider_headers

_HEADS = 1024  # of models, where the model stands in the path
METHOD = "POST"


class RequestHead(NamedTuple):
    """The beginning of a request, encoded, and the target in it."""

    block: bytes
    path: str


class ProviderEndpoint:
    """One (provider, route). The head of a request is encoded once: only lengths and passed-on fields are added.

    `identity` proves who we are where there are no keys.
    """

    def __init__(
        self, provider: Provider, route: Route, client: UpstreamClient, identity: Identity | None = None
    ) -> None:
        spec = provider.spec
        self.provider = provider
        self.name = spec.name
        self.label = spec.name.encode("ascii")
        self.through_chat = route == "completions" and not spec.completions
        origin = origin_of(provider.base_url)
        self.pool: ConnectionPool = client.pool(origin, spec.idle_timeout)
        self.stream_content = WIRE_FORMATS[spec.wire].stream_content_type
        self.translates = self.through_chat or spec.wire in CODECS
        self.read_error = ERROR_READERS.get(spec.wire)
        self.identity = identity
        self._base = urlsplit(provider.base_url).path.rstrip("/")
        self._host = _host(origin)
        self._paths = Paths(spec.wire, provider.paths, "chat" if self.through_chat else route)
        self._heads: dict[tuple[str, bool], RequestHead] = {}
        self.attribution_by_model: dict[str, bytes] = {}  # the header fields that say who answers, by model
        self._fixed = self._encode(self._paths.whole) if self._paths.fixed else None
        secrets = [credential.reveal() for credential in provider.credentials]
        self._credentials = [self._credential_headers(secret) for secret in secrets]
        self._matchers = [CredentialMatcher(secret, long_lived=True) for secret in secrets]
        # only callers with their own can use it
        self.requires_client_key = spec.auth != "none" and not self._credentials and identity is None

    def _credential_headers(self, key: str) -> bytes:
        return b"".join(header(name, value) for name, value in credential_headers(self.provider.spec, key))

    def missing_client_key(self) -> Failure:
        """What a caller is told who brings no key where there is none."""
        text = f"send your {self.name} key as `Authorization: Bearer ...`; this gateway has none of its own"
        return Failure(Kind.AUTH, 401, text, code="missing_api_key")

    def request_head(
        self,
        body: bytes,
        forwarded_headers: bytes,
        client_api_key: str | None,
        credential: Hashable,
        model: str,
        stream: bool,
        signer: Signer | None = None,
    ) -> bytes:
        """Return the head of a request with this body, ready to be sent.

        It carries the client's own key, else what `signer` says, else the configured key at the position `credential`.
        """
        head = self._fixed or self._head_for(model, stream)
        if client_api_key:
            fields = self._credential_headers(client_api_key)
        elif signer is not None:
            fields = signer.headers(METHOD, self._host, head.path, body, _unix())
        else:
            fields = self._credentials[credential] if isinstance(credential, int) and self._credentials else b""
        return b"%b%b%bcontent-length: %d\r\n\r\n" % (head.block, fields, forwarded_headers, len(body))

    def signer(self, client_api_key: str | None) -> Signer | None:
        """Who proves who we are; nobody where a key does. Raises Failure (502) where ours has run out."""
        if self.identity is None or client_api_key:
            return None
        return self.identity.signer(_unix())

    def attribution_headers(self, model: str) -> bytes:
        """Make and remember the introduction of a model that has none yet."""
        if len(self.attribution_by_model) >= _HEADS:
            self.attribution_by_model.clear()
        fields = self.attribution_by_model[model] = provider_headers(self.label, model)
        return fields

    def _head_for(self, model: str, stream: bool) -> RequestHead:
        """Where the path names the model, or is another one for streams."""
        head = self._heads.get((model, stream))
        if head is None:
            head = self._encode(self._paths.of(model, stream))
            if len(self._heads) >= _HEADS:
                self._heads.clear()
            self._heads[model, stream] = head
        return head

    def _encode(self, path: str) -> RequestHead:
        path = self._base + path
        lines = [
            f"{METHOD} {path} HTTP/1.1",
            f"host: {self._host}",
            f"user-agent: nulpoint/{__version__}",
            "accept: */*",
            # Compression would batch the events of a stream, and usage has to be read from every answer.
            "accept-encoding: identity",
            "content-type: application/json",
            *(f"{name.lower()}: {value}" for name, value in self.provider.spec.headers.items()),
        ]
        return RequestHead("\r\n".join([*lines, ""]).encode("ascii"), path)

    def matcher(self, client_api_key: str | None, credential: Hashable, signer: Signer | None) -> CredentialMatcher:
        """Recognises the credential that `request_head` put in, to be kept out of what is shown."""
        if signer is not None:
            return signer.matcher
        if client_api_key:
            return CredentialMatcher(client_api_key)
        if self._matchers and isinstance(credential, int):
            return self._matchers[credential]
        return NO_CREDENTIAL


def _host(origin: Origin) -> str:
    """The value of the `Host` field."""
    default_port = 443 if origin.scheme == "https" else 80
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return host if origin.port == default_port else f"{host}:{origin.port}"


def _unix() -> float:
    return datetime.now(UTC).timestamp()
