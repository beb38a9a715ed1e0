"""What must not be shown is taken out of text: credentials, and in the log what a caller has said. Pure.

Providers repeat credentials in their errors (OpenAI's "Incorrect API key provided: ..."), whole or with stars in the
middle, and some repeat the request: Mistral's `detail[].input`, the validation errors of vLLM.
"""

import re
from typing import Any

import msgspec

INSTEAD = "[redacted]"
SHORTEST = 8  # characters of a credential that is looked for where it could be a word by chance
# Tokens as providers print them, whole or with the middle starred out. A digit or a star tells them from words.
# Then the clouds': Google's, any that is a JWT, and AWS's ids.
_TOKEN = re.compile(
    r"\b(?:(?:sk|pk|rk|gsk|xai|key|pplx|fw|nvapi|r8|hf|csk)[-_.]|AIza|AQ\.)(?=[\w.-]*[\d*])[\w*.-]{8,}"
    r"|\bya29\.[\w.-]+|\beyJ[\w-]+\.[\w.-]+|\b(?:AKIA|ASIA)[A-Z0-9]{12,}"
    r"|Bearer\s+[^\s,;\"']+"
    r"|[\w-]+\*{3,}[\w-]*|\*{3,}[\w-]+"
)
RUN = 12  # characters; fewer that stand in both texts are chance
_STEP = RUN // 2
SEARCHED = 262_144  # bytes of a request; a larger one is not searched for what a text repeats of it
_COMPARED = 50_000  # characters that are looked at; texts that have more in common are made to cost time
_MARKED = re.compile("\0+")


def redact(text: str, secret: str | None = None) -> str:
    """The text without the credential and without whatever looks like one."""
    if secret:
        text = text.replace(secret, INSTEAD)
    return _TOKEN.sub(INSTEAD, text)


def without_request(text: str, request: bytes) -> str:
    """The text without what it repeats of a request's values, for logs: a prompt is nobody's but its caller's.

    Names of members stay, and the model's name.
    """
    if len(request) > SEARCHED:
        return INSTEAD
    repeated = _repeated(text, _said(request))
    if repeated is None:
        return INSTEAD
    marked = "".join("\0" if hidden else character for character, hidden in zip(text, repeated, strict=True))
    return _MARKED.sub(INSTEAD, marked)


def _repeated(text: str, said: str) -> bytearray | None:
    """Which characters of the text have been said; None where looking for all of them takes too long.

    Of a piece of RUN characters, wherever it stands in what was said, one whole step is among those looked up.
    """
    places: dict[str, list[int]] = {}
    for place in range(len(text) - _STEP + 1):
        places.setdefault(text[place : place + _STEP], []).append(place)
    hidden = bytearray(len(text))
    compared = 0
    for there in range(0, len(said) - _STEP + 1, _STEP):
        for here in places.get(said[there : there + _STEP], ()):
            compared += 1
            if hidden[here] and hidden[here + _STEP - 1]:
                continue
            first, end = _extent(text, here, said, there)
            compared += end - first
            if end - first >= RUN:
                hidden[first:end] = b"\1" * (end - first)
        if compared > _COMPARED:
            return None
    return hidden


def _extent(text: str, here: int, said: str, there: int) -> tuple[int, int]:
    """How far the two agree around these places."""
    back = 0
    while back < min(here, there) and text[here - back - 1] == said[there - back - 1]:
        back += 1
    on = _STEP
    while here + on < len(text) and there + on < len(said) and text[here + on] == said[there + on]:
        on += 1
    return here - back, here + on


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
