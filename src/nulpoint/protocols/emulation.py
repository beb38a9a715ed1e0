"""Undoing in the answer what a request had to be wrapped in.

Some things a caller may ask for have no place in a provider's format and are sent in another form: a custom tool as a
function of one text, a schema for the answer as a function that must be called, `functions` as `tools`. The answer is
then put back into the form that was asked for.
"""

from io import StringIO
from typing import Any, NamedTuple

import msgspec

from nulpoint.formats import sse
from nulpoint.formats.malformed import MALFORMED, malformed_response
from nulpoint.protocols.openai.stream import DONE, StreamTransformer, WrappingTransformer


class Emulation(NamedTuple):
    """What one request was wrapped in.

    `custom`: names of custom tools. `schema_tool`: the function whose arguments are the content of the answer.
    `legacy`: the caller reads `function_call`.
    """

    custom: frozenset[str] = frozenset()
    schema_tool: str | None = None
    legacy: bool = False

    def any(self) -> bool:
        return bool(self.custom or self.schema_tool or self.legacy)

    def answer(self, body: bytes) -> bytes:
        """A whole answer in the OpenAI shape, unwrapped."""
        try:
            completion = msgspec.json.decode(body)
            for choice in completion["choices"]:
                message = choice["message"]
                self._unwrap(message, message.pop("tool_calls", None) or [])
                choice["finish_reason"] = self.finish(choice["finish_reason"], "tool_calls" in message)
            return msgspec.json.encode(completion)
        except MALFORMED:
            raise malformed_response("the provider's answer cannot be used: its tool calls are none") from None

    def _unwrap(self, message: dict[str, Any], calls: list[dict[str, Any]]) -> None:
        kept = []
        for call in calls:
            function = call["function"]
            if function["name"] == self.schema_tool:
                message["content"] = function["arguments"]
            elif function["name"] in self.custom:
                kept.append(custom_call(call))
            elif self.legacy and "function_call" not in message:
                message["function_call"] = {**function, "id": call["id"]}
            else:
                kept.append(call)
        if kept:
            message["tool_calls"] = kept

    def finish(self, reason: str | None, calls_left: bool) -> str | None:
        if reason != "tool_calls" or calls_left:
            return reason
        return "function_call" if self.legacy else "stop"

    def stream(self, inner: StreamTransformer) -> StreamTransformer:
        return DeemulatedStream(inner, self)


class _CustomArguments(msgspec.Struct):
    input: str


def custom_call(call: dict[str, Any]) -> dict[str, Any]:
    """A function call as the custom call it stands for. Arguments that are not its one text are given as they are."""
    arguments = call["function"]["arguments"]
    try:
        text = msgspec.json.decode(arguments, type=_CustomArguments).input
    except MALFORMED:
        text = arguments
    rest = {name: value for name, value in call.items() if name != "function"}
    return {**rest, "type": "custom", "custom": {"name": call["function"]["name"], "input": text}}


class DeemulatedStream(WrappingTransformer):
    """A watcher over another one's chunks. Custom calls come whole, when the choice ends; the rest as it comes."""

    def __init__(self, inner: StreamTransformer, emulation: Emulation) -> None:
        super().__init__(inner)
        self._emulation = emulation
        self._decoder = sse.SseDecoder()
        self._calls: dict[int, dict[int, _CallInPieces]] = {}  # by choice and index
        self._shown: set[int] = set()  # choices whose caller sees calls among `tool_calls`

    def feed(self, data: bytes) -> bytes:
        return self._unwrapped(self._inner.feed(data))

    def close(self) -> bytes:
        return self._unwrapped(self._inner.close())

    def _unwrapped(self, data: bytes) -> bytes:
        """The inner watcher gives whole events, and comments on lines of their own."""
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
            self._wrapper_failure = malformed_response("the provider sent a piece of a tool call that is none")
            return b""

    def _choice(self, choice: dict[str, Any]) -> None:
        index, delta = choice["index"], choice["delta"]
        kept: list[dict[str, Any]] = []
        said: list[str] = []
        for fragment in delta.pop("tool_calls", None) or ():
            self._fragment(index, fragment, delta, kept, said)
        if said:
            delta["content"] = "".join([delta.get("content") or "", *said])
        if choice["finish_reason"]:
            kept += self._held(index)
        if kept:
            self._shown.add(index)
            delta["tool_calls"] = kept
        choice["finish_reason"] = self._emulation.finish(choice["finish_reason"], index in self._shown)

    def _fragment(
        self, choice: int, fragment: dict[str, Any], delta: dict[str, Any], kept: list[dict[str, Any]], said: list[str]
    ) -> None:
        """What stays a fragment of a tool call is kept; the rest is said, goes into the delta, or waits."""
        number, function = fragment["index"], fragment["function"]
        calls = self._calls.setdefault(choice, {})
        call = calls.get(number)
        if call is None:
            call = calls[number] = _CallInPieces(fragment)
        call.name = call.name or function.get("name") or ""
        if call.name == self._emulation.schema_tool:
            said.append(function.get("arguments") or "")
        elif call.name in self._emulation.custom:
            call.arguments.write(function.get("arguments") or "")
        elif self._emulation.legacy and number == 0:
            delta["function_call"] = {**function, "id": fragment["id"]} if "id" in fragment else function
        else:
            kept.append(fragment)

    def _held(self, choice: int) -> list[dict[str, Any]]:
        """The custom calls of a choice that has ended, each whole."""
        calls = self._calls.pop(choice, {}).values()
        return [custom_call(call.whole()) for call in calls if call.name in self._emulation.custom]


class _CallInPieces:
    """A tool call whose pieces are still coming."""

    def __init__(self, first: dict[str, Any]) -> None:
        self._first = first
        self.name = ""
        self.arguments = StringIO()

    def whole(self) -> dict[str, Any]:
        return {**self._first, "function": {"name": self.name, "arguments": self.arguments.getvalue()}}
