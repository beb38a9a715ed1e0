"""Where a route of a provider is reached, with everything about it that is the same for every request."""

from collections.abc import Hashable
from urllib.parse import quote, urlsplit

from nulpoint import __version__
from nulpoint.errors import Failure, Kind
from nulpoint.gateway.headers import provider_fields
from nulpoint.http.client import Client, Pool
from nulpoint.http.dial import Origin, origin_of
from nulpoint.http.message import field
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
        self.introductions: dict[str, bytes] = {}  # the header fields that say who answers, by model
        self._head = b""  # empty: the path depends on the model
        if spec.wire != "gemini":
            path = CHAT_PATHS[spec.wire] if self.through_chat or route == "chat" else PATHS[route]
            self._head = _head(self._base + path, origin, dict(spec.headers))
        self._secrets = [credential.reveal() for credential in provider.credentials]
        self._credentials = [self._fields_for(secret) for secret in self._secrets]
        self.lacks_key = spec.auth != "none" and not self._credentials  # only callers with their own can use it

    def _fields_for(self, key: str) -> bytes:
        return b"".join(field(name, value) for name, value in credential_headers(self.provider.spec, key))

    def no_key(self) -> Failure:
        """What a caller is told who brings no key where there is none."""
        text = f"send your {self.name} key as `Authorization: Bearer ...`; this gateway has none of its own"
        return Failure(Kind.AUTH, 401, text, code="missing_api_key")

    def message(
        self, body: bytes, passed_on: bytes, own_key: str | None, credential: Hashable, model: str, stream: bool
    ) -> bytes:
        """A whole request, ready to be sent: with the caller's own key, else the configured one at that position."""
        if own_key:
            fields = self._fields_for(own_key)
        else:
            fields = self._credentials[credential] if isinstance(credential, int) and self._credentials else b""
        head = self._head or self._head_for(model, stream)
        return b"%b%b%bcontent-length: %d\r\n\r\n%b" % (head, fields, passed_on, len(body), body)

    def introduce(self, model: str) -> bytes:
        """Make and remember the introduction of a model that has none yet."""
        if len(self.introductions) >= _HEADS:
            self.introductions.clear()
        fields = self.introductions[model] = provider_fields(self.label, model)
        return fields

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

    def secret(self, own_key: str | None, credential: Hashable) -> str | None:
        """The credential that `message` put in, to be kept out of what is shown."""
        if own_key or not self._secrets or not isinstance(credential, int):
            return own_key
        return self._secrets[credential]


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
