"""Tests that the requests of one conversation are recognised by their bodies, and those of different ones told apart."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.protocols.openai.conversation_key import conversation_key
from nulpoint.protocols.openai.envelope import read_envelope

LONG = "tool " * 3000  # longer than what is read at once


def key(messages, model="m", **members):
    body = json.dumps({"model": model, "messages": messages, **members}).encode()
    return conversation_key(body, read_envelope(body))


def message(role, content, **more):
    return {"role": role, "content": content, **more}


def grown(first, turns, size=10):
    """Return the messages of a conversation after some turns."""
    later = [
        one
        for turn in range(turns)
        for one in (message("assistant", f"answer {turn} " * size), message("user", f"question {turn} " * size))
    ]
    return [*first, *later]


OPENINGS = {
    "user": [message("user", "hi")],
    "system and user": [message("system", "be brief"), message("user", "hi")],
    "developer and user": [message("developer", "be brief"), message("user", "hi")],
    "two systems": [message("system", "be brief"), message("system", "be kind"), message("user", "hi")],
    "assistant first": [message("assistant", "hello"), message("user", "hi")],
    "parts": [message("user", [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "data:,x"}}])],
    "long": [message("system", LONG), message("user", LONG + "!")],
}  # fmt: skip


@pytest.mark.parametrize("opening", OPENINGS.values(), ids=OPENINGS)
def test_a_conversation_keeps_its_key_while_it_grows(opening):
    first = key(opening)
    assert first is not None
    for turns in (1, 2, 20, 400):
        assert key(grown(opening, turns)) == first
        assert key(grown(opening, turns), tools=[{"type": "function", "function": {"name": LONG}}], top_p=0.5) == first


def test_conversations_differ_by_model_and_by_their_first_messages():
    system, user = message("system", "be brief"), message("user", "hi")
    image = {"type": "image_url", "image_url": {"url": "data:,x"}}
    keys = [
        key([system, user]),
        key([system, user], model="other"),
        key([message("system", "be kind"), user]),
        key([system, message("user", "ho")]),
        key([user]),
        key([message("user", [{"type": "text", "text": "hi"}, image])]),
        key([message("user", LONG + "a")]),
        key([message("user", LONG + "b")]),
    ]
    assert len(set(keys)) == len(keys)


def marked(content):
    return [{"type": "text", "text": content, "cache_control": {"type": "ephemeral"}}]


@pytest.mark.parametrize("filler", ["", LONG])
def test_cache_marks_make_no_difference_and_a_text_is_the_same_as_a_part(filler):
    """Clients mark the newest messages, so the mark on the first one disappears as the conversation grows."""
    plain = [message("system", "be brief" + filler), message("user", "hi")]
    on_messages = [{**one, "cache_control": {"type": "ephemeral"}} for one in plain]
    on_parts = [message(one["role"], marked(one["content"])) for one in plain]
    assert key(plain) == key(on_messages) == key(on_parts) == key(grown(on_parts, 3))


def test_the_cache_key_that_a_client_names_comes_first():
    one, other = [message("user", "hi")], [message("user", "ho")]
    named = key(one, prompt_cache_key="session-1")
    assert named == key(other, prompt_cache_key="session-1") == key(grown(other, 200), prompt_cache_key="session-1")
    assert named != key(one, prompt_cache_key="session-2")
    for none in (None, ""):
        assert key(one, prompt_cache_key=none) == key(one)
    nested = [message("user", "hi", extra={"prompt_cache_key": "x"})]
    assert key(nested) == key(one)


@pytest.mark.parametrize(
    "messages",
    [[], [message("system", "be brief")], [message("assistant", "hi")], None, "hi", {"role": "user"}, [1], ["x"],
     [{"role": 1}], [{"role": None, "content": "x"}], [message("user", [1])], [[]]],
)  # fmt: skip
@pytest.mark.parametrize("filler", ["", LONG])
def test_there_is_no_key_without_a_first_message_of_the_user(messages, filler):
    assert key(messages, filler=filler) is None


def test_no_messages_at_all():
    for body in (b'{"model":"m"}', b'{"model":"m","prompt":"hi"}'):
        assert conversation_key(body, read_envelope(body)) is None


def test_of_a_very_long_message_the_beginning_counts():
    huge = "x" * 1_100_000
    assert key([message("user", "a" + huge)]) == key(grown([message("user", "a" + huge)], 2))
    assert key([message("user", "a" + huge)]) != key([message("user", "b" + huge)])


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "tool", "system"]), st.text(max_size=40)), max_size=8))
def test_a_short_body_is_read_like_a_long_one(turns):
    messages = [message(role, text) for role, text in turns]
    assert key(messages) == key(messages, filler=LONG)


def test_the_spelling_of_a_body_makes_little_difference():
    messages = grown([message("system", "be brief"), message("user", "hi")], 60)
    body = json.dumps({"messages": messages, "model": "m"}, indent=2).encode()
    assert conversation_key(body, read_envelope(body)) == key(messages)


def test_keys_of_many_conversations_differ():
    words = random.Random(1)
    openings = [[message("system", LONG), message("user", str(words.random()))] for _ in range(500)]
    assert len({key(one) for one in openings}) == 500
