"""Emulates request features that a provider's API does not have.

Some things a client may ask for have no counterpart in a provider's API and are sent in another form: a custom tool as
a function with one text parameter, a schema for the response as a function that the model must call, `functions` as
`tools`. `Emulation` records what was replaced in a request, and puts the response back into the form the client asked
for.
"""

from io import StringIO
from typing import Any, NamedTuple

import msgspec

from nulpoint.formats import sse
from nulpoint.formats.malformed import MALFORMED, malformed_response, unusable_response
from nulpoint.protocols.openai.stream import DONE, StreamTransformer, WrappingTransformer


class Emulation(NamedTuple):
    """The replacements made in one request.

    Fields:
        custom_tools: the names of the custom tools that were sent as functions.
        schema_tool: the name of the function whose arguments are the content of the response.
        legacy_functions: the client used `functions`, and so expects `function_call` in the response.
    """

    custom_tools: frozenset[str] = frozenset()
    schema_tool: str | None = None
    legacy_functions: bool = False

    def any(self) -> bool:
        """Return whether anything was replaced."""
        return bool(self.custom_tools or self.schema_tool or self.legacy_functions)

    def restore_response(self, body: bytes) -> bytes:
        """Restore a complete response in OpenAI's format. Raises Failure (502) for malformed tool calls."""
        try:
            completion = msgspec.json.decode(body)
            for choice in completion["choices"]:
                message = choice["message"]
                self._restore_message(message, message.pop("tool_calls", None) or [])
                choice["finish_reason"] = self.finish_reason(choice["finish_reason"], "tool_calls" in message)
            return msgspec.json.encode(completion)
        except MALFORMED:
            raise unusable_response("its tool calls are malformed") from None

    def _restore_message(self, message: dict[str, Any], calls: list[dict[str, Any]]) -> None:
        remaining = []
        for call in calls:
            function = call["function"]
            if function["name"] == self.schema_tool:
                message["content"] = function["arguments"]
            elif function["name"] in self.custom_tools:
                remaining.append(custom_call(call))
            elif self.legacy_functions and "function_call" not in message:
                message["function_call"] = {**function, "id": call["id"]}
            else:
                remaining.append(call)
        if remaining:
            message["tool_calls"] = remaining

    def finish_reason(self, reason: str | None, calls_remain: bool) -> str | None:
        """Return the finish reason of a choice; `calls_remain` says whether the client sees any `tool_calls` in it."""
        if reason != "tool_calls" or calls_remain:
            return reason
        return "function_call" if self.legacy_functions else "stop"

    def wrap_stream(self, inner: StreamTransformer) -> StreamTransformer:
        return DeemulatedStream(inner, self)


NO_EMULATION = Emulation()


class _CustomArguments(msgspec.Struct):
    input: str


def custom_call(call: dict[str, Any]) -> dict[str, Any]:
    """Convert a function call to the custom call it stands for.

    Arguments that do not hold the single text parameter become the input unchanged.
    """
    arguments = call["function"]["arguments"]
    try:
        text = msgspec.json.decode(arguments, type=_CustomArguments).input
    except MALFORMED:
        text = arguments
    rest = {name: value for name, value in call.items() if name != "function"}
    return {**rest, "type": "custom", "custom": {"name": call["function"]["name"], "input": text}}


class DeemulatedStream(WrappingTransformer):
    """A stream transformer that restores the chunks of another one.

    Custom calls are sent complete when their choice ends; everything else is sent as it arrives.
    """

    def __init__(self, inner: StreamTransformer, emulation: Emulation) -> None:
        super().__init__(inner)
        self._emulation = emulation
        self._decoder = sse.SseDecoder()
        self._calls: dict[int, dict[int, _PartialCall]] = {}  # by choice and index
        self._choices_with_calls: set[int] = set()  # choices in which the client has seen `tool_calls`

    def feed(self, data: bytes) -> bytes:
        return self._restore(self._inner.feed(data))

    def close(self) -> bytes:
        return self._restore(self._inner.close())

    def _restore(self, data: bytes) -> bytes:
        """Restore what the inner transformer returned: complete events, and comments on lines of their own."""
        if data.startswith(b":") or b"\n:" in data:
            return b"".join([self._line(line) for line in data.split(b"\n") if line])
        return b"".join([self._event(event.data) for event in self._decoder.feed(data)])

    def _line(self, line: bytes) -> bytes:
        return line + b"\n" if line.startswith(b":") else self._event(line.removeprefix(b"data: "))

    def _event(self, data: bytes) -> bytes:
        if self._wrapper_failure is not None:
            return b""
        if data == DONE:
            return sse.encode(DONE)
        try:
            chunk = msgspec.json.decode(data)
            for choice in chunk.get("choices") or ():
                self._choice(choice)
            return sse.encode(msgspec.json.encode(chunk))
        except MALFORMED:
            self._wrapper_failure = malformed_response("the provider sent a malformed piece of a tool call")
            return b""

    def _choice(self, choice: dict[str, Any]) -> None:
        index, delta = choice["index"], choice["delta"]
        calls: list[dict[str, Any]] = []
        texts: list[str] = []
        for fragment in delta.pop("tool_calls", None) or ():
            self._fragment(index, fragment, delta, calls, texts)
        if texts:
            delta["content"] = "".join([delta.get("content") or "", *texts])
        if choice["finish_reason"]:
            calls += self._completed_custom_calls(index)
        if calls:
            self._choices_with_calls.add(index)
            delta["tool_calls"] = calls
        calls_seen = index in self._choices_with_calls
        choice["finish_reason"] = self._emulation.finish_reason(choice["finish_reason"], calls_seen)

    def _fragment(
        self,
        choice: int,
        fragment: dict[str, Any],
        delta: dict[str, Any],
        calls: list[dict[str, Any]],
        texts: list[str],
    ) -> None:
        """Sort one fragment of a tool call.

        It goes unchanged to `calls`, as text to `texts`, as `function_call` into `delta`, or is buffered until the
        custom call it belongs to is complete.
        """
        number, function = fragment["index"], fragment["function"]
        partial_calls = self._calls.setdefault(choice, {})
        call = partial_calls.get(number)
        if call is None:
            call = partial_calls[number] = _PartialCall(fragment)
        call.name = call.name or function.get("name") or ""
        if call.name == self._emulation.schema_tool:
            texts.append(function.get("arguments") or "")
        elif call.name in self._emulation.custom_tools:
            call.arguments.write(function.get("arguments") or "")
        elif self._emulation.legacy_functions and number == 0:
            delta["function_call"] = {**function, "id": fragment["id"]} if "id" in fragment else function
        else:
            calls.append(fragment)

    def _completed_custom_calls(self, choice: int) -> list[dict[str, Any]]:
        """Remove and return the custom calls of a choice that has ended."""
        calls = self._calls.pop(choice, {}).values()
        return [custom_call(call.complete()) for call in calls if call.name in self._emulation.custom_tools]


class _PartialCall:
    """A tool call whose fragments are still arriving."""

    def __init__(self, first: dict[str, Any]) -> None:
        self._first = first
        self.name = ""
        self.arguments = StringIO()

    def complete(self) -> dict[str, Any]:
        return {**self._first, "function": {"name": self.name, "arguments": self.arguments.getvalue()}}
