"""Tests that names are replaced by names that the provider accepts, always by the same, and restored."""

import json
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nulpoint.conversation.names import NameRules, replace_names
from nulpoint.conversation.parts import Text, ToolCall
from nulpoint.conversation.request import ConversationRequest, Message
from nulpoint.conversation.tools import FunctionTool, ProviderTool, ToolChoice
from nulpoint.protocols.name_rules import ANTHROPIC_NAMES, BEDROCK_NAMES, GEMINI_NAMES, MISTRAL_NAMES, OPENAI_NAMES

# The rules once more, as the providers word them.
ACCEPTED = {
    "anthropic": (ANTHROPIC_NAMES, r"^[a-zA-Z0-9_-]{1,128}$"),
    "bedrock": (BEDROCK_NAMES, r"^[a-zA-Z0-9_-]{1,64}$"),
    "gemini": (GEMINI_NAMES, r"^[a-zA-Z_][a-zA-Z0-9_.-]{0,63}$"),
    "mistral": (MISTRAL_NAMES, r"^[a-zA-Z0-9_-]{1,64}$"),
    "openai": (OPENAI_NAMES, r"^[a-zA-Z0-9_-]{1,64}$"),
}
PARAMETER = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
names = (
    st.text(min_size=1, max_size=140)
    | st.from_regex(r"[a-zA-Z0-9_.:/$-]{1,140}", fullmatch=True)
    | st.from_regex(r"[a-z]{1,8}__[0-9a-f]{16}", fullmatch=True)
)


def request(tools=(), messages=(), choice=None):
    return ConversationRequest(tuple(messages), tuple(tools), choice, None, {})


def tool(name, parameters=None):
    return FunctionTool(name, parameters=parameters, path="tools[0]")


def sent_name(name, rules):
    replaced, _ = replace_names(request([tool(name)]), rules)
    return replaced.tools[0].name


@pytest.mark.parametrize("provider", ACCEPTED)
@given(name=names)
def test_every_tool_name_is_sent_as_one_that_is_accepted_and_restored(provider, name):
    rules, pattern = ACCEPTED[provider]
    replaced, restored = replace_names(request([tool(name)]), rules)
    (sent,) = replaced.tools
    assert re.fullmatch(pattern, sent.name)
    if restored is None:
        assert sent.name == name
    else:
        assert restored.call(ToolCall("1", "1", sent.name, "{}")).name == name


@pytest.mark.parametrize("provider", ACCEPTED)
@given(one=names, other=names)
def test_two_names_are_never_sent_as_the_same(provider, one, other):
    assume(one != other)
    rules, _ = ACCEPTED[provider]
    sent = sent_name(one, rules)
    assert sent_name(other, rules) != sent
    assert sent_name(sent, rules) != sent or sent == one  # the replacement as a name of its own


@pytest.mark.parametrize(
    ("name", "provider", "sent"),
    [
        ("1c_reload", "gemini", r"_1c_reload__[0-9a-f]{16}"),
        ("mcp/server.tool", "gemini", r"mcp_server_tool__[0-9a-f]{16}"),
        ("a.b", "anthropic", r"a_b__[0-9a-f]{16}"),
        ("ä", "mistral", r"___[0-9a-f]{16}"),
        ("x" * 65, "bedrock", r"x{45}__[0-9a-f]{16}"),
        ("x" * 65, "anthropic", "x{65}"),
        ("1c_reload", "anthropic", "1c_reload"),
        ("a-b", "gemini", "a-b"),
        ("a.b", "gemini", "a.b"),
        ("get__it", "gemini", "get__it"),
    ],
)
def test_the_name_that_is_sent(name, provider, sent):
    assert re.fullmatch(sent, sent_name(name, ACCEPTED[provider][0]))


def test_a_request_without_such_names_is_not_copied():
    plain = request([tool("look_up", {"properties": {"a": {}}}), ProviderTool({"name": "1!"})])
    assert replace_names(plain, ANTHROPIC_NAMES) == (plain, None)
    assert replace_names(plain, ANTHROPIC_NAMES)[0] is plain
    assert replace_names(request([tool("ö")]), NameRules())[1] is None


def test_a_name_is_replaced_wherever_it_is():
    history = Message("assistant", (Text("x"), ToolCall("1", "1", "1c", "{}"), ToolCall("2", "2", "gone!", "{}")), "m")
    before = request([tool("1c"), tool("b")], [history], ToolChoice("required", ("1c", "b")))
    after, restored = replace_names(before, GEMINI_NAMES)
    name = after.tools[0].name
    assert name != "1c"
    assert after.tools[1] == before.tools[1]
    assert after.tool_choice == ToolChoice("required", (name, "b"))
    assert after.messages[0].parts[1].name == name
    assert set(restored.tools.values()) == {"1c", "gone!"}


# -- names of parameters -----------------------------------------------------------------------------------------------

SCHEMA = {
    "type": "object",
    "properties": {
        "filter[id]": {"type": "string", "default": "properties"},
        "properties": {"type": "object", "properties": {"$top": {"type": "integer"}}, "required": ["$top"]},
        "list": {"type": "array", "items": {"anyOf": [{"properties": {"@odata.type": {"const": {"$top": 1}}}}]}},
        "again": {"$ref": "#/properties/filter[id]"},
        "plain": {"$ref": "#/$defs/not a parameter!"},
    },
    "required": ["filter[id]", "list"],
    "dependentRequired": {"filter[id]": ["$top"]},
    "$defs": {"not a parameter!": {"properties": {"p" * 65: {}}}},
    "additionalProperties": {"properties": {"": {}}},
}


def replaced_schema(schema):
    after, restored = replace_names(request([tool("f", schema)]), ANTHROPIC_NAMES)
    return after.tools[0].parameters, restored.parameters["f"]


def test_parameters_are_replaced_at_every_depth():
    sent, restored = replaced_schema(SCHEMA)
    assert set(restored.values()) == {"filter[id]", "$top", "@odata.type", "p" * 65, ""}
    assert all(PARAMETER.fullmatch(name) for name in restored)
    new = {name: replacement for replacement, name in restored.items()}
    assert sent["required"] == [new["filter[id]"], "list"]
    assert sent["dependentRequired"] == {new["filter[id]"]: [new["$top"]]}
    assert sent["properties"]["again"] == {"$ref": f"#/properties/{new['filter[id]']}"}
    assert sent["properties"]["plain"] == SCHEMA["properties"]["plain"]
    assert sent["properties"][new["filter[id]"]]["default"] == "properties"
    assert list(sent["$defs"]) == ["not a parameter!"]


keys = st.sampled_from(["filter[id]", "properties", "$top", "list", "again", "@odata.type", "x", ""])
values = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
)


def keys_in(value):
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        yield from keys_in(inner)


@given(arguments=st.dictionaries(keys, values, max_size=4))
def test_arguments_have_the_replaced_names_in_the_history_and_the_original_ones_in_responses(arguments):
    history = Message("assistant", (ToolCall("1", "1", "f", json.dumps(arguments)),), "m")
    after, restored = replace_names(request([tool("f", SCHEMA)], [history]), ANTHROPIC_NAMES)
    sent = after.messages[0].parts[0].arguments
    assert not {"filter[id]", "$top", "@odata.type", ""} & set(keys_in(json.loads(sent)))
    assert json.loads(restored.arguments("f", sent)) == arguments
    assert restored.arguments("other", sent) == sent


def test_arguments_that_are_not_json_are_kept():
    _, restored = replace_names(request([tool("f", SCHEMA)]), ANTHROPIC_NAMES)
    assert restored.arguments("f", '{"cut') == '{"cut'
