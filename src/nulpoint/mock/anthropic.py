"""The Anthropic Messages API, and the OpenAI-compatible endpoint Anthropic offers beside it."""

from typing import Any

import msgspec

from nulpoint.mock import openai
from nulpoint.mock.answers import CREATED, Answer, Call, event, example, json_answer, text_of, token_count, words

_ERROR_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 500: "api_error", 504: "timeout_error", 529: "overloaded_error",
}  # fmt: skip


def answer(call: Call) -> Answer:
    if call.path == "/v1/chat/completions":
        return openai.answer(call)
    refused = _refused(call)
    if refused is not None:
        return refused
    if call.path == "/v1/models":
        return json_answer({"data": [_model("claude-sonnet-4-5")], "has_more": False})
    if call.path != "/v1/messages":
        return error(404, "Not Found")
    found = _messages(call)
    found.headers = {"request-id": f"req_mock{call.number}"}
    return found


def error(status: int, message: str) -> Answer:
    kind = _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return json_answer({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_mock"}, status)


def _refused(call: Call) -> Answer | None:
    key = call.headers.get("x-api-key") or call.headers.get("authorization", "").removeprefix("Bearer ")
    if not key or key == "bad-key":
        return error(401, "invalid x-api-key")
    if "anthropic-version" not in call.headers:
        return error(400, "anthropic-version: header is required")
    return None


def _model(name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "2026-09-01T00:00:00Z"}


def _messages(call: Call) -> Answer:
    body = call.body
    if not isinstance(body, dict):
        return error(400, "The request body is not valid JSON")
    for required in ("model", "max_tokens", "messages"):
        if not body.get(required):
            return error(400, f"{required}: Field required")
    if body["model"] == "no-such-model":
        return error(404, "model: no-such-model")
    blocks = _blocks(body, call.words)
    called = any(block["type"] == "tool_use" for block in blocks)
    message = {
        "id": f"msg_mock{call.number}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": blocks,
        "stop_reason": "tool_use" if called else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": token_count(body["messages"]),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": token_count(blocks),
        },
    }
    return Answer(events=_events(message)) if body.get("stream") else json_answer(message)


def _blocks(body: dict[str, Any], count: int) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if (body.get("thinking") or {}).get("type") in ("enabled", "adaptive"):
        blocks.append({"type": "thinking", "thinking": "Let me think.", "signature": f"sig-{CREATED}"})
    last = body["messages"][-1].get("content")
    answered = isinstance(last, list) and any(part.get("type") == "tool_result" for part in last)
    tools = [tool for tool in body.get("tools") or () if "input_schema" in tool]
    if tools and not answered and (body.get("tool_choice") or {}).get("type") != "none":
        wanted = tools if "parallel" in text_of(last) else tools[:1]
        return blocks + [
            {"type": "tool_use", "id": f"toolu_mock{i}", "name": tool["name"], "input": example(tool["input_schema"])}
            for i, tool in enumerate(wanted)
        ]
    return [*blocks, {"type": "text", "text": "".join(words(count))}]


def _events(message: dict[str, Any]) -> list[bytes]:
    used = message["usage"]
    start = {**message, "content": [], "stop_reason": None, "usage": {**used, "output_tokens": 1}}
    events = [_event("message_start", message=start), _event("ping")]
    for index, block in enumerate(message["content"]):
        empty, deltas = _deltas(block)
        events.append(_event("content_block_start", index=index, content_block=empty))
        events += [_event("content_block_delta", index=index, delta=delta) for delta in deltas]
        events.append(_event("content_block_stop", index=index))
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    events.append(_event("message_delta", delta=stop, usage={"output_tokens": used["output_tokens"]}))
    return [*events, _event("message_stop")]


def _event(name: str, **fields: Any) -> bytes:
    return event({"type": name, **fields}, name)


def _deltas(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it starts, and what fills it."""
    if block["type"] == "tool_use":
        text = msgspec.json.encode(block["input"]).decode()
        pieces = ["", *(text[i : i + 8] for i in range(0, len(text), 8))]
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    if block["type"] == "thinking":
        thought = {"type": "thinking_delta", "thinking": block["thinking"]}
        return {**block, "thinking": "", "signature": ""}, [
            thought,
            {"type": "signature_delta", "signature": block["signature"]},
        ]
    pieces = [(" " if i else "") + word for i, word in enumerate(block["text"].split(" "))]
    return {**block, "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces]
