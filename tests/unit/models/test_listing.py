"""Reads the lists of models that hosts give out."""

import contextlib
import json
from datetime import date

import pytest
from hypothesis import given

from nulpoint.models.catalog import Models
from nulpoint.models.listing import MAX_LISTED_MODELS, ListedModel, read_listing
from nulpoint.models.rows import ModelRow
from support.mutation import any_json


@pytest.mark.parametrize(
    ("body", "models"),
    [
        (b'{"object":"list","data":[{"id":"a","object":"model"},{"id":"b"}]}', [("a", None), ("b", None)]),
        (b'{"data":[{"id":"a","shutdown_date":"2027-04-01"}]}', [("a", date(2027, 4, 1))]),
        (b'{"data":[{"id":"a","shutdown_date":1806537600}]}', [("a", date(2027, 4, 1))]),
        (b'{"data":[{"id":"a","retires_at":"2027-04-01T12:00:00Z"}],"has_more":false}', [("a", date(2027, 4, 1))]),
        (b'{"data":[{"id":"a","retires_at":null,"shutdown_date":null}]}', [("a", None)]),
        (b'{"data":[{"id":"a","retires_at":"soon","shutdown_date":[]}]}', [("a", None)]),
        (b'{"models":[{"name":"models/gemini-x","version":"1"}]}', [("gemini-x", None)]),
        (b'{"models":[{"name":"llama","id":"org/llama"}],"data":null}', [("org/llama", None)]),
        (b'[{"id":"org/a"},{"id":"org/a"}]', [("org/a", None)]),
        (b'{"data":[{"id":"' + b"x" * 257 + b'"},{"id":""},{"id":"a"}]}', [("a", None)]),
    ],
)
def test_lists(body, models):
    assert read_listing(body) == tuple(ListedModel(*model) for model in models)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"data":[]}', b'{"data":[{"id":7}]}', b"<html>", b'"a"', b"null"]
)
def test_what_is_no_list_is_an_error(body):
    with pytest.raises(ValueError):
        read_listing(body)


@given(any_json)
def test_any_document_is_a_list_or_an_error(document):
    with contextlib.suppress(ValueError):
        assert read_listing(json.dumps(document).encode("utf-8", "surrogatepass"))


def test_the_number_of_models_is_bounded():
    body = b'{"data":[' + b",".join(b'{"id":"%d"}' % number for number in range(MAX_LISTED_MODELS + 1)) + b"]}"
    assert len(read_listing(body)) == MAX_LISTED_MODELS


def test_a_listed_day_replaces_the_built_in_one_and_a_configured_one_replaces_both():
    configured = ModelRow.read({"hosts": ["openai"], "models": ["gpt-4.1"], "retires": "2029-01-01"})
    models = Models([configured])
    built_in = models.of("openai", "gpt-4o").retires
    models.learn(
        "openai", [ListedModel("gpt-4o", date(2028, 1, 1)), ListedModel("gpt-4.1", date(2028, 1, 1))], "u", "d"
    )
    assert models.of("openai", "gpt-4o").retires == date(2028, 1, 1) != built_in
    assert models.of("openai", "gpt-4.1").retires == date(2029, 1, 1)
    assert models.provenance("openai", "gpt-4o")["retires"][1].source == "u"
    models.learn("openai", [ListedModel("gpt-4o", None)], "u", "d")
    assert models.of("openai", "gpt-4o").retires == built_in


def test_a_model_like_one_of_another_host_does_not_retire_with_it():
    like = ModelRow.read({"hosts": ["azure"], "models": ["prod"], "like": "openai/gpt-4o"})
    assert Models([like]).of("azure", "prod").retires is None
    same_host = ModelRow.read({"hosts": ["azure"], "models": ["prod"], "like": "azure/gpt-4o"})
    assert Models([same_host]).of("azure", "prod").retires == Models().of("azure", "gpt-4o").retires
