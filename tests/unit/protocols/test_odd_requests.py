"""A request with any JSON value in any place is translated, or rejected with a 400 that says what is wrong."""

import copy
import json

import hypothesis
import pytest
from hypothesis import strategies

from nulpoint.errors import Failure, Kind
from nulpoint.protocols.registry import EMBEDDINGS as EMBEDDINGS_CODECS
from support.chat_codec import CODECS
from support.rich_requests import EMBEDDINGS, rich_requests

# Each has a wire format, the format of its examples, and models with different capabilities.
TARGETS = [
    ("anthropic", "anthropic", "claude-3-5-haiku-latest"),
    ("anthropic", "anthropic", "claude-sonnet-4-0"),
    ("anthropic", "anthropic", "claude-opus-4-8"),
    ("vertex-anthropic", "anthropic", "claude-sonnet-4-5"),
    ("bedrock", "bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("bedrock", "bedrock", "anthropic.claude-3-5-haiku-20241022-v1:0"),
    ("bedrock", "bedrock", "amazon.nova-pro-v1:0"),
    ("bedrock", "bedrock", "us.amazon.nova-2-lite-v1:0"),
    ("gemini", "gemini", "gemini-2.5-pro"),
    ("gemini", "gemini", "gemini-3-pro-preview"),
    ("vertex", "gemini", "gemini-2.0-flash"),
    ("mistral", "mistral", "mistral-large-latest"),
]
EMBEDDERS = [
    ("bedrock", "amazon.titan-embed-text-v2:0"),
    ("bedrock", "cohere.embed-v4:0"),
    ("gemini", "gemini-embedding-001"),
    ("mistral", "mistral-embed"),
    ("vertex", "text-embedding-005"),
]
DEEP = json.loads("[" * 300 + "]" * 300)
ODD = (
    None, True, False, 0, 1, -1, 1.5, 10**30, "", " ", "x", "é\u2028", "{", "[]", '{"a":[]}', "\ud800", "data:", "data:text/plain;base64,é",
    [], [None], [1], ["x"], [[]], [{}], {}, {"a": 1}, {"type": {}}, {"type": "text", "text": 5}, {"": None}, {"id": {}},
    {"name": "weather"}, {"url": []}, {"$ref": 5}, {"$ref": "#/$defs/none"}, {"anyOf": {}}, {"type": []}, {"type": ["x", 1]},
    {"content": 5}, {"toolUse": 5}, {"toolResult": {"content": 5}}, {"functionCall": "x"}, {"functionResponse": []}, DEEP,
)  # fmt: skip


def places(value, at=()):
    """Yield the path of every value inside a JSON value."""
    if at:
        yield at
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*at, key))


def holder(request, place):
    for step in place[:-1]:
        request = request[step]
    return request


def replaced(request, place, odd):
    made = copy.deepcopy(request)
    holder(made, place)[place[-1]] = odd
    return made


def removed(request, place):
    made = copy.deepcopy(request)
    del holder(made, place)[place[-1]]
    return made


def doubled(request, place):
    """Repeat an element of a list, or a member under another name."""
    made = copy.deepcopy(request)
    inside = holder(made, place)
    if isinstance(inside, list):
        inside.insert(place[-1], copy.deepcopy(inside[place[-1]]))
    else:
        inside[f"{place[-1]}2"] = copy.deepcopy(inside[place[-1]])
    return made


def all_broken(request):
    """Yield the request without each of its values, with each repeated, and with each odd value in each place."""
    for place in [*places(request)]:
        yield removed(request, place), ("removed", place)
        yield doubled(request, place), ("doubled", place)
        inside, last = holder(request, place), place[-1]
        before = inside[last]
        for odd in ODD:
            inside[last] = odd
            yield request, (odd, place)
        inside[last] = before


def check(encode, request, model, what):
    """A 400 must name the place, unless the whole body cannot be read."""
    try:
        encode(json.dumps(request).encode(), model)
    except Failure as failure:
        named = failure.param or failure.code == "invalid_json"
        if failure.kind is not Kind.REJECTED or failure.status != 400 or not named:
            pytest.fail(f"{what}: {failure.status} {failure}")
    except Exception as error:  # reported together with the request that caused it
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize(("wire", "form", "model"), TARGETS)
def test_the_requests_are_as_they_should_be(wire, form, model):
    """The examples are only rejected for something that the model does not support."""
    refused = {}
    for name, request in rich_requests(form).items():
        try:
            CODECS[wire].encode(json.dumps(request).encode(), model)
        except Failure as failure:
            refused[name] = failure.code
    assert set(refused.values()) <= {"unsupported_value", "invalid_value"}
    assert len(refused) <= 4, refused


@pytest.mark.parametrize(("wire", "form", "model"), [TARGETS[number] for number in (2, 4, 9, 11)])
def test_one_odd_value_anywhere(wire, form, model):
    for name, request in rich_requests(form).items():
        for broken, what in all_broken(request):
            check(CODECS[wire].encode, broken, model, (name, *what))


@pytest.mark.parametrize(("wire", "model"), EMBEDDERS)
def test_one_odd_value_anywhere_in_embeddings(wire, model):
    for broken, what in all_broken(EMBEDDINGS):
        check(EMBEDDINGS_CODECS[wire].encode, broken, model, what)


@hypothesis.settings(max_examples=400, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(
    target=strategies.sampled_from(TARGETS),
    changes=strategies.lists(
        strategies.tuples(strategies.integers(0, 10**6), strategies.sampled_from(ODD) | strategies.sampled_from("rd")),
        min_size=1,
        max_size=4,
    ),
    which=strategies.integers(0, 100),
)
def test_several_odd_values(target, changes, which):
    wire, form, model = target
    requests = list(rich_requests(form).values())
    request = requests[which % len(requests)]
    for number, change in changes:
        there = list(places(request))
        if not there:
            break
        place = there[number % len(there)]
        request = (
            removed(request, place)
            if change == "r"
            else doubled(request, place)
            if change == "d"
            else replaced(request, place, change)
        )
    check(CODECS[wire].encode, request, model, changes)
