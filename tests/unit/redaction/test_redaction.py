"""Credentials that a provider repeats are removed everywhere, and the client's texts are removed from logs."""

import json
import re
from time import process_time, thread_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.protocols.openai.client import OPENAI_CLIENT
from nulpoint.protocols.provider_errors import embedded_failure, provider_failure, redact_failure
from nulpoint.redaction import text as redaction_text
from nulpoint.redaction.credential_matcher import REPLACEMENT, RUN_LENGTH, CredentialMatcher
from nulpoint.redaction.text import (
    LOOKAHEAD,
    MAX_REQUEST_BYTES,
    redact,
    redacted_body_prefix,
    redacted_prefix,
    without_request,
)

KEY = "Zt7Qp2Lk9Vx4Rm8Wc3Nb6Hy1"  # has no known prefix, so it is only found because it is known


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
    assert KEY not in OPENAI_CLIENT.error_body(failure).decode() + str(failure) + repr(failure)


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


# -- texts of the request --------------------------------------------------------------------------------------------


def request(content):
    return json.dumps({"model": "gpt-4o-mini-2024", "messages": [{"role": "user", "content": content}]}).encode()


def test_what_a_provider_repeats_of_a_request():
    asked = request("My name is Ada Lovelace and I live at 12 Example Street.")
    said = "1 validation error: messages.0.content [input_value='My name is Ada Love...ve at 12 Example Street.']"
    shown = without_request(said, asked)
    assert shown == f"1 validation error: messages.0.content [input_value='{REPLACEMENT}...{REPLACEMENT}']"


@pytest.mark.parametrize(
    "text",
    [
        "the model gpt-4o-mini-2024 does not exist",  # the model is logged in a separate field
        "max_completion_tokens is too large",  # the name of a member is kept
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
        b"x" * (MAX_REQUEST_BYTES + 1),
    ],
)
def test_wherever_it_stands_in_the_request(body):
    assert "secret" not in without_request("error: my secret prompt, which is no JSON!", body)


few = st.text(alphabet="ab ", max_size=80)


@given(few, few, few, st.integers(0, 80), st.integers(0, 80))
def test_nothing_of_a_run_is_left(before, said, after, start, end):
    shown = without_request(before + said[start:end] + after, request(said))
    assert not any(shown[at : at + RUN_LENGTH] in said for at in range(len(shown) - RUN_LENGTH + 1))


@pytest.mark.parametrize("said", ["a" * 250_000, "----- " * 40_000, "ab" * 120_000])
def test_texts_made_to_cost_time_do_not(said):
    began = thread_time()
    assert without_request(said[:480] + "!", request(said)).startswith(REPLACEMENT)
    assert thread_time() - began < 2


# -- cuts, and the amount of work -------------------------------------------------------------------------------------


def hidden(text):
    return redact(text, CredentialMatcher(KEY))


