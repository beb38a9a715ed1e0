"""Reads responses of the chat completions API.

Hosts add members of their own. What a conversation has no place for is in the provider's data, by where it stood: in
the `response`, the `choice`, the `message` or the `usage`. Members of the whole response and of the usage are in the
data of the first choice. Sources: OpenAI's API description, the types of the `openai` SDK and recorded traffic.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from nulpoint.conversation.parts import NO_MEMBERS, Citation, Members, Part, Reasoning, Refusal, Text, ToolCall
from nulpoint.conversation.response import Choice, ConversationResponse, FinishReason
from nulpoint.formats.malformed import MALFORMED, unusable_response
from nulpoint.protocols.openai.answers import failed_generation, no_choices
from nulpoint.protocols.openai.chat import EXTRA_FIELDS, choice_index, read_response
from nulpoint.protocols.openai.chat_provider.usage import read_usage, usage_of
from nulpoint.protocols.response_members import other_members
from nulpoint.protocols.response_types import OpenAIResponse

CallKind = Literal["function", "custom"]

_FINISH_REASONS: Mapping[Any, FinishReason] = MappingProxyType(
    {
        "stop": "stop", "length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls",
        "content_filter": "content_filter",
    }
)  # fmt: skip
PROVIDER = "openai"  # the name under which the provider's data is kept, for all hosts of this API
# The members that are read, of a response or a chunk and of a message. `obfuscation` is padding that hides the length
# of a chunk.
OF_RESPONSE = frozenset({"id", "object", "created", "model", "choices", "usage", "obfuscation"})
OF_MESSAGE = frozenset(
    {"role", "content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call", "annotations"}
)
_OF_CHOICE = frozenset({"index", "message", "finish_reason", "logprobs"})
_OF_CALL = frozenset({"index", "id", "type", "extra_content"})
OF_LEGACY_CALL = frozenset({"id", "name", "arguments"})
_OF_CITATION = frozenset({"url", "title", "start_index", "end_index"})
_END_OF_POSITIONS = 2**63
_check = msgspec.json.Decoder(OpenAIResponse).decode


def parse(body: bytes) -> ConversationResponse:
    """Read a complete response. Raises Failure (502) if it is an error or malformed."""
    response = read_response("the provider", body)
    try:
        _check(body)
        return _response(response)
    except MALFORMED:
        raise unusable_response("it is not a valid chat completion") from None


def _response(response: dict[str, Any]) -> ConversationResponse:
    if not response.get("choices"):
        raise no_choices()
    usage = read_usage(usage_of(response))
    shared = {"response": other_members(response, OF_RESPONSE), "usage": usage.others}
    choices = []
    for number, choice in enumerate(response["choices"]):
        choices.append(_choice(choice, number, shared))
        shared = {}
    response_id, model = response.get("id") or "", response.get("model") or ""
    return ConversationResponse(response_id, model, tuple(choices), usage.report, created_of(response))


def created_of(response: Members) -> int | None:
    """Return when a response or chunk was made, in Unix seconds; None if the host does not say so as it should."""
    created = response.get("created")
    return created if type(created) is int else None


def _choice(choice: dict[str, Any], number: int, shared: Members) -> Choice:
    message = choice.get("message") or {}
    others = other_members(message, OF_MESSAGE)
    parts: list[Part] = []
    reasoning, more = read_reasoning(message)
    others |= more
    if reasoning:
        parts.append(Reasoning(reasoning))
    citations, more_annotations = read_annotations(message.get("annotations") or ())
    if message.get("content") or citations:
        parts.append(Text(message.get("content") or "", tuple(citations)))
    if message.get("refusal"):
        parts.append(Refusal(message["refusal"]))
    calls, more_calls = _calls(message)
    parts += calls
    if more_annotations:
        others["annotations"] = more_annotations
    others |= more_calls
    reason = to_finish_reason(choice.get("finish_reason"), bool(calls))
    logprobs = choice.get("logprobs")
    return Choice(
        tuple(parts),
        reason,
        provider_data({**shared, "choice": _others_of_choice(choice), "message": others}),
        choice_index(choice, number),
        logprobs if isinstance(logprobs, dict) else None,
    )


def _others_of_choice(choice: Members) -> dict[str, Any]:
    others = other_members(choice, _OF_CHOICE)
    if not isinstance(choice.get("logprobs"), dict | None):
        others["logprobs"] = choice["logprobs"]
    return others | unknown_finish_reason(choice.get("finish_reason"))


def provider_data(others: Mapping[str, Members]) -> Members:
    """Return what no other field expresses, by provider. `others` are the unknown members by where they stood.

    The host's own `provider_specific_fields` are kept as they are, because it may be a gateway itself.
    """
    fields = others.get("message", NO_MEMBERS).get(EXTRA_FIELDS)
    if isinstance(fields, dict) and PROVIDER not in fields:
        message = {name: value for name, value in others["message"].items() if name != EXTRA_FIELDS}
        return {**fields, **provider_data({**others, "message": message})}
    found = {place: members for place, members in others.items() if members}
    return {PROVIDER: found} if found else NO_MEMBERS


def to_finish_reason(reason: Any, has_calls: bool) -> FinishReason:
    """Return the finish reason. An unknown one becomes `stop`; the provider's data has the original.

    Raises Failure (502) for a reason that reports a failure.
    """
    failure = failed_generation(reason)
    if failure is not None:
        raise failure
    if not reason:
        return "tool_calls" if has_calls else "stop"
    return _FINISH_REASONS.get(reason, "stop")


def unknown_finish_reason(reason: Any) -> dict[str, Any]:
    """Return the member of a choice for its finish reason, if that is unknown."""
    return {"finish_reason": reason} if reason and reason not in _FINISH_REASONS else {}


def read_reasoning(message: Members) -> tuple[str, dict[str, Any]]:
    """Return the reasoning in a message or a piece of it, and `reasoning` if there are two and they differ.

    Hosts call it `reasoning_content` (DeepSeek and others) or `reasoning` (Groq, OpenRouter, vLLM), or send both.
    """
    reasoning: str = message.get("reasoning_content") or ""
    other: str = message.get("reasoning") or ""
    if not reasoning:
        return other, {}
    return reasoning, {"reasoning": other} if other not in ("", reasoning) else {}


def read_annotations(annotations: Iterable[dict[str, Any]]) -> tuple[list[Citation], list[dict[str, Any]]]:
    """Return the citations of web pages, and the annotations that a citation does not express wholly."""
    citations: list[Citation] = []
    others: list[dict[str, Any]] = []
    for annotation in annotations:
        cited = annotation.get("url_citation")
        citation = _citation(cited) if isinstance(cited, dict) else None
        if citation is not None:
            citations.append(citation)
        if citation is None or not (annotation.keys() <= {"type", "url_citation"} and _is_plain(cited, citation)):
            others.append(annotation)
    return citations, others


def _citation(cited: dict[str, Any]) -> Citation | None:
    url, title = cited.get("url"), cited.get("title")
    if not isinstance(url, str) or not url:
        return None
    start, end = cited.get("start_index"), cited.get("end_index")
    span = None
    if type(start) is int and type(end) is int and 0 <= start <= end < _END_OF_POSITIONS:
        span = (start, end)
    return Citation(url, title if isinstance(title, str) else "", span)


def _is_plain(cited: Any, citation: Citation) -> bool:
    """Return whether the citation holds all that was said of the web page."""
    return (
        cited.keys() <= _OF_CITATION
        and cited.get("title") in (None, citation.title)
        and (citation.span or (None, None)) == (cited.get("start_index"), cited.get("end_index"))
    )


# -- tool calls --------------------------------------------------------------------------------------------------------


def _calls(message: Members) -> tuple[list[ToolCall], dict[str, Any]]:
    """Return the calls of a message, and its unknown members of calls."""
    calls: list[ToolCall] = []
    others: dict[str, Any] = {}
    other_calls = []
    for number, call in enumerate(message.get("tool_calls") or ()):
        kind = kind_of_call(call)
        if kind is not None:
            calls.append(_call(call, kind))
        more = others_of_call(call, kind)
        if more:
            other_calls.append({"index": number, **more})
    if other_calls:
        others["tool_calls"] = other_calls
    legacy = message.get("function_call")
    if legacy:
        calls.append(ToolCall(legacy.get("id"), None, legacy.get("name"), legacy.get("arguments"), "legacy"))
        more = other_members(legacy, OF_LEGACY_CALL)
        if more:
            others["function_call"] = more
    return calls, others


def _call(call: dict[str, Any], kind: CallKind) -> ToolCall:
    function = call[kind]
    arguments = function.get("input" if kind == "custom" else "arguments")
    return ToolCall(call.get("id"), None, function.get("name"), arguments, kind, data_of_call(call))


def kind_of_call(call: Members) -> CallKind | None:
    """Return the kind of a call, or None if it is neither of a function nor of a custom tool."""
    if call.get("custom") is not None:
        return "custom"
    return "function" if call.get("function") is not None else None


def data_of_call(call: Members) -> Members:
    """Return what the provider added to a call and wants to get again, by provider."""
    content = call.get("extra_content")
    return content if isinstance(content, dict) else NO_MEMBERS


def others_of_call(call: Members, kind: CallKind | None) -> dict[str, Any]:
    """Return the members of a call, or of a piece of it, that a tool call does not hold."""
    if kind is None:
        return other_members(call, {"index"})
    others = other_members(call, _OF_CALL | {kind})
    if call.get("type") not in (None, "", kind):
        others["type"] = call["type"]
    if not isinstance(call.get("extra_content"), dict | None):
        others["extra_content"] = call["extra_content"]
    function = other_members(call.get(kind) or {}, {"name", "input" if kind == "custom" else "arguments"})
    if function:
        others[kind] = function
    return others
