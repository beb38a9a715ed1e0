"""Requests the rest of a response that Gemini gives in several parts.

A model of Gemini 4 ends a long response with the finish reason `CONTINUATION` and a token. The same request with this
token gets the next part, which begins exactly where the last one ended. Every part has a usage of its own. Sources:
Google's page on long decode (read 2026-11), and google-genai 3.6.1, which does the same.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import msgspec

from nulpoint.formats import json_edit
from nulpoint.formats.malformed import MALFORMED
from nulpoint.protocols.gemini.candidates import CONTINUATION, continuation_token, sum_usage
from nulpoint.protocols.gemini.stream import GeminiStreamParser
from nulpoint.protocols.provider_protocol import ResponseContinuation
from nulpoint.protocols.stream_transformer import StreamTransformer

_TOKEN = "continuationToken"
_MARK = CONTINUATION.encode()


def _next_request(body: bytes, token: str) -> bytes:
    """Return the request for the part that the token stands for."""
    without_token, _ = json_edit.rewrite(body, {}, frozenset({_TOKEN}))
    return json_edit.apply(without_token, [json_edit.add_member(without_token, _TOKEN, msgspec.json.encode(token))])


def _token_in_response(body: bytes) -> str | None:
    """Return the token of a complete response that has a further part. A malformed response has none."""
    if _MARK not in body:
        return None
    try:
        candidates = msgspec.json.decode(body)["candidates"]
        return continuation_token(candidates[0]) if len(candidates) == 1 else None
    except MALFORMED:
        return None


def _join(bodies: Sequence[bytes]) -> bytes:
    """Return all parts of a response as one response."""
    return msgspec.json.encode(reduce(_joined, [msgspec.json.decode(body) for body in bodies]))


def _joined(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    candidates = second.get("candidates") or [{}]
    before, after = first["candidates"][0], candidates[0]
    parts = [part for candidate in (before, after) for part in (candidate.get("content") or {}).get("parts") or []]
    ended = {name: value for name, value in before.items() if name not in ("finishReason", _TOKEN)}
    candidate = {**ended, **after, "content": {"role": "model", "parts": parts}}
    usage = sum_usage(first.get("usageMetadata") or {}, second.get("usageMetadata") or {})
    response = {**second, **first, "candidates": [candidate]}
    return {**response, "usageMetadata": usage} if usage else response


def _token_in_stream(parser: StreamTransformer) -> str | None:
    assert isinstance(parser, GeminiStreamParser)
    return parser.take_continuation()


GEMINI_CONTINUATION = ResponseContinuation(_token_in_response, _token_in_stream, _next_request, _join)
