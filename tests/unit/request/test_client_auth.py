"""Tests client authentication: keys are compared by digest, refused alike, and separated in limits and cache."""

from hashlib import sha256

import pytest

from nulpoint.errors import Failure
from nulpoint.protocols.openai.client import OPENAI_CLIENT
from nulpoint.request.client_auth import ANONYMOUS, ClientAuthenticator, key_digest, unauthorised


def digest(text):
    return sha256(text.encode()).digest()


KEYS = (key_digest("first-key"), key_digest("sha256:" + digest("second-key").hex()))
BEARER = {b"authorization": b"Bearer first-key"}


def callers(keys=KEYS, *, forward=False, tell_apart=False):
    return ClientAuthenticator(keys, forward=forward, distinguish=tell_apart)


@pytest.mark.parametrize(
    ("fields", "query", "key"),
    [
        (BEARER, "", "first-key"),
        ({b"authorization": b"bearer   second-key "}, "", "second-key"),
        ({b"x-api-key": b"second-key"}, "", "second-key"),
        ({b"api-key": b"second-key"}, "", "second-key"),
        ({b"x-goog-api-key": b"second-key"}, "", "second-key"),
        ({}, "key=second-key", "second-key"),
        ({}, "alt=sse&key=second%2Dkey", "second-key"),
        ({b"authorization": b"Basic abc", b"x-api-key": b"first-key"}, "", "first-key"),
        ({b"authorization": b"Bearer other", b"api-key": b"second-key"}, "", "second-key"),
        ({b"authorization": b"Bearer first-key", b"x-api-key": b"second-key"}, "", "first-key"),
        ({b"x-api-key": b"wrong", b"x-goog-api-key": b"wrong"}, "key=wrong&key=first-key", "first-key"),
        ({b"x-nulpoint-api-key": b"first-key", b"authorization": b"Bearer other"}, "", "first-key"),
        ({b"x-nulpoint-api-key": b"first-key", b"authorization": b"Bearer second-key"}, "", "first-key"),
    ],
)
def test_a_known_key_is_accepted(fields, query, key):
    assert callers().authenticate(fields, query) == (digest(key), digest(key), b"", key.encode())


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {b"authorization": b""},
        {b"authorization": b"Bearer "},
        {b"authorization": b"Bearer wrong"},
        {b"authorization": b"Bearer first-ke"},
        {b"authorization": b"Bearer first-keyx"},
        {b"authorization": b"Bearer \xff\xfe"},
        {b"authorization": b"first-key"},
        {b"authorization": b"Basic first-key"},
        {b"authorization": b"Bearer sha256:" + digest("first-key").hex().encode()},
        {b"authorization": b"Bearer " + digest("first-key")},
        {b"x-api-key": b"' OR 1=1 --"},
        {b"x-nulpoint-api-key": b"wrong", **BEARER},
        {b"api-key": b"wrong", b"x-goog-api-key": b"wrong"},
    ],
)
@pytest.mark.parametrize("query", ["", "key=", "key=wrong", "key=first-ke%79%0d", "keys=first-key", "a=key"])
def test_every_refusal_is_the_same(fields, query):
    with pytest.raises(Failure) as caught:
        callers().authenticate(fields, query)
    assert caught.value.status == 401
    assert OPENAI_CLIENT.error_body(caught.value) == OPENAI_CLIENT.error_body(unauthorised())


def test_without_keys_all_clients_are_accepted():
    assert callers(()).authenticate({}, "") == ANONYMOUS
    assert callers(()).authenticate(BEARER, "") == ANONYMOUS


def test_limits_per_key_separate_clients_but_not_their_cached_responses():
    several = callers((), tell_apart=True)
    assert several.authenticate(BEARER, "") == (digest("first-key"), b"", b"", b"")
    assert several.authenticate({}, "") == ANONYMOUS


def test_each_forwarded_key_has_its_own_cache_namespace():
    forwarding = callers((), forward=True)
    one = forwarding.authenticate({b"authorization": b"Bearer sk-one"}, "")
    other = forwarding.authenticate({b"x-api-key": b"sk-other"}, "")
    assert one == (digest("sk-one"), digest("sk-one"), b"sk-one", b"")
    assert other.api_key == b"sk-other"
    assert len({one.cache_namespace, other.cache_namespace, forwarding.authenticate({}, "").cache_namespace}) == 3


def test_a_gateway_key_is_never_forwarded():
    both = callers(forward=True)
    assert both.authenticate(BEARER, "").api_key == b""
    one = both.authenticate({b"x-nulpoint-api-key": b"first-key", b"authorization": b"Bearer sk-one"}, "")
    other = both.authenticate({b"x-nulpoint-api-key": b"first-key", b"authorization": b"Bearer sk-other"}, "")
    assert (one.api_key, other.api_key) == (b"sk-one", b"sk-other")
    assert one.identity == other.identity == digest("first-key")
    assert len({one.cache_namespace, other.cache_namespace, both.authenticate(BEARER, "").cache_namespace}) == 3


@pytest.mark.parametrize(
    ("fields", "query", "forwarded"),
    [
        ({b"authorization": b"Bearer first-key", b"x-api-key": b"sk-mine"}, "", b"sk-mine"),
        ({b"authorization": b"Bearer sk-mine", b"x-goog-api-key": b"first-key"}, "", b"sk-mine"),
        ({b"authorization": b"Bearer second-key", b"api-key": b"first-key"}, "key=sk-mine", b"sk-mine"),
        ({b"authorization": b"Bearer first-key", b"x-api-key": b"FIRST-KEY"}, "key=a.first-key", b""),
        ({b"authorization": b"Bearer sk-one", b"x-api-key": b"sk-two", b"api-key": b"first-key"}, "", b"sk-one"),
        ({b"x-nulpoint-api-key": b"first-key", b"api-key": b"sk-mine"}, "", b"sk-mine"),
        ({b"x-api-key": b"first-key"}, "key=sk%0d%0ax-evil:%201", b""),
        ({b"x-api-key": b"first-key", b"authorization": b"Bearer \xff\xfe"}, "key=%ff", b""),
    ],
)
def test_the_first_other_credential_is_the_provider_s(fields, query, forwarded):
    assert callers(forward=True).authenticate(fields, query).api_key == forwarded
    assert callers().authenticate(fields, query).api_key == b""


@pytest.mark.parametrize(
    "text", ["sha256:", "sha256:abc", "sha256:" + "g" * 64, "sha256:" + "a" * 66, "ä", "a b", "a\n"]
)
def test_invalid_keys_are_rejected(text):
    with pytest.raises(ValueError, match="sha256"):
        key_digest(text)
