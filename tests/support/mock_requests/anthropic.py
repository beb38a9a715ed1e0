"""Requests that Anthropic accepts, named by the rule that they just satisfy."""

from typing import Any

from nulpoint.mock.interface import signature

OLD, SONNET_4, HAIKU = "claude-3-5-sonnet-20241022", "claude-sonnet-4-20250514", "claude-haiku-4-5-20251001"
SONNET_46, OPUS_47, OPUS_48 = "claude-sonnet-4-6", "claude-opus-4-7", "claude-opus-4-8"
TOOL = {"name": "f", "input_schema": {"type": "object"}}
PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def assistant(*content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content)}


def text(words: Any = "hi") -> dict[str, Any]:
    return {"type": "text", "text": words}


def use(call_id: Any = "a") -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "f", "input": {}}


def result(call_id: Any = "a", content: Any = "7") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content}


def thought(words: Any = "hm", signed: Any = None) -> dict[str, Any]:
    return {"type": "thinking", "thinking": words, "signature": signed or signature("thinking", words)}


LOOP = [user(text()), assistant(use()), user(result())]
THINKS = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000}
ADAPTIVE = {"model": SONNET_46, "thinking": {"type": "adaptive"}}
CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
ACCEPTED = {
    "text": {},
    "adjacent messages of one role": {"messages": [user(text()), user(text()), assistant(text()), user(text())]},
    "tool loop": {"messages": LOOP, "tools": [TOOL]},
    "results in another order": {
        "messages": [user(text()), assistant(use("a"), use("b")), user(result("b"), result("a"), text())],
        "tools": [TOOL],
    },
    "results in two messages": {
        "messages": [user(text()), assistant(use("a"), use("b")), user(result("a")), user(result("b"))],
        "tools": [TOOL],
    },
    "image and document": {
        "messages": [
            user({"type": "image", "source": PNG}, {"type": "document", "source": {"type": "url", "url": "http://x"}})
        ]
    },
    "prefill of an older model": {"messages": [user(text()), assistant(text("The answer is"))]},
    "thinking with a budget": {**THINKS, "messages": [user(text()), assistant(thought(), use()), user(result())], "tools": [TOOL]},
    "thinking in an older turn may be missing": {**THINKS, "messages": [*LOOP, assistant(text()), user(text())], "tools": [TOOL]},
    "adaptive thinking, forced tool": {**ADAPTIVE, "model": OPUS_48, "tools": [TOOL], "tool_choice": {"type": "any"}},
    "adaptive thinking without a thought": {**ADAPTIVE, "tools": [TOOL], "messages": LOOP},
    "temperature": {"temperature": 0.3},
    "effort": {"model": OPUS_48, "output_config": {"effort": "xhigh"}},
    "structured output": {"output_config": {"format": {"type": "json_schema", "schema": CLOSED}}},
    "a later system message": {
        "model": OPUS_48,
        "messages": [user(text()), {"role": "system", "content": "be brief"}],
    },
    "a tool of Anthropic": {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]},
    "result with an image": {
        "messages": [user(text()), assistant(use()), user(result(content=[{"type": "image", "source": PNG}]))],
        "tools": [TOOL],
    },
}  # fmt: skip


def request(change: Any) -> dict[str, Any]:
    body = {"model": HAIKU, "max_tokens": 100, "messages": [user(text())], **change}
    return {name: value for name, value in body.items() if value is not None}
