"""What the codecs make of requests that a provider has no direct word for: legacy functions, custom tools, JSON without
a schema, turns in an order a provider does not take. Through the official SDK, to mocks as strict as the real.
"""

import json

import pytest

from support.sdk_conversation import ARGUMENTS, ROWS, TOOLS, answered, talk

TRANSLATED = tuple(row for row in ROWS if row.provider != "openai")
each = pytest.mark.parametrize("row", TRANSLATED, ids=[row.model for row in TRANSLATED])
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])


@each
@both_ways
def test_legacy_functions(row, streamed):
    async def use(talk):
        functions = [tool["function"] for tool in TOOLS]
        messages = [{"role": "user", "content": "hello"}]
        message, finish = await talk.ask(messages, functions=functions)
        assert finish == "function_call"
        assert (message.function_call.name, json.loads(message.function_call.arguments)) == (
            "weather",
            ARGUMENTS["weather"],
        )
        assert message.tool_calls is None
        result = {"role": "function", "name": "weather", "content": "21 degrees"}
        message, finish = await talk.ask([*messages, message, result], functions=functions)
        assert (message.content, finish) == ("I was told: 21 degrees.", "stop")
        message, _ = await talk.ask(messages, functions=functions, function_call={"name": "time"})
        assert message.function_call.name == "time"
        message, _ = await talk.ask(messages, functions=functions, function_call="none")
        assert message.function_call is None

    talk(row, streamed, use)


@each
@both_ways
def test_custom_tools(row, streamed):
    async def use(talk):
        tools = [{"type": "custom", "custom": {"name": "shell", "description": "runs it"}}]
        messages = [{"role": "user", "content": "hello"}]
        message, finish = await talk.ask(messages, tools=tools)
        assert finish == "tool_calls"
        call = message.tool_calls[0]
        custom = (
            call.custom if isinstance(call.custom, dict) else call.custom.model_dump()
        )  # the SDK's streams know no type for it
        assert (call.type, custom) == ("custom", {"name": "shell", "input": "text"})
        message, finish = await talk.ask(answered(messages, message, "done"), tools=tools)
        assert (message.content, finish) == ("I was told: done.", "stop")

    talk(row, streamed, use)


@each
@both_ways
def test_json_without_a_schema(row, streamed):
    async def use(talk):
        message, finish = await talk.ask("some json please", response_format={"type": "json_object"})
        assert isinstance(json.loads(message.content), dict)
        assert finish == "stop"

    talk(row, streamed, use)


@each
@both_ways
def test_a_person_speaks_right_after_a_tool(row, streamed):
    async def use(talk):
        messages = [{"role": "user", "content": "hello"}]
        message, _ = await talk.ask(messages, tools=TOOLS)
        messages = answered(messages, message, "21 degrees")
        message, finish = await talk.ask(
            [*messages, {"role": "user", "content": "never mind, and the time?"}], tools=TOOLS
        )
        assert finish == "tool_calls" or message.content

    talk(row, streamed, use)


@each
def test_an_answer_begun_by_the_caller(row):
    """A model that cannot continue it is asked to by a message of the user."""

    async def use(talk):
        messages = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "Well,"}]
        assert (await talk.ask(messages))[0].content
        continues_nothing = row.provider == "gemini" or row.model == "claude-opus-4-8"
        assert talk.dropped == (["messages"] if continues_nothing else [])

    talk(row, False, use)


@each
def test_only_a_system_message(row):
    async def use(talk):
        assert (await talk.ask([{"role": "system", "content": "Say hello."}]))[0].content
        assert talk.dropped == []

    talk(row, False, use)


@each
def test_tool_blocks_in_the_history_but_no_tools(row):
    async def use(talk):
        messages = [{"role": "user", "content": "hello"}]
        message, _ = await talk.ask(messages, tools=TOOLS)
        message, _ = await talk.ask(answered(messages, message, "21 degrees"))
        assert "21 degrees" in message.content

    talk(row, False, use)
