"""Schemas that Claude cannot enforce are found before they are sent, and references take the one form it accepts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.errors import Failure
from nulpoint.protocols.anthropic.schema import object_schema
from nulpoint.protocols.anthropic.schema_draft import in_current_draft
from nulpoint.protocols.anthropic.strict import StrictSchemas
from nulpoint.protocols.json_schema import SchemaRewriter
from nulpoint.protocols.openai.chat import RequestFields
from nulpoint.protocols.schema_references import UnresolvableReferenceError, resolve_pointer, with_plain_references
from support.chat_codec import CODECS
from support.request_judges import judge_anthropic
from support.request_table import HI

NODE = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#/definitions/Node"}}}}
RECURSIVE = {
    "the whole schema": {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}, "required": ["kids"]},
    "a definition": {"type": "object", "properties": {"top": {"$ref": "#/definitions/Node"}}, "definitions": {"Node": NODE}},
    "two definitions": {
        "type": "object", "properties": {"a": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"properties": {"b": {"$ref": "#/$defs/B"}}}, "B": {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]}},
    },
    "a property": {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"$ref": "#/properties/a"}}}}},
    "nothing but a reference": {"$ref": "#/definitions/Node", "definitions": {"Node": NODE}},
}  # fmt: skip


def plain(schema):
    return with_plain_references(schema, SchemaRewriter("schema", 1000))


def sent(wire, model, **members):
    body, dropped, _ = CODECS[wire].encode(json.dumps({"model": "x", "messages": HI, **members}).encode(), model)
    request = json.loads(body)
    if wire == "anthropic":
        judge_anthropic(request)
    return request, dropped


def output_format(schema):
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def strict_tool(schema, name="f", strict=True):
    return {"type": "function", "function": {"name": name, "parameters": schema, "strict": strict}}


@pytest.mark.parametrize(("wire", "model"), [
    ("anthropic", "claude-sonnet-4-5"), ("anthropic", "claude-opus-5-5"), ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
])  # fmt: skip
@pytest.mark.parametrize("schema", RECURSIVE.values(), ids=RECURSIVE)
def test_a_recursive_schema_is_an_instruction_in_words(wire, model, schema):
    request, dropped = sent(wire, model, response_format=output_format(schema))
    assert dropped == ["response_format"]
    assert not {"output_config", "outputConfig", "tools", "toolConfig"} & set(request)
    assert json.dumps(schema, separators=(",", ":")) in request["system"][0]["text"]


@pytest.mark.parametrize("schema", RECURSIVE.values(), ids=RECURSIVE)
def test_a_recursive_tool_stays_without_being_strict(schema):
    request, dropped = sent("anthropic", "claude-sonnet-4-5", tools=[strict_tool(schema)])
    (tool,) = request["tools"]
    assert ("strict" in tool, dropped) == (False, ["tools.function.strict"])
    assert tool["input_schema"]["properties"] == (schema.get("properties") or NODE["properties"])
    request, dropped = sent("anthropic", "claude-sonnet-4-5", tools=[strict_tool(schema, strict=False)])
    assert (request["tools"], dropped) == ([tool], [])


TEXT, NUMBER = {"type": "string"}, {"type": "integer"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"properties": {"a": {"$ref": "#/definitions/T"}}, "definitions": {"T": TEXT, "unused": NUMBER}},
         {"properties": {"a": {"$ref": "#/$defs/T"}}, "$defs": {"T": TEXT}}),
        ({"properties": {"a": {"$ref": "#/$defs/T"}, "b": {"$ref": "#/definitions/T"}}, "$defs": {"T": TEXT}, "definitions": {"T": NUMBER}},
         {"properties": {"a": {"$ref": "#/$defs/T"}, "b": {"$ref": "#/$defs/T_2"}}, "$defs": {"T": TEXT, "T_2": NUMBER}}),
        ({"properties": {"a": TEXT, "b": {"$ref": "#/properties/a"}}},
         {"properties": {"a": TEXT, "b": {"$ref": "#/$defs/a"}}, "$defs": {"a": TEXT}}),
        ({"properties": {"a": {"$ref": "#/$defs/odd~1na%C3%AFve~0"}}, "$defs": {"odd/naïve~": TEXT}},
         {"properties": {"a": {"$ref": "#/$defs/odd_na_ve_"}}, "$defs": {"odd_na_ve_": TEXT}}),
        ({"anyOf": [{"$ref": "#/anyOf/1"}, TEXT]}, {"anyOf": [{"$ref": "#/$defs/1"}, TEXT], "$defs": {"1": TEXT}}),
        ({"$ref": "#/definitions/A", "definitions": {"A": {"properties": {"b": {"$ref": "#/definitions/B"}}}, "B": TEXT}},
         {"properties": {"b": {"$ref": "#/$defs/B"}}, "$defs": {"B": TEXT}}),
        ({"properties": {"definitions": TEXT, "$ref": NUMBER}}, {"properties": {"definitions": TEXT, "$ref": NUMBER}}),
    ],
)  # fmt: skip
def test_references_name_entries_of_defs(schema, expected):
    before = json.dumps(schema)
    assert plain(schema) == expected
    assert json.dumps(schema) == before


@pytest.mark.parametrize("reference", [
    "https://example.com/schema", "other.json#/a", "#anchor", "#/$defs/none", "#/properties/a/9", "#/anyOf/x", 5, None,
])  # fmt: skip
def test_references_to_nothing_here_cannot_be_enforced(reference):
    schema = {"properties": {"a": TEXT, "b": {"$ref": reference}}, "anyOf": [TEXT]}
    with pytest.raises(UnresolvableReferenceError):
        plain(schema)
    assert StrictSchemas(RequestFields({})).for_output(schema, "schema") is None


pointers = st.text("#/$defsab~01", max_size=12)


@given(
    pointer=pointers,
    schema=st.recursive(st.just({}), lambda inner: st.dictionaries(st.sampled_from("ab"), inner), max_leaves=5),
)
def test_any_pointer_is_followed_or_refused(pointer, schema):
    try:
        found = resolve_pointer(schema, pointer)
    except UnresolvableReferenceError:
        return
    assert json.dumps(found) in json.dumps(schema)


def test_a_condition_that_stands_alone_may_be_a_reference():
    schema = {
        "properties": {"a": {"allOf": [{"$ref": "#/$defs/T"}], "description": "A."}},
        "required": ["a"],
        "$defs": {"T": TEXT},
    }
    rewritten = StrictSchemas(RequestFields({})).for_output(schema, "schema")
    assert rewritten["properties"]["a"] == {"anyOf": [{"$ref": "#/$defs/T"}], "description": "A."}
    several = {"allOf": [{"$ref": "#/$defs/T"}, NUMBER], "$defs": {"T": TEXT}}
    assert StrictSchemas(RequestFields({})).for_output(several, "schema") is None


def with_properties(count, schema=TEXT, required=0):
    names = [f"p{number}" for number in range(count)]
    return {"type": "object", "properties": dict.fromkeys(names, schema), "required": names[:required]}


@pytest.mark.parametrize(
    ("fits", "too_many"),
    [
        (with_properties(24), with_properties(25)),
        (with_properties(30, required=6), with_properties(30, required=5)),
        (with_properties(16, {"type": ["string", "null"]}, 16), with_properties(17, {"type": ["string", "null"]}, 17)),
    ],
)
def test_schemas_over_the_limits_are_told_in_words(fits, too_many):
    for schema, dropped in ((fits, []), (too_many, ["response_format"])):
        request, lost = sent("anthropic", "claude-opus-5", response_format=output_format(schema))
        assert (lost, "output_config" in request) == (dropped, not dropped)


def test_the_limits_are_those_of_all_schemas_of_a_request_together():
    tools = [strict_tool(with_properties(1), f"f{number}") for number in range(30)]
    request, dropped = sent("anthropic", "claude-opus-5", tools=tools)
    assert [tool.get("strict", False) for tool in request["tools"]] == [True] * 20 + [False] * 10
    assert dropped == ["tools.function.strict"]
    request, dropped = sent(
        "anthropic", "claude-opus-5", tools=tools, response_format=output_format(with_properties(20))
    )
    assert "output_config" in request  # the response is what the client reads, so it comes first
    assert [tool.get("strict", False) for tool in request["tools"]] == [True] * 4 + [False] * 26


def test_bounds_and_enumerations_with_null_are_still_enforced_as_far_as_possible():
    schema = {
        "type": "object", "required": ["n", "e"],
        "properties": {"n": {"type": "integer", "minimum": 0}, "e": {"type": ["string", "null"], "enum": ["a", None]}},
    }  # fmt: skip
    request, dropped = sent("anthropic", "claude-opus-4-5", response_format=output_format(schema))
    assert request["output_config"]["format"]["schema"]["properties"] == {
        "n": {"type": "integer", "description": '{"minimum":0}'}, "e": {"enum": ["a", None]},
    }  # fmt: skip
    assert dropped == ["response_format.json_schema.schema.minimum"]


# -- older drafts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "current"),
    [
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"maximum": 1, "exclusiveMaximum": False}, {"maximum": 1}),
        ({"exclusiveMinimum": True}, {}),
        ({"items": [TEXT, {"type": "any"}], "additionalItems": NUMBER}, {"prefixItems": [TEXT, {}], "items": NUMBER}),
        ({"properties": {"a": {"type": "string", "required": True}, "b": {"required": False}}, "required": ["c"]},
         {"properties": {"a": TEXT, "b": {}}, "required": ["c", "a"]}),
        ({"anyOf": [{"not": {"items": [TEXT]}}]}, {"anyOf": [{"not": {"prefixItems": [TEXT]}}]}),
        ({"default": {"items": [1]}, "properties": {"items": TEXT}}, {"default": {"items": [1]}, "properties": {"items": TEXT}}),
    ],
)  # fmt: skip
def test_older_drafts_become_the_current_one(old, current):
    before = json.dumps(old)
    assert in_current_draft(old) == current
    assert json.dumps(old) == before
    assert in_current_draft(current) == current


def test_a_tool_whose_schema_is_a_reference_has_properties():
    schema = {"$ref": "#/definitions/Node", "definitions": {"Node": NODE}, "description": "A tree."}
    assert object_schema(schema, SchemaRewriter("p", 100)) == {
        **NODE,
        "definitions": {"Node": NODE},
        "description": "A tree.",
    }
    with pytest.raises(Failure):
        object_schema({"$ref": "#/$defs/A", "$defs": {"A": TEXT}}, SchemaRewriter("p", 100))
    assert object_schema({"type": ["object", "null"]}, SchemaRewriter("p", 100)) == {"type": "object"}
