"""Takes out of text what must not be shown: credentials, and in the log what a caller has said. Pure.

Providers repeat credentials in their errors (OpenAI's "Incorrect API key provided: ..."), whole or with stars in the
middle, and some repeat the request: Mistral's `detail[].input`, the validation errors of vLLM.

Callers and providers choose this text, so all the work is linear in its length. The patterns are RE2's, and each is
searched for by itself: in an alternation, one alternative that begins early and fails late would be tried again after
each match of another one.
"""

from collections.abc import Callable, Collection
from typing import Any

import msgspec
import re2

from nulpoint.redaction.credential_matcher import REPLACEMENT, RUN_LENGTH, CredentialMatcher, replace_spans

LOOKAHEAD = 512  # characters searched behind a cut, so that a credential which begins before it is recognised
MAX_REQUEST_BYTES = 262_144  # bytes of a request; a larger one is not searched for what a text repeats of it
_GRAM = 4
_STRIDE = RUN_LENGTH - _GRAM + 1  # a run of RUN characters holds one of the samples that are taken so far apart

# Tokens as providers print them. A digit or a star tells them from words, which is checked afterwards.
_PREFIXED = r"\b(?:(?:sk|pk|rk|gsk|xai|key|pplx|fw|nvapi|r8|hf|csk)[-_.]|AIza|AQ\.)[\w*.-]{8,}"
_OTHER_TOKENS = (
    r"\bya29\.[\w.-]+|\b(?:AKIA|ASIA)[A-Z0-9]{12,}",  # Google's and AWS's
    r"\b[0-9a-fA-F]{64}\b",  # signatures of AWS's, and the keys of several hosts
    r"\beyJ[\w-]+\.[\w.-]+",  # any JWT
    r"Bearer[\s\pZ]+[^\s\pZ,;\"']+",
    r"[\w-]+\*{3,}[\w-]*|\*{3,}[\w-]+",  # the middle starred out
)
_PREFIXED_TOKEN = re2.compile(_PREFIXED)
_TOKENS = [re2.compile(pattern) for pattern in _OTHER_TOKENS]
_ANY_TOKEN = re2.compile("|".join([_PREFIXED, *_OTHER_TOKENS]))
_DIGIT_OR_STAR = re2.compile(r"[\d*]")


def redact(text: str, credential: CredentialMatcher | None = None) -> str:
    """The text without the credential and without whatever looks like one."""
    if credential is not None:
        for secret in credential.short_secrets:
            text = text.replace(secret, REPLACEMENT)
        text = credential.redact(text)
    data: bytes = text.encode("utf-8", "replace")
    if _ANY_TOKEN.search(data) is None:  # nearly always
        return text
    data = _PREFIXED_TOKEN.sub(_unless_a_word, data)
    for token in _TOKENS:
        data = token.sub(REPLACEMENT.encode(), data)
    return str(data, "utf-8")


def redacted_prefix(text: str, limit: int, hide: Callable[[str], str], *, cut: bool = False) -> str:
    """At most so many characters of a text, after `hide` has taken out what must not be shown.

    No part of a credential is left at the cut: BEYOND more characters are searched, and where that is not all there is
    (`cut` says so of a text that is cut already), the same number is left out at the end, since a credential that goes
    on behind what was searched may not have been recognised.
    """
    if len(text) <= limit + LOOKAHEAD and not cut:
        return hide(text)[:limit]
    shown = hide(text[: limit + LOOKAHEAD])
    return shown[: max(0, min(limit, len(shown) - LOOKAHEAD))]


def redacted_body_prefix(body: bytes, limit: int, hide: Callable[[str], str]) -> str:
    """The same for at most so many bytes of a body."""
    searched = body[: limit + LOOKAHEAD].decode("utf-8", "replace")
    return redacted_prefix(searched, limit, hide, cut=len(body) > limit + LOOKAHEAD)


def _unless_a_word(found: Any) -> bytes:
    token: bytes = found[0]
    return token if _DIGIT_OR_STAR.search(token) is None else REPLACEMENT.encode()


def without_request(text: str, request: bytes) -> str:
    """The text without what it repeats of a request's values, for logs: a prompt is nobody's but its caller's.

    Names of members stay, and the model's name.
    """
    if len(request) > MAX_REQUEST_BYTES:
        return REPLACEMENT
    said = _said(request)
    windows: dict[str, list[int]] = {}
    for start in range(len(text) - RUN_LENGTH + 1):
        windows.setdefault(text[start : start + RUN_LENGTH], []).append(start)
    repeated = sorted(start for window in _common(windows, said) for start in windows[window])
    return replace_spans(text, [(start, start + RUN_LENGTH) for start in repeated], REPLACEMENT) if repeated else text


def _common(windows: Collection[str], said: str) -> set[str]:
    """Those of the windows, which are of RUN characters, that stand anywhere in what was said."""
    grams = {window[at : at + _GRAM] for window in windows for at in range(_STRIDE)}
    found: set[str] = set()
    for at in range(0, len(said) - _GRAM + 1, _STRIDE):
        if said[at : at + _GRAM] in grams:
            near = [said[start : start + RUN_LENGTH] for start in range(max(0, at + _GRAM - RUN_LENGTH), at + 1)]
            found.update([window for window in near if window in windows])
    return found


def _said(request: bytes) -> str:
    """All the text in the values of a request; one that is no JSON has been said as it stands."""
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
