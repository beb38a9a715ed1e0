"""Tests how a request uses the cache: its key, and what the client's headers allow."""

import math

import pytest

from nulpoint.cache.exclusions import CacheExclusions
from nulpoint.errors import Failure
from nulpoint.routing.chains import TargetPlan
from support.cache_lookups import OTHER, OWN, TTL, read
from support.proxy_requests import BODY

WISHES = [  # headers, may_read, max_age, ttl
    ({}, True, math.inf, TTL),
    ({b"cache-control": b"no-cache"}, False, math.inf, TTL),
    ({b"cache-control": b"max-age=60"}, True, 60.0, TTL),
    ({b"cache-control": b'Max-Age="60", no-transform'}, True, 60.0, TTL),
    ({b"cache-control": b"max-age=-1"}, True, 0.0, TTL),
    ({b"cache-control": b"max-age"}, True, 0.0, TTL),
    ({b"cache-control": b"max-age=" + b"9" * 400}, True, math.inf, TTL),
    ({b"cache-control": b"no-cachet, x-no-store"}, True, math.inf, TTL),
    ({b"cache-control": b""}, True, math.inf, TTL),
    ({b"x-nulpoint-cache-ttl": b"300"}, True, math.inf, 300.0),
    ({b"x-nulpoint-cache-ttl": b"0"}, True, math.inf, 0.0),
    ({b"x-nulpoint-cache-ttl": b"1e9"}, True, math.inf, TTL),
    ({b"x-nulpoint-cache-ttl": b"5", b"cache-control": b"no-cache"}, False, math.inf, 5.0),
]


@pytest.mark.parametrize(("headers", "look", "max_age", "ttl"), WISHES)
@pytest.mark.parametrize("route", ["chat", "embeddings"])
def test_headers_that_control_the_cache(headers, look, max_age, ttl, route):
    body = BODY if route == "chat" else b'{"model":"m","input":["x"]}'
    question = read(headers, route=route, body=body)
    assert (question.may_read, question.max_age, question.ttl) == (look, max_age, ttl)
    assert question.key == read(route=route, body=body).key


@pytest.mark.parametrize("value", [b"no-store", b"NO-STORE", b"max-age=5 , No-Store", b"no-cache,no-store"])
def test_no_store_is_a_bypass(value):
    assert read({b"cache-control": value}) is None


@pytest.mark.parametrize("value", [b"soon", b"-1", b"nan", b"", b"5s"])
def test_an_invalid_ttl_is_rejected(value):
    with pytest.raises(Failure, match="number of seconds") as caught:
        read({b"x-nulpoint-cache-ttl": value})
    assert (caught.value.status, caught.value.param) == (400, "x-nulpoint-cache-ttl")


KEYS = {
    "another body": {"body": BODY[:-1] + b',"seed":1}'},
    "another route": {"route": "completions"},
    "other targets": {"plan": TargetPlan(OTHER, [[(OTHER, 1)]])},
    "a chain of the user's own": {"plan": OWN},
    "strict": {"strict": True},
    "strict by field": {"headers": {b"x-nulpoint-strict": b"true"}},
    "a beta": {"headers": {b"openai-beta": b"x"}},
    "another beta": {"headers": {b"openai-beta": b"y"}},
    "the same of another": {"headers": {b"anthropic-beta": b"x"}},
    "an organisation": {"headers": {b"openai-organization": b"x"}},
    "a key": {"headers": {b"authorization": b"Bearer a"}, "forward_keys": True},
    "another key": {"headers": {b"x-api-key": b"b"}, "forward_keys": True},
}


def test_differences_that_change_the_key():
    keys = {name: read(**how).key for name, how in KEYS.items()}
    assert keys.pop("strict") == keys.pop("strict by field")
    keys["plain"] = read().key
    assert len(set(keys.values())) == len(keys)
    assert all(len(key) == 32 for key in keys.values())


def test_a_key_that_is_not_forwarded_does_not_count():
    assert read({b"authorization": b"Bearer a"}).key == read().key


EXCLUSIONS = [
    (["gpt-4o"], [], True), (["there"], [], True), (["openai/elsewhere"], [], True), ([], ["^gpt"], True),
    ([], ["where$"], True), (["gpt-4"], ["^there.$"], False), (["openai"], [], False),
]  # fmt: skip


@pytest.mark.parametrize(("exact", "patterns", "excluded"), EXCLUSIONS)
def test_excluded_by_the_requested_name_or_one_it_resolves_to(exact, patterns, excluded):
    assert (read(excluded=CacheExclusions(exact, patterns)) is None) is excluded


def test_every_vector_has_its_own_key():
    one, both = (read(route="embeddings", body=b'{"model":"m","input":%b}' % text) for text in (b'"x"', b'["x","y"]'))
    assert one.batch.keys == both.batch.keys[:1]
    assert one.key != both.key
    assert read(route="embeddings", body=b'{"model":"m"}') is None
