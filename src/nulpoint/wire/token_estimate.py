"""How many tokens a request may take, before it is known: what a token limit sets aside until the provider reports."""

import re

import msgspec

BYTES_A_TOKEN = 4  # English text; JSON around it is counted too
UNSAID_OUTPUT = 256  # where a request does not bound its answer
MEDIUM = 1000  # an image or a file, however many bytes
_DATA_URL = re.compile(rb";base64,[A-Za-z0-9+/=]*+")


class _Bounds(msgspec.Struct):
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    n: int | None = None


_DECODER = msgspec.json.Decoder(_Bounds)


def estimated_tokens(body: bytes, embeddings: bool) -> int:
    """Prompt and answers together; never less than 1."""
    media = _DATA_URL.findall(body) if b";base64," in body else []
    prompt = (len(body) - sum(map(len, media))) // BYTES_A_TOKEN + len(media) * MEDIUM
    return max(1, prompt + (0 if embeddings else _output(body)))


def _output(body: bytes) -> int:
    try:
        bounds = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return UNSAID_OUTPUT  # the provider will refuse it
    return max(0, bounds.max_completion_tokens or bounds.max_tokens or UNSAID_OUTPUT) * max(1, bounds.n or 1)
