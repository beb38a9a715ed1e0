"""What must not be shown: credentials, wherever a provider repeats them, and in logs what a caller has said."""

import json
import re
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.wire.credential_matcher import INSTEAD, RUN, CredentialMatcher
from nulpoint.wire.provider_error import provider_failure
from nulpoint.wire.redaction import SEARCHED, redact, without_request

KEY = "Zt7Qp2Lk9Vx4Rm8Wc3Nb6Hy1"  # of no known form, so that nothing but itself gives it away


@pytest.mark.parametrize("shown", ["sk-abcd****wxyz", "abcd****wxyz", "****wxyz", "sk-proj-****", "Bearer abc.def"])
def test_starred_and_known_forms_are_taken_out(shown):
    found = redact(f"Incorrect API key provided: {shown}. See the docs.")
    assert re.fullmatch(r"Incorrect API key provided: \[redacted\]\.? See the docs\.", found)


@pytest.mark.parametrize("text", ["use ** for bold", "a * b", "*** note", "max_tokens is too large: 10"])
def test_plain_words_stay(text):
    assert redact(text, CredentialMatcher(KEY)) == text


BODIES = [
    {
        "error": {
            "message": f"Incorrect API key provided: {KEY}.",
            "code": f"bad_{KEY}",
            "param": KEY,
            "type": f"t {KEY}",
        }
    },
    {"error": {"message": "no", "status": KEY}},
    [{"error": {"message": KEY, "status": "UNAUTHENTICATED", "details": [{"reason": KEY}]}}],
    {"message": f"Unauthorized: {KEY}"},
    {"detail": [{"loc": ["header"], "msg": "bad", "input": f"Bearer {KEY}"}]},
    {"error": KEY},
    {"error": [KEY]},
    [KEY],
    KEY,
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_no_part_of_an_error_holds_the_credential(body):
    failure = provider_failure("x", 401, json.dumps(body).encode(), None, CredentialMatcher(KEY))
    assert KEY not in failure.envelope().decode() + str(failure) + repr(failure)


@pytest.mark.parametrize("shown", range(len(KEY)))
@pytest.mark.parametrize(
    "page", ["word " * 36 + "x" * 20, "<p" + " " * 8189 + ">"], ids=["200 characters are shown", "8192 bytes are read"]
)
def test_no_page_is_cut_inside_the_credential(page, shown):
    page = page.replace("x" * shown, "", 1) if "x" in page else page.replace(" " * shown, "", 1)
    message = provider_failure("x", 500, (page + KEY + "more").encode(), None, CredentialMatcher(KEY)).message
    assert not any(KEY[:size] in message for size in range(4, len(KEY) + 1))


def test_a_short_credential_of_a_local_host_does_not_spoil_the_codes():
    body = b'{"error": {"message": "none of these", "code": "none_found", "param": "none"}}'
    failure = provider_failure("vllm", 404, body, None, CredentialMatcher("none"))
    assert (failure.code, failure.param) == ("none_found", "none")


# -- what a caller has said --------------------------------------------------------------------------------------------


def request(content):
    return json.dumps({"model": "gpt-4o-mini-2024", "messages": [{"role": "user", "content": content}]}).encode()


def test_what_a_provider_repeats_of_a_request():
    asked = request("My name is Ada Lovelace and I live at 12 Example Street.")
    said = "1 validation error: messages.0.content [input_value='My name is Ada Love...ve at 12 Example Street.']"
    shown = without_request(said, asked)
    assert shown == f"1 validation error: messages.0.content [input_value='{INSTEAD}...{INSTEAD}']"


@pytest.mark.parametrize(
    "text",
    [
        "the model gpt-4o-mini-2024 does not exist",  # logged in a field of its own
        "max_completion_tokens is too large",  # a member's name
        "messages[0].content must be a string",
        "too short",
    ],
)
def test_names_of_members_and_of_the_model_stay(text):
    body = {"model": "gpt-4o-mini-2024", "max_completion_tokens": 5, "messages": [{"role": "user", "content": "short"}]}
    assert without_request(text, json.dumps(body).encode()) == text


@pytest.mark.parametrize(
    "body",
    [
        b"my secret prompt, which is no JSON",
        b'"my secret prompt, which is no JSON"',
        b'{"a": [{"b": ["my secret prompt, which is no JSON"]}]}',
        b'{"a": {"model": "my secret prompt, which is no JSON"}}',
        b"x" * (SEARCHED + 1),
    ],
)
def test_wherever_it_stands_in_the_request(body):
    assert "secret" not in without_request("error: my secret prompt, which is no JSON!", body)


few = st.text(alphabet="ab ", max_size=80)


@given(few, few, few, st.integers(0, 80), st.integers(0, 80))
def test_nothing_of_a_run_is_left(before, said, after, start, end):
    shown = without_request(before + said[start:end] + after, request(said))
    assert not any(shown[at : at + RUN] in said for at in range(len(shown) - RUN + 1))


@pytest.mark.parametrize("said", ["a" * 250_000, "----- " * 40_000, "ab" * 120_000])
def test_texts_made_to_cost_time_do_not(said):
    began = perf_counter()
    assert without_request(said[:480] + "!", request(said)).startswith(INSTEAD)
    assert perf_counter() - began < 0.5
