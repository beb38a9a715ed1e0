"""Tests that a stream and a complete response report the same tokens of every kind, on which the cost depends."""

import json

import pytest

from nulpoint.conversation.usage import Usage
from nulpoint.protocols.openai.usage import read_metadata
from support.bedrock_judge import framed
from support.chat_codec import codec_for_model

ANTHROPIC = {
    "input_tokens": 5,
    "output_tokens": 7,
    "cache_read_input_tokens": 11,
    "cache_creation_input_tokens": 13,
    "cache_creation": {"ephemeral_1h_input_tokens": 3, "ephemeral_5m_input_tokens": 10},
    "output_tokens_details": {"thinking_tokens": 2},
}
BEDROCK = {
    "inputTokens": 5,
    "outputTokens": 7,
    "totalTokens": 36,
    "cacheReadInputTokens": 11,
    "cacheWriteInputTokens": 13,
}
GEMINI = {
    "promptTokenCount": 29,
    "candidatesTokenCount": 5,
    "thoughtsTokenCount": 2,
    "totalTokenCount": 36,
    "cachedContentTokenCount": 11,
}


def sse(*events):
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode()


def anthropic():
    block = {"type": "text", "text": "hi"}
    whole = {"id": "i", "type": "message", "role": "assistant", "model": "m", "content": [block],
             "stop_reason": "end_turn", "usage": ANTHROPIC}  # fmt: skip
    begun = {**whole, "content": [], "stop_reason": None}
    return whole, sse(
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": ANTHROPIC},
        {"type": "message_stop"},
    )


def bedrock():
    whole = {"output": {"message": {"role": "assistant", "content": [{"text": "hi"}]}}, "stopReason": "end_turn",
             "usage": BEDROCK, "metrics": {"latencyMs": 1}}  # fmt: skip
    return whole, framed(
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "hi"}}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": BEDROCK, "metrics": {"latencyMs": 1}}),
    )


def gemini():
    candidate = {"content": {"role": "model", "parts": [{"text": "hi"}]}, "finishReason": "STOP", "index": 0}
    whole = {"candidates": [candidate], "usageMetadata": GEMINI, "modelVersion": "m", "responseId": "i"}
    return whole, sse(whole)


@pytest.mark.parametrize(
    ("wire", "made", "expected"),
    [
        ("anthropic", anthropic, Usage(29, 7, cached=11, reasoning=2, written=13, written_1h=3)),
        ("bedrock", bedrock, Usage(29, 7, cached=11, written=13)),
        ("gemini", gemini, Usage(29, 7, cached=11, reasoning=2)),
    ],
)
def test_a_stream_reports_the_usage_of_a_complete_response(wire, made, expected):
    whole, events = made()
    codec = codec_for_model(wire, "m")
    assert read_metadata(codec.decode(json.dumps(whole).encode(), 1)).usage == expected
    stream = codec.stream(1, False)
    stream.feed(events)
    stream.close()
    assert (stream.failure, stream.finished(), stream.metadata().usage) == (None, True, expected)
