"""Tests which responses are stored in the cache, and under which key."""

import json

import pytest

from nulpoint.cache.backend import MemoryCache
from nulpoint.cache.embeddings import CachedVector
from nulpoint.cache.entry import CacheEntry
from nulpoint.cache.writer import MAX_RESPONSE_BYTES, CacheWriter, VectorCacheWriter
from nulpoint.conversation.usage import Usage
from nulpoint.errors import Failure
from nulpoint.protocols.openai.client import OPENAI_CHAT
from nulpoint.protocols.openai.stream import PassThrough
from nulpoint.protocols.openai.usage import read_completion
from nulpoint.request.context import RequestContext
from support.cache_lookups import OTHER, OWN, PLAN, TARGET, read

GOOD = b'{"choices":[{"finish_reason":"stop","message":{"content":"x"}}]}'
STREAM = b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n'
USAGE_EVENT = b'data: {"choices":[],"usage":{"total_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"


DROPPED = ("user", "n")


def served():
    """Return the context of a request after the provider's response."""
    context = RequestContext(b"request-1", "chat", 0.0)
    context.served_by("there-2024", Usage(prompt=1, completion=2))
    return context


def store(writer, body, target=TARGET):
    writer.store_body(body, target, DROPPED, served(), ended=read_completion(body).ended)


def keeper(plan=PLAN, headers=()):
    cache = MemoryCache(1 << 24)
    return cache, CacheWriter(cache, read(headers), plan, lambda: 5.0, lambda: 1700.0, OPENAI_CHAT.conversations)


def kept(cache):
    return [entry.value for entry in cache.memory._entries.values()]


def test_a_body_is_stored():
    cache, one = keeper()
    assert one.complete(GOOD, TARGET, DROPPED) is GOOD
    store(one, GOOD)
    expected = CacheEntry(
        GOOD, b"", False, "openai", "there", Usage(prompt=1, completion=2), 1700.0, "there-2024", "user,n"
    )
    assert cache.memory.get(read().key, 5.0) == expected
    assert cache.memory.get(read().key, 5.0 + 3600) is None


@pytest.mark.parametrize("hide", [False, True])
def test_a_stream_is_stored(hide):
    cache, one = keeper()
    recorder = one.record(PassThrough(), hide)
    assert recorder.feed(STREAM + USAGE_EVENT + DONE) == STREAM + (b"" if hide else USAGE_EVENT)
    assert recorder.close() == DONE
    one.store_stream(recorder, TARGET, DROPPED, served())
    (answer,) = kept(cache)
    assert (answer.content, answer.usage_event, answer.streamed) == (STREAM, USAGE_EVENT, True)


NOT_KEPT = {
    "a built-in equivalent's": (GOOD, PLAN, OTHER, {}),
    "nothing of it": (GOOD, PLAN, TARGET, {b"x-nulpoint-cache-ttl": b"0"}),
    "filtered": (GOOD.replace(b"stop", b"content_filter"), PLAN, TARGET, {}),
    "too large": (GOOD[:-1] + b" " * MAX_RESPONSE_BYTES + b"}", PLAN, TARGET, {}),
    "no answer": (b'{"error":{"message":"x"},"choices":[{"finish_reason":"stop"}]}', PLAN, TARGET, {}),
}


@pytest.mark.parametrize("case", NOT_KEPT)
def test_bodies_that_are_not_stored(case):
    body, plan, target, headers = NOT_KEPT[case]
    cache, one = keeper(plan, headers)
    store(one, body, target)
    assert kept(cache) == []


def test_streams_that_are_not_stored():
    for events, target in ((STREAM, OTHER), (STREAM.replace(b'"stop"', b"null"), TARGET), (STREAM + b"data: x\n\n", TARGET),
                           (STREAM.replace(b"x", b"x" * MAX_RESPONSE_BYTES), TARGET)):  # fmt: skip
        cache, one = keeper()
        recorder = one.record(PassThrough(), False)
        recorder.feed(events + DONE)
        one.store_stream(recorder, target, DROPPED, served())
        assert kept(cache) == []


def test_responses_of_all_targets_of_a_configured_chain_are_stored():
    cache, one = keeper(OWN)
    store(one, GOOD, OTHER)
    assert [answer.model for answer in kept(cache)] == ["elsewhere"]


# -- vectors -----------------------------------------------------------------------------------------------------------


def batch(*texts):
    return read(route="embeddings", body=json.dumps({"model": "m", "input": texts}).encode())


def vectors(*numbers):
    data = [{"object": "embedding", "index": index, "embedding": [number]} for index, number in enumerate(numbers)]
    return json.dumps({"object": "list", "data": data, "model": "m-1", "usage": {"prompt_tokens": 6}}).encode()


def vector_keeper(question, found=(), plan=PLAN):
    cache = MemoryCache(1 << 24)
    missing = question.batch.missing(dict(found))
    return cache, VectorCacheWriter(cache, question, plan, lambda: 5.0, lambda: 1700.0, None, dict(found), missing)


def test_the_response_to_a_whole_batch_is_unchanged():
    question = batch("a", "b")
    cache, one = vector_keeper(question)
    body = vectors(1, 2)
    assert one.complete(body, TARGET, DROPPED) is body
    store(one, body)
    assert [vector.item for vector in kept(cache)] == [
        b'{"object":"embedding","embedding":[1]}', b'{"object":"embedding","embedding":[2]}'
    ]  # fmt: skip
    assert {(one.target, one.model, one.dropped, one.tokens) for one in kept(cache)} == {("there", "m-1", "user,n", 3)}


def test_a_partial_response_is_joined_with_cached_vectors():
    question = batch("a", "b")
    found = {question.batch.keys[0]: CachedVector(b'{"embedding":[9]}', 2, "openai", "m-1", 1.0)}
    cache, one = vector_keeper(question, found)
    joined = one.complete(vectors(7), TARGET, DROPPED)
    assert [item["embedding"] for item in json.loads(joined)["data"]] == [[9], [7]]
    store(one, joined)
    assert [vector.item for vector in kept(cache)] == [b'{"object":"embedding","embedding":[7]}']


def test_a_wrong_partial_response_is_a_failure():
    question = batch("a", "b")
    found = {question.batch.keys[0]: CachedVector(b'{"embedding":[9]}', 2, "openai", "m-1", 1.0)}
    cache, one = vector_keeper(question, found)
    with pytest.raises(Failure, match="one vector for each input") as caught:
        one.complete(vectors(7, 8), TARGET, DROPPED)
    assert (caught.value.status, caught.value.code) == (502, "provider_malformed")
    assert kept(cache) == []


def test_a_wrong_response_to_a_whole_batch_is_passed_on():
    cache, one = vector_keeper(batch("a", "b"))
    assert one.complete(vectors(7), TARGET, DROPPED) == vectors(7)
    store(one, vectors(7))
    assert kept(cache) == []
