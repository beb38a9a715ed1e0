"""Writes responses for clients of the chat completions API, complete or as a stream.

What the chat format cannot hold goes into the message's `provider_specific_fields`, from where the provider gets it
again if the client sends the message back.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import msgspec

from nulpoint.conversation.answer import empty_answer, explains_emptiness, is_signature_only
from nulpoint.conversation.parts import NO_MEMBERS, Citation, Members, Reasoning, Refusal, Text, ToolCall
from nulpoint.conversation.response import Choice, ConversationResponse, FinishReason
from nulpoint.conversation.stream import PartKind
from nulpoint.conversation.usage import UsageReport
from nulpoint.errors import Failure
from nulpoint.formats.malformed import unusable_response
from nulpoint.protocols.openai.chat import AFTER_TEXT, EXTRA_FIELDS, ChunkWriter, json_text
from nulpoint.protocols.openai.errors import error_event
from nulpoint.protocols.openai.stream import DONE_EVENT

_encode = msgspec.json.encode
_KEEP_ALIVE = b": ping\n"


def write_response(response: ConversationResponse, created: int, *, legacy_functions: bool) -> bytes:
    """Return a response as a chat completion of the date `created`, if the provider has given none.

    With `legacy_functions` the client used `functions`, and gets the first call of a function as `function_call`.
    Raises Failure (502) if the response cannot be written.
    """
    completion = {
        "id": response.id,
        "object": "chat.completion",
        "created": created if response.created is None else response.created,
        "model": response.model,
        "choices": [chat_choice(choice, legacy_functions=legacy_functions) for choice in response.choices],
        "usage": chat_usage(response.usage) if response.usage else None,
    }
    try:
        return msgspec.json.encode(completion)
    except RecursionError:
        raise unusable_response("it is nested too deeply") from None


def chat_choice(choice: Choice, *, legacy_functions: bool) -> dict[str, Any]:
    """Return a choice of a complete response in OpenAI's format."""
    message = _message(choice)
    reason: str = choice.finish_reason
    if legacy_functions:
        reason = _use_function_call(message, reason)
    return {"index": choice.index, "message": message, "logprobs": choice.logprobs, "finish_reason": reason}


def _message(choice: Choice) -> dict[str, Any]:
    if len(choice.parts) == 1 and type(text := choice.parts[0]) is Text and not text.citations:  # nearly always
        message: dict[str, Any] = {"role": "assistant", "content": text.text, "refusal": None}
        if choice.provider_data:
            message[EXTRA_FIELDS] = choice.provider_data
        return message
    texts: list[Text] = []
    calls: list[dict[str, Any]] = []
    reasoning: list[str] = []
    refusal = None
    for part in choice.parts:
        if isinstance(part, Text):
            texts.append(part)
        elif isinstance(part, ToolCall):
            calls.append(_call(part, choice.provider_data))
        elif isinstance(part, Reasoning):
            reasoning.append(part.text)
        elif isinstance(part, Refusal):
            refusal = part.text
    no_content = not texts and (bool(calls) or refusal is not None)
    content = None if no_content else "".join([part.text for part in texts])
    message = {"role": "assistant", "content": content, "refusal": refusal}
    message |= _optional_members(calls, "".join(reasoning), _annotations_of(texts), choice.provider_data)
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


def _call(call: ToolCall, provider_data: Members) -> dict[str, Any]:
    """Return a call of a message. What a provider added to it is left out if the message's data has it already."""
    text = call.arguments if isinstance(call.arguments, str) else json_text(call.arguments or {})
    if call.kind == "custom":
        written = {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": text}}
    else:
        written = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": text}}
    whole = {provider for provider, data in provider_data.items() if "content" in data} if call.provider_data else ()
    extra = {provider: data for provider, data in call.provider_data.items() if provider not in whole}
    return {**written, "extra_content": extra} if extra else written


def _use_function_call(message: dict[str, Any], reason: str) -> str:
    """Move the first call of a function to `function_call`, and return the finish reason."""
    calls = message.pop("tool_calls", [])
    first = next((call for call in calls if call["type"] == "function"), None)
    if first is not None:
        message["function_call"] = {**first["function"], "id": first["id"]}
        calls = [call for call in calls if call is not first]
    if calls:
        message["tool_calls"] = calls
    return "function_call" if reason == "tool_calls" and not calls else reason


def _annotations(citations: Iterable[Citation], start: int, end: int) -> Iterable[dict[str, Any]]:
    """Yield the citations of a text that stands from `start` to `end` in the message's content."""
    for citation in citations:
        first, last = citation.span or (start, end)
        span = {"start_index": first, "end_index": last, "title": citation.title}
        yield {"type": "url_citation", "url_citation": {**span, "url": citation.url}}


def chat_usage(usage: UsageReport) -> dict[str, Any]:
    """Return the usage in OpenAI's format."""
    written: dict[str, Any] = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion if usage.total is None else usage.total,
    }
    prompt = dict(usage.prompt_details) if usage.prompt_details else {}
    if usage.cached is not None:
        prompt["cached_tokens"] = usage.cached
    if usage.written is not None:
        prompt["cache_write_tokens"] = usage.written
    if usage.written_1h:
        prompt["cache_write_1h_tokens"] = usage.written_1h
    if prompt:
        written["prompt_tokens_details"] = prompt
    completion = dict(usage.completion_details) if usage.completion_details else {}
    if usage.reasoning is not None:
        completion["reasoning_tokens"] = usage.reasoning
    if completion:
        written["completion_tokens_details"] = completion
    return written


