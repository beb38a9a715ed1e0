"""Tests that tools may have names that a provider does not accept: no provider sees them, and clients see no others."""

import json
import re

import openai
import pytest

from support.chat_codec import CODECS, HOSTS
from support.event_loop import run
from support.running_gateway import gateway

PARAMETERS = {"type": "object", "properties": {"filter[id]": {"type": "string"}}, "required": ["filter[id]"]}
NAMES = ("1c_reload", "mcp/server:tool", "x" * 140, "plain")
TOOLS = [{"type": "function", "function": {"name": name, "parameters": PARAMETERS}} for name in NAMES]
MODELS = {
    "anthropic": "claude-sonnet-5",
    "bedrock": "anthropic.claude-sonnet-5",
    "gemini": "gemini-3.6-flash",
    "mistral": "mistral-large-latest",
    "vertex": "gemini-3.6-flash",
    "vertex-anthropic": "claude-sonnet-5",
}
ACCEPTED = {
    "anthropic": r"[a-zA-Z0-9_-]{1,128}",
    "bedrock": r"[a-zA-Z0-9_-]{1,64}",
    "gemini": r"[a-zA-Z_][a-zA-Z0-9_.-]{0,63}",
    "mistral": r"[a-zA-Z0-9_-]{1,64}",
    "vertex": r"[a-zA-Z_][a-zA-Z0-9_.-]{0,63}",
    "vertex-anthropic": r"[a-zA-Z0-9_-]{1,128}",
}
HI = [{"role": "user", "content": "hi"}]


def history(name):
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": '{"filter[id]":"7"}'}}
    return [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
        *HI,
    ]


def encoded(wire, **request):
    body = json.dumps({"model": MODELS[wire], "messages": HI, "tools": TOOLS, **request}).encode()
    return CODECS[wire].encode(body, MODELS[wire])


def sent_names(value):
    """Yield all names of tools in a request, in the order in which they are in it."""
    if isinstance(value, list):
        for entry in value:
            yield from sent_names(entry)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key == "name" and isinstance(inner, str):
                yield inner
            elif key == "allowedFunctionNames":
                yield from inner
            else:
                yield from sent_names(inner)


def test_every_translating_protocol_has_a_row_here():
    assert set(MODELS) == set(CODECS) == set(HOSTS) - {"openai"}


@pytest.mark.parametrize("wire", MODELS)
@pytest.mark.parametrize("name", NAMES)
def test_the_provider_gets_one_name_that_it_accepts_everywhere(wire, name):
    choice = {"type": "function", "function": {"name": name}}
    body, dropped, _ = encoded(wire, messages=history(name), tool_choice=choice)
    assert dropped == []
    names = list(sent_names(json.loads(body)))
    assert all(re.fullmatch(ACCEPTED[wire], sent) for sent in names)
    only = [sent for sent in set(names) if names.count(sent) > 1]
    assert len(only) == 1  # the name in the history and in the choice is the name of the tool


@pytest.mark.parametrize("wire", MODELS)
def test_a_tool_has_the_same_name_in_every_request(wire):
    first = set(sent_names(json.loads(encoded(wire).body)))
    assert set(sent_names(json.loads(encoded(wire, messages=history("1c_reload"), tools=TOOLS[:1]).body))) <= first


@pytest.mark.parametrize("wire", ["anthropic", "bedrock", "vertex-anthropic"])
def test_claude_gets_names_of_parameters_that_it_accepts(wire):
    body = encoded(wire, messages=history("1c_reload")).body
    assert b"filter[id]" not in body
    assert len(set(re.findall(rb"filter_id___[0-9a-f]{16}", body))) == 1


@pytest.mark.parametrize("wire", ["gemini", "mistral", "vertex"])
def test_other_providers_accept_any_names_of_parameters(wire):
    assert b"filter[id]" in encoded(wire).body


@pytest.mark.parametrize("provider", ["anthropic", "gemini", "mistral"])
def test_the_client_gets_its_own_names_back(provider):
    async def main():
        async with gateway(names=(provider,)) as running:
            client = openai.AsyncOpenAI(base_url=running.url, api_key="any", max_retries=0)
            for name in NAMES:
                await one(client, name)
            await custom(client)
            await client.close()

    async def one(client, name):
        tools = [tool for tool in TOOLS if tool["function"]["name"] == name]
        asked = {"model": MODELS[provider], "tools": tools}
        answer = await client.chat.completions.create(messages=HI, **asked)
        (call,) = answer.choices[0].message.tool_calls
        assert (call.function.name, list(json.loads(call.function.arguments))) == (name, ["filter[id]"])
        message = answer.choices[0].message.model_dump(exclude_none=True)
        result = {"role": "tool", "tool_call_id": call.id, "content": "done"}
        last = await client.chat.completions.create(messages=[*HI, message, result], **asked)
        assert "done" in last.choices[0].message.content
        async with client.chat.completions.stream(messages=HI, **asked) as stream:
            streamed = (await stream.get_final_completion()).choices[0].message.tool_calls[0]
        assert (streamed.function.name, list(json.loads(streamed.function.arguments))) == (name, ["filter[id]"])

    async def custom(client):
        tools = [{"type": "custom", "custom": {"name": "run it!"}}]
        answer = await client.chat.completions.create(model=MODELS[provider], messages=HI, tools=tools)
        assert answer.choices[0].message.tool_calls[0].custom.name == "run it!"
        chunks = [
            chunk
            async for chunk in await client.chat.completions.create(
                model=MODELS[provider], messages=HI, tools=tools, stream=True
            )
        ]
        assert "run it!" in "".join(chunk.model_dump_json() for chunk in chunks)

    run(main())
