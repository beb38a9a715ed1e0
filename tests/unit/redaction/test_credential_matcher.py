"""A credential is found in every encoding in which a provider may repeat it, and nothing else is found."""

import random
import re
import string
from base64 import b64decode, b64encode
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.redaction.credential_matcher import (
    MIN_SECRET_LENGTH,
    NO_CREDENTIAL,
    REPLACEMENT,
    RUN_LENGTH,
    CredentialMatcher,
)
from support.credential_spellings import SPELLINGS, percent_encoded

KEYS = {
    "of no known form": "Zt7Qp2Lk9Vx4Rm8Wc3Nb6Hy1Aa5",
    "like OpenAI's": "sk-proj-Ab3dEf6hIj9lMn0pQr2tUv5xYz8-_Cd4",
    "like an AWS secret": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "64 hexadecimal digits": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "with signs": "a&b%c\\d=e;f\"g'h<i>j(k)l[m]n",
}  # fmt: skip
both_lives = pytest.mark.parametrize("long_lived", [True, False], ids=["configured", "of a caller"])


@both_lives
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_found(spelling, key, long_lived):
    matcher = CredentialMatcher(key, long_lived=long_lived)
    spelt = SPELLINGS[spelling](key)
    for before in ("", "x", "a longer text before it: "):
        for after in ("", "y", " and one behind it"):
            text = before + spelt + after
            assert matcher.may_be_in(text.encode())
            assert matcher.is_in(text.encode())
            shown = matcher.redact(text)
            assert REPLACEMENT in shown
            assert not matcher.is_in(shown.encode())


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_nothing_of_a_whole_key_is_left(key):
    for text in (key, key.upper(), percent_encoded(key), quote(quote(key, safe=""), safe="")):
        assert CredentialMatcher(key).redact(f"<<{text}>>") == f"<<{REPLACEMENT}>>"


def test_of_base64_nothing_is_left_that_tells_of_the_key():
    key = KEYS["like OpenAI's"]
    for before in ("", "x", "xy", "Bearer "):
        shown = CredentialMatcher(key).redact(b64encode(f"{before}{key}".encode()).decode())
        left = shown.replace(REPLACEMENT, "")
        assert len(left) <= len(before) * 4 / 3 + 4
        assert re.fullmatch(rf"[A-Za-z]*{re.escape(REPLACEMENT)}[\w=]*", shown)


def test_fewer_than_12_characters_are_chance():
    key = KEYS["of no known form"]
    matcher = CredentialMatcher(key)
    for at in range(len(key) - RUN_LENGTH + 2):
        part = key[at : at + RUN_LENGTH - 1]
        assert matcher.redact(part) == part


@both_lives
@pytest.mark.parametrize("length", range(MIN_SECRET_LENGTH, RUN_LENGTH))
def test_of_a_short_key_all_is_looked_for(length, long_lived):
    key = KEYS["of no known form"][:length]
    matcher = CredentialMatcher(key, long_lived=long_lived)
    for spelt in (key, key.upper(), percent_encoded(key), b64encode(key.encode()).decode()):
        assert matcher.may_be_in(f"a {spelt} b".encode())
        assert REPLACEMENT in matcher.redact(f"a {spelt} b")
    assert matcher.redact(key[1:]) == key[1:]


def test_a_very_short_key_is_looked_for_in_messages_alone():
    matcher = CredentialMatcher("none", "longer-than-8")
    assert matcher.short_secrets == ["none"]
    assert matcher.redact("none of longer-than-8") == f"none of {REPLACEMENT}"


def test_several_secrets():
    matcher = CredentialMatcher(*KEYS.values(), long_lived=True)
    assert matcher.redact(" ".join(KEYS.values())) == " ".join([REPLACEMENT] * len(KEYS))
    assert not NO_CREDENTIAL.may_be_in(b"anything at all, however long it is")
    assert NO_CREDENTIAL.redact("100 % of anything") == "100 % of anything"


SIGNS = string.ascii_letters + string.digits + "-_"
keys = st.text(alphabet=SIGNS, min_size=MIN_SECRET_LENGTH, max_size=80)
texts = st.text(max_size=200)


