"""Reads the metadata of responses that are a list of results: moderations and reranking.

Sources (read 2026-11): the API references of OpenAI (`POST /moderations`: `results`, no usage), Cohere (`POST
/v2/rerank`: `results`, `meta.billed_units`, `meta.tokens`, no model), Jina (`usage.total_tokens`), Voyage (`data`
instead of `results`, `usage.total_tokens`), Together AI (`usage` as in chat) and vLLM (`usage.total_tokens`).
"""

import msgspec

from nulpoint.conversation.usage import Tokens, Usage
from nulpoint.formats.malformed import NOT_JSON
from nulpoint.protocols.openai.usage import ResponseMetadata


class _Usage(msgspec.Struct):
    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    total_tokens: Tokens | None = None


class _Tokens(msgspec.Struct):
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None


class _Meta(msgspec.Struct):
    tokens: _Tokens | None = None
    billed_units: _Tokens | None = None


class _Counts(msgspec.Struct):
    usage: _Usage | None = None
    meta: _Meta | None = None


class _Response(msgspec.Struct):
    model: str | None = None
    error: msgspec.Raw = msgspec.Raw()
    results: list[msgspec.Raw] | None = None
    data: list[msgspec.Raw] | None = None


_RESPONSE = msgspec.json.Decoder(_Response)
_COUNTS = msgspec.json.Decoder(_Counts)


def read_result_list(body: bytes) -> ResponseMetadata:
    """Return the usage and the model of a response. It is suspect, and not complete, if it is not a list of results."""
    try:
        response = _RESPONSE.decode(body)
    except NOT_JSON:
        return ResponseMetadata(suspect=True)
    is_list = response.results is not None or response.data is not None
    complete = is_list and bytes(response.error) in (b"", b"null")
    return ResponseMetadata(_usage(body), response.model, suspect=not complete, ended=complete)


def _usage(body: bytes) -> Usage | None:
    """Return the tokens that the host reports; None if it reports none, or searches instead of tokens."""
    try:
        counts = _COUNTS.decode(body)
    except NOT_JSON:  # the counts are not of the types they should have
        return None
    if counts.usage is not None:
        return _from_usage(counts.usage)
    if counts.meta is None:
        return None
    return _from_tokens(counts.meta.tokens) or _from_tokens(counts.meta.billed_units)


def _from_usage(reported: _Usage) -> Usage | None:
    completion = reported.completion_tokens or 0
    prompt = reported.prompt_tokens
    if prompt is None:
        if reported.total_tokens is None:
            return None
        prompt = max(0, reported.total_tokens - completion)
    return Usage(prompt=prompt, completion=completion)


def _from_tokens(reported: _Tokens | None) -> Usage | None:
    if reported is None or (reported.input_tokens is None and reported.output_tokens is None):
        return None
    return Usage(prompt=reported.input_tokens or 0, completion=reported.output_tokens or 0)
