"""Tests what a translated response says about itself: its usage, its model, and whether it has ended."""

import json

import pytest

from nulpoint.conversation.usage import Usage
from nulpoint.errors import Failure
from nulpoint.models.facts import NO_FACTS
from nulpoint.protocols.limits import DEFAULT_LIMITS
from nulpoint.protocols.openai.chat_client.request import read_chat_request
from nulpoint.protocols.openai.text_completion.request import read_completion_request
from nulpoint.protocols.openai.usage import ResponseMetadata, read_final_metadata
from nulpoint.protocols.provider_protocol import ResponseSource
from nulpoint.protocols.registry import PROVIDER_PROTOCOLS
from nulpoint.protocols.translation import translate
from support.request_table import CUSTOM, HI

CHAT = read_chat_request(json.dumps({"model": "m", "messages": HI}).encode(), DEFAULT_LIMITS)
COMPLETION = read_completion_request(b'{"model":"m","prompt":"hi","logprobs":2}', DEFAULT_LIMITS)
SOURCE = ResponseSource("asked-for")


def translation(wire, request):
    return translate(request, PROVIDER_PROTOCOLS[wire], "m", NO_FACTS, DEFAULT_LIMITS).translation


def translated(wire, body, request):
    return translation(wire, request).response(json.dumps(body).encode(), SOURCE, 7)


def openai(*finish_reasons, **more):
    choices = [
        {"index": index, "message": {"role": "assistant", "content": "a"}, "finish_reason": reason}
        for index, reason in enumerate(finish_reasons)
    ]
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m-1",
        "choices": choices,
        "usage": usage,
        **more,
    }


def anthropic(stop_reason):
    return {"id": "i", "type": "message", "role": "assistant", "model": "claude", "stop_reason": stop_reason,
            "content": [{"type": "text", "text": "a"}],
            "usage": {"input_tokens": 3, "cache_read_input_tokens": 2, "output_tokens": 4}}  # fmt: skip


BEDROCK = {"output": {"message": {"role": "assistant", "content": [{"text": "a"}]}}, "stopReason": "end_turn",
           "usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}}  # fmt: skip
USAGE = Usage(3, 4)


@pytest.mark.parametrize("request_", [CHAT, COMPLETION], ids=["chat", "completions"])
@pytest.mark.parametrize(
    ("wire", "body", "expected"),
    [
        ("openai", openai("stop"), ResponseMetadata(USAGE, "m-1", ended=True)),
        ("openai", openai("length"), ResponseMetadata(USAGE, "m-1", ended=True)),
        ("openai", openai("stop", "content_filter"), ResponseMetadata(USAGE, "m-1", ended=False)),
        ("openai", openai("stop", "tool_calls"), ResponseMetadata(USAGE, "m-1", ended=True)),
        ("openai", openai("stop", usage=None), ResponseMetadata(None, "m-1", ended=True)),
        ("openai", openai("stop", usage={"prompt_tokens": "x"}), ResponseMetadata(None, "m-1", ended=True)),
        ("anthropic", anthropic("end_turn"), ResponseMetadata(Usage(5, 4, cached=2), "claude", ended=True)),
        ("anthropic", anthropic("max_tokens"), ResponseMetadata(Usage(5, 4, cached=2), "claude", ended=True)),
        ("anthropic", anthropic("refusal"), ResponseMetadata(Usage(5, 4, cached=2), "claude", ended=False)),
        ("bedrock", BEDROCK, ResponseMetadata(USAGE, "asked-for", ended=True)),
    ],
)  # fmt: skip
def test_the_metadata_of_a_response(wire, body, expected, request_):
    response = translated(wire, body, request_)
    assert response.metadata == expected
    assert read_final_metadata(response.body) == expected  # the client reads the same


@pytest.mark.parametrize("request_", [CHAT, COMPLETION], ids=["chat", "completions"])
def test_a_response_that_cannot_be_read_is_a_failure(request_):
    for wire, body in (
        ("openai", openai()),
        ("openai", {"error": {"message": "no"}}),
        ("anthropic", {"type": "error"}),
    ):
        with pytest.raises(Failure) as caught:
            translated(wire, body, request_)
        assert caught.value.status >= 500


def test_what_was_replaced_in_a_request_is_restored_and_has_ended():
    body = json.dumps({"model": "m", "messages": HI, "tools": [CUSTOM]}).encode()
    call = {"type": "tool_use", "id": "t", "name": "shell", "input": {"input": "ls"}}
    response = translated(
        "anthropic", {**anthropic("tool_use"), "content": [call]}, read_chat_request(body, DEFAULT_LIMITS)
    )
    (restored,) = json.loads(response.body)["choices"][0]["message"]["tool_calls"]
    assert restored == {"id": "t", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    assert response.metadata.ended


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_members_that_the_client_s_api_cannot_pass_on_are_named_first(wire):
    translated_request = translate(COMPLETION, PROVIDER_PROTOCOLS[wire], "m", NO_FACTS, DEFAULT_LIMITS)
    assert translated_request.dropped[0] == "logprobs"
    assert "logprobs" not in json.loads(translated_request.body)
