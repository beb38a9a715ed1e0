"""JSON Schemas are limited to keywords of Anthropic and Gemini; the others are described in words and reported."""

import json

import pytest

from nulpoint.errors import Failure
from nulpoint.protocols.anthropic.schema import object_schema, strict_schema
from nulpoint.protocols.gemini.schema import response_schema
from nulpoint.protocols.json_schema import Rewriting

MOST = 1000  # nodes of a schema
CLOSED = {"type": "object", "additionalProperties": False}


@pytest.mark.parametrize(
    ("given", "made", "lost"),
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
        # With several types, each gets the keywords for it, and keywords for all types are beside them.
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
def test_structured_outputs(given, made, lost):
    before, rewriting = json.dumps(given), Rewriting("schema", MOST)
    assert strict_schema(given, rewriting) == made
    assert sorted(rewriting.lost) == lost
    assert json.dumps(given) == before


@pytest.mark.parametrize(
    ("given", "made", "lost"),
    [
        ({"type": ["string", "null"], "format": "date", "default": "x"},
         {"type": ["string", "null"], "format": "date", "default": "x"}, []),
        ({"type": "string", "pattern": "a", "description": "A."},
         {"type": "string", "description": 'A.\n\n{"pattern":"a"}'}, ["pattern"]),
        ({"const": "a"}, {"enum": ["a"]}, []),
        ({"enum": ["a", None]}, {"description": '{"enum":["a",null]}'}, ["enum"]),
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
def test_answers_of_gemini(given, made, lost):
    rewriting = Rewriting("schema", MOST)
    assert response_schema(given, rewriting) == made
    assert sorted(rewriting.lost) == lost


A = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["a", "b"]}
B = {"properties": {"b": {"type": "integer"}, "c": {"type": "null"}}, "required": ["b"]}
BOTH = {"a": {"type": "string"}, "b": {"anyOf": [{"type": "string"}, {"type": "integer"}]}, "c": {"type": "null"}}


@pytest.mark.parametrize(
    ("given", "required", "lost"),
    [
        ({"anyOf": [A, B]}, ["b"], ["anyOf"]),
        ({"oneOf": [A, {"$ref": "#/$defs/b"}], "$defs": {"b": B}}, ["b"], ["oneOf"]),
        ({"allOf": [A, B]}, ["a", "b"], []),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "anyOf": [A, B]}, ["a", "b"], ["anyOf"]),
    ],
)  # fmt: skip
def test_alternatives_at_the_top_become_one_object(given, required, lost):
    rewriting = Rewriting("parameters", MOST)
    made = object_schema(given, rewriting)
    assert (made["type"], made["properties"], made["required"]) == ("object", BOTH, required)
    assert not {"anyOf", "oneOf", "allOf"} & set(made)
    assert sorted(rewriting.lost) == lost
    assert all(json.dumps(given[name], separators=(",", ":")) in made["description"] for name in lost)


def test_a_list_of_types_at_every_level_makes_no_more_than_it_was_given():
    schema = {"type": "string"}
    for _ in range(15):
        schema = {"type": ["object", "array", "string"], "properties": {"a": schema}}
    assert len(json.dumps(strict_schema(schema, Rewriting("schema", MOST)))) < 3 * len(json.dumps(schema))


def test_a_definition_that_many_alternatives_name_is_read_once():
    wide = {"properties": {f"p{number}": {"type": "string"} for number in range(MOST // 2)}, "required": ["p0"]}
    schema = {"anyOf": [{"$ref": "#/$defs/a"}] * (MOST // 2), "$defs": {"a": wide}}
    made = object_schema(schema, Rewriting("parameters", MOST))
    assert (made["properties"], made["required"]) == (wide["properties"], ["p0"])


@pytest.mark.parametrize(
    ("rewritten", "schema", "param"),
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
def test_what_is_no_schema_is_refused(rewritten, schema, param):
    with pytest.raises(Failure) as caught:
        rewritten(schema, Rewriting("schema", MOST))
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize("rewritten", [strict_schema, response_schema])
def test_the_number_of_schemas_is_bounded(rewritten):
    schema = {"anyOf": [{"type": "null"}] * (MOST - 1)}
    rewritten(schema, Rewriting("schema", MOST))
    schema["anyOf"].append({})
    with pytest.raises(Failure) as caught:
        rewritten(schema, Rewriting("schema", MOST))
    assert "MAX_SCHEMA_NODES" in caught.value.message


def test_other_tops():
    assert object_schema({"properties": {}}, Rewriting("p", MOST)) == {"type": "object", "properties": {}}
    with pytest.raises(Failure) as caught:
        object_schema({"type": "string"}, Rewriting("p", MOST))
    assert caught.value.param == "p"


def test_a_schema_without_end_is_refused():
    deep = {}
    for _ in range(100):
        deep = {"type": "array", "items": deep}
    for rewritten in (strict_schema, response_schema):
        with pytest.raises(Failure) as caught:
            rewritten(deep, Rewriting("response_format", MOST))
        assert (caught.value.status, caught.value.param) == (400, "response_format")
