"""The limits of Anthropic's structured outputs."""

import pytest

from nulpoint.mock.anthropic.schema_limits import complexity_problems, is_recursive, schema_problems


def closed(**properties):
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


NODE = closed(next={"$ref": "#/$defs/node"})
RECURSIVE = [
    closed(kids={"type": "array", "items": {"$ref": "#"}}),
    {**closed(a={"$ref": "#/$defs/node"}), "$defs": {"node": NODE}},
    {**closed(a={"$ref": "#/definitions/a"}), "definitions": {"a": closed(b={"$ref": "#/definitions/b"}), "b": closed(a={"$ref": "#/definitions/a"})}},
]  # fmt: skip
UNSUPPORTED = [
    ({"type": "object"}, "'additionalProperties' must be explicitly set to false"),
    (closed(a={"type": "integer", "minimum": 1}), "property 'minimum' is not supported"),
    (closed(a={"type": "string", "maxLength": 5}), "property 'maxLength' is not supported"),
    (closed(a={"type": "array", "items": {"type": "string"}, "minItems": 2}), "'minItems' values other than 0 or 1"),
    (closed(a={"type": "string", "format": "regex"}), "'format' value 'regex' is not supported"),
    *[(schema, "Circular reference detected in schema definitions") for schema in RECURSIVE],
]


@pytest.mark.parametrize(("schema", "words"), UNSUPPORTED)
def test_unsupported(schema, words):
    assert any(words in text for text in schema_problems("x", schema))


@pytest.mark.parametrize(
    "schema",
    [
        closed(minimum={"type": "string"}, default={"type": "string", "default": {"type": "object"}}),
        closed(a={"type": "array", "items": {"type": "string", "format": "uuid"}, "minItems": 1}),
        {**closed(a={"$ref": "#/$defs/n"}, b={"$ref": "#/$defs/n"}), "$defs": {"n": closed(x={"type": "string"})}},
    ],
)
def test_supported(schema):
    assert list(schema_problems("x", schema)) == []
    assert not is_recursive(schema)


def test_limits_of_all_schemas_together():
    optional = {**closed(**{f"a{n}": {"type": "string"} for n in range(12)}), "required": []}
    assert list(complexity_problems([optional, optional], 20)) == []
    assert "too many optional parameters (36)" in next(complexity_problems([optional] * 3, 3))
    unions = closed(**{f"a{n}": {"type": ["string", "null"]} for n in range(8)}, b={"anyOf": []})
    assert list(complexity_problems([unions], 1)) == []
    assert "union types (18 parameters" in next(complexity_problems([unions, unions], 2))
    assert "Too many strict tools (21)" in next(complexity_problems([], 21))
