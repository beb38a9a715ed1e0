"""Tests that JSON Schemas are rewritten to what Anthropic and Gemini support, and that the rest is reported."""

import json

import pytest

from nulpoint.errors import Failure
from nulpoint.protocols.anthropic.schema import object_schema, strict_schema
from nulpoint.protocols.gemini.schema import response_schema
from nulpoint.protocols.json_schema import SchemaRewriter

MAX_NODES = 1000
CLOSED = {"type": "object", "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "expected", "lost"),
    [
        ({"type": "object"}, CLOSED, []),
        ({"type": "integer", "description": "Days."}, {"type": "integer", "description": "Days."}, []),
        ({"type": "integer", "description": "Days.", "minimum": 1},
         {"type": "integer", "description": 'Days.\n\n{"minimum":1}'}, ["minimum"]),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}, []),
        ({"type": "string", "format": "color"}, {"type": "string", "description": '{"format":"color"}'}, ["format"]),
        ({"type": "array", "minItems": 1, "maxItems": 3, "items": {"type": "object"}},
         {"type": "array", "minItems": 1, "items": CLOSED, "description": '{"maxItems":3}'}, ["maxItems"]),
        ({"type": ["string", "null"], "title": "T", "maxLength": 3},
         {"title": "T", "anyOf": [{"type": "string", "description": '{"maxLength":3}'}, {"type": "null"}]}, ["maxLength"]),
        ({"type": ["string", "null"], "enum": ["a", None]}, {"enum": ["a", None]}, []),
        ({"type": "string", "const": "a"}, {"const": "a"}, []),
        ({"enum": [{"a": 1}]}, {"description": '{"enum":[{"a":1}]}'}, ["enum"]),
        ({"oneOf": [{"type": "object"}, {"$ref": "#/$defs/a"}], "$defs": {"a": {"type": "object"}}},
         {"anyOf": [CLOSED, {"$ref": "#/$defs/a"}], "$defs": {"a": CLOSED}}, []),
        ({"$schema": "x", "type": "object", "additionalProperties": {"type": "string"}},
         {**CLOSED, "description": '{"additionalProperties":{"type":"string"}}'}, ["additionalProperties"]),
        ({"type": "object", "properties": {"minimum": {"type": "number", "multipleOf": 2}}, "required": ["minimum"]},
         {**CLOSED, "properties": {"minimum": {"type": "number", "description": '{"multipleOf":2}'}}, "required": ["minimum"]},
         ["multipleOf"]),
        ({"type": "array", "items": True}, {"type": "array", "items": True}, []),
        ({"properties": {}}, {**CLOSED, "properties": {}}, []),
        ({"$ref": "#/$defs/a", "title": "T"}, {"title": "T", "anyOf": [{"$ref": "#/$defs/a"}]}, []),
        # With several types, each gets the keywords that apply to it; keywords for all types stand beside them.
        ({"type": ["object", "array", "string"], "properties": {"a": {"type": "null"}}, "required": ["a"],
          "items": {"type": "string"}, "maxLength": 3, "not": {"const": 1}, "$defs": {"d": {"type": "object"}}},
         {"$defs": {"d": CLOSED}, "description": '{"not":{"const":1}}', "anyOf": [
             {**CLOSED, "properties": {"a": {"type": "null"}}, "required": ["a"]},
             {"type": "array", "items": {"type": "string"}},
             {"type": "string", "description": '{"maxLength":3}'},
         ]}, ["maxLength", "not"]),
        ({"type": ["string", "integer"], "anyOf": [{"const": "a"}], "oneOf": [{"const": 1}], "$ref": "#/$defs/d"},
         {"allOf": [{"$ref": "#/$defs/d"}, {"anyOf": [{"const": "a"}]}, {"anyOf": [{"const": 1}]}],
          "anyOf": [{"type": "string"}, {"type": "integer"}]}, []),
        ({"anyOf": [{"const": "a"}], "oneOf": [{"const": 1}], "allOf": [{"title": "T"}]},
         {"anyOf": [{"const": "a"}], "allOf": [{"title": "T"}, {"anyOf": [{"const": 1}]}]}, []),
        ({"type": ["string", "string", "null"]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}, []),
        ({"type": ["null"], "title": "T"}, {"title": "T", "anyOf": [{"type": "null"}]}, []),
        ({"type": "array", "prefixItems": [{"type": "null"}]},
         {"type": "array", "description": '{"prefixItems":[{"type":"null"}]}'}, ["prefixItems"]),
    ],
)  # fmt: skip
def test_structured_outputs(schema, expected, lost):
    before, rewriter = json.dumps(schema), SchemaRewriter("schema", MAX_NODES)
    assert strict_schema(schema, rewriter) == expected
    assert sorted(rewriter.lost) == lost
    assert json.dumps(schema) == before