class _ChoiceStream:
    """What has been written of one choice.

    `before_text` is what stands before the text in a chunk. The content of all chunks so far has `length` characters,
    `part_start` of them before the current part.
    """

    __slots__ = (
        "annotations", "before_text", "citations", "has_tool_calls", "index", "length", "logprobs", "part_start",
    )  # fmt: skip

    def __init__(self, index: int, before_text: bytes) -> None:
        self.index = index
        self.before_text = before_text
        self.has_tool_calls = False  # the client has seen `tool_calls`
        self.logprobs: Members | None = None  # sent together with the finish reason
        self.annotations: list[dict[str, Any]] = []
        self.citations: list[Citation] = []  # of the current part
        self.part_start = self.length = 0

    def place_citations(self) -> None:
        self.annotations += _annotations(self.citations, self.part_start, self.length)
        self.citations = []


class ChatStreamWriter:
    """Writes a stream of chat completion chunks.

    `show_usage` says whether the client asked for the usage. With `legacy_functions` the client used `functions`, and
    gets the first call as `function_call`. `may_be_empty` says whether an empty answer may be right.
    """

    chunk_writer: ClassVar[type[ChunkWriter]] = ChunkWriter

    def __init__(
        self, created: int, show_usage: bool, *, legacy_functions: bool = False, may_be_empty: bool = False
    ) -> None:
        self._chunks = self.chunk_writer(created)
        self._show_usage = show_usage
        self._legacy_functions = legacy_functions
        self._is_answer = may_be_empty  # there is content other than text, or a reason why there is none
        self._choices: dict[int, _ChoiceStream] = {}
        self._choice = _ChoiceStream(0, b"")

    def begin(self, response_id: str, model: str, *, index: int = 0, created: int | None = None) -> bytes:
        self._chunks.begin(response_id, model, created)
        return self.select_choice(index)

    def select_choice(self, index: int) -> bytes:
        known = self._choices.get(index)
        if known is not None:
            self._choice = known
            return b""
        self._choice = self._choices[index] = _ChoiceStream(index, self._chunks.before_text(index))
        return self._delta({"role": "assistant", "content": "", "refusal": None})

    def _delta(self, delta: Members, finish_reason: str | None = None, logprobs: Members | None = None) -> bytes:
        return self._chunks.delta(delta, finish_reason, self._choice.index, logprobs)

    def keep_alive(self) -> bytes:
        return _KEEP_ALIVE if self._choices else b""

    def progress(self) -> bytes:
        return self._delta({})

    def start_part(self, kind: PartKind) -> bytes:
        choice = self._choice
        if choice.citations:
            choice.place_citations()
        choice.part_start = choice.length
        return b""

    def text(self, text: str) -> bytes:
        if not text:
            return b""
        choice = self._choice
        choice.length += len(text)
        return choice.before_text + _encode(text) + AFTER_TEXT

    def citation(self, citation: Citation) -> bytes:
        self._choice.citations.append(citation)
        return b""

    def reasoning(self, text: str) -> bytes:
        if text:
            self._is_answer = True
        return self._delta({"reasoning_content": text})

    def signature(self, provider: str, data: str, *, redacted: bool = False) -> bytes:
        return b""

    def provider_part(self, provider: str, data: Members) -> bytes:
        self._is_answer = self._is_answer or not is_signature_only(data)
        return b""

    def start_call(
        self, number: int, call_id: str | None, name: str | None, provider_data: Members = NO_MEMBERS
    ) -> bytes:
        self._is_answer = True
        function = {"name": name, "arguments": ""}
        if self._is_function_call(number):
            return self._delta({"function_call": {**function, "id": call_id}})
        return self._tool_call(number, {"id": call_id, "type": "function", "function": function}, provider_data)

    def _tool_call(self, number: int, call: dict[str, Any], provider_data: Members) -> bytes:
        self._choice.has_tool_calls = True
        written = {"index": number, **call}
        if provider_data:
            written["extra_content"] = provider_data
        return self._delta({"tool_calls": [written]})

    def _is_function_call(self, number: int) -> bool:
        return self._legacy_functions and number == 0

    def arguments(self, number: int, text: str) -> bytes:
        function = {"arguments": text}
        if self._is_function_call(number):
            return self._delta({"function_call": function})
        return self._delta({"tool_calls": [{"index": number, "function": function}]})

    def end_call(self, number: int) -> bytes:
        return b""

    def custom_call(
        self, number: int, call_id: str | None, name: str, text: str, provider_data: Members = NO_MEMBERS
    ) -> bytes:
        self._is_answer = True
        call = {"id": call_id, "type": "custom", "custom": {"name": name, "input": text}}
        return self._tool_call(number, call, provider_data)

    def refusal(self, text: str) -> bytes:
        self._is_answer = True
        return self._delta({"refusal": text})

    def logprobs(self, logprobs: Members) -> bytes:
        self._choice.logprobs = logprobs
        return b""

    def finish(self, reason: FinishReason, provider_data: Mapping[str, Any]) -> bytes:
        choice = self._choice
        if explains_emptiness(reason):
            self._is_answer = True
        if choice.citations:
            choice.place_citations()
        delta: dict[str, Any] = {}
        if choice.annotations:
            delta["annotations"] = choice.annotations
        if provider_data:
            delta[EXTRA_FIELDS] = provider_data
        is_function_call = self._legacy_functions and reason == "tool_calls" and not choice.has_tool_calls
        return self._delta(delta, "function_call" if is_function_call else reason, choice.logprobs)

    def late_data(self, provider_data: Members) -> bytes:
        return self._delta({EXTRA_FIELDS: provider_data})

    def usage(self, usage: UsageReport) -> bytes:
        return self._chunks.usage(chat_usage(usage)) if self._show_usage else b""

    def end(self) -> bytes:
        if not self._is_answer and not any([choice.length for choice in self._choices.values()]):
            raise empty_answer()
        return DONE_EVENT

    def error(self, failure: Failure) -> bytes:
        return error_event(failure)
