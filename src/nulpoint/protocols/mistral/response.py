"""Reads responses of Mistral's chat API.

If the content is a list (thinking, references), the list is in the provider's data unchanged, and when the client sends
the message back, Mistral receives exactly this list again. Sources: the request and response types of the `mistralai`
SDK and recorded traffic.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from nulpoint.conversation.parts import NO_MEMBERS, Members, Part, Reasoning, Text, ToolCall
from nulpoint.conversation.response import Choice, ConversationResponse, FinishReason
from nulpoint.conversation.usage import MAX_TOKENS, UsageReport
from nulpoint.errors import ClientCause, Failure, Kind
from nulpoint.formats.malformed import MALFORMED, NOT_JSON, unusable_response
from nulpoint.protocols.mistral.call_id import call_id
from nulpoint.protocols.mistral.plain import read_plain_response
from nulpoint.protocols.openai.chat import choice_index, joined_texts, json_text, read_response
from nulpoint.protocols.response_members import other_members
from nulpoint.protocols.response_types import MistralResponse

_check = msgspec.json.Decoder(MistralResponse).decode
_FINISH_REASONS: Mapping[Any, FinishReason] = {
    "stop": "stop", "length": "length", "model_length": "length", "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}  # fmt: skip
# The members that the conversation holds.
OF_RESPONSE = frozenset({"id", "object", "created", "model", "choices", "usage"})
_OF_CHOICE = frozenset({"index", "message", "finish_reason", "logprobs"})
OF_MESSAGE = frozenset({"role", "content", "tool_calls"})
_OF_CALL = frozenset({"id", "index", "type", "function"})
_OF_FUNCTION = frozenset({"name", "arguments"})
_OF_USAGE = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})


def parse(body: bytes) -> ConversationResponse:
    """Read a complete response. Raises Failure (502) if it is an error or malformed."""
    plain = _plain_response(body)
    if plain is not None:
        return plain
    response = read_response("mistral", body)
    try:
        _check(body)
        return _response(response)
    except MALFORMED:
        raise unusable_response("it is not a chat completion") from None


def _plain_response(body: bytes) -> ConversationResponse | None:
    """Read a response with a single text and no members that are unusual. Return None for any other."""
    try:
        response = read_plain_response(body)
    except NOT_JSON:
        return None
    choice, usage = response.choices[0], response.usage
    if not choice.message.content:
        return None
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details is not None else None
    report = UsageReport(usage.prompt_tokens, usage.completion_tokens, cached, total=usage.total_tokens)
    data = (
        {"mistral": {"usage": {"service_tier": usage.service_tier}}} if usage.service_tier is not None else NO_MEMBERS
    )
    written = Choice((Text(choice.message.content),), choice.finish_reason, data, choice.index)
    return ConversationResponse(response.id, response.model, (written,), report, response.created)


def _response(response: dict[str, Any]) -> ConversationResponse:
    response_id = response.get("id") or ""
    report, rest = None, {"response": other_members(response, OF_RESPONSE)}
    if response.get("usage"):
        report = read_usage(response["usage"])
        rest["usage"] = unheld_usage(response["usage"])
    choices = []
    for number, choice in enumerate(response["choices"]):
        choices.append(_choice(choice, number, response_id, rest))
        rest = {}  # the first choice has it
    if not choices:
        raise unusable_response("it has no choices")
    return ConversationResponse(
        response_id, response.get("model") or "", tuple(choices), report, response.get("created")
    )


def _choice(choice: dict[str, Any], number: int, response_id: str, rest: Members) -> Choice:
    message = choice["message"]
    content, calls = message.get("content"), message.get("tool_calls") or ()
    is_list = isinstance(content, list)
    parts: list[Part] = _list_parts(content) if is_list else [Text(content)] if content else []
    parts += [_call(call, f"{response_id}/{number}/{count}") for count, call in enumerate(calls)]
    logprobs, more = read_logprobs(choice)
    reason, original_reason = to_finish_reason(choice.get("finish_reason"), bool(calls))
    data = provider_data(
        content=content if is_list else None,
        finish_reason=original_reason,
        choice=other_members(choice, _OF_CHOICE) | more,
        message=other_members(message, OF_MESSAGE),
        **rest,
    )
    return Choice(tuple(parts), reason, data, choice_index(choice, number), logprobs)


def _list_parts(content: list[dict[str, Any]]) -> list[Part]:
    """Return the text and the thinking in a list. What else it has is in the provider's data."""
    parts: list[Part] = []
    for part in content:
        if part.get("type") == "text" and part.get("text"):
            parts.append(Text(part["text"]))
        elif part.get("type") == "thinking":
            parts.append(Reasoning(thinking_text(part)))
    return parts


