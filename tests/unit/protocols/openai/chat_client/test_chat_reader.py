"""Tests that reading a chat request as a conversation, and writing it for a provider, loses nothing."""

import contextlib
import json
from decimal import Decimal

import hypothesis
import pytest
from hypothesis import strategies as st

from nulpoint.conversation.parts import Reasoning, Refusal, Text, ToolCall
from nulpoint.errors import Failure
from nulpoint.protocols.limits import DEFAULT_LIMITS
from nulpoint.protocols.openai.chat_client.reader import read_chat
from nulpoint.protocols.openai.chat_provider.request import render
from support.corpus.records import CORPUS, recordings
from support.odd_values import odd_ones
from support.rich_requests import rich_requests

there = pytest.mark.skipif(not CORPUS.exists(), reason="the recordings are not here")
REQUESTS = [request for form in ("anthropic", "gemini") for request in rich_requests(form).values()]


def exact(body):
    """Decode JSON without rounding any number."""
    return json.loads(body, parse_float=Decimal)


def lost(body):
    """Return the members that are not the same in a request to a provider. Raises Failure if it is rejected."""
    rendered = render(read_chat(body, DEFAULT_LIMITS), "some-model", limits=DEFAULT_LIMITS)
    assert (rendered.dropped, rendered.emulation.any()) == ([], False)
    chat, given = exact(rendered.body), {**exact(body), "model": "some-model"}
    return [name for name in {**given, **chat} if given.get(name, lost) != chat.get(name, lost)]


@there
def test_every_recorded_request_is_the_same_after_reading():
    read = 0
    for recording in recordings():
        with contextlib.suppress(Failure):  # the request is in another provider's format
            assert lost(json.dumps(recording.request).encode()) == [], recording.name
            read += 1
    assert read > 500


@pytest.mark.parametrize("number", range(len(REQUESTS)))
def test_rich_requests_are_the_same_after_reading(number):
    assert lost(json.dumps(REQUESTS[number]).encode()) == []


@hypothesis.given(st.sampled_from(REQUESTS).flatmap(odd_ones))
def test_odd_requests_are_rejected_or_the_same_after_reading(request):
    with contextlib.suppress(Failure):
        assert lost(json.dumps(request).encode()) == []


def test_the_parts_of_an_assistant_message_are_in_order():
    call = {"id": "c", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    message = {
        "role": "assistant", "tool_calls": [call], "refusal": "no", "reasoning_content": "hm",
        "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}],
    }  # fmt: skip
    result = {"role": "tool", "tool_call_id": "c", "content": ""}
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}, message, result]}).encode()
    _, read, _ = read_chat(body, DEFAULT_LIMITS).messages
    kinds = [(type(part), part.where) for part in read.parts]
    assert kinds == [
        (Reasoning, "reasoning_content"),
        (Text, "content"),
        (Refusal, "content"),
        (Refusal, "refusal"),
        (ToolCall, "tool_calls[0]"),
    ]
