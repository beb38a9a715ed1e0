"""Tests of the mock model, which is the same behind every mock provider."""

import json

import pytest
from pydantic import BaseModel, Field

from nulpoint.mock.model import (
    ModelRequest,
    Tool,
    Turn,
    describe_media_url,
    generate_reply,
    split_arguments,
    split_words,
)
from nulpoint.mock.schema_example import example

TOOLS = [Tool("first", {"type": "object", "properties": {"city": {"type": "string"}}}), Tool("second", None)]


def reply_to(*turns, tools=(), **asked):
    return generate_reply(
        ModelRequest(
            turns=[Turn(True, "hello"), *turns] if turns else [Turn(True, "hello")],
            word_count=4,
            tools=list(tools),
            **asked,
        )
    )


def tools_or_text(prompt, *results, **asked):
    said = generate_reply(
        ModelRequest(
            turns=[Turn(True, prompt), *(Turn(True, results=[one]) for one in results)],
            word_count=4,
            tools=TOOLS,
            **asked,
        )
    )
    return [wish.name for wish in said.tool_calls] or said.text


def test_words():
    assert reply_to().text == "a mock answer made"
    assert reply_to().finish == "stop"


@pytest.mark.parametrize(
    ("prompt", "results", "asked", "said"),
    [
        ("x", [], {}, ["first"]),
        ("x", ["sunny"], {}, "I was told: sunny."),
        ("in parallel", [], {}, ["first", "second"]),
        ("in parallel", [], {"single_call": True}, ["first"]),
        ("in parallel", ["sunny", "noon"], {}, "I was told: sunny; noon."),
        ("step by step", [], {}, ["first"]),
        ("step by step", ["sunny"], {}, ["second"]),
        ("step by step", ["sunny", "noon"], {}, "I was told: sunny; noon."),
        ("x", ["sunny"], {"forced_tool": "second"}, ["second"]),
        ("x", ["sunny"], {"forced_tool": ""}, ["second"]),
    ],
)
def test_tools(prompt, results, asked, said):
    assert tools_or_text(prompt, *results, **asked) == said


def test_only_results_since_the_last_question_count():
    turns = [Turn(True, "x"), Turn(False, ""), Turn(True, results=["old"]), Turn(False, "fine"), Turn(True, "and now?")]
    assert [wish.name for wish in generate_reply(ModelRequest(turns=turns, word_count=1, tools=TOOLS)).tool_calls] == [
        "first"
    ]


def test_media_thoughts_searches_and_refusals():
    assert reply_to(Turn(True, "look", media=["image/png of 3 bytes"])).text == "I see image/png of 3 bytes."
    assert reply_to(thinking=True).thought
    assert reply_to(web_search=True).search_query == "hello"
    refused = reply_to(Turn(True, "Please refuse this"), tools=TOOLS)
    assert (refused.finish, refused.text, refused.tool_calls) == ("refusal", "", [])
    assert refused.refusal


@pytest.mark.parametrize(
    ("asked", "text", "finish"),
    [
        ({"max_tokens": 4}, "a mock answer made", "stop"),
        ({"max_tokens": 2}, "a mock", "length"),
        ({"stop_sequences": [" answer"]}, "a mock", "sequence"),
        ({"stop_sequences": ["never said"]}, "a mock answer made", "stop"),
        ({"system": "Answer in JSON."}, '{"answer":"text"}', "stop"),
        ({"output_schema": {"type": "array", "items": {"type": "integer"}}}, "[1]", "stop"),
    ],
)
def test_how_a_text_ends(asked, text, finish):
    said = reply_to(**asked)
    assert (said.text, said.finish) == (text, finish)


def test_pieces_join_to_the_whole():
    text = '{"a": [1, 2],\n  "b": "c  d"} '
    assert "".join(split_words(text)) == text
    assert "".join(split_arguments(text)) == text
    assert split_arguments("") == split_words("") == []


def test_media():
    assert describe_media_url("data:image/png;base64,iVBORw==") == "image/png of 4 bytes"
    assert describe_media_url("https://example.com/a.png") == "https://example.com/a.png"


class Leaf(BaseModel):
    name: str = Field(min_length=6)
    count: int = Field(ge=5, le=9)


class Tree(BaseModel):
    leaf: Leaf | None
    leaves: list[Leaf] = Field(min_length=2)
    kind: str = Field(pattern=".*", examples=["oak"])
    branches: "list[Tree]" = []


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"const": 3}, 3),
        ({"enum": ["a", "b"]}, "a"),
        ({"type": ["string", "null"]}, "text"),
        ({"type": "string", "format": "date"}, "2026-11-25"),
        ({"type": "string", "maxLength": 2}, "te"),
        ({"type": "number", "exclusiveMinimum": 4}, 5),
        ({"type": "integer", "minimum": 4, "multipleOf": 5}, 5),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}]}, [1, True]),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]}, {"a": 1, "b": 2}),
        ({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}, {"a": "text"}),
        ({"type": "string", "default": 'q"\u2028ü'}, 'q"\u2028ü'),
        (None, {}),
    ],
)
def test_example(schema, value):
    assert example(schema) == value


def test_a_real_schema_accepts_its_example():
    assert Tree.model_validate_json(json.dumps(example(Tree.model_json_schema()))).kind == "oak"


def test_a_recursive_schema():
    endless = {"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"next": {"$ref": "#/$defs/a"}}}}}
    assert example(endless)["next"]["next"]
