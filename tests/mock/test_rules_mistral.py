"""What the mock of Mistral refuses, and that the same request without its mistake is taken."""

import pytest

from nulpoint.mock.mistral.rules import EMBEDDINGS, problem, unknown
from support.mock_requests.mistral import LOOP, TAKEN, TOOL, USER, assistant, request, result

# member or members, and the place that is named
UNKNOWN = [
    ({"store": True}, ["body", "store"]),
    ({"max_completion_tokens": 5}, ["body", "max_completion_tokens"]),
    ({"seed": 5}, ["body", "seed"]),
    ({"stream_options": {}}, ["body", "stream_options"]),
    ({"messages": [{**USER, "name": "x"}]}, ["body", "messages", 0, "name"]),
    ({"messages": [{"role": "developer", "content": "x"}]}, ["body", "messages", 0, "role"]),
    ({"messages": [USER, assistant(content="x", refusal=None), USER]}, ["body", "messages", 1, "refusal"]),
    ({"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}, ["body", "messages", 0, "content", 0, "file"]),
    ({"messages": [{"role": "user", "content": [{"type": "refusal"}]}]}, ["body", "messages", 0, "content", 0, "type"]),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, ["body", "tools", 0, "function", "parameters"]),
    ({"tools": [{**TOOL, "cache_control": {}}]}, ["body", "tools", 0, "cache_control"]),
    ({"tool_choice": "forced"}, ["body", "tool_choice"]),
    ({"prediction": {"type": "content", "content": []}}, ["body", "prediction", "content"]),
    ({"service_tier": "flex"}, ["body", "service_tier"]),
    ({"temperature": 1.6}, ["body", "temperature"]),
    ({"n": 0}, ["body", "n"]),
    ({"messages": None}, ["body", "messages"]),
]  # fmt: skip
REFUSED = [
    ({"messages": []}, "3230", "at least one message"),
    ({"messages": [*LOOP, USER]}, "3230", "Unexpected role 'user' after role 'tool'"),
    ({"messages": [USER, result("abcdefgh1")]}, "3230", "Unexpected role 'tool' after role 'user'"),
    ({"messages": [USER, assistant(content="x")]}, "3230", "Expected last role User or Tool (or Assistant with prefix True)"),
    ({"messages": [USER, assistant(content="x", prefix=True), USER]}, "3230", "Only the last message may have prefix"),
    ({"messages": [USER, assistant(), USER]}, "3240", "must have either content or tool_calls"),
    ({"messages": [USER, assistant("call_1"), result("call_1")]}, "3280", "must be a-z, A-Z, 0-9, with a length of 9."),
    ({"messages": [USER, assistant("abcdefgh1", "abcdefgh2"), result("abcdefgh1")]}, "3230", "Not the same number of function calls"),
    ({"messages": [USER, assistant("abcdefgh1"), result("abcdefgh2")]}, "3280", "Unexpected tool call id abcdefgh2"),
    ({"tools": [{"function": {"name": "f.g", "parameters": {}}}]}, "3281", "Function name was f.g"),
    ({"tools": [TOOL, TOOL]}, None, "unique"),
    ({"tool_choice": "any"}, None, "tools must be given"),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, None, "g is not one of"),
]  # fmt: skip


@pytest.mark.parametrize("change", TAKEN.values(), ids=TAKEN)
def test_taken(change):
    assert unknown(request(change)) == []
    assert problem(request(change)) is None


@pytest.mark.parametrize(("change", "place"), UNKNOWN, ids=[str(place) for _, place in UNKNOWN])
def test_unknown(change, place):
    assert place in [one["loc"] for one in unknown(request(change))]


@pytest.mark.parametrize(("change", "code", "words"), REFUSED, ids=[words for _, _, words in REFUSED])
def test_refused(change, code, words):
    assert unknown(request(change)) == []
    refusal = problem(request(change))
    assert refusal is not None
    assert words in refusal.message
    assert refusal.code == code


def test_embeddings():
    assert unknown({"model": "mistral-embed", "input": ["x"], "output_dimension": 8}, EMBEDDINGS) == []
    assert unknown({"model": "mistral-embed", "input": [1, 2]}, EMBEDDINGS)[0]["loc"] == ["body", "input", 0]
    assert (
        unknown({"model": "mistral-embed", "input": "x", "dimensions": 8}, EMBEDDINGS)[0]["type"] == "extra_forbidden"
    )
