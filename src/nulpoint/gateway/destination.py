"""Where a route of a provider is reached, with everything about it that is the same for every request."""

from urllib.parse import quote, urlsplit

from nulpoint import __version__
from nulpoint.errors import Failure, Kind
from nulpoint.http.client import Client, Pool
from nulpoint.http.dial import Origin, origin_of
from nulpoint.http.message import Headers, field
from nulpoint.providers.auth import credential_headers
from nulpoint.providers.spec import Provider

PATHS = {"chat": "/chat/completions", "completions": "/completions", "embeddings": "/embeddings"}
CHAT_PATHS = {"openai": PATHS["chat"], "anthropic": "/messages", "mistral": PATHS["chat"]}
_HEADS = 1024  # of models, where the model stands in the path


class Destination:
    """One (provider, path). The head of a request is encoded once: only lengths and passed-on fields are added."""

    def __init__(self, provider: Provider, route: str, client: Client) -> None:
        spec = provider.spec
        self.provider = provider
        self.name = spec.name
        self.label = spec.name.encode("ascii")
        self.through_chat = route == "completions" and not spec.completions
        origin = origin_of(provider.base_url)
        self.pool: Pool = client.pool(origin, spec.idle_timeout)
        self._base = urlsplit(provider.base_url).path.rstrip("/")
        self._origin = origin
        self._embeds = route == "embeddings"
        self._heads: dict[tuple[str, bool], bytes] = {}
        self._head = b""  # empty: the path depends on the model
        if spec.wire != "gemini":
            path = CHAT_PATHS[spec.wire] if self.through_chat or route == "chat" else PATHS[route]
            self._head = _head(self._base + path, origin, dict(spec.headers))
        self._secret = provider.credential.reveal() if provider.credential else None
        self._configured = self._credentials(self._secret) if self._secret else b""
        self.needs_key = spec.auth != "none"

    def _credentials(self, key: str) -> bytes:
        return b"".join(field(name, value) for name, value in credential_headers(self.provider.spec, key))

    def message(self, body: bytes, passed_on: bytes, own_key: str | None, model: str, stream: bool) -> bytes:
        """A whole request, ready to be sent. Raises Failure (401) when there is no key at all."""
        credentials = self._credentials(own_key) if own_key else self._configured
        if not credentials and self.needs_key:
            raise self._no_key()
        head = self._head or self._head_for(model, stream)
        return b"%b%b%bcontent-length: %d\r\n\r\n%b" % (head, credentials, passed_on, len(body), body)

    def _head_for(self, model: str, stream: bool) -> bytes:
        """Gemini's paths name the model and the verb."""
        head = self._heads.get((model, stream))
        if head is None:
            if self._embeds:
                verb = "batchEmbedContents"
            else:
                verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
            name = quote(model.removeprefix("models/"), safe="")
            head = _head(f"{self._base}/models/{name}:{verb}", self._origin, dict(self.provider.spec.headers))
            if len(self._heads) >= _HEADS:
                self._heads.clear()
            self._heads[model, stream] = head
        return head

    def secret(self, own_key: str | None) -> str | None:
        """The credential that `message` put in, to be kept out of what is shown."""
        return own_key or self._secret

    def _no_key(self) -> Failure:
        text = f"send your {self.name} key as `Authorization: Bearer ...`; this gateway has none of its own"
        return Failure(Kind.AUTH, 401, text, code="missing_api_key")


def _head(path: str, origin: Origin, extra: dict[str, str]) -> bytes:
    default_port = 443 if origin.scheme == "https" else 80
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    lines = [
        f"POST {path} HTTP/1.1",
        f"host: {host}" if origin.port == default_port else f"host: {host}:{origin.port}",
        f"user-agent: nulpoint/{__version__}",
        "accept: */*",
        # Compression would batch the events of a stream, and usage has to be read from every answer.
        "accept-encoding: identity",
        "content-type: application/json",
        *(f"{name.lower()}: {value}" for name, value in extra.items()),
    ]
    return "\r\n".join([*lines, ""]).encode("ascii")


def own_key_of(headers: Headers) -> str | None:
    """The caller's credential: a bearer token, else `x-api-key`."""
    authorization = headers.get(b"authorization", b"")
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() == b"bearer" and token.strip():
        return token.strip().decode("ascii")
    return headers.get(b"x-api-key", b"").decode("ascii") or None
