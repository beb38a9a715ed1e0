"""Naming the model of a request whose path names it, or that names none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.errors import Failure
from nulpoint.protocols.openai.envelope import read_envelope, with_model, without_model

VALUES = (
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.lists(st.text(max_size=3), max_size=2)
)
REQUESTS = st.dictionaries(
    st.text(alphabet='bcx"\\{}:é', max_size=4) | st.sampled_from(["model", "input", "Modell"]), VALUES, max_size=5
)


@given(REQUESTS, st.text(min_size=1, max_size=9).filter(str.strip), st.sampled_from([None, 1]))
def test_the_model_is_the_one_in_the_path(request, model, indent):
    body = json.dumps(request, indent=indent).encode()
    named = with_model(body, model)
    assert json.loads(named) == {**request, "model": model}
    assert read_envelope(named).model == model
    assert json.loads(without_model(named)) == {name: value for name, value in request.items() if name != "model"}


@given(REQUESTS)
def test_a_default_replaces_only_null(request):
    body = json.dumps(request).encode()
    named = with_model(body, "default", as_default=True)
    if request.get("model") is None:
        assert json.loads(named) == {**request, "model": "default"}
    else:
        assert named == body


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", b'{"model":"m"}'),
        (b" {\n} ", b' {"model":"m"\n} '),
        (b' {"a": 1.0}', b' {"model":"m","a": 1.0}'),
        (b'{"mod\\u0065l": null, "a":1}', b'{"mod\\u0065l": "m", "a":1}'),
        (b'{"a":{"model":"x"}}', b'{"model":"m","a":{"model":"x"}}'),
    ],
)
def test_other_bytes_stay(body, expected):
    assert with_model(body, "m") == expected


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"), (b"[1]", "invalid_type"), (b"null", "invalid_type"), (b"{", "invalid_json"),
        (b'{"a":' + b"[" * 20_000, "invalid_json"), (b'{"model":"a","model":"b"}', "duplicate_field"),
    ],
)  # fmt: skip
def test_what_is_no_request_is_rejected(body, code):
    with pytest.raises(Failure) as caught:
        with_model(body, "m")
    assert (caught.value.status, caught.value.code) == (400, code)


def test_the_members_are_bounded_before_they_are_read_one_by_one():
    members = b",".join(b'"a%d":{"model":1}' % number for number in range(1001))
    with pytest.raises(Failure) as caught:
        with_model(b'{"model":"m",%b}' % members, "m")
    assert caught.value.code == "too_many_members"