@pytest.mark.parametrize(
    ("schema", "expected", "lost"),
    [
        ({"type": ["string", "null"], "format": "date", "default": "x"},
         {"type": ["string", "null"], "format": "date", "default": "x"}, []),
        ({"type": "string", "pattern": "a", "description": "A."},
         {"type": "string", "description": 'A.\n\n{"pattern":"a"}'}, ["pattern"]),
        ({"const": "a"}, {"enum": ["a"]}, []),
        ({"enum": ["a", None]}, {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]}, []),
        ({"$schema": "x", "allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"const": 1}}},
         {"anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"enum": [1]}}}, []),
        ({"$ref": "#/$defs/a", "description": "A.", "$defs": {"a": {}}},
         {"anyOf": [{"$ref": "#/$defs/a"}], "description": "A.", "$defs": {"a": {}}}, []),
        ({"type": "object", "properties": {"pattern": {"type": "integer", "multipleOf": 2}}, "additionalProperties": False},
         {"type": "object", "properties": {"pattern": {"type": "integer", "description": '{"multipleOf":2}'}},
          "additionalProperties": False}, ["multipleOf"]),
        ({"type": "array", "prefixItems": [{"const": 2}], "items": False},
         {"type": "array", "prefixItems": [{"enum": [2]}], "items": False}, []),
    ],
)  # fmt: skip
def test_gemini_response_schemas(schema, expected, lost):
    rewriter = SchemaRewriter("schema", MAX_NODES)
    assert response_schema(schema, rewriter) == expected
    assert sorted(rewriter.lost) == lost


A = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["a", "b"]}
B = {"properties": {"b": {"type": "integer"}, "c": {"type": "null"}}, "required": ["b"]}
BOTH = {"a": {"type": "string"}, "b": {"anyOf": [{"type": "string"}, {"type": "integer"}]}, "c": {"type": "null"}}


@pytest.mark.parametrize(
    ("schema", "required", "lost"),
    [
        ({"anyOf": [A, B]}, ["b"], ["anyOf"]),
        ({"oneOf": [A, {"$ref": "#/$defs/b"}], "$defs": {"b": B}}, ["b"], ["oneOf"]),
        ({"allOf": [A, B]}, ["a", "b"], []),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "anyOf": [A, B]}, ["a", "b"], ["anyOf"]),
    ],
)  # fmt: skip
def test_alternatives_at_the_top_become_one_object(schema, required, lost):
    rewriter = SchemaRewriter("parameters", MAX_NODES)
    rewritten = object_schema(schema, rewriter)
    assert (rewritten["type"], rewritten["properties"], rewritten["required"]) == ("object", BOTH, required)
    assert not {"anyOf", "oneOf", "allOf"} & set(rewritten)
    assert sorted(rewriter.lost) == lost
    assert all(json.dumps(schema[name], separators=(",", ":")) in rewritten["description"] for name in lost)


def test_lists_of_types_at_every_level_do_not_multiply_the_schema():
    schema = {"type": "string"}
    for _ in range(15):
        schema = {"type": ["object", "array", "string"], "properties": {"a": schema}}
    assert len(json.dumps(strict_schema(schema, SchemaRewriter("schema", MAX_NODES)))) < 3 * len(json.dumps(schema))


def test_a_definition_that_many_alternatives_refer_to_is_read_once():
    wide = {"properties": {f"p{number}": {"type": "string"} for number in range(MAX_NODES // 2)}, "required": ["p0"]}
    schema = {"anyOf": [{"$ref": "#/$defs/a"}] * (MAX_NODES // 2), "$defs": {"a": wide}}
    rewritten = object_schema(schema, SchemaRewriter("parameters", MAX_NODES))
    assert (rewritten["properties"], rewritten["required"]) == (wide["properties"], ["p0"])


@pytest.mark.parametrize(
    ("rewrite", "schema", "param"),
    [
        (strict_schema, {"type": ["string", "text"]}, "schema.type"),
        (strict_schema, {"type": []}, "schema.type"),
        (strict_schema, {"$defs": [1]}, "schema.$defs"),
        (strict_schema, {"properties": {"a": {"anyOf": {}}}}, "schema.anyOf"),
        (strict_schema, {"type": "string", "description": 5}, "schema.description"),
        (response_schema, {"properties": []}, "schema.properties"),
        (object_schema, {"anyOf": [{"$ref": "#/$defs/A"}], "$defs": [1]}, "schema.$defs"),
    ],
)
def test_malformed_schemas_are_rejected(rewrite, schema, param):
    with pytest.raises(Failure) as caught:
        rewrite(schema, SchemaRewriter("schema", MAX_NODES))
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize("rewrite", [strict_schema, response_schema])
def test_the_number_of_schemas_is_bounded(rewrite):
    schema = {"anyOf": [{"type": "null"}] * (MAX_NODES - 1)}
    rewrite(schema, SchemaRewriter("schema", MAX_NODES))
    schema["anyOf"].append({})
    with pytest.raises(Failure) as caught:
        rewrite(schema, SchemaRewriter("schema", MAX_NODES))
    assert "MAX_SCHEMA_NODES" in caught.value.message


def test_ordinary_tools_must_describe_an_object():
    assert object_schema({"properties": {}}, SchemaRewriter("p", MAX_NODES)) == {"type": "object", "properties": {}}
    with pytest.raises(Failure) as caught:
        object_schema({"type": "string"}, SchemaRewriter("p", MAX_NODES))
    assert caught.value.param == "p"


def test_schemas_that_nest_too_deeply_are_rejected():
    deep = {}
    for _ in range(100):
        deep = {"type": "array", "items": deep}
    for rewrite in (strict_schema, response_schema):
        with pytest.raises(Failure) as caught:
            rewrite(deep, SchemaRewriter("response_format", MAX_NODES))
        assert (caught.value.status, caught.value.param) == (400, "response_format")