@given(keys, texts, texts, st.sampled_from([*SPELLINGS][:25]), st.booleans())
def test_any_key_anywhere(key, before, after, spelling, long_lived):
    matcher = CredentialMatcher(key, long_lived=long_lived)
    text = before + SPELLINGS[spelling](key) + after
    assert matcher.may_be_in(text.encode())
    shown = matcher.redact(text)
    assert key.lower() not in shown.lower()
    assert not matcher.is_in(shown.encode())


@given(st.text(alphabet=SIGNS, min_size=RUN_LENGTH, max_size=80), texts, texts, st.data())
def test_any_run_of_12_characters(key, before, after, data):
    start = data.draw(st.integers(0, len(key) - RUN_LENGTH))
    end = data.draw(st.integers(start + RUN_LENGTH, len(key)))
    part = data.draw(st.sampled_from([str, str.upper, str.lower, quote, percent_encoded]))(key[start:end])
    matcher = CredentialMatcher(key)
    shown = unquote(matcher.redact(before + part + after)).lower()
    assert not any(key[at : at + RUN_LENGTH].lower() in shown for at in range(len(key) - RUN_LENGTH + 1))


@given(st.binary(min_size=9, max_size=60), st.binary(max_size=30), st.binary(max_size=30))
def test_what_can_be_decoded_is_gone(secret, before, after):
    key = secret.hex()
    shown = CredentialMatcher(key).redact(b64encode(before + key.encode() + after).decode())
    for piece in re.split(r"\[redacted\]", shown):
        for cut in range(4):
            part = piece[cut:]
            decoded = b64decode(part[: len(part) // 4 * 4] or "", validate=False)
            assert not any(key[at : at + RUN_LENGTH].encode() in decoded for at in range(len(key) - RUN_LENGTH + 1))


@given(
    st.text(alphabet="ABCDEF0123456789", min_size=RUN_LENGTH, max_size=60),
    st.text(alphabet="ghijklmnop %\\&;é世", max_size=300),
)
def test_a_text_without_it_stays_as_it_is(key, text):
    for matcher in (CredentialMatcher(key), CredentialMatcher(key, long_lived=True)):
        assert matcher.redact(text) == text


@given(texts, keys)
def test_two_lives_find_the_same(text, key):
    assert CredentialMatcher(key).redact(text) == CredentialMatcher(key, long_lived=True).redact(text)


class CountingSet(frozenset):
    """Counts how often something is looked up."""

    lookups = 0

    def __contains__(self, one):
        CountingSet.lookups += 1
        return super().__contains__(one)


TEXTS = {
    "of the key": KEYS["like OpenAI's"],
    "of its beginning": KEYS["like OpenAI's"][:11] + "!",
    "of four of its characters": KEYS["like OpenAI's"][8:12],
    "of one letter": "a",
    "of percent signs": "%",
    "of escapes": "%41",
    "of escapes within escapes": "%2541%252541",
    "of backslashes": "\\",
    "of base64": b64encode(KEYS["like OpenAI's"].encode()).decode(),
    "by chance": "".join(random.Random(1).choices(SIGNS, k=997)),
}


@pytest.mark.parametrize("unit", TEXTS.values(), ids=TEXTS)
def test_lookups_grow_with_the_text_and_no_faster(unit):
    matcher = CredentialMatcher(KEYS["like OpenAI's"], long_lived=True)
    matcher.redact("x" * RUN_LENGTH)
    matcher._samples = CountingSet(matcher._samples)
    matcher._windows = {size: CountingSet(windows) for size, windows in matcher._windows.items()}
    counts = []
    for times in (1, 2, 4):
        CountingSet.lookups = 0
        matcher.redact((unit * 4000)[: 4000 * times])
        counts.append(CountingSet.lookups)
        assert (
            CountingSet.lookups <= 4 * 2 * 4000 * times
        )  # there are at most four levels of escapes, with fewer than two lookups per character each
    assert counts[2] <= 5 * counts[0]
