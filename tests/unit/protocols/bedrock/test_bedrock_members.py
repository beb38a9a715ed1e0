"""Tests requests with Bedrock's own members, and what differs by the maker of a model."""

import json

import pytest

from nulpoint.errors import Failure
from support.bedrock_judge import judge_bedrock
from support.chat_codec import CODECS

CLAUDE, OLD_CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic.claude-3-haiku-20240307-v1:0"
NEW_CLAUDE = "global.anthropic.claude-opus-4-6-v1"
ARN = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3"
PROFILE = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
HI = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
FORMAT = {"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}


def sent(model=CLAUDE, **members):
    body, dropped, translation = CODECS["bedrock"].encode(
        json.dumps({"model": model, "messages": HI, **members}).encode(), model
    )
    request = json.loads(body)
    judge_bedrock(request)
    return request, dropped, translation.emulation


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"top_k": 5, "anthropic_beta": ["x"]}, {"additionalModelRequestFields": {"top_k": 5, "anthropic_beta": ["x"]}}),
        ({"top_k": 5, "additionalModelRequestFields": {"top_k": 6, "a": 1}},
         {"additionalModelRequestFields": {"top_k": 6, "a": 1}}),
        ({"temperature": 0.5, "inferenceConfig": {"maxTokens": 9}}, {"inferenceConfig": {"temperature": 0.5, "maxTokens": 9}}),
        ({"guardrailConfig": {"guardrailIdentifier": "a", "guardrailVersion": "1"}},
         {"guardrailConfig": {"guardrailIdentifier": "a", "guardrailVersion": "1"}}),
        ({"tools": [{"systemTool": {"name": "nova_grounding"}}]},
         {"toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}}),
        ({"tools": [{"type": "computer_20250124", "name": "computer"}]},
         {"additionalModelRequestFields": {"tools": [{"type": "computer_20250124", "name": "computer"}]}}),
        ({"reasoning_effort": "low"}, {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}}),
        ({"service_tier": "flex"}, {"serviceTier": {"type": "flex"}}),
        ({"metadata": {"team": "a b"}}, {"requestMetadata": {"team": "a b"}}),
    ],
)  # fmt: skip
def test_bedrock_members_pass(members, expected):
    request, dropped, _ = sent(**members)
    assert {name: value for name, value in request.items() if name != "messages"} == expected
    assert dropped == []


@pytest.mark.parametrize(
    ("model", "effort", "expected", "dropped"),
    [
        (NEW_CLAUDE, "high", {"outputConfig": {"effort": "high"}, "additionalModelRequestFields": {"thinking": {"type": "adaptive"}}}, []),
        (PROFILE, "medium", {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 8192}}}, []),
        ("us.amazon.nova-2-lite-v1:0", "high",
         {"additionalModelRequestFields": {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}}, []),
        ("us.amazon.nova-2-lite-v1:0", "none", {}, []),
        ("openai.gpt-oss-120b-1:0", "max", {"additionalModelRequestFields": {"reasoning_effort": "high"}}, ["reasoning_effort"]),
        (ARN, "high", {}, ["reasoning_effort"]),
    ],
)  # fmt: skip
def test_reasoning_by_maker(model, effort, expected, dropped):
    request, lost, _ = sent(model, reasoning_effort=effort)
    assert ({name: value for name, value in request.items() if name != "messages"}, lost) == (expected, dropped)


@pytest.mark.parametrize(
    ("effort", "config", "lost"),
    [
        ("medium", {"maxTokens": 9, "temperature": 0.5, "topP": 0.5}, []),
        ("high", None, ["temperature", "top_p", "max_completion_tokens"]),
        ("xhigh", None, ["reasoning_effort", "temperature", "top_p", "max_completion_tokens"]),
    ],
)
def test_nova_takes_no_limits_at_its_highest_level(effort, config, lost):
    members = {"reasoning_effort": effort, "temperature": 0.5, "top_p": 0.5, "max_completion_tokens": 9}
    request, dropped, _ = sent("us.amazon.nova-2-lite-v1:0", **members)
    assert (request.get("inferenceConfig"), sorted(dropped)) == (config, sorted(lost))


@pytest.mark.parametrize(
    ("model", "choice"),
    [(OLD_CLAUDE, {"tool": {"name": "thing"}}), ("amazon.nova-pro-v1:0", {"tool": {"name": "thing"}}),
     ("mistral.mistral-large-2402-v1:0", {"any": {}})],
)  # fmt: skip
def test_a_schema_becomes_a_tool_that_must_be_called(model, choice):
    request, dropped, emulation = sent(model, response_format=FORMAT)
    assert request["toolConfig"]["toolChoice"] == choice
    assert (emulation.schema_tool, dropped) == ("thing", [])
    response = {"output": {"message": {"role": "assistant", "content": [
        {"toolUse": {"toolUseId": "t", "name": "thing", "input": {"a": 1}}}]}}, "stopReason": "tool_use", "usage": None}  # fmt: skip
    body = CODECS["bedrock"].restoring(emulation).decode(json.dumps(response).encode(), 1)
    choice = json.loads(body)["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ('{"a":1}', "stop")


def test_a_schema_becomes_structured_output():
    request, dropped, _ = sent(response_format=FORMAT, reasoning_effort="low", tools=[TOOL])
    format_ = request["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert (json.loads(format_["schema"]), format_["name"], dropped) == (SCHEMA, "thing", [])


def test_blocks_in_converse_format_pass():
    blocks = [
        {"text": "x"},
        {"guardContent": {"text": {"text": "y", "qualifiers": ["query"]}}},
        {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://bucket/a.png"}}}},
    ]
    request, _, _ = sent(messages=[{"role": "user", "content": blocks}])
    assert request["messages"][0]["content"] == blocks


def document(name, kind="application/pdf"):
    return {"type": "file", "file": {"filename": name, "file_data": f"data:{kind};base64,QUJD"}}


def test_documents_get_names_that_bedrock_accepts():
    files = [
        document("a.b_c!.pdf"),
        document("a b c.pdf"),
        document("é.md", "text/markdown"),
        document("x.mp4", "video/mp4"),
    ]
    request, dropped, _ = sent(messages=[{"role": "user", "content": [{"type": "text", "text": "x"}, *files]}])
    blocks = request["messages"][0]["content"][1:]
    named = [(block["document"]["name"], block["document"]["format"]) for block in blocks if "document" in block]
    assert named == [("a b c", "pdf"), ("a b c (2)", "pdf"), ("document", "md")]
    assert blocks[3] == {"video": {"format": "mp4", "source": {"bytes": "QUJD"}}}
    assert dropped == ["messages.content.file.filename"]


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"additionalModelRequestFields": [1]}, "additionalModelRequestFields"),
        ({"additionalModelRequestFields": "x", "thinking": {"type": "enabled"}}, "additionalModelRequestFields"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"metadata": "x"}, "metadata"),
        ({"messages": [{"role": "user", "content": [document("a.zip", "application/zip")]}]}, "messages[0].content.file.file_data"),
        ({"messages": [{"role": "user", "content": [{"type": "video_url", "video_url": {}}]}]}, "messages[0].content"),
    ],
)  # fmt: skip
def test_errors_name_the_wrong_member(members, param):
    with pytest.raises(Failure) as caught:
        sent(**members)
    assert (caught.value.status, caught.value.param) == (400, param)
