"""Tests which requests a fallback model takes that were written for another model."""

import pytest

from nulpoint.models.catalog import built_in_models
from nulpoint.providers.equivalents import refuses, renamed_members

OURS = ["gpt-5.4", "gpt-5.4-mini", "gpt-5.2"]  # the built-in targets
NAMES = [*OURS, "gpt-6-sol", "gpt-6.2-sol", "o3", "gpt-4o"]
FACTS = {name: built_in_models().of("openai", name) for name in NAMES}
REASONING = [name for name in NAMES if name != "gpt-4o"]
THINK_UNASKED = ["gpt-6-sol", "gpt-6.2-sol", "o3"]


@pytest.mark.parametrize("name", NAMES)
def test_reasoning_models_rename_max_tokens(name):
    assert renamed_members(FACTS[name]) == ({"max_tokens": "max_completion_tokens"} if name in REASONING else {})


@pytest.mark.parametrize(
    "name", ["anthropic/claude-sonnet-5", "gemini/gemini-3.8-flash", "mistral/mistral-large-latest"]
)
def test_targets_with_a_format_of_their_own_are_checked_by_its_protocol(name):
    host, _, model = name.partition("/")
    facts = built_in_models().of(host, model)
    assert not renamed_members(facts)
    assert not refuses(facts, {"stop": b'"END"', "temperature": b"0"})


@pytest.mark.parametrize(
    ("members", "by"),
    [
        ({"model": b'"m"', "messages": b"[]", "max_tokens": b"5"}, []),
        ({"temperature": b"0"}, THINK_UNASKED),
        ({"tools": b"[{}]"}, ["gpt-6-sol", "gpt-6.2-sol"]),
        ({"stop": b"null", "reasoning_effort": b'"none"', "top_p": b"1"}, ["gpt-6.2-sol", "o3"]),
        ({"reasoning_effort": b'"none"', "tools": b"[{}]"}, ["gpt-6.2-sol"]),
        ({"stop": b'"END"'}, REASONING),
        ({"presence_penalty": b"1"}, REASONING),
        ({"max_tokens": b"5", "max_completion_tokens": b"6"}, REASONING),
        ({"reasoning_effort": b'"low"', "temperature": b"0"}, REASONING),
        ({"reasoning_effort": b'"low"'}, []),
        ({"reasoning_effort": b'"low"', "tools": b"[{}]"}, ["gpt-5.4", "gpt-5.4-mini", "gpt-6-sol", "gpt-6.2-sol"]),
        ({"reasoning_effort": b"null", "tools": b"[{}]", "temperature": b"0"}, THINK_UNASKED),
    ],
)
def test_parameters_that_models_reject(members, by):
    assert [name for name in NAMES if refuses(FACTS[name], members)] == by
