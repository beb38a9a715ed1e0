"""Removes from text what must not be shown: credentials, and from logs also what the client sent. Pure.

Providers repeat credentials in their errors (OpenAI's "Incorrect API key provided: ..."), in full or with stars in the
middle, and some repeat parts of the request (Mistral's `detail[].input`, the validation errors of vLLM).

Clients and providers choose this text, so the time must be linear in its length. The patterns are therefore RE2's, and
each is searched for separately: in an alternation, an alternative that begins early and fails late would be tried again
after every match of another.
"""

from collections.abc import Callable, Collection
from typing import Any

import msgspec
import re2

from nulpoint.redaction.credential_matcher import REPLACEMENT, RUN_LENGTH, CredentialMatcher, replace_spans

LOOKAHEAD = 512  # characters searched after a cut, so that a credential which begins before it is recognised
MAX_REQUEST_BYTES = 262_144  # a longer request is not compared with a text that may repeat parts of it
_SAMPLE = 4  # characters
_STRIDE = RUN_LENGTH - _SAMPLE + 1  # characters between two samples; every run of RUN_LENGTH characters contains one

# Tokens as providers print them. Unlike words, they contain a digit or a star, which is checked afterwards.
_PREFIXED = r"\b(?:(?:sk|pk|rk|gsk|xai|key|pplx|fw|nvapi|r8|hf|csk)[-_.]|AIza|AQ\.)[\w*.-]{8,}"
_OTHER_TOKENS = (
    r"\bya29\.[\w.-]+|\b(?:AKIA|ASIA)[A-Z0-9]{12,}",  # tokens of Google, keys of AWS
    r"\b[0-9a-fA-F]{64}\b",  # signatures of AWS, keys of several hosts
    r"\beyJ[\w-]+\.[\w.-]+",  # any JWT
    r"Bearer[\s\pZ]+[^\s\pZ,;\"']+",
    r"[\w-]+\*{3,}[\w-]*|\*{3,}[\w-]+",  # any token with stars in it
)
_PREFIXED_TOKEN = re2.compile(_PREFIXED)
_TOKENS = [re2.compile(pattern) for pattern in _OTHER_TOKENS]
_ANY_TOKEN = re2.compile("|".join([_PREFIXED, *_OTHER_TOKENS]))
_DIGIT_OR_STAR = re2.compile(r"[\d*]")


def redact(text: str, credential: CredentialMatcher | None = None) -> str:
    """Return the text with the credential, and anything that looks like one, replaced by REPLACEMENT."""
    if credential is not None:
        for secret in credential.short_secrets:
            text = text.replace(secret, REPLACEMENT)
        text = credential.redact(text)
    data: bytes = text.encode("utf-8", "replace")
    if _ANY_TOKEN.search(data) is None:  # the usual case
        return text
    data = _PREFIXED_TOKEN.sub(_unless_a_word, data)
    for token in _TOKENS:
        data = token.sub(REPLACEMENT.encode(), data)
    return str(data, "utf-8")


def redacted_prefix(text: str, limit: int, hide: Callable[[str], str], *, cut: bool = False) -> str:
    """Return at most `limit` characters of a text, after `hide` has removed what must not be shown.

    No part of a credential remains at the cut. LOOKAHEAD more characters than shown are searched, and if the text is
    longer than that (or `cut` says that it is already cut), the last LOOKAHEAD characters of the result are left out,
    since a credential that extends beyond the searched text may not have been recognised.
    """
    if len(text) <= limit + LOOKAHEAD and not cut:
        return hide(text)[:limit]
    shown = hide(text[: limit + LOOKAHEAD])
    return shown[: max(0, min(limit, len(shown) - LOOKAHEAD))]


def redacted_body_prefix(body: bytes, limit: int, hide: Callable[[str], str]) -> str:
    """Return the beginning of a body as text, like `redacted_prefix`. At most `limit` bytes of it are shown."""
    searched = body[: limit + LOOKAHEAD].decode("utf-8", "replace")
    return redacted_prefix(searched, limit, hide, cut=len(body) > limit + LOOKAHEAD)


def _unless_a_word(match: Any) -> bytes:
    token: bytes = match[0]
    return token if _DIGIT_OR_STAR.search(token) is None else REPLACEMENT.encode()


def without_request(text: str, request: bytes) -> str:
    """Return a text for logs without the parts that repeat values of the request, since prompts are private.

    The names of members and of the model are kept.
    """
    if len(request) > MAX_REQUEST_BYTES:
        return REPLACEMENT
    request_text = _text_of_values(request)
    windows: dict[str, list[int]] = {}
    for start in range(len(text) - RUN_LENGTH + 1):
        windows.setdefault(text[start : start + RUN_LENGTH], []).append(start)
    starts = sorted(start for window in _windows_in(request_text, windows) for start in windows[window])
    return replace_spans(text, [(start, start + RUN_LENGTH) for start in starts], REPLACEMENT) if starts else text


def _windows_in(text: str, windows: Collection[str]) -> set[str]:
    """Return the windows, which are texts of RUN_LENGTH characters, that occur in the text."""
    samples = {window[at : at + _SAMPLE] for window in windows for at in range(_STRIDE)}
    common: set[str] = set()
    for at in range(0, len(text) - _SAMPLE + 1, _STRIDE):
        if text[at : at + _SAMPLE] in samples:
            near = [text[start : start + RUN_LENGTH] for start in range(max(0, at + _SAMPLE - RUN_LENGTH), at + 1)]
            common.update([window for window in near if window in windows])
    return common


def _text_of_values(request: bytes) -> str:
    """Return all the text in the values of a request, or the whole request if it is not JSON."""
    try:
        body: Any = msgspec.json.decode(request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return request.decode("utf-8", "replace")
    if isinstance(body, dict):
        body = [value for name, value in body.items() if name != "model"]
    pieces: list[str] = []
    waiting = [body]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            pieces.append(value)
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return "\0".join(pieces)
