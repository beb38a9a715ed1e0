"""The endpoint of a provider for one operation, with everything that is the same for all requests to it."""

from collections.abc import Hashable
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from nulpoint import __version__
from nulpoint.errors import Failure, Kind
from nulpoint.http.client.connector import Origin, origin_of
from nulpoint.http.client.pool import ConnectionPool, UpstreamClient
from nulpoint.http.message import header
from nulpoint.protocols.registry import EMBEDDINGS, ERROR_READERS, PROVIDER_PROTOCOLS
from nulpoint.providers.auth import Identity, Signer, credential_headers
from nulpoint.providers.chat_adapter.adapter import ChatAdapter
from nulpoint.providers.operations import Operation
from nulpoint.providers.spec import Provider
from nulpoint.providers.wire_formats import WIRE_FORMATS, Paths
from nulpoint.redaction.credential_matcher import NO_CREDENTIAL, CredentialMatcher
from nulpoint.request.headers import provider_headers
from nulpoint.routing.chains import Target

_MAX_MODELS = 1024  # whose heads, headers and adapters are cached


class RequestHead(NamedTuple):
    """The encoded beginning of a request, and the path in it."""

    block: bytes
    path: str


class ProviderEndpoint:
    """The endpoint of one provider for one operation.

    `provider_protocol` translates conversations, and `embeddings` embeddings; both are None if requests are passed on.
    `sends_chat` says whether requests have the format of OpenAI's chat completions, in which hosts differ a little.
    The head of a request is encoded once; only credentials, forwarded headers and the length are added to it.
    `identity` authenticates the gateway if the provider has no configured keys.
    """

    def __init__(
        self, provider: Provider, operation: Operation, client: UpstreamClient, identity: Identity | None = None
    ) -> None:
        spec = provider.spec
        self.provider = provider
        self.name = spec.name
        self.label = spec.name.encode("ascii")
        self.operation = operation
        self.model_in_path = operation.model_in_path
        self.response_names = spec.rename_response.get(operation.name)
        origin = origin_of(provider.base_url)
        self.pool: ConnectionPool = client.pool(origin, spec.idle_timeout)
        self.stream_content_type = WIRE_FORMATS[spec.wire].stream_content_type
        self.embeddings = EMBEDDINGS.get(spec.wire) if operation.name == "embeddings" else None
        self.provider_protocol = None if spec.speaks(operation) else PROVIDER_PROTOCOLS[spec.wire]
        self.translates = self.embeddings is not None or self.provider_protocol is not None
        self.sends_chat = spec.wire == "openai" and spec.operation_for(operation) == "chat"
        self._adapters: dict[str, ChatAdapter] = {}
        self.read_error = ERROR_READERS.get(spec.wire)
        self.identity = identity
        self._base = urlsplit(provider.base_url).path.rstrip("/")
        self._host = _host(origin)
        self._paths = Paths(spec.wire, provider.paths, spec.operation_for(operation))
        self._heads: dict[tuple[str, bool, str, bool], RequestHead] = {}
        self.attribution_by_model: dict[str, bytes] = {}  # headers that name provider and model, by model
        self._fixed = self._encode(self._paths.whole) if self._paths.fixed else None
        secrets = [credential.reveal() for credential in provider.credentials]
        self._credentials = [self._credential_headers(secret) for secret in secrets]
        self._matchers = [CredentialMatcher(secret, long_lived=True) for secret in secrets]
        # Only clients with a key of their own can use the provider.
        self.requires_client_key = spec.auth != "none" and not self._credentials and identity is None

    def _credential_headers(self, key: str) -> bytes:
        return b"".join(header(name, value) for name, value in credential_headers(self.provider.spec, key))

    def missing_client_key(self) -> Failure:
        """Return the failure for a client without a key, if the gateway has none either."""
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
        method: str = "",
        *,
        continued: bool = False,
    ) -> bytes:
        """Return the head of a request with this body, ready to be sent. `method` is the method of the API in the path.

        `continued` says that the request is for a further part of a response.

        It has the client's key, or else the headers of `signer`, or else the configured key at position `credential`.
        """
        head = self._fixed or self._head_for(model, stream, method, continued=continued)
        if client_api_key:
            credentials = self._credential_headers(client_api_key)
        elif signer is not None:
            credentials = signer.headers(self.operation.method, self._host, head.path, body, _unix())
        else:
            credentials = self._credentials[credential] if isinstance(credential, int) and self._credentials else b""
        return b"%b%b%bcontent-length: %d\r\n\r\n" % (head.block, credentials, forwarded_headers, len(body))

    def signer(self, client_api_key: str | None) -> Signer | None:
        """Return what signs the request; None if it has a key. Raises Failure (502) if the credential has expired."""
        if self.identity is None or client_api_key:
            return None
        return self.identity.signer(_unix())

    def chat_adapter(self, target: Target) -> ChatAdapter | None:
        """Return what adapts chat requests to the host and the model of a target; None if they never change."""
        if not self.sends_chat:
            return None
        adapter = self._adapters.get(target.model)
        if adapter is None or adapter.facts is not target.facts:
            if len(self._adapters) >= _MAX_MODELS:
                self._adapters.clear()
            adapter = self._adapters[target.model] = ChatAdapter(self.provider.spec, target.model, target.facts)
        return adapter if adapter.is_needed else None

    def decodes_requests(self, target: Target, body: bytes) -> bool:
        """Return whether a request is decoded as a whole, so that preparing it may take long if it is long."""
        if self.translates:
            return True
        adapter = self.chat_adapter(target)
        return adapter is not None and adapter.reads_messages(body)

    def attribution_headers(self, model: str) -> bytes:
        """Return the headers that name provider and model, and cache them."""
        if len(self.attribution_by_model) >= _MAX_MODELS:
            self.attribution_by_model.clear()
        headers = self.attribution_by_model[model] = provider_headers(self.label, model)
        return headers

    def _head_for(self, model: str, stream: bool, method: str, *, continued: bool) -> RequestHead:
        """Return the head for a path that has the model in it, or that is another one for streams."""
        head = self._heads.get((model, stream, method, continued))
        if head is None:
            head = self._encode(self._paths.of(model, stream, method, continued=continued))
            if len(self._heads) >= _MAX_MODELS:
                self._heads.clear()
            self._heads[model, stream, method, continued] = head
        return head

    def _encode(self, path: str) -> RequestHead:
        path = self._base + path
        lines = [
            f"{self.operation.method} {path} HTTP/1.1",
            f"host: {self._host}",
            f"user-agent: nulpoint/{__version__}",
            "accept: */*",
            # Compression would delay the events of a stream, and usage has to be read from each response.
            "accept-encoding: identity",
            "content-type: application/json",
            *(f"{name.lower()}: {value}" for name, value in self.provider.spec.headers.items()),
        ]
        return RequestHead("\r\n".join([*lines, ""]).encode("ascii"), path)

    def matcher(self, client_api_key: str | None, credential: Hashable, signer: Signer | None) -> CredentialMatcher:
        """Return what finds the credential of a request, so that it can be removed from everything that is shown."""
        if signer is not None:
            return signer.matcher
        if client_api_key:
            return CredentialMatcher(client_api_key)
        if self._matchers and isinstance(credential, int):
            return self._matchers[credential]
        return NO_CREDENTIAL


def _host(origin: Origin) -> str:
    """Return the value of the `Host` header."""
    default_port = 443 if origin.scheme == "https" else 80
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return host if origin.port == default_port else f"{host}:{origin.port}"


def _unix() -> float:
    return datetime.now(UTC).timestamp()
