"""Responses as a client with the official SDK sees them, whole or streamed."""

from typing import Any

from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk


def by_sdk(events: Any) -> Any:
    """Return the response that the official SDK assembles from the events."""
    state = ChatCompletionStreamState()
    usage = None
    for event in events:
        chunk = ChatCompletionChunk.construct(**event)
        usage = chunk.usage or usage
        state.handle_chunk(chunk)
    completion = state.current_completion_snapshot.to_dict()
    return completion | {"usage": usage.to_dict() if usage else None}


def shown(completion: Any) -> Any:
    """Return the completion without nulls and without the members that the SDK adds."""
    completion = without_nulls(completion)
    for choice in completion["choices"]:
        choice["message"].pop("parsed", None)
        for call in choice["message"].get("tool_calls", ()):
            call.pop("index", None)
            call.get("function", {}).pop("parsed_arguments", None)
    return completion


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value
