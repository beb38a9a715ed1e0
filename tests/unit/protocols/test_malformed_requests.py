"""A malformed request results in a 400 that names a member, never in an internal error."""

import copy
import json

import pytest

from nulpoint.errors import Failure
from support.chat_codec import CODECS
from support.request_table import CASES, HI, MODELS

ODD = (None, True, 5, "", "x", [], ["x"], {}, {"x": 1}, [[]], [None], [{}])
TARGETS = [(provider, model) for provider, models in MODELS.items() for model in dict.fromkeys((models[0], models[-1]))]


def places(value, at=()):
    """Yield the path of every value inside a JSON value."""
    if at:
        yield at
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*at, key))


def broken(request):
    """Yield the request with each of the odd values in each of its places."""
    for *steps, last in places(request):
        made = copy.deepcopy(request)
        inside = made
        for step in steps:
            inside = inside[step]
        for odd in ODD:
            inside[last] = odd
            yield made, (*steps, last)


@pytest.mark.parametrize(("provider", "model"), TARGETS)
def test_a_broken_request_is_sent_or_refused(provider, model):
    encode = CODECS[provider].encode
    for name, case in CASES.items():
        for request, place in broken({"model": model, "messages": HI, **case.request}):
            try:
                encode(json.dumps(request).encode(), model)
            except Failure as failure:
                if failure.status != 400 or not failure.param:
                    pytest.fail(f"{name} at {place}: {failure}")
            except Exception as error:
                pytest.fail(f"{name} at {place}: {type(error).__name__}: {error}")


HEAD = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"x":'
DEEP = b"[" * 960 + b"]" * 960


@pytest.mark.parametrize(("provider", "model"), TARGETS)
@pytest.mark.parametrize("value", [b'"\xff"', b'"\\ud800"', b"1e999", b"[" * 3000 + b"]" * 3000, DEEP])
def test_what_the_envelope_did_not_read(provider, model, value):
    """Bodies with a member that is invalid or deeply nested JSON, which the first reading skips."""
    try:
        sent = CODECS[provider].encode(HEAD + value + b"}", model).body
    except Failure as failure:
        assert (failure.status, failure.code) == (400, "invalid_json")  # noqa: PT017
    else:
        assert set(value) == {*b"[]"}  # the limit depends on the Python version: 3.13 nests deeper than 3.11
        assert value in sent
