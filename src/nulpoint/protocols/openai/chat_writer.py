"""Writes responses for clients of the chat completions API, complete or as a stream.

What the chat format cannot hold goes into the message's `provider_specific_fields`, from where the provider gets it
again if the client sends the message back.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from nulpoint.conversation.parts import Citation, Members, Reasoning, Refusal, Text, ToolCall
from nulpoint.conversation.response import ConversationResponse, FinishReason
from nulpoint.conversation.stream import PartKind
from nulpoint.conversation.usage import Usage
from nulpoint.formats import sse
from nulpoint.formats.malformed import unusable_response
from nulpoint.protocols.openai.chat import AFTER_TEXT, EXTRA_FIELDS, ChunkWriter, json_text
from nulpoint.protocols.openai.stream import DONE

_DONE_EVENT = sse.encode(DONE)
_encode = msgspec.json.encode
_KEEP_ALIVE = b": ping\n"


def write_response(response: ConversationResponse, created: int, *, legacy_functions: bool) -> bytes:
    """Return a response as a chat completion of the date `created`.

    With `legacy_functions` the client used `functions`, and gets the first call of a function as `function_call`.
    Raises Failure (502) if the response cannot be written.
    """
    message = _message(response)
    reason: str = response.finish_reason
    if legacy_functions:
        reason = _use_function_call(message, response)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    completion = {
        "id": response.id,
        "object": "chat.completion",
        "created": created,
        "model": response.model,
        "choices": [choice],
        "usage": chat_usage(response.usage) if response.usage else None,
    }
    try:
        return msgspec.json.encode(completion)
    except RecursionError:
        raise unusable_response("it is nested too deeply") from None


def _message(response: ConversationResponse) -> dict[str, Any]:
    texts: list[Text] = []
    calls: list[dict[str, Any]] = []
    reasoning: list[str] = []
    refusal = None
    for part in response.parts:
        if isinstance(part, Text):
            texts.append(part)
        elif isinstance(part, ToolCall):
            calls.append(_call(part))
        elif isinstance(part, Reasoning):
            reasoning.append(part.text)
        elif isinstance(part, Refusal):
            refusal = part.text
    content = "".join([part.text for part in texts]) if texts or not calls else None
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": refusal}
    message |= _optional_members(calls, "".join(reasoning), _annotations_of(texts), response.provider_data)
    return message


def _optional_members(
    calls: list[dict[str, Any]], reasoning: str, annotations: list[dict[str, Any]], provider_data: Members
) -> dict[str, Any]:
    """Return the members of a message that are left out if they are empty."""
    message: dict[str, Any] = {}
    if calls:
        message["tool_calls"] = calls
    if reasoning:
        message["reasoning_content"] = reasoning
    if annotations:
        message["annotations"] = annotations
    if provider_data:
        message[EXTRA_FIELDS] = provider_data
    return message


def _annotations_of(texts: Iterable[Text]) -> list[dict[str, Any]]:
    annotations: list[dict[str, Any]] = []
    position = 0
    for part in texts:
        end = position + len(part.text)
        if part.citations:
            annotations += _annotations(part.citations, position, end)
        position = end
    return annotations


def _call(call: ToolCall) -> dict[str, Any]:
    text = call.arguments if isinstance(call.arguments, str) else json_text(call.arguments or {})
    if call.kind == "custom":
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": text}}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": text}}


def _use_function_call(message: dict[str, Any], response: ConversationResponse) -> str:
    """Move the first call of a function to `function_call`, and return the finish reason."""
    calls = message.pop("tool_calls", [])
    first = next((call for call in calls if call["type"] == "function"), None)
    if first is not None:
        message["function_call"] = {**first["function"], "id": first["id"]}
        calls = [call for call in calls if call is not first]
    if calls:
        message["tool_calls"] = calls
    return "function_call" if response.finish_reason == "tool_calls" and not calls else response.finish_reason


def _annotations(citations: Iterable[Citation], start: int, end: int) -> Iterable[dict[str, Any]]:
    """Yield the citations of a text that stands from `start` to `end` in the message's content."""
    for citation in citations:
        span = {"start_index": start, "end_index": end, "title": citation.title}
        yield {"type": "url_citation", "url_citation": {**span, "url": citation.url}}


