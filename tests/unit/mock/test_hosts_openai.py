"""The hosts that the mock of OpenAI plays reject what they reject, in their own shape of errors."""

import json
from datetime import date, timedelta

import pytest

from nulpoint.mock.interface import MockRequest
from nulpoint.mock.openai import server as openai_server
from nulpoint.mock.openai.hosts import HOSTS, split_path
from support.mock_requests.openai import TOOL, USER, result

MODELS = {
    "groq": "openai/gpt-oss-120b",
    "cerebras": "zai-glm-4.7",
    "fireworks": "accounts/fireworks/models/glm-5p3",
    "deepseek": "deepseek-flash",
    "minimax": "MiniMax-M3",
    "moonshot": "kimi-k3",
    "xai": "grok-4.7",
    "zai": "glm-5.3",
}
SCHEMA = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
NAMED = {"type": "function", "function": {"name": "f"}}


def ask(host, *, today=None, key="k", **members):
    body = {"model": MODELS[host], "messages": [USER], **members}
    call = MockRequest("POST", f"/{host}/v1/chat/completions", {"authorization": f"Bearer {key}"}, body, 1, 3)
    call.today = today or call.today
    return openai_server.respond(call)


def turn(**members):
    return {"messages": [USER, {"role": "assistant", "content": "a", **members}, USER]}


def calls(call=CALL, **members):
    messages = [USER, {"role": "assistant", "content": None, "tool_calls": [call], **members}, result("c1")]
    return {"messages": messages, "tools": [TOOL]}