@pytest.mark.parametrize("credential", [KEY, "sk-pqrsefgh1234567890", "pqrs****wxyz", "Bearer pqrsef.ghi-jkl"])
@pytest.mark.parametrize("before", ["", "sk-abcdefgh1234567890 " * 3, f"{KEY} " * 4])
def test_no_cut_leaves_a_part_of_a_credential(credential, before):
    """The credential may be before the cut, across it, at the end of the searched text, or after that."""
    part = KEY[:4] if credential == KEY else "pqrs"
    for place in range(0, 80, 3):
        text = f"{before}{'. ' * place}{credential}"
        for most in (20, 60, 100):
            for after in ("", " ", " and more", ". " * 20, ". " * 400):
                shown = redacted_prefix(text + after, most, hidden)
                assert len(shown) <= most
                assert part not in shown
            searched = ". " * ((most + LOOKAHEAD) // 2 - place // 2) + text
            assert part not in redacted_prefix(searched, most, hidden)
            assert part not in redacted_body_prefix(searched.encode(), most, hidden)


@pytest.mark.parametrize("place", ["message", "code", "param", "type"])
def test_what_a_provider_says_is_bounded(place):
    for at in (0, 100, 250, 8_180, 8_700, 4_000_000):
        error = {"message": "m", "type": "t", place: ". " * (at // 2) + KEY + "x" * 1000}
        failure = provider_failure("p", 500, json.dumps({"error": error}).encode(), None, CredentialMatcher(KEY))
        assert len(OPENAI_CLIENT.error_body(failure)) < 9_000
        assert KEY[:4] not in OPENAI_CLIENT.error_body(failure).decode()
        embedded = embedded_failure("p", json.dumps({"error": error}).encode())
        assert len(OPENAI_CLIENT.error_body(embedded)) < 10_000
        embedded = redact_failure(embedded, CredentialMatcher(KEY))
        assert KEY[:4] not in OPENAI_CLIENT.error_body(embedded).decode()
        assert len(OPENAI_CLIENT.error_body(embedded)) < 9_000


@pytest.mark.parametrize("text", ["a" * 100, "\u00e9" * 100, "\U0001f600" * 100])
def test_bodies_in_the_log_are_cut_without_showing_a_part(text):
    body = (text + KEY + "; " + "sk-abcdefgh1234567890 " * 50).encode()
    for most in range(1, len(text.encode()) + 60, 7):
        shown = redacted_body_prefix(body, most, hidden)
        assert KEY[:4] not in shown
        assert "sk-ab" not in shown


NASTY = (
    "x", "*", "-", ".", " ", "0", "sk-", "key_", "sk-sk1-", "eyJ", "eyJ-", "eyJa.", "ya29.", "AKIA", "Bearer ", "Bearer", "a*", "a***", "***-",
    "0123456789abcdef", "-AKIAABCDEFGHIJKLMN", "eyJ-AKIAABCDEFGHIJKLMN", "xoxb-1 ", "<!--", "<script>", "<a ", "%41", "\\u0041", "\u00e9", KEY, KEY[:-1], "\0",
)  # fmt: skip


def seconds(work):
    """Return the least CPU time of several runs, since other work on the machine can only increase it."""
    taken = []
    for _ in range(5):
        began = process_time()
        work()
        taken.append(process_time() - began)
    return min(taken)


@pytest.mark.parametrize("unit", NASTY)
def test_four_times_the_text_is_about_four_times_the_work(unit):
    """With backtracking patterns, four times the text would be sixteen times the work."""
    matcher = CredentialMatcher(KEY, long_lived=True)
    text = unit * (16_000 // len(unit))
    page = unit * (2_000_000 // len(unit))
    assert seconds(lambda: redact(text * 4, matcher)) < 10 * seconds(lambda: redact(text, matcher)) + 0.005
    # Only the beginning of an error is searched, however long it is.
    for body in (
        page.encode(),
        json.dumps({"error": {"message": page, "code": page, "innererror": {"a": page}}}).encode(),
    ):
        assert seconds(lambda body=body: provider_failure("p", 500, body, None, matcher)) < 0.25


def test_the_patterns_are_re2_s():
    """Check that the patterns are RE2's. Python's own patterns backtrack, and RE2's match in linear time."""
    patterns = [redaction_text._ANY_TOKEN, redaction_text._PREFIXED_TOKEN, *redaction_text._TOKENS]
    assert all(type(pattern).__module__ == "re2" for pattern in patterns)
    assert not any(isinstance(value, re.Pattern) for value in vars(redaction_text).values())


class Counted(dict):
    """Counts how often something is looked up."""

    lookups = 0

    def __contains__(self, one):
        self.lookups += 1
        return super().__contains__(one)


@pytest.mark.parametrize(
    ("text", "said"), [("a" * 500, "a"), ("abcd" * 125, "abcd"), ("abcdX" * 100, "abcd"), ("ab" * 250, "abX")]
)
def test_lookups_grow_with_the_request_and_no_faster(text, said):
    for times in (1, 2, 4):
        windows = Counted({text[at : at + RUN_LENGTH]: [at] for at in range(len(text) - RUN_LENGTH + 1)})
        redaction_text._windows_in((said * 10_000)[: 10_000 * times], windows)
        assert windows.lookups <= 2 * 10_000 * times
