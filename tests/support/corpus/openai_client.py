"""Reads a response as a client of the OpenAI API does, and checks every rule of that format."""

import json
from typing import Any, NamedTuple

from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

FINISHES = {"stop", "length", "tool_calls", "content_filter", "function_call"}
_JOINED = ("content", "reasoning_content", "refusal")


class Answer(NamedTuple):
    """A response. `choices` are those of a whole response, also for a stream; `usage` is None if none was reported."""

    choices: dict[int, dict[str, Any]]
    usage: dict[str, Any] | None
    frame: dict[str, Any]  # the other members


def read_whole(body: bytes) -> Answer:
    """Read a chat completion. Raises AssertionError or pydantic's ValidationError if it is none."""
    ChatCompletion.model_validate_json(body, strict=True)
    answer = json.loads(body)
    choices = {choice["index"]: choice for choice in answer["choices"]}
    assert sorted(choices) == list(range(len(answer["choices"]))), "the choices are not numbered 0 to n"
    for choice in choices.values():
        _check_choice(choice)
    frame = {name: value for name, value in answer.items() if name not in ("choices", "usage")}
    return Answer(choices, _checked_usage(answer.get("usage")), frame)


def read_stream(sent: bytes, *, usage: bool, whole: bool = True) -> Answer:
    """Read a stream. Raises if it is malformed. `usage` says that usage is expected, `whole` that it was not cut."""
    events = events_of(sent)
    done = [event for event in events if event == "[DONE]"]
    if whole:
        assert events[-1:] == ["[DONE]"], "the stream does not end in [DONE]"
        assert sent.endswith(b"data: [DONE]\n\n")
        events.pop()
        assert len(done) == 1
    else:
        assert not done, "[DONE] in a stream that was cut"
        error = json.loads(events.pop())["error"]
        assert set(error) == {"message", "type", "param", "code"}
    return _added_up([_chunk(event) for event in events], usage=usage and whole, whole=whole)


def events_of(sent: bytes) -> list[str]:
    """Return the data of the events; anything else in the stream must be a comment."""
    events = []
    for line in sent.decode().split("\n"):
        if line.startswith("data: "):
            events.append(line[6:])
        else:
            assert line == "" or line.startswith(":"), f"no line of an event stream: {line[:80]!r}"
    return events


def _chunk(event: str) -> dict[str, Any]:
    ChatCompletionChunk.model_validate_json(event, strict=True)
    chunk: dict[str, Any] = json.loads(event)
    assert "error" not in chunk
    return chunk


def _added_up(chunks: list[dict[str, Any]], *, usage: bool, whole: bool) -> Answer:
    told = None
    if usage:
        last = chunks.pop()
        assert last["choices"] == [], "the last chunk must hold the usage that was asked for"
        told = _checked_usage(last["usage"])
        assert told is not None
    assert not any(chunk.get("usage") for chunk in chunks), "usage where it was not asked for, or twice"
    frames = [(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks]
    assert len(set(frames)) <= 1, "id, created and model change within the stream"
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for piece in chunk["choices"]:
            _add(choices.setdefault(piece["index"], {"message": {}, "finish_reason": None, "logprobs": None}), piece)
    if whole:
        assert sorted(choices) == list(range(len(choices))), "the choices are not numbered 0 to n"
        for choice in choices.values():
            _check_choice(choice)
    rest = [{name: chunk[name] for name in set(chunk) - {"choices", "usage"}} for chunk in chunks]
    return Answer(choices, told, {name: value for one in rest for name, value in one.items()})


def _add(choice: dict[str, Any], piece: dict[str, Any]) -> None:
    assert choice["finish_reason"] is None, "a chunk after the finish reason"
    message, delta = choice["message"], piece["delta"]
    assert bool(message) != ("role" in delta), "the first chunk of a choice, and no other, has the role"
    for name, value in delta.items():
        if name == "tool_calls":
            _add_calls(message.setdefault("tool_calls", []), value)
        elif name in _JOINED:
            # null has no meaning here, as in OpenAI's own streams
            message[name] = value if message.get(name) is None else message[name] + (value or "")
        elif isinstance(message.get(name), list):
            message[name] += value
        elif name in message:
            assert message[name] == value, f"{name} came twice"
        else:
            message[name] = value
    choice["finish_reason"] = piece["finish_reason"]
    for kind, tokens in (piece.get("logprobs") or {}).items():
        logprobs = choice["logprobs"] = choice["logprobs"] or {}
        logprobs[kind] = (logprobs.get(kind) or []) + tokens if tokens is not None else logprobs.get(kind)


def _add_calls(calls: list[dict[str, Any]], fragments: list[dict[str, Any]]) -> None:
    for fragment in fragments:
        if fragment["index"] == len(calls):
            assert fragment["type"] == "function"
            assert fragment["function"]["name"]
            calls.append({**fragment, "function": dict(fragment["function"])})
        else:
            assert fragment["index"] < len(calls), "a tool call's number was left out"
            calls[fragment["index"]]["function"]["arguments"] += fragment["function"]["arguments"]


def _check_choice(choice: dict[str, Any]) -> None:
    message, finish = choice["message"], choice["finish_reason"]
    assert finish in FINISHES
    assert message["role"] == "assistant"
    calls = message.get("tool_calls")
    assert calls is None or calls, "`tool_calls` is left out where there are none"
    ids = [call["id"] for call in calls or []]
    assert all(ids)
    assert len(set(ids)) == len(ids), "two calls have one id"
    for call in calls or []:
        if finish not in ("length", "content_filter"):
            assert isinstance(json.loads(call["function"]["arguments"]), dict)


def _checked_usage(usage: dict[str, Any] | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    read = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    assert read <= usage["prompt_tokens"]
    assert reasoning <= usage["completion_tokens"]
    assert (
        usage["prompt_tokens"] + usage["completion_tokens"] <= usage["total_tokens"]
    )  # audio may be counted in addition to both
    return usage


def read_completion(body: bytes) -> list[str]:
    """Return the texts of a legacy completion."""
    return [choice.text for choice in Completion.model_validate_json(body, strict=True).choices]


def read_embeddings(body: bytes) -> CreateEmbeddingResponse:
    return CreateEmbeddingResponse.model_validate_json(body, strict=True)