REJECTED = [
    ("groq", turn(reasoning_content="r"), "'messages.1' : for 'role:assistant' the following must be satisfied[('messages.1' : property 'reasoning_content' is unsupported)]"),
    ("groq", turn(provider_specific_fields={}), "property 'provider_specific_fields' is unsupported"),
    ("groq", turn(name="x"), "property 'name' is unsupported"),
    ("groq", calls({**CALL, "extra_content": {}}), "property 'extra_content' is unsupported"),
    ("groq", {"prompt_cache_key": "x"}, "property 'prompt_cache_key' is unsupported"),
    ("groq", {"logprobs": True}, "property 'logprobs' is unsupported"),
    ("groq", {"logit_bias": {}}, "property 'logit_bias' is unsupported"),
    ("groq", {"n": 2}, "must be at most 1"),
    ("groq", {**SCHEMA, "stream": True}, "cannot be combined with streaming"),
    ("groq", {**SCHEMA, "tools": [TOOL]}, "cannot be combined with streaming or tools"),
    ("groq", {**SCHEMA, "model": "qwen/qwen3-32b"}, "response_format"),
    ("groq", {"model": "qwen/qwen3-32b", "messages": [{"role": "developer", "content": "x"}, USER]}, "unknown variant `developer`"),
    ("cerebras", turn(reasoning_content="r"), "body.messages.1.assistant.reasoning_content"),
    ("cerebras", calls({**CALL, "extra_content": {}}), "extra_content' is unsupported"),
    ("cerebras", {"messages": [{"role": "developer", "content": "x"}, USER]}, "unknown variant `developer`"),
    ("fireworks", turn(provider_specific_fields={}), "Extra inputs are not permitted, field: 'messages[1].provider_specific_fields'"),
    ("fireworks", calls({**CALL, "extra_content": {}}), "field: 'messages[1].tool_calls[0].extra_content'"),
    ("fireworks", {"tools": [{**TOOL, "cache_control": {}}]}, "field: 'tools[0].cache_control'"),
    ("fireworks", {"store": True}, "field: 'store'"),
    ("fireworks", turn(name="x"), "field: 'messages[1].name'"),
    ("fireworks", {"max_tokens": 5, "max_completion_tokens": 5}, "Only one of max_tokens"),
    ("deepseek", SCHEMA, "This response_format type is unavailable now"),
    ("deepseek", {"tools": [TOOL], "tool_choice": "required"}, "Thinking mode does not support this tool_choice"),
    ("deepseek", {"tools": [TOOL], "tool_choice": NAMED}, "Thinking mode does not support this tool_choice"),
    ("deepseek", calls(), "The `reasoning_content` in the thinking mode must be passed back to the API."),
    ("deepseek", {"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "unknown variant `custom`, expected `function`"),
    ("deepseek", {"messages": [{"role": "developer", "content": "x"}, USER]}, "unknown variant `developer`"),
    ("moonshot", {"temperature": 0.5}, "invalid temperature: only 1 is allowed for this model"),
    ("moonshot", {"tools": [TOOL], "tool_choice": NAMED}, "incompatible with thinking enabled"),
    ("moonshot", {"model": "kimi-k2.6", "tools": [TOOL], "tool_choice": "required"}, "'required' is not supported"),
    ("moonshot", {"reasoning_effort": "none"}, "invalid reasoning_effort"),
    ("moonshot", calls(), "reasoning_content is missing in assistant tool call message at index 1"),
    ("xai", {"stop": "x"}, "Argument not supported on this model: stop"),
    ("xai", {"presence_penalty": 0}, "Argument not supported on this model: presence_penalty"),
    ("xai", {"reasoning_effort": "none"}, "Invalid reasoning effort"),
    ("xai", {"model": "grok-4.20", "reasoning_effort": "low"}, "does not support parameter reasoningEffort"),
    ("zai", {"messages": [{"role": "system", "content": "x"}]}, "The messages parameter is illegal."),
    ("zai", {"reasoning_effort": "medium"}, "The reasoning_effort parameter is illegal."),
    ("zai", {"max_tokens": 131_073}, "The max_tokens parameter is illegal."),
]  # fmt: skip
ACCEPTED = [
    ("groq", turn(reasoning="r")),
    ("groq", {**SCHEMA, "n": 1}),
    ("groq", {"messages": [{"role": "developer", "content": "x"}, USER]}),
    ("cerebras", turn(reasoning="r", name="x")),
    ("cerebras", SCHEMA),
    ("fireworks", turn(reasoning_content="r")),
    ("fireworks", {"max_tokens": 5}),
    ("deepseek", {"response_format": {"type": "json_object"}}),
    ("deepseek", {"tools": [TOOL], "tool_choice": "required", "thinking": {"type": "disabled"}}),
    ("deepseek", calls(reasoning_content="")),
    ("deepseek", {**calls(), "thinking": {"type": "disabled"}}),
    ("deepseek", {"max_completion_tokens": 5, "anything": 1}),
    ("moonshot", calls(reasoning_content=" ")),
    ("moonshot", {"temperature": 1, "tools": [TOOL], "tool_choice": "required"}),
    ("xai", {"model": "grok-4.3", "reasoning_effort": "none"}),
    ("zai", {"reasoning_effort": "max"}),
    ("minimax", {"anything": 1}),
]


def error_text(response):
    body = json.loads(response.body)
    error = body.get("error", body)
    return error if isinstance(error, str) else error["message"]


@pytest.mark.parametrize("host", HOSTS)
def test_a_plain_request_is_accepted(host):
    assert ask(host).status == 200
    assert ask(host, stream=True).events


@pytest.mark.parametrize(("host", "members", "words"), REJECTED, ids=[f"{row[0]} {row[2][:50]}" for row in REJECTED])
def test_rejected(host, members, words):
    response = ask(host, **members)
    assert response.status == 400
    assert words in error_text(response)


@pytest.mark.parametrize(("host", "members"), ACCEPTED)
def test_accepted(host, members):
    response = ask(host, **members)
    assert response.status == 200, response.body
    assert b"base_resp" not in response.body


@pytest.mark.parametrize(
    ("host", "status", "members"),
    [
        ("groq", 401, {"error"}),
        ("cerebras", 401, {"message", "type", "param", "code"}),
        ("deepseek", 401, {"error"}),
        ("xai", 401, {"code", "error"}),
        ("minimax", 200, {"id", "choices", "created", "model", "object", "base_resp"}),
    ],
)
def test_shape_of_errors(host, status, members):
    response = ask(host, key="bad-key")
    assert (response.status, set(json.loads(response.body))) == (status, members)


def test_minimax_reports_errors_in_a_200():
    api = openai_server.API.api_for_path("/minimax/v1/chat/completions")
    for status, number in ((401, 1004), (402, 1008), (429, 1002), (500, 1000)):
        response = api.error(status, "x")
        assert (response.status, json.loads(response.body)["base_resp"]["status_code"]) == (200, number)
    assert b'"status_code":1000' in api.error_event(500, "x")
    assert json.loads(api.rate_limited(1).body)["choices"] is None


ENDS = [(host, name, end) for host, row in HOSTS.items() for name, end in row.retires.items()]


@pytest.mark.parametrize(("host", "name", "end"), ENDS)
def test_a_model_ends_on_its_day(host, name, end):
    day = date.fromisoformat(end)
    assert ask(host, model=name, today=day - timedelta(days=1)).status == 200
    response = ask(host, model=name, today=day)
    assert response.status == HOSTS[host].gone[0]
    assert error_text(response) == HOSTS[host].gone[1].format(model=name)


@pytest.mark.parametrize("host", ["deepseek", "moonshot"])
def test_thoughts_can_be_sent_back(host):
    message = json.loads(ask(host, tools=[TOOL]).body)["choices"][0]["message"]
    assert message["reasoning_content"]
    messages = [USER, message, result(message["tool_calls"][0]["id"])]
    assert ask(host, messages=messages, tools=[TOOL]).status == 200
    chunks = [event for event in ask(host, stream=True).events if b"reasoning_content" in event]
    assert len(chunks) > 1


def test_paths():
    assert split_path("/groq/v1/chat/completions") == ("groq", "/v1/chat/completions")
    assert split_path("/groq/openai/v1/models") == ("groq", "/v1/models")
    assert split_path("/v1/chat/completions") == (None, "/v1/chat/completions")
    assert split_path("/unknown/v1/chat/completions") == (None, "/unknown/v1/chat/completions")
