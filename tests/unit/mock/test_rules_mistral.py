"""The mock of Mistral rejects invalid requests, and accepts the same requests without the mistake."""

import pytest

from nulpoint.mock.mistral.rules import EMBEDDINGS, find_problem, validation_errors
from support.mock_requests.mistral import ACCEPTED, LOOP, TOOL, USER, assistant, request, result

# a change with unknown members, and the location named in the error
UNKNOWN = [
    ({"store": True}, ["body", "store"]),
    ({"max_completion_tokens": 5}, ["body", "max_completion_tokens"]),
    ({"seed": 5}, ["body", "seed"]),
    ({"stream_options": {}}, ["body", "stream_options"]),
    ({"messages": [{**USER, "name": "x"}]}, ["body", "messages", 0, "name"]),
    ({"messages": [{"role": "developer", "content": "x"}]}, ["body", "messages", 0, "role"]),
    ({"messages": [USER, assistant(content="x", rejection=None), USER]}, ["body", "messages", 1, "rejection"]),
    ({"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}, ["body", "messages", 0, "content", 0, "file"]),
    ({"messages": [{"role": "user", "content": [{"type": "rejection"}]}]}, ["body", "messages", 0, "content", 0, "type"]),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, ["body", "tools", 0, "function", "parameters"]),
    ({"tools": [{**TOOL, "cache_control": {}}]}, ["body", "tools", 0, "cache_control"]),
    ({"tool_choice": "forced"}, ["body", "tool_choice"]),
    ({"prediction": {"type": "content", "content": []}}, ["body", "prediction", "content"]),
    ({"service_tier": "flex"}, ["body", "service_tier"]),
    ({"temperature": 1.6}, ["body", "temperature"]),
    ({"n": 0}, ["body", "n"]),
    ({"messages": None}, ["body", "messages"]),
]  # fmt: skip
REJECTED = [
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


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(change):
    assert validation_errors(request(change)) == []
    assert find_problem(request(change)) is None


@pytest.mark.parametrize(("change", "location"), UNKNOWN, ids=[str(location) for _, location in UNKNOWN])
def test_unknown_members_are_rejected(change, location):
    assert location in [entry["loc"] for entry in validation_errors(request(change))]


@pytest.mark.parametrize(("change", "code", "words"), REJECTED, ids=[words for _, _, words in REJECTED])
def test_rejected(change, code, words):
    assert validation_errors(request(change)) == []
    rejection = find_problem(request(change))
    assert rejection is not None
    assert words in rejection.message
    assert rejection.code == code


def test_embeddings():
    assert validation_errors({"model": "mistral-embed", "input": ["x"], "output_dimension": 8}, EMBEDDINGS) == []
    assert validation_errors({"model": "mistral-embed", "input": [1, 2]}, EMBEDDINGS)[0]["loc"] == ["body", "input", 0]
    assert (
        validation_errors({"model": "mistral-embed", "input": "x", "dimensions": 8}, EMBEDDINGS)[0]["type"]
        == "extra_forbidden"
    )
