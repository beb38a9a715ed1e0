"""Earlier thinking that comes back to Claude: it is sent where the model can read it, and never makes a request fail."""

import json

import pytest

from support.chat_codec import CODECS
from support.event_loop import run
from support.http_client import Caller, post
from support.request_table import HI, TOOL, call, result
from support.running_gateway import gateway
from support.scripted_provider import send, serve

BETA = "thinking-binding-controls-2026-08-01"
DROP = {"prefix_mismatch_behavior": "drop_block"}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
USE = {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}}
REASONING = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [call()], "reasoning_content": "hm"}
OF_ANTHROPIC = {**CALLED, "provider_specific_fields": {"anthropic": {"content": [THOUGHT, USE]}}}
OF_BEDROCK = {
    **CALLED,
    "provider_specific_fields": {
        "bedrock": {
            "content": [
                REASONING, {"toolUse": {"toolUseId": "call_1", "name": "weather", "input": {"city": "Oslo"}}},
            ]
        }
    },
}  # fmt: skip
BINDING = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-fable-5-1", "claude-fable-5-2")
NOT_BINDING = ("claude-sonnet-4-5", "claude-opus-4-8", "claude-opus-5", "claude-sonnet-5")


def sent(wire, model, answer, **members):
    messages = members.pop("messages", [*HI, answer, result()])
    body = {"model": "x", "messages": messages, "tools": [TOOL], **members}
    body, dropped, translation = CODECS[wire].encode(json.dumps(body).encode(), model)
    return json.loads(body), dropped, translation.headers


@pytest.mark.parametrize("wire", ["anthropic", "vertex-anthropic"])
@pytest.mark.parametrize("model", BINDING)
def test_a_model_that_binds_its_thinking_may_leave_it_out(wire, model):
    request, dropped, headers = sent(wire, model, OF_ANTHROPIC)
    assert request["messages"][1]["content"] == [THOUGHT, USE]
    assert request["thinking"] == {"type": "adaptive", "block_binding": DROP}
    assert (headers, dropped) == ({b"anthropic-beta": BETA.encode()}, [])
    request, _, _ = sent(wire, model, OF_ANTHROPIC, reasoning_effort="high")
    assert request["thinking"] == {"type": "adaptive", "display": "summarized", "block_binding": DROP}


@pytest.mark.parametrize("model", BINDING)
def test_it_may_also_leave_it_out_at_bedrock(model):
    request, dropped, headers = sent(
        "bedrock", f"us.anthropic.{model}", OF_BEDROCK, anthropic_beta=["context-1m-2025-08-07"]
    )
    assert request["messages"][1]["content"][0] == REASONING
    assert request["additionalModelRequestFields"] == {
        "thinking": {"type": "adaptive", "block_binding": DROP},
        "anthropic_beta": ["context-1m-2025-08-07", BETA],
    }
    assert (dict(headers), dropped) == ({}, [])


@pytest.mark.parametrize("model", NOT_BINDING)
def test_other_models_get_it_unasked(model):
    request, dropped, headers = sent("anthropic", model, OF_ANTHROPIC)
    assert request["messages"][1]["content"] == [THOUGHT, USE]
    assert ("thinking" in request, dict(headers), dropped) == (False, {}, [])
    request, dropped, _ = sent("bedrock", f"us.anthropic.{model}", OF_BEDROCK)
    assert request["messages"][1]["content"][0] == REASONING
    assert "additionalModelRequestFields" not in request


def test_nothing_is_asked_for_without_earlier_thinking():
    request, _, headers = sent("anthropic", "claude-opus-5-5", {**CALLED, "reasoning_content": None})
    assert ("thinking" in request, dict(headers)) == (False, {})


@pytest.mark.parametrize(
    "own", [{"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "error"}}, {"type": "disabled"}]
)
def test_a_client_that_decides_itself_is_obeyed(own):
    request, _, headers = sent("anthropic", "claude-haiku-5-5", OF_ANTHROPIC, thinking=own)
    assert (request["thinking"], dict(headers)) == (own, {})
    request, _, _ = sent("bedrock", "us.anthropic.claude-haiku-5-5", OF_BEDROCK, thinking=own)
    assert request["additionalModelRequestFields"] == {"thinking": own}


@pytest.mark.parametrize("model", ["claude-haiku-5-5", "claude-sonnet-5-5"])
def test_thinking_that_is_off_takes_none_back(model):
    """There `drop_block` cannot be asked for, so thinking that does not fit any more would be a 400."""
    request, dropped, headers = sent("anthropic", model, OF_ANTHROPIC, reasoning_effort="none")
    assert request["messages"][1]["content"] == [USE]
    assert "block_binding" not in request["thinking"]
    assert (dict(headers), dropped) == ({}, ["messages.provider_specific_fields"])
    request, dropped, _ = sent("bedrock", f"us.anthropic.{model}", OF_BEDROCK, reasoning_effort="none")
    assert [list(block) for block in request["messages"][1]["content"]] == [["toolUse"]]
    assert dropped == ["messages.provider_specific_fields"]


def test_a_model_without_thinking_gets_none():
    request, dropped, _ = sent("anthropic", "claude-3-5-haiku-latest", OF_ANTHROPIC)
    assert (request["messages"][1]["content"], dropped) == ([USE], ["messages.provider_specific_fields"])


def test_thinking_of_another_host_is_left_out_in_every_turn():
    """After a failover the text and the calls stay, and the next turns leave out the same."""
    foreign = {**OF_BEDROCK, "content": "I look."}
    messages = [*HI, foreign, result()]
    first, dropped, headers = sent("anthropic", "claude-opus-5-5", None, messages=messages)
    assert [block["type"] for block in first["messages"][1]["content"]] == ["text", "tool_use"]
    assert (dict(headers), dropped) == ({}, ["messages.reasoning_content"])
    own = {"role": "assistant", "content": "Rain.", "provider_specific_fields": {"anthropic": {"content": [
        THOUGHT, {"type": "text", "text": "Rain."}]}}}  # fmt: skip
    second, _, headers = sent("anthropic", "claude-opus-5-5", None, messages=[*messages, own, *HI])
    assert second["messages"][:3] == first["messages"]
    assert second["messages"][3]["content"][0] == THOUGHT
    assert headers == {b"anthropic-beta": BETA.encode()}


@pytest.mark.parametrize(
    ("fields", "expected"), [([], BETA), (["anthropic-beta: context-1m-2025-08-07"], f"context-1m-2025-08-07, {BETA}")]
)
def test_the_header_stands_beside_those_of_the_client(fields, expected):
    async def main():
        provider = await serve([send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}")])
        async with gateway({"MAX_RETRIES": "1"}, providers={"anthropic": provider}) as running:
            body = {"model": "claude-opus-5-5", "messages": [*HI, OF_ANTHROPIC, result()], "tools": [TOOL]}
            client = await Caller.connect(running.port)
            client.send(post(json.dumps(body).encode(), "/v1/chat/completions", *fields))
            assert (await client.answer())[0] == 400
            await client.close()
            head = provider.requests[0].partition(b"\r\n\r\n")[0].decode().lower().split("\r\n")
        assert [line for line in head if line.startswith("anthropic-beta")] == [f"anthropic-beta: {expected}"]

    run(main())
