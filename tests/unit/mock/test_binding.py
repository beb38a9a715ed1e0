"""Thoughts of Claude are bound to the conversation, the model and the account, where the model binds them."""

import json

import pytest

from nulpoint.mock.anthropic import server as anthropic_server
from nulpoint.mock.anthropic.binding import BETA
from nulpoint.mock.bedrock import server as bedrock_server
from nulpoint.mock.interface import MockRequest
from support.mock_requests import bedrock as bedrock_requests
from support.mock_requests.anthropic import TOOL, result, text, user

DROP = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
BINDING = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-fable-5-1", "claude-fable-5-2")
ERROR = "Invalid `signature` in `thinking` block. The block is bound to a different conversation."


def ask(model, messages, key="k", **members):
    """Send a request, and return the status and the body of the response."""
    beta = {"anthropic-beta": BETA} if "block_binding" in members.get("thinking", {}) else {}
    headers = {"anthropic-version": "2023-06-01", "x-api-key": key, **beta}
    body = {"model": model, "max_tokens": 4000, "system": "s", "tools": [TOOL], "messages": messages, **members}
    response = anthropic_server.respond(MockRequest("POST", "/v1/messages", headers, body, 1, 3))
    return response.status, json.loads(response.body)


def second_turn(model, key="k"):
    """Return a conversation with a call, whose turn begins with a thought, and the result of the call."""
    question = user(text())
    status, message = ask(model, [question], key)
    assert status == 200
    assert [block["type"] for block in message["content"]] == ["thinking", "tool_use"]
    return [question, {"role": "assistant", "content": message["content"]}, user(result(message["content"][1]["id"]))]


def message_of(answer):
    return answer[1]["error"]["message"]


@pytest.mark.parametrize("model", BINDING)
def test_the_same_conversation_goes_on(model):
    messages = second_turn(model)
    assert ask(model, messages)[0] == 200
    marked = json.loads(json.dumps(messages))
    marked[0]["content"][0]["cache_control"] = {"type": "ephemeral"}
    assert ask(model, marked, system=[text("s")])[0] == 200


@pytest.mark.parametrize("model", BINDING)
@pytest.mark.parametrize(
    "change",
    [
        {"system": "other"},
        {"tools": [TOOL, {**TOOL, "name": "g"}]},
        {"messages": "changed"},
    ],
    ids=str,
)
def test_a_changed_prefix_is_rejected_or_the_block_dropped(model, change):
    messages = second_turn(model)
    if "messages" in change:
        change, messages = {}, [user(text("another question")), *messages[1:]]
    answer = ask(model, messages, **change)
    assert answer[0] == 400
    assert message_of(answer).startswith(f"messages.1.content.0: {ERROR}")
    status, body = ask(model, messages, thinking=DROP, **change)
    dropped = {"type": "thinking_dropped", "path": "messages.1.content.0", "reason": "prefix_binding_mismatch"}
    assert (status, body["input_transformations"]) == (200, [dropped])


def test_accounts_from_before_are_checked_only_if_they_ask_for_it():
    messages = second_turn("claude-opus-5-5", "old-k")
    assert ask("claude-opus-5-5", messages, "old-k", system="other")[0] == 200
    assert (
        ask("claude-opus-5-5", messages, "old-k", system="other", thinking={"type": "adaptive", "block_binding": {}})[0]
        == 400
    )
    messages = second_turn("claude-fable-5-2", "old-k")
    assert ask("claude-fable-5-2", messages, "old-k", system="other")[0] == 400


@pytest.mark.parametrize(("model", "bound"), [("claude-sonnet-5-5", True), ("claude-opus-5-5", False)])
def test_another_account_reads_no_thoughts(model, bound):
    status, body = ask(model, second_turn(model), "other", thinking=DROP)
    assert status == 200
    reasons = [change["reason"] for change in body["input_transformations"]]
    assert reasons == (["organization_binding_mismatch"] if bound else [])


def test_another_model_reads_no_thoughts():
    status, body = ask("claude-fable-5-2", second_turn("claude-opus-5-5"), thinking=DROP)
    assert status == 200
    assert [change["reason"] for change in body["input_transformations"]] == ["model_binding_mismatch"]
    assert ask("claude-fable-5-2", second_turn("claude-opus-5"), system="other")[0] == 200


def test_models_that_do_not_bind_check_the_signature_alone():
    messages = second_turn("claude-opus-5")
    assert ask("claude-opus-5", messages, "other", system="other")[0] == 200
    messages[1]["content"][0]["signature"] += "x"
    assert "Invalid `signature`" in message_of(ask("claude-opus-5", messages))


@pytest.mark.parametrize("part", range(5))
def test_a_changed_signature_is_no_signature(part):
    messages = second_turn("claude-opus-5-5")
    block = messages[1]["content"][0]
    parts = block["signature"].split(".")
    parts[part] = parts[part][:-1] + "0"
    block["signature"] = ".".join(parts)
    assert message_of(ask("claude-opus-5-5", messages, thinking=DROP)).endswith(
        "Invalid `signature` in `thinking` block"
    )


def test_the_setting_needs_its_beta():
    headers = {"anthropic-version": "2023-06-01", "x-api-key": "k"}
    body = {"model": "claude-opus-5-5", "max_tokens": 50, "messages": [user(text())], "thinking": DROP}
    response = anthropic_server.respond(MockRequest("POST", "/v1/messages", headers, body, 1, 3))
    assert b"thinking.adaptive.block_binding: Extra inputs are not permitted" in response.body


def converse(messages, system="s", **fields):
    body = {"messages": messages, "system": [{"text": system}], **bedrock_requests.TOOLS}
    body["additionalModelRequestFields"] = fields
    path = "/model/us.anthropic.claude-opus-5-5/converse"
    response = bedrock_server.respond(MockRequest("POST", path, {"authorization": "Bearer k"}, body, 1, 3))
    return response.status, json.loads(response.body)


def test_bedrock_binds_too():
    question = bedrock_requests.USER
    message = converse([question])[1]["output"]["message"]
    call = message["content"][1]["toolUse"]
    messages = [question, message, bedrock_requests.user(bedrock_requests.result(call["toolUseId"], {"text": "7"}))]
    assert converse(messages)[0] == 200
    status, body = converse(messages, "other")
    assert status == 400
    assert ERROR in body["message"]
    assert converse(messages, "other", thinking=DROP, anthropic_beta=[BETA])[0] == 200
    assert "block_binding: Extra inputs" in converse(messages, "other", thinking=DROP)[1]["message"]
