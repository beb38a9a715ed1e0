"""Fuzz targets for redaction: credentials in texts and headers, and texts of a request in logs."""

import json
from base64 import b64encode, urlsafe_b64encode
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st
from target import Target

from nulpoint.redaction.credential_matcher import CredentialMatcher
from nulpoint.redaction.text import MAX_REQUEST_BYTES, REPLACEMENT, RUN_LENGTH, redact, without_request

SECRETS = (
    "Zt7Qp2Lk9Vx4Rm8Wc3Nb6Hy1",
    "sk-proj-abcdefghijklmnopqrstuvwx",
    "AKIAQWERTYUIOPASDFGH",
    "onlyletterslikeaword",
    "a+b/c=d&e%f<g>h'i\"j",
)


def spellings(secret: str) -> list[str]:
    """Return the ways in which a provider may encode the secret."""
    raw = secret.encode()
    return [
        secret, secret.upper(), secret.lower(), secret.swapcase(), quote(secret, safe=""), "".join(f"%{byte:02X}" for byte in raw),
        b64encode(raw).decode(), urlsafe_b64encode(b"x:" + raw).decode().rstrip("="), b64encode(b"xy" + raw + b"z").decode(),
        json.dumps(secret)[1:-1], secret[:RUN_LENGTH], secret[-RUN_LENGTH:], secret[3 : 3 + RUN_LENGTH + 2],
    ]  # fmt: skip


_NOISE = st.text(max_size=12) | st.sampled_from(
    ("sk-", "***", "Bearer ", "eyJ", "x" * 40, "%", "=", "\n", REPLACEMENT, "%41", "\\u0041")
)


@st.composite
def repeated(draw: Any) -> tuple[str, str, list[str]]:
    """Draw a secret, a text that repeats it in some spellings, and these spellings."""
    secret = draw(st.sampled_from(SECRETS))
    shown = draw(st.lists(st.sampled_from(spellings(secret)), max_size=3))
    pieces = [draw(_NOISE)]
    for one in shown:
        pieces += [
            draw(st.sampled_from((" ", ":", "(", "'", "=", ""))),
            one,
            draw(st.sampled_from((" ", ".", ")", "'", ""))),
            draw(_NOISE),
        ]
    return secret, "".join(pieces), shown


def credentials(given: tuple[str, str, list[str]]) -> None:
    secret, text, _ = given
    credential = CredentialMatcher(secret)
    clean = redact(text, credential)
    _holds_nothing_of(secret, clean)
    assert redact(clean, credential) == clean, "a second search finds more"


def _holds_nothing_of(secret: str, text: str) -> None:
    folded = text.lower()
    for start in range(len(secret) - RUN_LENGTH + 1):
        run = secret[start : start + RUN_LENGTH].lower()
        assert run not in folded, f"{run!r} is in {text!r}"
        assert quote(run, safe="").lower() not in folded, f"{run!r} is in {text!r}"


def header_values(given: tuple[str, str, list[str]]) -> None:
    """Check that the fast check of header values misses nothing."""
    secret, text, _ = given
    value = text.encode("utf-8", "replace")
    for credential in (CredentialMatcher(secret), CredentialMatcher(secret, long_lived=True)):
        if not credential.may_be_in(value):
            assert credential.redact(text) == text
            _holds_nothing_of(secret, text)


def requests(given: tuple[str, list[str], int]) -> None:
    """Check that no long part of a request's values is left in a text."""
    text, said, _ = given
    shown = " ".join([text, *said])
    body = json.dumps({"model": "some-model", "messages": said}).encode()
    clean = without_request(shown, body)
    assert len(body) <= MAX_REQUEST_BYTES
    for one in said:
        for start in range(len(one) - RUN_LENGTH + 1):
            assert one[start : start + RUN_LENGTH] not in clean.replace(REPLACEMENT, "\0")


_said = st.text(st.characters(codec="utf-8"), max_size=40) | st.text("ab ", max_size=60)
TARGETS = (
    Target("credentials in texts", repeated(), credentials),
    Target("credentials in headers", repeated(), header_values),
    Target("requests in texts", st.tuples(_said, st.lists(_said, max_size=3), st.integers(0, 1)), requests),
)
