"""A conversation with the official SDK in which tools are called."""

import json
from typing import Any

from support.sdk_conversation import (
    ARGUMENTS,
    TOOLS,
    Talk,
    answered,
)

STEP = "step by step please"


def calls_of(message: Any) -> list[Any]:
    return [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or []]


async def tool_loop(talk: Talk, **asked: Any) -> None:
    asked["tools"] = TOOLS
    messages = [{"role": "user", "content": STEP}]
    for name, result in (("weather", "21 degrees"), ("time", '{"hour": 9}')):
        message, finish = await talk.ask(messages, **asked)
        assert finish == "tool_calls"
        assert calls_of(message) == [(name, ARGUMENTS[name])]
        assert bool(getattr(message, "reasoning_content", "")) == ("reasoning_effort" in asked)
        messages = answered(messages, message, result)
    message, finish = await talk.ask(messages, **asked)
    assert finish == "stop"
    assert "21 degrees" in message.content
    assert "9" in message.content
    assert talk.dropped == []
    # The conversation continues after all of that.
    messages = [*messages, message, {"role": "user", "content": "hello"}]
    message, finish = await talk.ask(messages, **asked)
    assert finish == "tool_calls"
