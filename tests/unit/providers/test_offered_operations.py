"""Tests which operation of a provider serves a request, and whether the request is passed on or translated."""

import pytest

from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.operations import OPERATIONS

TABLE = [
    # the provider, the operation, the provider's own operation that serves it, and whether requests are passed on
    ("openai", "chat", "chat", True),
    ("openai", "completions", "completions", True),
    ("openai", "embeddings", "embeddings", True),
    ("openai", "moderations", "moderations", True),
    ("groq", "chat", "chat", True),
    ("groq", "completions", "chat", False),
    ("perplexity", "completions", "chat", False),
    ("together", "completions", "completions", True),
    ("together", "rerank", "rerank", True),
    ("anthropic", "chat", "chat", False),
    ("anthropic", "completions", "chat", False),
    ("gemini", "chat", "chat", False),
    ("gemini", "completions", "chat", False),
    (
        "gemini",
        "embeddings",
        "embeddings",
        True,
    ),  # embeddings are not conversations: a codec of their own translates them
    ("mistral", "chat", "chat", False),
    ("bedrock", "completions", "chat", False),
]


@pytest.mark.parametrize(("provider", "name", "own", "passed_on"), TABLE)
def test_the_operation_that_serves_a_request(provider, name, own, passed_on):
    spec, operation = CATALOG[provider], OPERATIONS[name]
    assert spec.offers(name)
    assert (spec.operation_for(operation), spec.speaks(operation)) == (own, passed_on)


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("groq", "embeddings"),
        ("anthropic", "embeddings"),
        ("jina", "chat"),
        ("jina", "completions"),
        ("openai", "rerank"),
    ],
)
def test_operations_that_a_provider_does_not_offer(provider, name):
    assert not CATALOG[provider].offers(name)


def test_every_provider_serves_completions_if_it_serves_chat():
    for spec in CATALOG.values():
        assert spec.offers("completions") or not spec.offers("chat")
        if spec.offers("completions"):
            own = spec.operation_for(OPERATIONS["completions"])
            assert own in spec.operations
            assert spec.speaks(OPERATIONS["completions"]) is (own == "completions" and spec.wire == "openai")
