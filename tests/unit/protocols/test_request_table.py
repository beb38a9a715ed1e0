"""Requests of every kind in the OpenAI API are translated for every provider to what its SDK would send.

A translated request is checked with the provider's own request types and rules (`request_judges`). Other requests are
rejected with a 400 that names the member. Nothing is dropped except the members that `dropped` names.
"""

import json

import pytest

from nulpoint.errors import Failure
from nulpoint.protocols.gemini import embeddings as gemini_embeddings
from nulpoint.protocols.mistral import embeddings as mistral_embeddings
from support.chat_codec import CODECS
from support.request_judges import JUDGES, check, mistral_embedding_types
from support.request_table import CASES, HI, MODELS


def expectation(of, provider, model):
    return of.get(model, of.get(provider, of.get("*")))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("name", "provider", "model"),
    [(name, provider, model) for name, case in CASES.items() for provider in MODELS for model in case.models(provider)],
)
def test_what_is_sent_is_what_the_sdk_would_send(name, provider, model):
    case = CASES[name]
    refused = expectation(case.refused, provider, model)
    body = json.dumps({"model": model, "messages": HI, **case.request}).encode()
    if refused:
        with pytest.raises(Failure) as caught:
            CODECS[provider].encode(body, model)
        assert (caught.value.status, caught.value.param) == (400, refused)
        return
    sent, dropped, _ = CODECS[provider].encode(body, model)
    sent = json.loads(sent)
    JUDGES[provider](sent)
    assert sorted(dropped) == sorted(expectation(case.dropped, provider, model) or [])


EMBEDDINGS = {"model": "m", "input": ["a", "b"], "dimensions": 8, "encoding_format": "base64", "user": "u"}


def test_embeddings_are_what_the_sdks_would_send():
    from google.genai import types

    body = json.dumps(EMBEDDINGS).encode()
    sent, dropped, _ = gemini_embeddings.encode(body, "gemini-embedding-001")
    requests = json.loads(sent)["requests"]
    assert dropped == ["user"]
    assert [types.Content.model_validate(one.pop("content")).parts[0].text for one in requests] == ["a", "b"]
    for one in requests:
        assert one.pop("model") == "models/gemini-embedding-001"
        types.EmbedContentConfig.model_validate(one)
    body = json.dumps({**EMBEDDINGS, "output_dtype": "float", "metadata": {"a": "b"}, "encoding_format": None}).encode()
    sent, dropped, _ = mistral_embeddings.encode(body, "mistral-embed")
    check(mistral_embedding_types(), json.loads(sent))
    assert (json.loads(sent)["output_dimension"], dropped) == (8, ["user"])


@pytest.mark.parametrize("encode", [gemini_embeddings.encode, mistral_embeddings.encode])
@pytest.mark.parametrize("given", [None, [], [1, 2], [[1]], {}, ["a", 1]])
def test_embeddings_of_anything_but_texts_are_refused(encode, given):
    with pytest.raises(Failure) as caught:
        encode(json.dumps({"model": "m", "input": given}).encode(), "m")
    assert (caught.value.status, caught.value.param) == (400, "input")


@pytest.mark.parametrize("name", ["../x", "a/../b", "a?b", "a:b", "a b", "", "models/../x", "a/b/c"])
def test_a_model_name_cannot_change_the_path(name):
    body = json.dumps({"model": name, "messages": HI, "input": "x"}).encode()
    for encode in (CODECS["gemini"].encode, gemini_embeddings.encode):
        with pytest.raises(Failure) as caught:
            encode(body, name)
        assert (caught.value.status, caught.value.param) == (400, "model")
