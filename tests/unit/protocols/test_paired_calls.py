"""Calls and their results are paired whichever ids they have, and their contents do not change."""

import json

import pytest

from nulpoint.conversation.parts import ToolCall, ToolResult
from nulpoint.errors import Failure
from nulpoint.protocols.limits import DEFAULT_LIMITS
from nulpoint.protocols.openai.chat_client.reader import read_chat
from support.chat_codec import CODECS

HI = {"role": "user", "content": "hi"}
TOOLS = [{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "g"}}]


def asking(*calls):
    made = [{"id": given, "type": "function", "function": {"name": name, "arguments": "{}"}} for given, name in calls]
    return {"role": "assistant", "content": None, "tool_calls": made}


def result(given):
    return {"role": "tool", "tool_call_id": given, "content": "r"}


def named(name):
    return {"role": "function", "name": name, "content": "r"}


def read(*messages, limits=DEFAULT_LIMITS):
    return read_chat(json.dumps({"model": "m", "messages": [HI, *messages], "tools": TOOLS}).encode(), limits)


@pytest.mark.parametrize(
    ("messages", "ids"),
    [
        ([asking(("a", "f"), ("b", "g")), result("b"), result("a")], ["a", "b", "b", "a"]),
        ([asking(("a", "f"), ("a", "g")), result("a"), result("a")], ["a", "a-1", "a", "a-1"]),
        ([asking(("a", "f")), result("a"), asking(("a", "f")), result("a")], ["a", "a", "a-1", "a-1"]),
        ([asking(("a", "f"), ("a-2", "g"), ("a", "f")), result("a"), result("a-2"), result("a")],
         ["a", "a-2", "a-3", "a", "a-2", "a-3"]),
        # One result names the function and the other the id of calls in the same message.
        ([asking(("a", "f"), ("b", "f"), ("c", "g")), named("f"), result("b"), named("g")], ["a", "b", "c", "a", "b", "c"]),
        ([asking(("a", "f"), ("a", "f")), named("f"), result("a")], ["a", "a-1", "a", "a-1"]),
    ],
)  # fmt: skip
def test_every_call_has_an_id_of_its_own_and_its_result_has_it_too(messages, ids):
    found = []
    for message in read(*messages).messages:
        found += [part.unique_id for part in message.parts if isinstance(part, ToolCall | ToolResult)]
    assert found == ids


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([asking(("a", "f")), result("b")], "messages[2].tool_call_id"),
        ([asking(("a", "f")), result("a"), result("a")], "messages[3].tool_call_id"),
        ([asking(("a", "f")), named("f"), result("a")], "messages[3].tool_call_id"),
        ([asking(("a", "f")), result("a"), named("f")], "messages[3].name"),
        ([asking(("a", "f")), result({"a": 1})], "messages[2].tool_call_id"),
        ([asking(("a", "f"), ("b", "g")), result("a"), asking(("c", "f"))], "messages[1].tool_calls"),
        ([{"role": "assistant", "function_call": {"name": "f", "arguments": "{}", "id": {"a": 1}}}, named("f")],
         "messages[1].function_call.id"),
    ],
)  # fmt: skip
def test_calls_and_results_that_do_not_pair_are_refused(messages, param):
    with pytest.raises(Failure) as caught:
        read(*messages)
    assert (caught.value.status, caught.value.param) == (400, param)


MODELS = {
    "anthropic": "claude-sonnet-4-5", "bedrock": "amazon.nova-pro-v1:0", "gemini": "gemini-2.5-pro", "mistral": "mistral-large-latest",
}  # fmt: skip


def inputs(wire, body):
    """Return the arguments of the calls in a translated request."""
    sent = json.loads(body)
    if wire == "gemini":
        return [
            part["functionCall"]["args"]
            for turn in sent["contents"]
            for part in turn["parts"]
            if "functionCall" in part
        ]
    if wire == "mistral":
        return [
            json.loads(call["function"]["arguments"]) for one in sent["messages"] for call in one.get("tool_calls", [])
        ]
    blocks = [block for turn in sent["messages"] for block in turn["content"]]
    found = [block.get("toolUse", block) for block in blocks if block.get("type") == "tool_use" or "toolUse" in block]
    return [one["input"] for one in found]


def with_arguments(text):
    called = asking(("a", "f"))
    called["tool_calls"][0]["function"]["arguments"] = text
    return {"model": "m", "messages": [HI, called, result("a")], "tools": TOOLS}


DEEP = "[" * 20_000 + "]" * 20_000  # deeper than the decoder goes with any version of Python


@pytest.mark.parametrize("wire", MODELS)
@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("", {}), ('{"a": [1, {"b": "\\u00e9\\n"}]}', {"a": [1, {"b": "é\n"}]}), ('{"a":12345678901234567890}', {"a": 12345678901234567890}),
        ('{"a":', {"INVALID_JSON": '{"a":'}), ("no", {"INVALID_JSON": "no"}), ({"a": 1}, {"a": 1}),
        (f'{{"a":{DEEP}}}', {"INVALID_JSON": f'{{"a":{DEEP}}}'}),
    ],
)  # fmt: skip
def test_arguments_reach_the_provider_as_they_were_written(wire, text, sent):
    encoded = CODECS[wire].encode(json.dumps(with_arguments(text)).encode(), MODELS[wire], DEFAULT_LIMITS)
    assert inputs(wire, encoded.body) == [sent]


@pytest.mark.parametrize("wire", MODELS)
@pytest.mark.parametrize("text", ["[1]", "5", '"x"', [1], 5])
def test_arguments_that_are_no_object_are_refused(wire, text):
    with pytest.raises(Failure) as caught:
        CODECS[wire].encode(json.dumps(with_arguments(text)).encode(), MODELS[wire], DEFAULT_LIMITS)
    assert caught.value.param == "messages[1].tool_calls[0].function.arguments"


@pytest.mark.parametrize("wire", MODELS)
def test_arguments_of_too_many_values_are_refused(wire):
    limits = DEFAULT_LIMITS._replace(json_nodes=1000)
    body = json.dumps(with_arguments('{"a":[%s0]}' % ("0," * 1000))).encode()
    with pytest.raises(Failure) as caught:
        CODECS[wire].encode(body, MODELS[wire], limits)
    assert "MAX_JSON_NODES" in caught.value.message
