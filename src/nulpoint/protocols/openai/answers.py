"""Decides whether what a host of OpenAI's format sent with a success status is an answer, whole or as a stream.

The members of a response that shows an answer are a text, a call, a refusal, reasoning or media. Hosts also report a
failure by a finish reason. Sources (read in November 2026): OpenRouter's page on errors (`error`), Z.ai's API reference
(`network_error`), DeepSeek's (`insufficient_system_resource`), and the source of SGLang (`abort`).
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from nulpoint.conversation.answer import empty_answer
from nulpoint.errors import ClientCause, Failure, Kind
from nulpoint.formats import sse
from nulpoint.formats.malformed import NOT_JSON, unusable_response
from nulpoint.protocols.error_body import is_minimax_error, read_error_body
from nulpoint.protocols.openai.chat import EXTRA_FIELDS
from nulpoint.protocols.provider_errors import embedded_failure

# The finish reasons of failures, with whether the prompt of a client may be the cause.
_FAILURES: Mapping[Any, ClientCause | None] = MappingProxyType(
    {
        "error": ClientCause.NO_OUTPUT,
        "abort": ClientCause.NO_OUTPUT,
        "network_error": None,
        "insufficient_system_resource": None,
    }
)
# The finish reasons that do not say why there is no content.
_UNEXPLAINED = frozenset({"", "stop", "end_turn", "eos", "eos_token", "stop_sequence", "tool_calls", "function_call"})
_MINIMAX = b'"base_resp"'
_NO_OUTPUT = frozenset({"role", EXTRA_FIELDS})  # members of a message or a delta that are never content


class _Request(msgspec.Struct):
    """The members of a request for which an empty answer may be right."""

    stop: Any = None
    suffix: Any = None


class _Response(msgspec.Struct):
    choices: list[dict[str, Any]] | None = None
    base_resp: Any = None


_decode = msgspec.json.Decoder(_Response).decode


def failed_generation(reason: Any) -> Failure | None:
    """Return the failure that a finish reason reports, or None if it is the end of a response."""
    if not isinstance(reason, str) or reason not in _FAILURES:
        return None
    text = f"the provider failed while it generated the response (finish reason `{reason}`)"
    return Failure(Kind.UPSTREAM, 502, text, code="provider_error", client_cause=_FAILURES[reason])


def no_choices() -> Failure:
    """Return the failure for a response without any choice."""
    return unusable_response("it has no choices")


def check_completion(provider: str, body: bytes, request: bytes) -> None:
    """Raise Failure if a whole response is not an answer to the request."""
    try:
        response = _decode(body)
    except NOT_JSON:
        raise no_choices() from None
    if not response.choices:
        raise embedded_failure(provider, body) if read_error_body(body, None).message else no_choices()
    failure = _missing_answer(response.choices, request)
    if failure is not None:
        raise failure


def stream_failure(events: bytes, request: bytes, *, complete: bool) -> Failure | None:
    """Return why the events of a stream without content are not an answer to the request, or None if they are one.

    Of a stream that is not complete only errors are found.
    """
    if not complete and _MINIMAX not in events:
        return None
    choices: list[dict[str, Any]] = []
    for event in [*(decoder := sse.SseDecoder()).feed(events), *decoder.close()]:
        try:
            chunk = _decode(event.data)
        except NOT_JSON:
            continue
        if is_minimax_error(chunk.base_resp):
            return embedded_failure("the provider", event.data)
        choices += chunk.choices or ()
    if not complete:
        return None
    return _missing_answer(choices, request) if choices else no_choices()


def failure_in_event(data: bytes) -> Failure | None:
    """Return the failure that a chunk reports by a finish reason or in a way of the host's own, or None."""
    try:
        chunk = _decode(data)
    except NOT_JSON:
        return None
    if is_minimax_error(chunk.base_resp):
        return embedded_failure("the provider", data)
    failures = [failed_generation(choice.get("finish_reason")) for choice in chunk.choices or ()]
    return next((failure for failure in failures if failure is not None), None)


def has_content(data: bytes) -> bool:
    """Return whether a chunk has content, after which no other provider can take over.

    Data that cannot be read counts as content. An end that explains why there is none is content; any other end is
    none, and neither is `[DONE]`.
    """
    if data.strip() == b"[DONE]":
        return False
    try:
        chunk = _decode(data)
    except NOT_JSON:
        return True
    return any(_shows_output(choice) or _explains_emptiness(choice) for choice in chunk.choices or ())


def _missing_answer(choices: Iterable[dict[str, Any]], request: bytes) -> Failure | None:
    answered = False
    for choice in choices:
        failure = failed_generation(choice.get("finish_reason"))
        if failure is not None:
            return failure
        answered = answered or _shows_output(choice) or _explains_emptiness(choice) or _has_provider_parts(choice)
    if answered:
        return None
    asked = msgspec.json.decode(request, type=_Request)
    return None if asked.stop or asked.suffix else empty_answer()


def _explains_emptiness(choice: dict[str, Any]) -> bool:
    reason = choice.get("finish_reason")
    return bool(reason) and reason not in _UNEXPLAINED and failed_generation(reason) is None


def _shows_output(choice: dict[str, Any]) -> bool:
    """Return whether a choice, or a piece of one, has a text or any other content."""
    if choice.get("text"):
        return True
    members = choice.get("delta") or choice.get("message")
    return isinstance(members, dict) and any(value for name, value in members.items() if name not in _NO_OUTPUT)


def _has_provider_parts(choice: dict[str, Any]) -> bool:
    """Return whether a choice has parts that only a provider behind the host can read, such as an image of Gemini's."""
    members = choice.get("delta") or choice.get("message")
    fields = members.get(EXTRA_FIELDS) if isinstance(members, dict) else None
    if not isinstance(fields, dict):
        return False
    data = [value for value in fields.values() if isinstance(value, dict)]
    return any(isinstance(value, list) and value for members in data for value in members.values())
