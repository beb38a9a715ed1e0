"""The request for a turn begins with the request for the turn before, so that prompt caches and thinking stay valid.

This holds for whatever the client writes between the turns: later system messages, tool results, empty messages.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.chat_codec import CODECS
from support.request_judges import judge_anthropic
from support.request_table import TOOL, call

TARGETS = [
    ("anthropic", "claude-sonnet-4-5"),  # system messages only at the beginning
    ("anthropic", "claude-opus-5-5"),  # system messages anywhere
    ("vertex-anthropic", "claude-haiku-5-5"),
    ("bedrock", "us.anthropic.claude-opus-4-5-20251101-v1:0"),
    ("bedrock", "us.anthropic.claude-opus-5-5"),
]
words = st.sampled_from(["a", "b", " ", ""])
before = st.lists(st.tuples(st.sampled_from(["system", "developer", "user"]), words), max_size=3)
turns = st.tuples(before, st.booleans(), before)


def requests_of(turn, number):
    """Yield what each request of a turn adds to the messages, and then the model's answer."""
    asked, calls, beside = turn
    messages = [{"role": role, "content": text} for role, text in asked] + [{"role": "user", "content": f"u{number}"}]
    if calls:
        yield messages, {"role": "assistant", "content": None, "tool_calls": [call(f"c{number}")]}
        messages = [{"role": role, "content": text} for role, text in beside]
        messages.append({"role": "tool", "tool_call_id": f"c{number}", "content": "r"})
    yield messages, {"role": "assistant", "content": f"a{number}"}


def rendered(wire, model, messages):
    body, dropped, _ = CODECS[wire].encode(
        json.dumps({"model": "m", "messages": messages, "tools": [TOOL]}).encode(), model
    )
    request = json.loads(body)
    if wire == "anthropic":
        judge_anthropic(request)
    assert dropped == []
    return request


def blocks_of(request):
    """Return everything that is sent in its order: a provider joins the blocks of turns of one role."""
    tools = request.get("tools") or request["toolConfig"]
    system = request.get("system", [])
    return [tools, system, *[(turn["role"], block) for turn in request["messages"] for block in turn["content"]]]


@pytest.mark.parametrize(("wire", "model"), TARGETS)
@given(leading=st.lists(words, max_size=2), conversation=st.lists(turns, min_size=2, max_size=5))
def test_a_turn_only_adds_to_the_request(wire, model, leading, conversation):
    messages = [{"role": "system", "content": f"s{text}"} for text in leading]
    earlier = None
    for number, turn in enumerate(conversation):
        for asked, answer in requests_of(turn, number):
            messages = messages + asked
            blocks = blocks_of(rendered(wire, model, messages))
            if earlier is not None:
                assert blocks[: len(earlier)] == earlier
            messages = [*messages, answer]
            earlier = blocks


@pytest.mark.parametrize(("wire", "model"), TARGETS)
@pytest.mark.parametrize("begin", [[{"role": "system", "content": "s"}], [{"role": "user", "content": ""}]])
def test_a_beginning_that_was_added_stays(wire, model, begin):
    first = blocks_of(rendered(wire, model, begin))
    more = [
        *begin,
        {"role": "assistant", "content": "a"},
        {"role": "system", "content": "b"},
        {"role": "user", "content": "u"},
    ]
    assert blocks_of(rendered(wire, model, more))[: len(first)] == first
