"""Requests that OpenAI accepts, named by the rule that they just satisfy."""

from typing import Any

USER = {"role": "user", "content": "give me json"}
TOOL = {"type": "function", "function": {"name": "f"}}


def assistant(*ids: Any, **members: Any) -> dict[str, Any]:
    calls = [{"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}} for call_id in ids]
    return {"role": "assistant", "content": None, **({"tool_calls": calls} if calls else {}), **members}


def result(call_id: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "7"}


def part(**members: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [members]}]}


ACCEPTED = {
    "text": {},
    "unknown members": {"later": 1},
    "tool loop": {"messages": [USER, assistant("a", "b"), result("b"), result("a"), USER], "tools": [TOOL]},
    "developer": {"messages": [{"role": "developer", "content": "x"}, USER]},
    "image": part(type="image_url", image_url={"url": "data:image/png;base64,AAAA"}),
    "JSON": {"response_format": {"type": "json_object"}},
    "custom tool": {"tools": [{"type": "custom", "custom": {"name": "f"}}]},
    "reasoning": {"model": "o3", "max_completion_tokens": 5, "reasoning_effort": "low"},
    "gpt-5.4 with a tool": {"model": "gpt-5.4", "max_completion_tokens": 5, "temperature": 0, "tools": [TOOL]},
    "gpt-6-sol with a tool and no effort": {"model": "gpt-6-sol", "tools": [TOOL], "reasoning_effort": "none"},
    "gpt-5.2 with a tool and an effort": {"model": "gpt-5.2", "tools": [TOOL], "reasoning_effort": "high"},
}


def request(change: Any) -> dict[str, Any]:
    body = {"model": "gpt-4o", "messages": [USER], **change}
    return {name: value for name, value in body.items() if value is not None}
