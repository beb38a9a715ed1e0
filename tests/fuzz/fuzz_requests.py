"""Fuzz targets for requests in every format: each is either sent or rejected as the client's mistake."""

from collections.abc import Callable
from typing import Any

import msgspec
from target import Target

from nulpoint.errors import Failure, Kind
from nulpoint.protocols.limits import DEFAULT_LIMITS
from nulpoint.protocols.openai.client import OPENAI_CLIENT
from nulpoint.protocols.openai.envelope import read_envelope
from nulpoint.protocols.registry import EMBEDDINGS as EMBEDDING_CODECS
from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.spec import Route
from nulpoint.proxy.upstream_request import UpstreamRequest, prepare
from nulpoint.routing import chains as routing
from support.chat_codec import codec_for_model
from support.mutation import mutated_json
from support.provider_endpoints import endpoint_of
from support.samples import COMPLETIONS, EMBEDDINGS, REQUESTS

MODELS = {
    "anthropic": ("claude-3-5-haiku-latest", "claude-sonnet-4-0", "claude-sonnet-4-5", "claude-opus-4-8"),
    "bedrock": (
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "amazon.nova-pro-v1:0",
        "us.meta.llama3-1-70b-instruct-v1:0",
        "mistral.mistral-large-2407-v1:0",
    ),
    "gemini": ("gemini-2.0-flash", "gemini-2.5-pro", "gemini-3-pro-preview"),
    "mistral": ("mistral-large-latest",),
    "vertex-anthropic": ("claude-sonnet-4-5",),
}
EMBEDDING_MODELS = {
    "bedrock": ("amazon.titan-embed-text-v2:0", "amazon.titan-embed-image-v1", "cohere.embed-v4:0", "cohere.embed-english-v3"),
    "gemini": ("gemini-embedding-001",), "mistral": ("mistral-embed",), "vertex": ("text-embedding-005",),
}  # fmt: skip


def refused_or_sent(encode: Callable[[], Any]) -> Any:
    """Return the encoded request, or None if it was rejected as the client's mistake."""
    try:
        return encode()
    except Failure as failure:
        check_refusal(failure)
        return None


def check_refusal(failure: Failure) -> None:
    assert (failure.kind, failure.status) == (Kind.REJECTED, 400), failure
    assert failure.code, failure
    assert len(failure.message) < 2000, f"a message of {len(failure.message)} characters"
    msgspec.json.decode(OPENAI_CLIENT.error_body(failure))


def check_sent(body: bytes, dropped: list[str]) -> None:
    assert isinstance(msgspec.json.decode(body), dict)
    assert all(name.isascii() and name.isprintable() for name in dropped), dropped
    assert len(dropped) <= 40


def encoding(wire: str) -> Callable[[bytes], None]:
    def check(body: bytes) -> None:
        for model in MODELS[wire]:
            codec = codec_for_model(wire, model)
            encoded = refused_or_sent(lambda codec=codec, model=model: codec.encode(body, model, DEFAULT_LIMITS))
            if encoded is not None:
                check_sent(encoded.body, encoded.dropped)

    return check


def embedding(body: bytes) -> None:
    for wire, models in EMBEDDING_MODELS.items():
        for model in models:
            codec = EMBEDDING_CODECS[wire]
            encoded = refused_or_sent(lambda codec=codec, model=model: codec.encode(body, model, DEFAULT_LIMITS))
            if encoded is not None:
                check_sent(encoded.body, encoded.dropped)


def check_model(prepared: UpstreamRequest) -> None:
    """Check that hosts of OpenAI's format are asked for the model. Others may get a member of that name as their own."""
    sent = msgspec.json.decode(prepared.body, type=dict[str, msgspec.Raw])
    if prepared.translation is None or prepared.translation.provider.has_openai_members:
        assert "model" not in sent or msgspec.json.decode(sent["model"]) == "a-model"


def preparing(route: Route) -> Callable[[bytes], None]:
    """Return a check of everything from a body to the upstream request, for every host."""

    endpoints = [endpoint_of(spec, route) for spec in CATALOG.values() if spec.offers(route)]

    def check(body: bytes) -> None:
        envelope = refused_or_sent(lambda: read_envelope(body))
        if envelope is None:
            return
        for endpoint in endpoints:
            prepared: UpstreamRequest | None = refused_or_sent(
                lambda endpoint=endpoint: prepare(
                    body, envelope, endpoint, routing.Target.at(endpoint.provider, "a-model")
                )
            )
            if prepared is not None:
                check_model(prepared)

    return check


requests = mutated_json(REQUESTS)
TARGETS = (
    *(Target(f"a request for {wire}", requests, encoding(wire)) for wire in MODELS),
    Target("a request for embeddings", mutated_json(EMBEDDINGS), embedding),
    Target(
        "a chat for every host",
        requests,
        preparing("chat"),
        (b'{"model":"m","stream":true,"stream_options":{"a":"\x80"},"messages":[]}',),
    ),
    Target(
        "completions for every host",
        mutated_json(COMPLETIONS),
        preparing("completions"),
        (
            b'{"model":"m","prompt":"\x80"}',
            b'{"model":"m","prompt":"a","suffix":"\x80"}',
            b'{"model":"m","prompt":"\\ud800"}',
        ),
    ),
    Target("embeddings for every host", mutated_json(EMBEDDINGS), preparing("embeddings")),
)
