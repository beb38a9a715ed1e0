"""Requests that Bedrock accepts, named by the rule that they just satisfy."""

from typing import Any

from nulpoint.mock.interface import signature

MODEL = "eu.anthropic.claude-opus-4-5-20251101-v1:0"
USER = {"role": "user", "content": [{"text": "hi"}]}
SPEC = {"name": "f", "description": "d", "inputSchema": {"json": {"type": "object"}}}
TOOLS = {"toolConfig": {"tools": [{"toolSpec": SPEC}]}}
POINT = {"cachePoint": {"type": "default"}}
DOCUMENT = {"document": {"format": "pdf", "name": "a b", "source": {"bytes": "AAAA"}}}
PICTURE = {"image": {"format": "png", "source": {"bytes": "AAAA"}}}
THOUGHT = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": signature("bedrock", "hm")}}}


def said(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def use(call_id: Any = "t1") -> dict[str, Any]:
    return {"toolUse": {"toolUseId": call_id, "name": "f", "input": {}}}


def result(call_id: Any = "t1", *content: Any, **more: Any) -> dict[str, Any]:
    return {"toolResult": {"toolUseId": call_id, "content": list(content), **more}}


def request(change: Any) -> dict[str, Any]:
    return {"messages": [USER], **change}


ACCEPTED = {
    "text": {},
    "tool loop": {"messages": [USER, said(use()), user(result("t1", {"text": "7"}))], **TOOLS},
    "parallel": {"messages": [USER, said(use("a"), use("b")), user(result("b"), result("a"), {"text": "x"})], **TOOLS},
    "system and cache points": {"system": [{"text": "x"}, POINT], "messages": [user({"text": "x"}, POINT)]},
    "media": {"messages": [user({"text": "x"}, DOCUMENT, PICTURE)]},
    "thought sent back": {"messages": [USER, said(THOUGHT, {"text": "x"}), USER]},
    "everything else": {
        "inferenceConfig": {"maxTokens": 5, "temperature": 0.5, "stopSequences": ["x"]},
        "guardrailConfig": {"guardrailIdentifier": "a", "guardrailVersion": "1"},
        "requestMetadata": {"a": "b"}, "serviceTier": {"type": "flex"}, "outputConfig": {"effort": "low"},
        "additionalModelRequestFields": {"top_k": 5},
    },
}  # fmt: skip
