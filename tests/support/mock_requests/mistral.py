"""Requests that Mistral accepts, named by the rule that they just satisfy."""

from typing import Any

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def assistant(*ids: Any, **members: Any) -> dict[str, Any]:
    calls = [{"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}} for call_id in ids]
    return {"role": "assistant", "content": "", **({"tool_calls": calls} if calls else {}), **members}


def result(call_id: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "7"}


LOOP = [USER, assistant("abcdefgh1"), result("abcdefgh1")]
ACCEPTED = {
    "text": {},
    "tool loop": {"messages": LOOP, "tools": [TOOL], "tool_choice": "any"},
    "parallel, results in another order": {
        "messages": [USER, assistant("abcdefgh1", "abcdefgh2"), result("abcdefgh2"), result("abcdefgh1")]
    },
    "prefix": {"messages": [USER, {"role": "assistant", "content": "So", "prefix": True}]},
    "parts": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "x"},
                    {"type": "image_url", "image_url": "data:image/png;base64,AAAA"},
                    {"type": "document_url", "document_url": "https://x", "document_name": "x"},
                    {"type": "input_audio", "input_audio": "AAAA"},
                ],
            }
        ]
    },
    "thinking sent back": {
        "model": "mistral-medium-latest",
        "messages": [
            USER,
            assistant(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "closed": True}]),
            USER,
        ],
    },
    "a user after a tool, with Mistral Small": {"model": "mistral-small-latest", "messages": [*LOOP, USER]},
    "schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}, "strict": True}}},
}


def request(change: Any) -> dict[str, Any]:
    body = {"model": "mistral-large-latest", "messages": [USER], **change}
    return {name: value for name, value in body.items() if value is not None}
