"""Tests that as much of a response's schema as possible reaches Gemini in keywords that it supports."""

import json

import pytest

from nulpoint.protocols.gemini.schema import enforceable_schema
from nulpoint.protocols.openai.chat import RequestFields
from support.chat_codec import CODECS

STRING, NULL, BOOLEAN = {"type": "string"}, {"type": "null"}, {"type": "boolean"}


def enforced(schema):
    """Return the schema that is sent, and the keywords that are lost."""
    fields = RequestFields({})
    sent = enforceable_schema(schema, "s", fields)
    return sent, [name.removeprefix("s.") for name in fields.dropped]


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        ({"type": ["string", "null"], "enum": ["x", "y", None]}, {"anyOf": [{"type": "string", "enum": ["x", "y"]}, NULL]}),
        ({"enum": ["x", 1, 2.5]}, {"anyOf": [{"type": "string", "enum": ["x"]}, {"type": "integer", "enum": [1]},
                                             {"type": "number", "enum": [2.5]}]}),
        ({"type": "number", "enum": [1, 2.5]}, {"type": "number", "enum": [1, 2.5]}),
        ({"type": "string", "enum": ["x"], "description": "d"}, {"type": "string", "enum": ["x"], "description": "d"}),
        ({"enum": [True, False, None]}, {"anyOf": [BOOLEAN, NULL]}),
        ({"type": "boolean", "enum": [True, False]}, BOOLEAN),
        ({"const": None}, NULL),
        ({"const": "x"}, {"enum": ["x"]}),
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "string", "nullable": False}, STRING),
        ({"type": ["string", "null"], "nullable": True}, {"type": ["string", "null"]}),
        ({"nullable": True, "anyOf": [STRING]}, {"anyOf": [STRING, NULL]}),
        ({"type": "string", "nullable": True, "enum": ["x"]}, {"anyOf": [{"type": "string", "enum": ["x"]}, NULL]}),
        ({"definitions": {"a": STRING}, "properties": {"p": {"$ref": "#/definitions/a"}}},
         {"$defs": {"a": STRING}, "properties": {"p": {"$ref": "#/$defs/a"}}}),
        ({"properties": {"p": STRING, "q": {"$ref": "#/properties/p"}}},
         {"$defs": {"p": STRING}, "properties": {"p": STRING, "q": {"$ref": "#/$defs/p"}}}),
        ({"$ref": "#/$defs/a", "$defs": {"a": STRING}}, STRING),
        # names of properties that are keywords
        ({"properties": {"definitions": STRING, "$ref": STRING, "enum": {"enum": [None]}, "nullable": BOOLEAN}},
         {"properties": {"definitions": STRING, "$ref": STRING, "enum": NULL, "nullable": BOOLEAN}}),
    ],
)  # fmt: skip
def test_nothing_is_lost(schema, sent):
    assert enforced(schema) == (sent, [])


@pytest.mark.parametrize(
    ("schema", "sent", "lost"),
    [
        ({"type": "boolean", "const": True}, {"type": "boolean", "description": '{"const":true}'}, ["const"]),
        ({"enum": [True, "x"]}, {"description": '{"enum":[true,"x"]}'}, ["enum"]),
        ({"enum": [{"a": 1}]}, {"description": '{"enum":[{"a":1}]}'}, ["enum"]),
    ],
)
def test_values_that_gemini_cannot_enforce_are_described(schema, sent, lost):
    assert enforced(schema) == (sent, lost)


def node(*required, **properties):
    return {"type": "object", "properties": properties, "required": list(required)}


CHILDREN = {"type": "array", "items": {"$ref": "#/$defs/node"}}


@pytest.mark.parametrize(
    ("schema", "sent", "lost"),
    [
        # a tree below the top
        (
            {**node("tree", tree={"$ref": "#/$defs/node"}), "$defs": {"node": node("name", "children", name=STRING, children=CHILDREN)}},
            {**node("tree", tree={"$ref": "#/$defs/node"}), "$defs": {"node": node("name", name=STRING, children=CHILDREN)}},
            ["required"],
        ),
        # the top itself
        (
            node("name", "next", name=STRING, next={"anyOf": [{"$ref": "#"}, NULL]}),
            {
                **node("name", name=STRING, next={"anyOf": [{"$ref": "#/$defs/root"}, NULL]}),
                "$defs": {"root": node("name", name=STRING, next={"anyOf": [{"$ref": "#/$defs/root"}, NULL]})},
            },
            ["required"],
        ),
        # two that lead to each other
        (
            {"$ref": "#/$defs/a", "$defs": {"a": node("b", b={"$ref": "#/$defs/b"}), "b": node(a={"$ref": "#/$defs/a"})}},
            {**node(b={"$ref": "#/$defs/b"}), "$defs": {"a": node(b={"$ref": "#/$defs/b"}), "b": node(a={"$ref": "#/$defs/a"})}},
            ["required"],
        ),
    ],
)  # fmt: skip
def test_a_schema_may_contain_itself_where_it_is_not_required(schema, sent, lost):
    shown, dropped = enforced(schema)
    if "$ref" in schema:  # the top is a copy of a definition, from where nothing leads back to it
        shown["required"] = []
    assert (shown, dropped) == (sent, lost)


@pytest.mark.parametrize("reference", ["#/$defs/gone", "https://example.com/schema", "other.json#/a"])
def test_a_schema_that_refers_to_what_is_not_in_it_is_said_in_words(reference):
    schema = {"type": "object", "properties": {"a": {"$ref": reference}}}
    assert enforced(schema) == (None, [])
    json_schema = {"name": "n", "schema": schema}
    request = {"messages": [{"role": "user", "content": "hi"}],
               "response_format": {"type": "json_schema", "json_schema": json_schema}}  # fmt: skip
    body, dropped, _ = CODECS["gemini"].encode(json.dumps(request).encode(), "gemini-3.6-flash")
    sent = json.loads(body)
    assert sent["generationConfig"] == {"responseMimeType": "application/json"}
    assert reference in sent["systemInstruction"]["parts"][0]["text"]
    assert dropped == ["response_format.json_schema.schema"]
