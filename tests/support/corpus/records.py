"""The recordings: their files, the host of each, and the ones that are not judged, with the reason.

They are not part of the project: they are looked for beside it, or where NULPOINT_CORPUS says.
"""

import gzip
import json
from typing import Any, NamedTuple

from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.spec import ProviderSpec, Route
from support.paths import CORPUS

# Hosts that are not in the catalog, as they would be written in config.yaml.
_OTHER_HOSTS = {
    "huggingface": ProviderSpec(
        name="huggingface", base_url="https://router.huggingface.co/v1", key_env="HF_TOKEN", sends_done=False
    ),
    "vercel-gateway": ProviderSpec(
        name="vercel-gateway",
        base_url="https://ai-gateway.vercel.sh/v1",
        key_env="VERCEL_KEY",
        operations=("chat", "embeddings"),
    ),
    "gemini/openai": ProviderSpec(
        name="gemini-openai", base_url="https://generativelanguage.googleapis.com/v1beta/openai", key_env="GOOGLE_KEY"
    ),
    "anthropic/openai": ProviderSpec(
        name="anthropic-openai", base_url="https://api.anthropic.com/v1", key_env="ANTHROPIC_KEY"
    ),
}
HOSTS = {**CATALOG, **_OTHER_HOSTS}

_ROUTES: dict[str, Route] = {
    "messages": "chat", "generateContent": "chat", "streamGenerateContent": "chat", "chat": "chat",
    "openai-compat-chat": "chat", "embeddings": "embeddings", "batchEmbedContents": "embeddings",
}  # fmt: skip
_NOT_SERVED = {
    "responses": "the gateway has no /v1/responses",
    "responses-retrieve": "the gateway has no /v1/responses",
    "models": "the gateway answers /v1/models itself",
    "countTokens": "the gateway has no route that counts tokens",
    "embedContent": "the gateway sends batchEmbedContents, also for one text",
}


class Recording(NamedTuple):
    """One exchange. `name` is the file and the line, `host` the provider by which it is judged."""

    name: str
    host: ProviderSpec
    record: dict[str, Any]

    @property
    def route(self) -> Route:
        return _ROUTES[self.record["kind"]]

    @property
    def failed(self) -> bool:
        """Say whether the provider responded with an error status."""
        return not 200 <= self.record["status"] < 300

    @property
    def is_stream(self) -> bool:
        return bool(self.record["is_stream"]) and not self.failed

    @property
    def body(self) -> bytes:
        """The bytes as the gateway would receive them: it requests Gemini streams as events (`alt=sse`)."""
        text: str = self.record["response_body"]
        if self.is_stream and self.host.wire == "gemini" and text.lstrip().startswith("["):
            return b"".join(b"data: %b\r\n\r\n" % json.dumps(one).encode() for one in json.loads(text))
        return text.encode()

    @property
    def request(self) -> dict[str, Any]:
        """The request, if it was recorded as JSON."""
        given = self.record["request_body"]
        try:
            asked = json.loads(given) if isinstance(given, str) else given
        except json.JSONDecodeError:
            return {}
        return asked if isinstance(asked, dict) else {}

    @property
    def kind(self) -> str:
        if self.failed:
            return "error"
        return "embeddings" if self.route == "embeddings" else "stream" if self.is_stream else "answer"

    def left_out(self) -> str | None:
        """The reason why this recording is not judged, or None if it is judged."""
        if self.failed:
            return None  # errors have the same shapes on every path
        reason = _NOT_SERVED.get(self.record["kind"])
        if reason is None and self.route == "embeddings" and not self.host.offers("embeddings"):
            return "the host's row has no embeddings: they are packed 8-bit numbers, which no OpenAI SDK unpacks"
        return reason


def recordings() -> list[Recording]:
    """Return all recordings in the order of the files."""
    found = []
    for path in sorted(CORPUS.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines):
                record = json.loads(line)
                name = f"{path.name.removesuffix('.jsonl.gz')}:{number}"
                found.append(Recording(name, HOSTS[_host(record)], record))
    return found


def _host(record: dict[str, Any]) -> str:
    provider: str = record["provider"]
    own_format = {"gemini": "openai-compat-chat", "anthropic": "chat"}
    return f"{provider}/openai" if own_format.get(provider) == record["kind"] else provider
