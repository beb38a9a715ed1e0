"""The Mistral API: nearly OpenAI's, but strict about what it does not know and with ways of its own in streams."""

import re
from typing import Any

from nulpoint.mock import openai
from nulpoint.mock.answers import CREATED, Answer, Call, event, json_answer, token_count

_CHAT = frozenset(
    {
        "model", "messages", "temperature", "top_p", "max_tokens", "stream", "stop", "random_seed", "metadata",
        "response_format", "tools", "tool_choice", "presence_penalty", "frequency_penalty", "min_tokens",
        "repetition_penalty", "top_k", "logprobs", "top_logprobs", "prompt_logprobs", "n", "prediction",
        "parallel_tool_calls", "reasoning_effort", "prompt_mode", "guardrails", "prompt_cache_key", "service_tier",
        "safe_prompt",
    }
)  # fmt: skip
_EMBEDDINGS = frozenset({"model", "input", "encoding_format", "output_dimension", "output_dtype", "metadata"})
_TOOL_CALL_ID = re.compile(r"[A-Za-z0-9]{9}")


def answer(call: Call) -> Answer:
    if not call.headers.get("authorization", "").startswith("Bearer ") or "bad-key" in call.headers["authorization"]:
        return json_answer({"detail": "Invalid API Key"}, 401)
    if call.path == "/v1/models":
        return json_answer({"object": "list", "data": [{"id": "mistral-large-latest", "object": "model"}]})
    if call.path == "/v1/chat/completions" and isinstance(call.body, dict):
        return _unknown(call.body, _CHAT) or _bad_ids(call.body) or _chat(call)
    if call.path == "/v1/embeddings" and isinstance(call.body, dict):
        body = call.body
        renamed = {**body, "dimensions": body.get("output_dimension") or 1024}
        call.body = {key: value for key, value in renamed.items() if key != "output_dimension"}
        return _unknown(body, _EMBEDDINGS) or openai.embeddings(call)
    return json_answer({"message": "no Route matched with those values"}, 404)


def error(status: int, message: str, code: str | None = None) -> Answer:
    kind = "rate_limited" if status == 429 else "invalid_request_error" if status < 500 else "internal_server_error"
    body = {"object": "error", "message": message, "type": kind, "param": None, "code": code, "raw_status_code": status}
    return json_answer(body, status)


def _unknown(body: dict[str, Any], known: frozenset[str]) -> Answer | None:
    extra = [name for name in body if name not in known]
    if not extra:
        return None
    detail = [
        {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted", "input": body[name]}
        for name in extra
    ]
    return json_answer({"detail": detail}, 422)


def _bad_ids(body: dict[str, Any]) -> Answer | None:
    messages = body.get("messages") or []
    ids = [message.get("tool_call_id") for message in messages if message.get("role") == "tool"]
    ids += [call.get("id") for message in messages for call in message.get("tool_calls") or ()]
    if all(isinstance(one, str) and _TOOL_CALL_ID.fullmatch(one) for one in ids):
        return None
    return error(400, "Tool call id has to be defined and consist of 9 characters", "3280")


def _chat(call: Call) -> Answer:
    body = call.body
    if body.get("model") == "no-such-model":
        return error(400, "Invalid model: no-such-model", "1500")
    if not body.get("messages"):
        return error(422, "messages: Field required")
    message = openai.reply_to(body, body["messages"], call.words)
    message = {"role": "assistant", "content": message["content"] or "", "tool_calls": message.get("tool_calls")}
    for number, tool in enumerate(message["tool_calls"] or ()):
        tool["id"] = f"mock{number:05d}"
    used = openai.usage(token_count(body["messages"]), token_count(message))
    used = {key: used[key] for key in ("prompt_tokens", "completion_tokens", "total_tokens")}
    frame = {"id": f"{call.number:032x}", "created": CREATED, "model": body["model"]}
    finish = "tool_calls" if message["tool_calls"] else "stop"
    if body.get("stream"):
        return Answer(events=_events(frame, message, finish, used))
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json_answer({**frame, "object": "chat.completion", "choices": [choice], "usage": used})


def _events(frame: dict[str, Any], message: dict[str, Any], finish: str, used: dict[str, Any]) -> list[bytes]:
    """Tool calls whole in one delta; usage in the chunk that finishes."""

    def chunk(delta: dict[str, Any], reason: str | None = None, **extra: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return event({**frame, "object": "chat.completion.chunk", "choices": [choice], **extra})

    events = [chunk({"role": "assistant", "content": ""})]
    calls = message["tool_calls"]
    if calls:
        indexed = [{**call, "index": i} for i, call in enumerate(calls)]
        events.append(chunk({"content": "", "tool_calls": indexed}, finish, usage=used))
    else:
        text = message["content"].split(" ")
        events += [chunk({"content": (" " if i else "") + word}) for i, word in enumerate(text)]
        events.append(chunk({"content": ""}, finish, usage=used))
    return [*events, openai.DONE]
