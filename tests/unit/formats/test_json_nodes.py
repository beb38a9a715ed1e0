"""The names and values in a JSON text are counted without decoding it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.errors import Failure
from nulpoint.formats import json_nodes
from nulpoint.formats.json_nodes import (
    CHECKED_BYTES,
    MAX_DIGITS,
    MAX_STRUCTURE_BYTES,
    check_node_count,
    check_response_node_count,
    check_structure,
    exceeds_node_count,
    holds_long_number,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a",:[{}]\\\n', max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='a":,\\', max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


def structural_bytes(value):
    """Count the commas, colons and opening brackets outside strings in the JSON text of a value."""
    if isinstance(value, list):
        return 1 + max(0, len(value) - 1) + sum(map(structural_bytes, value))
    if isinstance(value, dict):
        return 1 + max(0, len(value) - 1) + len(value) + sum(map(structural_bytes, value.values()))
    return 0


@given(VALUES, st.integers(2, 40), st.sampled_from([(",", ":"), (" ,\n", "\t: ")]))
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
        check_response_node_count(body, 50)
    assert (caught.value.status, caught.value.code) == (502, "provider_malformed")
    check_node_count(body, 200)
    check_response_node_count(body, 200)


@given(VALUES, st.integers(1, 40), st.integers(MAX_DIGITS - 1, MAX_DIGITS + 2), st.booleans())
def test_long_numbers_are_found_outside_strings_only(value, piece, digits, in_a_string):
    number = "7" * digits
    text = b'{"a":%b,"b":%b}' % (json.dumps(value).encode(), (f'"{number}"' if in_a_string else number).encode())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_nodes, "_PIECE", piece)
        assert holds_long_number(text) == (digits > MAX_DIGITS and not in_a_string)


@pytest.mark.parametrize(("check", "status"), [(check_node_count, 400), (check_response_node_count, 502)])
def test_long_numbers_in_long_texts_are_refused(check, status):
    number = b"3" * (MAX_DIGITS + 1)
    check(b'{"a":%b}' % number, 1000)
    check(b'{"a":"%b %b"}' % (b" " * json_nodes.LONG_TEXT, number), 1000)
    with pytest.raises(Failure, match=f"more than {MAX_DIGITS} digits") as caught:
        check(b'{"b":"%b","a":%b}' % (b" " * json_nodes.LONG_TEXT, number), 1000)
    assert caught.value.status == status


@pytest.mark.parametrize("unit", [b"{},", b"[],", b"0,", b" ", b"0.5,", b"true,\n"])
def test_a_very_long_body_may_have_only_so_much_outside_strings(unit):
    def body(structure, text):
        return b'{"a":[%b0],"b":"%b"}' % (unit * (structure // len(unit)), b"{}, " * (text // 4))

    check_structure(body(CHECKED_BYTES - 1024, 0))
    check_structure(body(MAX_STRUCTURE_BYTES - 1024, CHECKED_BYTES))
    with pytest.raises(Failure) as caught:
        check_structure(body(MAX_STRUCTURE_BYTES + 1024, CHECKED_BYTES))
    assert (caught.value.status, caught.value.code) == (400, "too_many_json_nodes")
    assert "outside strings" in caught.value.message