def chat_usage(usage: Usage) -> dict[str, Any]:
    """Return the usage in OpenAI's format."""
    hour_tokens = {"cache_write_1h_tokens": usage.written_1h} if usage.written_1h else {}
    details = {} if usage.reasoning is None else {"completion_tokens_details": {"reasoning_tokens": usage.reasoning}}
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.written,
            **hour_tokens,
        },
        **details,
    }


class ChatStreamWriter:
    """Writes a stream of chat completion chunks.

    `show_usage` says whether the client asked for the usage. With `legacy_functions` the client used `functions`, and
    gets the first call as `function_call`.
    """

    def __init__(self, created: int, show_usage: bool, *, legacy_functions: bool = False) -> None:
        self._chunks = ChunkWriter(created)
        self._show_usage = show_usage
        self._legacy_functions = legacy_functions
        self._begun = False
        self._has_tool_calls = False  # the client has seen `tool_calls`
        self._last_delta: dict[str, Any] = {}  # what is sent together with the finish reason
        self._annotations: list[dict[str, Any]] = []
        self._citations: list[Citation] = []  # of the current part
        self._part_start = self._length = 0  # characters of the content

    def begin(self, response_id: str, model: str) -> bytes:
        self._begun = True
        self._chunks.begin(response_id, model)
        return self._chunks.delta({"role": "assistant", "content": "", "refusal": None})

    def keep_alive(self) -> bytes:
        return _KEEP_ALIVE if self._begun else b""

    def progress(self) -> bytes:
        return self._chunks.delta({})

    def start_part(self, kind: PartKind) -> bytes:
        if self._citations:
            self._place_citations()
        self._part_start = self._length
        return b""

    def _place_citations(self) -> None:
        self._annotations += _annotations(self._citations, self._part_start, self._length)
        self._citations = []

    def text(self, text: str) -> bytes:
        if not text:
            return b""
        self._length += len(text)
        return self._chunks.before_text + _encode(text) + AFTER_TEXT  # `self._chunks.text` without the call

    def citation(self, citation: Citation) -> bytes:
        self._citations.append(citation)
        return b""

    def reasoning(self, text: str) -> bytes:
        return self._chunks.delta({"reasoning_content": text})

    def signature(self, data: str) -> bytes:
        return b""

    def start_call(self, number: int, call_id: str | None, name: str | None) -> bytes:
        function = {"name": name, "arguments": ""}
        if self._is_function_call(number):
            return self._chunks.delta({"function_call": {**function, "id": call_id}})
        self._has_tool_calls = True
        call = {"index": number, "id": call_id, "type": "function", "function": function}
        return self._chunks.delta({"tool_calls": [call]})

    def _is_function_call(self, number: int) -> bool:
        return self._legacy_functions and number == 0

    def arguments(self, number: int, text: str) -> bytes:
        function = {"arguments": text}
        if self._is_function_call(number):
            return self._chunks.delta({"function_call": function})
        return self._chunks.delta({"tool_calls": [{"index": number, "function": function}]})

    def end_call(self, number: int) -> bytes:
        return b""

    def custom_call(self, number: int, call_id: str | None, name: str, text: str) -> bytes:
        self._has_tool_calls = True
        call = {"index": number, "id": call_id, "type": "custom", "custom": {"name": name, "input": text}}
        return self._chunks.delta({"tool_calls": [call]})

    def refusal(self, text: str) -> bytes:
        self._last_delta["refusal"] = text
        return b""

    def finish(self, reason: FinishReason, provider_data: Mapping[str, Any]) -> bytes:
        if self._citations:
            self._place_citations()
        delta = self._last_delta
        if self._annotations:
            delta["annotations"] = self._annotations
        if provider_data:
            delta[EXTRA_FIELDS] = provider_data
        is_function_call = self._legacy_functions and reason == "tool_calls" and not self._has_tool_calls
        return self._chunks.delta(delta, "function_call" if is_function_call else reason)

    def usage(self, usage: Usage) -> bytes:
        return self._chunks.usage(chat_usage(usage)) if self._show_usage else b""

    def end(self) -> bytes:
        return _DONE_EVENT
