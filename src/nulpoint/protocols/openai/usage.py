"""Reads the token counts that providers report in the OpenAI format. Counts that are not reported are never guessed."""

from typing import Any

import msgspec

from nulpoint.conversation.usage import Tokens, Usage
from nulpoint.formats.malformed import NOT_JSON


class _PromptDetails(msgspec.Struct):
    cached_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None
    cache_write_1h_tokens: Tokens | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: Tokens | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Nested(msgspec.Struct):
    usage: _Usage | None = None


_ABSENT = msgspec.Raw()
_NO_ERROR = (_ABSENT, msgspec.Raw(b"null"))


class _Response(msgspec.Struct):
    usage: _Usage | None = None
    x_groq: _Nested | None = None  # contains the usage in Groq's streams
    model: str | None = None
    error: msgspec.Raw = _ABSENT


class _ResponseWithoutUsage(msgspec.Struct):
    """The members of a response whose usage is malformed and therefore treated as not reported."""

    model: str | None = None
    error: msgspec.Raw = _ABSENT


class ResponseMetadata(msgspec.Struct, frozen=True):
    """The usage and model of a complete response or of a stream chunk, and signs of whether it is a good one."""

    usage: Usage | None = None
    model: str | None = None
    suspect: bool = False  # it cannot be read, has an `error` or names no model, so it may not be a good response
    ended: bool = False  # every choice is known to have ended by itself or at the requested limit


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _CompleteResponse(_Response):
    choices: list[_Choice] = []


# After any other finish reason (a content filter, an error of the host) a repeated request may get a better response.
STABLE_FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "function_call"})
NO_METADATA = ResponseMetadata()
_UNREADABLE = ResponseMetadata(suspect=True)
_DECODER = msgspec.json.Decoder(_Response)
_COMPLETE_DECODER = msgspec.json.Decoder(_CompleteResponse)
_WITHOUT_USAGE_DECODER = msgspec.json.Decoder(_ResponseWithoutUsage)


def read_metadata(response: bytes) -> ResponseMetadata:
    """Return the usage and model of a response or chunk, each None if it cannot be read."""
    return _read(response, _DECODER)


def read_final_metadata(response: bytes) -> ResponseMetadata:
    """Return the usage and model of a complete response, and whether all its choices have ended."""
    metadata = _read(response, _COMPLETE_DECODER)
    return _read(response, _DECODER) if metadata is _UNREADABLE else metadata


def _read(response: bytes, decoder: "msgspec.json.Decoder[Any]") -> ResponseMetadata:
    try:
        decoded: _Response | _CompleteResponse = decoder.decode(response)
    except NOT_JSON:
        return _UNREADABLE if decoder is _COMPLETE_DECODER else _read_without_usage(response)
    reported = decoded.usage or (decoded.x_groq.usage if decoded.x_groq else None)
    has_error = decoded.error not in _NO_ERROR
    suspect = has_error or decoded.model is None  # Mistral's errors have no `error`
    ended = isinstance(decoded, _CompleteResponse) and not has_error and _have_ended(decoded.choices)
    return ResponseMetadata(_to_usage(reported) if reported else None, decoded.model, suspect, ended)


def _read_without_usage(response: bytes) -> ResponseMetadata:
    try:
        decoded = _WITHOUT_USAGE_DECODER.decode(response)
    except NOT_JSON:
        return _UNREADABLE
    return ResponseMetadata(None, decoded.model, suspect=decoded.error not in _NO_ERROR or decoded.model is None)


def _have_ended(choices: list[_Choice]) -> bool:
    for choice in choices:
        if choice.finish_reason not in STABLE_FINISH_REASONS:
            return False
    return bool(choices)


def _to_usage(reported: _Usage) -> Usage:
    prompt, completion = reported.prompt_tokens_details, reported.completion_tokens_details
    return Usage(
        prompt=reported.prompt_tokens or 0,
        completion=reported.completion_tokens or 0,
        cached=(prompt.cached_tokens if prompt else 0) or 0,
        reasoning=(completion.reasoning_tokens if completion else 0) or 0,
        written=(prompt.cache_write_tokens if prompt else 0) or 0,
        written_1h=(prompt.cache_write_1h_tokens if prompt else 0) or 0,
    )
