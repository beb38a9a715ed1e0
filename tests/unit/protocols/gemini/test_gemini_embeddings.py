"""Tests the embeddings of Google's models: which method of the API they have, and where the task of the vectors stands."""

import json

import pytest

from nulpoint.errors import Failure
from nulpoint.models.catalog import built_in_models
from nulpoint.protocols.limits import DEFAULT_LIMITS
from nulpoint.protocols.registry import EMBEDDINGS
from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.wire_formats import Paths

HOSTS = {"vertex": "vertexai", "gemini": "gemini"}
NEW, OLD = "gemini-embedding-2", "text-embedding-005"


def encoded(wire, model, texts, **members):
    facts = built_in_models().of(HOSTS[wire], model)
    body = json.dumps({"model": model, "input": texts, **members}).encode()
    request, dropped, method = EMBEDDINGS[wire].encode(body, model, DEFAULT_LIMITS, facts)
    return json.loads(request), dropped, method


def content(text, **config):
    return {
        "content": {"role": "user", "parts": [{"text": text}]},
        **({"embedContentConfig": config} if config else {}),
    }


@pytest.mark.parametrize(
    ("model", "texts", "method", "request_body"),
    [
        (NEW, "a", "embedContent", content("a")),
        (NEW, ["a"], "embedContent", content("a")),
        (NEW, ["a", "b"], "batchEmbedContents", {"requests": [content("a"), content("b")]}),
        ("gemini-embedding-2-preview", "a", "embedContent", content("a")),
        ("gemini-embedding-001", "a", "embedContent", content("a")),
        ("gemini-embedding-001", ["a", "b"], "batchEmbedContents", {"requests": [content("a"), content("b")]}),
        (OLD, ["a", "b"], "predict", {"instances": [{"content": "a"}, {"content": "b"}]}),
        ("a-name-of-their-own", "a", "predict", {"instances": [{"content": "a"}]}),
    ],
)
def test_models_on_vertex_ai_differ_in_their_method(model, texts, method, request_body):
    assert encoded("vertex", model, texts) == (request_body, [], method)
    spec = CATALOG["vertexai"]
    for configured in ({}, spec.paths):
        path = Paths("vertex", configured, "embeddings").of(model, False, method)
        assert path.endswith(f"/models/{model}:{method}")


def test_more_texts_than_gemini_accepts_are_a_mistake_of_the_client():
    request, dropped, _ = encoded("gemini", NEW, ["a"] * 100)
    assert (len(request["requests"]), dropped) == (100, [])
    with pytest.raises(Failure, match="has 101 texts, and Gemini accepts up to 100") as failure:
        encoded("gemini", NEW, ["a"] * 101)
    assert (failure.value.status, failure.value.param) == (400, "input")


def test_a_path_of_the_users_own_is_kept():
    assert (
        Paths("vertex", {"embeddings": "/{model}:predict"}, "embeddings").of("m", False, "embedContent") == "/m:predict"
    )


def test_the_parameters_of_either_method():
    members = {"dimensions": 8, "auto_truncate": False, "user": "u"}
    config = {"outputDimensionality": 8, "autoTruncate": False}
    assert encoded("vertex", NEW, "a", **members) == (content("a", **config), ["user"], "embedContent")
    expected = {"instances": [{"task_type": "CLUSTERING", "content": "a"}], "parameters": config}
    assert encoded("vertex", OLD, "a", task_type="CLUSTERING", **members) == (expected, ["user"], "predict")


@pytest.mark.parametrize(
    ("members", "text", "dropped"),
    [
        ({"task_type": "RETRIEVAL_QUERY"}, "task: search result | query: a", []),
        ({"task_type": "CODE_RETRIEVAL_QUERY"}, "task: code retrieval | query: a", []),
        ({"task_type": "SEMANTIC_SIMILARITY"}, "task: sentence similarity | query: a", []),
        ({"task_type": "RETRIEVAL_DOCUMENT"}, "title: none | text: a", []),
        ({"task_type": "RETRIEVAL_DOCUMENT", "title": "t"}, "title: t | text: a", []),
        ({"task_type": "CLUSTERING", "title": "t"}, "task: clustering | query: a", ["title"]),
        ({"task_type": "TASK_TYPE_UNSPECIFIED"}, "a", []),
        ({"task_type": "NEW_ONE"}, "a", ["task_type"]),
        ({}, "a", []),
    ],
)
def test_the_task_is_written_into_the_text_for_models_without_a_member_for_it(members, text, dropped):
    assert encoded("vertex", NEW, "a", **members)[:2] == (content(text), dropped)
    request, reported, _ = encoded("gemini", NEW, "a", **members)
    assert (request, reported) == (
        {"requests": [{"model": f"models/{NEW}", "content": {"parts": [{"text": text}]}}]}, dropped,
    )  # fmt: skip


def test_older_models_have_a_member_for_the_task():
    request, _, _ = encoded("gemini", "gemini-embedding-001", "a", task_type="RETRIEVAL_QUERY")
    assert request["requests"][0]["taskType"] == "RETRIEVAL_QUERY"


@pytest.mark.parametrize(
    ("response", "tokens", "extra"),
    [
        ({"embedding": {"values": [1, 2]}, "usageMetadata": {"promptTokenCount": 3}, "truncated": False}, 3, None),
        ({"embedding": {"values": [1, 2]}, "truncated": True}, 0, {"truncated": True}),
        ({"embeddings": [{"values": [1, 2], "statistics": {"tokenCount": 4}}]}, 4, None),
    ],
)
def test_the_responses_of_the_newer_methods(response, tokens, extra):
    shown = json.loads(EMBEDDINGS["vertex"].decode(json.dumps(response).encode(), b'{"input":"a"}', NEW))
    assert [vector["embedding"] for vector in shown["data"]] == [[1, 2]]
    assert shown["usage"]["total_tokens"] == tokens
    assert shown.get("provider_specific_fields", {}).get("vertexai") == extra
