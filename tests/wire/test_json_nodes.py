"""How many names and values a JSON text holds, counted without decoding it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.errors import Failure
from nulpoint.wire import json_nodes
from nulpoint.wire.json_nodes import check_answer_node_count, check_node_count, exceeds_node_count

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a",:[{}]\\\n', max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='a":,\\', max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


def structural_bytes(value):
    """How many commas, colons and opening brackets the JSON text of a value has outside its strings."""
    if isinstance(value, list):
        return 1 + max(0, len(value) - 1) + sum(map(structural_bytes, value))
    if isinstance(value, dict):
        return 1 + max(0, len(value) - 1) + len(value) + sum(map(structural_bytes, value.values()))
    return 0


@given(VALUES, st.integers(1, 40), st.sampled_from([(",", ":"), (" ,\n", "\t: ")]))
def test_only_what_stands_outside_strings_counts(value, piece, separators):
    text = json.dumps(value, separators=separators).encode()
    expected = structural_bytes(value)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_nodes, "_PIECE", piece)
        assert not exceeds_node_count(text, expected)
        assert exceeds_node_count(text, expected - 1)


@pytest.mark.parametrize("text", [b'"', b'["a", "b', b'["a\\', b"", b"[[[,,,", b'"a"b"c"d"'])
def test_what_is_no_json_ends_the_count_too(text):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_nodes, "_PIECE", 2)
        assert exceeds_node_count(text, 100) is False
        assert exceeds_node_count(text, -1) in (True, False)


def test_prose_and_base64_are_no_nodes():
    prose = json.dumps({"content": "Well, then: [this], {that}. " * 10_000}).encode()
    assert not exceeds_node_count(prose, 10)
    assert exceeds_node_count(b"[" + b"1," * 100 + b"1]", 100)


def test_the_failures_name_the_setting():
    body = b"[" + b"1," * 100 + b"1]"
    with pytest.raises(Failure, match="MAX_JSON_NODES") as caught:
        check_node_count(body, 50)
    assert (caught.value.status, caught.value.code) == (400, "too_many_json_nodes")
    with pytest.raises(Failure, match="MAX_JSON_NODES") as caught:
        check_answer_node_count(body, 50)
    assert (caught.value.status, caught.value.code) == (502, "provider_malformed")
    check_node_count(body, 200)
    check_answer_node_count(body, 200)
