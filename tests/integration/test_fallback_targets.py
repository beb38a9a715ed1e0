"""The built-in fallback targets answer what is moved to them: real requests, mock providers that refuse what models refuse."""

import json
from base64 import b64decode

import pytest

from support.event_loop import run
from support.http_client import Caller, post
from support.running_gateway import gateway

NAMES = ("anthropic", "openai", "gemini", "mistral")
HELLO = [{"role": "user", "content": "hello"}]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]


async def asked(running, **members):
    caller = await Caller.connect(running.port)
    caller.send(post(json.dumps({"messages": HELLO, **members}).encode(), "/v1/chat/completions"))
    status, headers, body = await caller.answer()
    assert status == 200, body
    return f"{headers['x-nulpoint-provider']}/{headers['x-nulpoint-model']}"


def answered_by(broken, **members):
    async def main():
        async with gateway({"MAX_RETRIES": "4"}, names=NAMES) as running:
            for name in broken:
                running.mocks[name].set_fault("status", arg=503)
            answered = await asked(running, **members)
            last = running.mocks["openai"].last
            return answered, json.loads(b64decode(last["body"])) if last else {}

    return run(main())


@pytest.mark.parametrize(
    ("model", "stand_ins"),
    [
        ("claude-sonnet-5", ("openai/gpt-5.4", "gemini/gemini-3.8-flash", "mistral/mistral-large-latest")),
        ("claude-haiku-5-5", ("openai/gpt-5.4-mini", "gemini/gemini-3.5-flash-lite", "mistral/mistral-small-latest")),
        ("claude-opus-5", ("openai/gpt-5.2", "gemini/gemini-3.8-flash", "mistral/mistral-medium-latest")),
    ],
)
def test_every_target_of_a_tier_answers(model, stand_ins):
    broken = ["anthropic"]
    for stand_in in stand_ins:
        members = {"max_tokens": 50, "temperature": 0.5, "tools": TOOLS, "tool_choice": "required"}
        assert answered_by(broken, model=model, **members)[0] == stand_in
        broken.append(stand_in.partition("/")[0])


@pytest.mark.parametrize("model", ["gpt-5.4", "gpt-5.4-mini", "gpt-5.2"])
def test_anthropic_stands_in_for_openai(model):
    members = {"max_completion_tokens": 50, "tools": TOOLS, "tool_choice": "required", "reasoning_effort": "none"}
    assert answered_by(["openai"], model=model, **members)[0].startswith("anthropic/claude-")


def test_max_tokens_has_the_name_openai_takes_only_where_the_request_is_moved():
    answered, body = answered_by(["anthropic"], model="claude-sonnet-5", max_tokens=50)
    assert (answered, body.get("max_tokens"), body["max_completion_tokens"]) == ("openai/gpt-5.4", None, 50)


def test_a_parameter_that_openai_would_refuse_is_left_out():
    answered, body = answered_by(["anthropic"], model="claude-sonnet-5", stop=["END"])
    assert (answered, body.get("stop")) == ("openai/gpt-5.4", None)


def test_what_openai_cannot_express_goes_to_the_next_one():
    with_effort = {"tools": TOOLS, "reasoning_effort": "low"}
    assert answered_by(["anthropic"], model="claude-sonnet-5", **with_effort)[0] == "gemini/gemini-3.8-flash"
    assert answered_by(["anthropic"], model="claude-opus-5", **with_effort)[0] == "openai/gpt-5.2"


@pytest.mark.parametrize("stream", [False, True])
def test_openai_gets_other_names_of_tools_only_where_the_request_is_moved(stream):
    named = [{"type": "function", "function": {**TOOLS[0]["function"], "name": name}} for name in ("a.b", "x" * 70)]
    members = {"tools": named, "tool_choice": "required", "stream": stream}

    async def main():
        async with gateway(names=NAMES) as running:
            running.mocks["anthropic"].set_fault("status", arg=503)
            caller = await Caller.connect(running.port)
            request = {"model": "claude-sonnet-5", "messages": HELLO, **members}
            caller.send(post(json.dumps(request).encode(), "/v1/chat/completions"))
            status, headers, body = await caller.answer()
            return status, headers["x-nulpoint-provider"], body, b64decode(running.mocks["openai"].last["body"])

    status, provider, body, sent = run(main())
    assert (status, provider) == (200, "openai")
    assert b'"name":"a.b"' in body
    assert b'"a.b"' not in sent
