"""The mock of OpenAI rejects invalid requests, and accepts the same requests without the mistake."""

import pytest

from nulpoint.mock.openai.rules import find_problem
from support.mock_requests.openai import ACCEPTED, TOOL, USER, assistant, part, request, result

STRICT = {"type": "function", "function": {"name": "f", "strict": True, "parameters": {"type": "object"}}}


REJECTED = [
    ({"model": "no-such-model"}, None, "model_not_found", "does not exist"),
    ({"messages": None}, "messages", "missing_required_parameter", "Missing required parameter"),
    ({"messages": []}, "messages", "empty_array", "empty array"),
    ({"messages": "hi"}, "messages", "invalid_type", "expected an array"),
    ({"messages": [{"role": "human", "content": "x"}]}, "messages[0].role", "invalid_value", "and 'developer'"),
    ({"messages": [{"role": "user", "content": None}]}, "messages.[0].content", None, "got null"),
    ({"messages": [USER, {"role": "assistant", "content": None}]}, "messages.[1].content", None, "got null"),
    (part(type="image"), "messages[0].content[0].type", "invalid_value", "'image_url'"),
    (part(type="image_url", image_url={"url": "x.png"}), "messages[0].content[0].image_url.url", "invalid_image_url", "valid URL"),
    ({"messages": [USER, result("a")]}, "messages.[1].role", None, "must be a response to a preceeding message"),
    ({"messages": [USER, assistant("a"), USER]}, "messages.[2].role", None, "did not have response messages: a"),
    ({"messages": [USER, assistant("a", "b"), result("a")]}, "messages.[3].role", None, "did not have response messages: b"),
    ({"messages": [USER, assistant("a"), result("b")]}, "messages.[2].role", None, "preceeding message"),
    ({"messages": ["hi"]}, "messages[0]", "invalid_type", "expected an object"),
    ({"messages": [{"content": "hi"}]}, "messages[0].role", "missing_required_parameter", "Missing"),
    ({"stop": [1]}, "stop[0]", "invalid_type", "expected a string"),
    ({"temperature": 3}, "temperature", "decimal_above_max_value", "<= 2"),
    ({"temperature": "hot"}, "temperature", "invalid_type", "expected decimal"),
    ({"n": 0}, "n", "integer_below_min_value", ">= 1"),
    ({"stop": ["a"] * 5}, "stop", "array_above_max_length", "length 5"),
    ({"top_logprobs": 2}, "top_logprobs", None, "'logprobs' is enabled"),
    ({"tool_choice": "auto"}, "tool_choice", None, "'tools' are specified"),
    ({"parallel_tool_calls": False}, "parallel_tool_calls", None, "'tools' are specified"),
    ({"stream_options": {"include_usage": True}}, "stream_options", None, "'stream' is enabled"),
    ({"tools": []}, "tools", "empty_array", "empty array"),
    ({"tools": [{"type": "function", "function": {"name": "f.g"}}]}, "tools[0].function.name", "invalid_value", "pattern"),
    ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter", "Missing"),
    ({"tools": [STRICT]}, "tools[0].function.parameters", "invalid_function_parameters", "'additionalProperties'"),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice", None, "'g' not found"),
    ({"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json_object"}}, "messages", None, "word 'json'"),
    ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.name", "missing_required_parameter", "Missing"),
    ({"model": "o3", "max_tokens": 5}, "max_tokens", "unsupported_parameter", "max_completion_tokens"),
    ({"model": "gpt-5", "temperature": 0}, "temperature", "unsupported_value", "Only the default (1)"),
    ({"model": "gpt-5.4", "max_tokens": 5}, "max_tokens", "unsupported_parameter", "max_completion_tokens"),
    ({"model": "gpt-5.4", "stop": "END"}, "stop", "unsupported_parameter", "not supported"),
    ({"model": "gpt-5.2", "reasoning_effort": "low", "temperature": 0}, "temperature", "unsupported_value", "default (1)"),
    ({"model": "gpt-5.4", "reasoning_effort": "low", "tools": [TOOL]}, "reasoning_effort", None, "/v1/responses"),
    ({"model": "gpt-6-sol", "tools": [TOOL]}, "reasoning_effort", None, "/v1/responses"),
    ({"model": "gpt-6.1-sol", "reasoning_effort": "low", "tools": [TOOL]}, "reasoning_effort", None, "/v1/responses"),
    ({"model": "gpt-5.2", "reasoning_effort": "huge"}, "reasoning_effort", "unsupported_value", "'xhigh'"),
]  # fmt: skip


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(change):
    assert find_problem(request(change)) is None


@pytest.mark.parametrize(("change", "param", "code", "words"), REJECTED, ids=[f"{row[1]} {row[3]}" for row in REJECTED])
def test_rejected(change, param, code, words):
    rejection = find_problem(request(change))
    assert rejection is not None
    assert (rejection.param, rejection.code) == (param, code)
    assert words in rejection.message