def thinking_text(part: dict[str, Any]) -> str:
    """Return the text of a part of type thinking."""
    thinking = part.get("thinking")
    return thinking if isinstance(thinking, str) else joined_texts(thinking or ())


def joined_text(parts: Iterable[dict[str, Any]]) -> str:
    """Return the concatenated text of those parts that are of type text."""
    return joined_texts([part for part in parts if part.get("type") == "text"])


def _call(call: dict[str, Any], place: str) -> ToolCall:
    function = call["function"]
    arguments = arguments_text(function) or "{}"
    return ToolCall(client_id(call, place), None, function.get("name"), arguments, provider_data=call_data(call))


def client_id(call: dict[str, Any], place: str) -> str:
    """Return the id of a call. If it is missing (or the text `null`), an id is derived from its place."""
    mistral_id = call.get("id")
    return mistral_id if mistral_id and mistral_id != "null" else call_id(f"call/{place}")


def call_data(call: dict[str, Any]) -> Members:
    """Return what the conversation does not hold of a call, by provider."""
    rest = other_members(call, _OF_CALL)
    if call.get("type") not in (None, "function"):
        rest["type"] = call["type"]
    function = other_members(call["function"], _OF_FUNCTION)
    if function:
        rest["function"] = function
    return {"mistral": rest} if rest else NO_MEMBERS


def arguments_text(function: dict[str, Any]) -> str:
    """Return the arguments as text, which Mistral may send as an object, or an empty text if there are none."""
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else json_text(arguments)


def to_finish_reason(reason: Any, has_calls: bool) -> tuple[FinishReason, str | None]:
    """Return the finish reason, and Mistral's own if it has no equivalent.

    Raises Failure (502) for the reason `error`.
    """
    if reason == "error":
        text = "mistral failed while it generated the response"
        raise Failure(Kind.UPSTREAM, 502, text, code="provider_error", client_cause=ClientCause.NO_OUTPUT)
    if not reason:
        return ("tool_calls" if has_calls else "stop"), None
    known = _FINISH_REASONS.get(reason)
    return (known, None) if known is not None else ("stop", reason)


def read_logprobs(choice: dict[str, Any]) -> tuple[Members | None, dict[str, Any]]:
    """Return the log probabilities of a choice, and as further members what is in their place."""
    logprobs = choice.get("logprobs")
    if logprobs is None or isinstance(logprobs, dict):
        return logprobs, {}
    return None, {"logprobs": logprobs}


def provider_data(**members: Any) -> Members:
    """Return what the conversation does not hold, by provider, without empty members."""
    told = {name: value for name, value in members.items() if value}
    return {"mistral": told} if told else NO_MEMBERS


def read_usage(usage: dict[str, Any]) -> UsageReport:
    """Return the usage. Some models give the cached tokens only in `num_cached_tokens`."""
    prompt = _counts(usage.get(_prompt_details(usage)))
    completion = _counts(usage.get("completion_tokens_details"))
    cached = prompt.pop("cached_tokens", None)
    return UsageReport(
        prompt=usage.get("prompt_tokens") or 0,
        completion=usage.get("completion_tokens") or 0,
        cached=usage.get("num_cached_tokens") if cached is None else cached,
        reasoning=completion.pop("reasoning_tokens", None),
        written=prompt.pop("cache_write_tokens", None),
        written_1h=prompt.pop("cache_write_1h_tokens", 0),
        total=usage.get("total_tokens"),
        prompt_details=prompt,
        completion_details=completion,
    )


def _counts(details: Any) -> dict[str, int]:
    """Return the token counts among details, which may have other members too."""
    if not isinstance(details, dict):
        return {}
    return {name: count for name, count in details.items() if type(count) is int and 0 <= count <= MAX_TOKENS}


def unheld_usage(usage: dict[str, Any]) -> dict[str, Any]:
    """Return what the report of a usage does not hold of it. It holds details that are nothing but counts."""
    rest = other_members(usage, _OF_USAGE)
    if not rest:
        return rest
    for name in (_prompt_details(usage), "completion_tokens_details"):
        if isinstance(rest.get(name), dict) and len(_counts(rest[name])) == len(rest[name]):
            del rest[name]
    return rest


def _prompt_details(usage: dict[str, Any]) -> str:
    """Return the name of the member with the details of the prompt, which Mistral has spelled in two ways."""
    return "prompt_tokens_details" if usage.get("prompt_tokens_details") else "prompt_token_details"
