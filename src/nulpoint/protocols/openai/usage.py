"""Token counts as providers report them in the OpenAI format, read on the side. Absent stays absent: no guesses."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from nulpoint.formats.malformed import NOT_JSON

# More than any model can take or say. What is reported beyond it is no count of tokens: sums of it would be too large
# for the metrics and the request log.
MOST_TOKENS = 1_000_000_000
Tokens = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one answer.

    Parts of `prompt` are `cached` (read from the provider's cache) and `written` (to it; `written_1h` of them for an
    hour, the others for minutes), `reasoning` is part of `completion`.
    """

    prompt: Tokens = 0
    completion: Tokens = 0
    cached: Tokens = 0
    reasoning: Tokens = 0
    written: Tokens = 0
    written_1h: Tokens = 0


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


class _Answer(msgspec.Struct):
    usage: _Usage | None = None
    x_groq: _Nested | None = None  # Groq's streams have it there
    model: str | None = None
    error: msgspec.Raw = _ABSENT


class _WithoutUsage(msgspec.Struct):
    """What is read of an answer whose usage is not made of counts: that is as if none were reported."""

    model: str | None = None
    error: msgspec.Raw = _ABSENT


class ResponseMetadata(msgspec.Struct, frozen=True):
    """What is worth knowing of a whole answer or of one chunk of a stream."""

    usage: Usage | None = None
    model: str | None = None
    suspect: bool = False  # it is not readable, has an `error` or names no model: no good answer, perhaps
    ended: bool = False  # every choice is known to have ended by itself, or at the limit that was asked for


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Whole(_Answer):
    choices: list[_Choice] = []


# After any other reason (a content filter, an error of the host) the same question may bring a better answer.
LASTING = frozenset({"stop", "length", "tool_calls", "function_call"})
NOTHING = ResponseMetadata()
_UNREADABLE = ResponseMetadata(suspect=True)
_DECODER = msgspec.json.Decoder(_Answer)
_WHOLE_DECODER = msgspec.json.Decoder(_Whole)
_WITHOUT_USAGE_DECODER = msgspec.json.Decoder(_WithoutUsage)


def read_metadata(answer: bytes) -> ResponseMetadata:
    """Usage and model of an answer or chunk; whatever cannot be read is None."""
    return _read(answer, _DECODER)


def read_final_metadata(answer: bytes) -> ResponseMetadata:
    """The same of a whole answer, and whether it came to its end."""
    metadata = _read(answer, _WHOLE_DECODER)
    return _read(answer, _DECODER) if metadata is _UNREADABLE else metadata


def _read(answer: bytes, decoder: "msgspec.json.Decoder[Any]") -> ResponseMetadata:
    try:
        decoded: _Answer | _Whole = decoder.decode(answer)
    except NOT_JSON:
        return _UNREADABLE if decoder is _WHOLE_DECODER else _without_usage(answer)
    reported = decoded.usage or (decoded.x_groq.usage if decoded.x_groq else None)
    fault = decoded.error not in _NO_ERROR
    suspect = fault or decoded.model is None  # Mistral's errors have no `error`
    ended = isinstance(decoded, _Whole) and not fault and _have_ended(decoded.choices)
    return ResponseMetadata(_counts(reported) if reported else None, decoded.model, suspect, ended)


def _without_usage(answer: bytes) -> ResponseMetadata:
    try:
        decoded = _WITHOUT_USAGE_DECODER.decode(answer)
    except NOT_JSON:
        return _UNREADABLE
    return ResponseMetadata(None, decoded.model, suspect=decoded.error not in _NO_ERROR or decoded.model is None)


def usage_from(usage: Mapping[str, Any]) -> Usage:
    """Of usage in OpenAI's shape, as codecs make it. Raises msgspec.ValidationError where it is not made of counts."""
    return _counts(msgspec.convert(usage, _Usage))


def _have_ended(choices: list[_Choice]) -> bool:
    return bool(choices) and all([choice.finish_reason in LASTING for choice in choices])


def _counts(reported: _Usage) -> Usage:
    prompt, completion = reported.prompt_tokens_details, reported.completion_tokens_details
    return Usage(
        prompt=reported.prompt_tokens or 0,
        completion=reported.completion_tokens or 0,
        cached=(prompt.cached_tokens if prompt else 0) or 0,
        reasoning=(completion.reasoning_tokens if completion else 0) or 0,
        written=(prompt.cache_write_tokens if prompt else 0) or 0,
        written_1h=(prompt.cache_write_1h_tokens if prompt else 0) or 0,
    )
