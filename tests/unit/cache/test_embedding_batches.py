"""Tests batches of embeddings: only missing inputs are requested, and the joined response is that of the whole batch."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from nulpoint.cache.embeddings import MAX_INPUTS, VectorMismatchError, join, read_batch, read_vectors

CHAIN, NOW = b"openai/text-embedding-3-small", 1000.0


def body(inputs, **members):
    return json.dumps({"model": "text-embedding-3-small", "input": inputs, **members}).encode()


def batch(inputs, namespace=b"", **members):
    return read_batch(body(inputs, **members), namespace, CHAIN)


def provider(request, calls=None):
    """Imitates a provider: a vector identifies its input, and each word or token id is a token."""
    asked = json.loads(request)
    inputs = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    inputs = [inputs] if all(isinstance(each, int) for each in inputs) else inputs
    if calls is not None:
        calls.append(inputs)
    data = [
        {"object": "embedding", "index": index, "embedding": vector(asked, each)} for index, each in enumerate(inputs)
    ]
    tokens = sum(count(each) for each in inputs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json.dumps({"object": "list", "data": data[::-1], "model": "answered", "usage": usage}).encode()


def vector(asked, text):
    return f"b64:{text}" if asked.get("encoding_format") == "base64" else [float(ord(char)) for char in str(text)]


def count(text):
    return len(text) if isinstance(text, list) else len(text.split())


def ask(inputs, cache, calls=None, **members):
    """Do what the gateway does, with a dict as the cache."""
    asked = batch(inputs, **members)
    found = {key: cache[key] for key in asked.keys if key in cache}
    missing = asked.missing(found)
    answer = None
    if missing:
        answer = provider(asked.request(missing), calls)
        fresh = read_vectors(answer, asked, missing, "openai", NOW)
        cache.update(fresh)
        found |= fresh
    return json.loads(join(asked, found, answer))


def whole(inputs, **members):
    answer = json.loads(provider(body(inputs, **members)))
    answer["data"].sort(key=lambda item: item["index"])
    return answer


WORDS = st.sampled_from(["one", "two", "tri", "for", "fiv"])  # all of one length, so that the shares are exact


@given(st.lists(st.lists(WORDS, min_size=1, max_size=6), max_size=4), st.lists(WORDS, min_size=1, max_size=6))
def test_the_joined_response_is_the_one_to_the_whole_batch(earlier, inputs):
    cache = {}
    for others in earlier:
        ask(others, cache)
    known = {word for others in earlier for word in others}
    calls = []
    answer = ask(inputs, cache, calls)
    assert answer == whole(inputs)
    CreateEmbeddingResponse.model_validate(answer)
    fresh = [word for word in dict.fromkeys(inputs) if word not in known]
    assert calls == ([fresh] if fresh else [])


@given(st.lists(st.text() | st.lists(st.integers(0, 9), min_size=1), min_size=1, max_size=5))
def test_a_repeated_batch_reports_the_same_tokens(inputs):
    cache, calls = {}, []
    first = ask(inputs, cache)
    assert ask(inputs, cache, calls) == first
    assert calls == []


@given(
    st.lists(st.lists(st.integers(0, 99_999), min_size=1, max_size=9), min_size=1, max_size=5, unique_by=tuple),
    st.data(),
)
def test_token_ids_are_counted_exactly(inputs, data):
    cache = {}
    ask(inputs, cache)
    some = data.draw(st.permutations(inputs))[: len(inputs) // 2 + 1]
    assert ask(some, cache)["usage"]["prompt_tokens"] == sum(map(len, some))


def test_a_single_input_and_a_batch_share_vectors():
    cache, calls = {}, []
    assert ask("one", cache, calls) == whole("one")
    assert ask(["two", "one"], cache, calls) == whole(["two", "one"])
    assert ask([1, 2, 3], cache, calls) == whole([1, 2, 3])
    assert ask([[1, 2, 3], [4]], cache, calls) == whole([[1, 2, 3], [4]])
    assert calls == [["one"], ["two"], [[1, 2, 3]], [[4]]]


def test_other_members_change_the_keys():
    keys = {
        *batch("one").keys,
        *batch("two").keys,
        *batch("one", dimensions=3).keys,
        *batch("one", encoding_format="base64").keys,
        *batch("one", user="u").keys,
        *batch("one", namespace=b"t").keys,
        *batch([1]).keys,
        *batch(["1"]).keys,
    }
    assert len(keys) == 8
    assert batch(["one", "one"]).keys == batch("one").keys * 2


def test_the_requested_encoding_is_kept():
    cache = {}
    ask(["one", "two"], cache)
    packed = ask(["two", "tri"], cache, encoding_format="base64")
    assert [item["embedding"] for item in packed["data"]] == ["b64:two", "b64:tri"]
    assert ask(["two"], cache)["data"][0]["embedding"] == [116.0, 119.0, 111.0]


def test_only_the_inputs_of_the_request_change():
    text = b'{"n": 1.50, "input" : ["a", "b", "\\u0063"] , "model":"m", "x":{"input":1}}'
    asked = read_batch(text, b"", CHAIN)
    assert asked.request([0, 1, 2]) == text
    assert asked.request([0, 2]) == text.replace(b'["a", "b", "\\u0063"]', b'["a","c"]')


@pytest.mark.parametrize(
    "request_body",
    [b"{}", b"[]", b"", b'{"input":[]}', b'{"input":"a","input":"b"}', b'{"input":[' + b'"a",' * MAX_INPUTS + b'"b"]}'],
)
def test_requests_that_bypass_the_cache(request_body):
    assert read_batch(request_body, b"", CHAIN) is None


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"index": 0, "embedding": [1]}],
        [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}],
        [{"index": 1, "embedding": [1]}, {"index": 2, "embedding": [1]}],
        [{"index": "a", "embedding": [1]}, {"index": 0}],
        [{"index": 0}, {"index": 1}, {"index": 2}],
        [{"index": 0, "embedding": [1]}, {"index": 1}],
        ["a", "b"],
        None,
    ],
)
def test_a_response_that_does_not_match_the_request(data):
    with pytest.raises(VectorMismatchError):
        read_vectors(json.dumps({"data": data}).encode(), batch(["a", "b"]), [0, 1], "openai", NOW)


def test_unreported_usage_stays_unreported():
    asked = batch(["one", "two"])
    answer = json.dumps({"data": [{"embedding": [1]}, {"embedding": [2]}], "id": "e"}).encode()
    vectors = read_vectors(answer, asked, [0, 1], "openai", NOW)
    joined = json.loads(join(asked, vectors, answer))
    assert "usage" not in joined
    assert joined["id"] == "e"
    assert [(item["index"], item["embedding"]) for item in joined["data"]] == [(0, [1]), (1, [2])]


def test_other_members_come_from_the_call_that_was_made():
    cache = {}
    ask(["one"], cache)
    asked = batch(["one", "two"])
    answer = json.dumps(
        {"data": [{"index": 0, "embedding": [2]}], "usage": {"prompt_tokens": 1, "total_tokens": 1, "cost": 7}}
    ).encode()
    found = {**cache, **read_vectors(answer, asked, [1], "openrouter", NOW)}
    assert json.loads(join(asked, found, answer))["usage"] == {"prompt_tokens": 2, "total_tokens": 2, "cost": 7}


@pytest.mark.parametrize("unit", [b"{},", b'{"a":1},', b'{"embedding":[],"a":{"b":{}}},'])
def test_a_response_of_a_million_objects_is_not_decoded(unit):
    asked = batch(["a", "b"])
    answer = b'{"model":"m","data":[%b{}]}' % (unit * 200_000)
    with pytest.raises(VectorMismatchError):
        read_vectors(answer, asked, [0, 1], "openai", NOW)


def test_a_response_of_a_million_numbers_is_decoded():
    asked = batch(["a", "b"])
    vector = b"[%b0]" % (b"0.5," * 100_000)
    answer = b'{"model":"m","data":[{"index":0,"embedding":%b},{"index":1,"embedding":%b}]}' % (vector, vector)
    assert len(read_vectors(answer, asked, [0, 1], "openai", NOW)) == 2
