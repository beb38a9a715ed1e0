"""The Mistral API: nearly OpenAI's, but strict about what it does not know and with ways of its own in streams."""

import re
from collections.abc import Iterator
from typing import Any

from nulpoint.mock.interface import (
    CREATED,
    MockRequest,
    MockResponse,
    ProviderApi,
    json_response,
    sse_event,
    token_count,
)
from nulpoint.mock.mistral.rules import CHAT, EMBEDDINGS, find_problem, validation_errors
from nulpoint.mock.model import ModelReply, generate_reply, split_words
from nulpoint.mock.openai import server as openai_server
from nulpoint.mock.openai.rules import as_parts

_MODEL = re.compile(r"(mistral|magistral|ministral|codestral|devstral|pixtral|voxtral|open-mi)")
_KINDS = {401: "unauthorized", 402: "billing_error", 403: "forbidden", 404: "not_found", 429: "rate_limited"}


def respond(request: MockRequest) -> MockResponse:
    if (
        not request.headers.get("authorization", "").startswith("Bearer ")
        or "bad-key" in request.headers["authorization"]
    ):
        return json_response({"detail": "Invalid API Key"}, 401)
    if request.path == "/v1/models":
        return json_response({"object": "list", "data": [{"id": "mistral-large-latest", "object": "model"}]})
    route = {"/v1/chat/completions": _chat, "/v1/embeddings": _embeddings}.get(request.path)
    if route is None or not isinstance(request.body, dict):
        return json_response({"message": "no Route matched with those values"}, 404)
    found = route(request)
    found.headers = {"mistral-correlation-id": f"mock{request.number}", **found.headers}
    return found


def error(status: int, message: str) -> MockResponse:
    return json_response(_error(status, message), status)


def _error(status: int, message: str, kind: str | None = None, code: str | None = None) -> dict[str, Any]:
    usual = _KINDS.get(status, "invalid_request_error" if status < 500 else "internal_server_error")
    body = {"object": "error", "message": message, "type": kind or usual, "param": None}
    return {**body, "code": code or ("1300" if status == 429 else None), "raw_status_code": status}


def _rate_limited(seconds: float) -> MockResponse:
    limited = error(429, "Rate limit exceeded")
    limited.headers = {"retry-after": f"{seconds:g}"} if seconds else {}
    return limited


def _error_event(status: int, message: str) -> bytes:
    return sse_event(_error(status, message))


def _rejection_response(body: dict[str, Any], schema: Any) -> MockResponse | None:
    details = validation_errors(body, schema)
    if details:
        return json_response({"detail": details}, 422)
    if not _MODEL.match(body["model"]):
        return json_response(_error(400, f"Invalid model: {body['model']}", "invalid_model", "1500"), 400)
    refusal = find_problem(body) if schema is CHAT else None
    return json_response(_error(400, *refusal), 400) if refusal else None


def _embeddings(request: MockRequest) -> MockResponse:
    body = request.body
    request.body = {**body, "dimensions": body.get("output_dimension") or 1024}
    return _rejection_response(body, EMBEDDINGS) or openai_server.create_embeddings(request)


def _chat(request: MockRequest) -> MockResponse:
    body = request.body
    wrong = _rejection_response(body, CHAT)
    if wrong is not None:
        return wrong
    said = generate_reply(openai_server.model_request(body, request.word_count))
    calls = openai_server.tool_calls(said, "mock{:05d}") or None
    content = _content(said)
    prompt, completion = token_count(body["messages"]), token_count([content, calls])
    used: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if body.get("prompt_cache_key"):
        used["prompt_tokens_details"] = {"cached_tokens": prompt // 2}
    frame = {"id": f"{request.number:032x}", "created": CREATED, "model": body["model"]}
    finish = openai_server.FINISH_REASONS[said.finish]
    if body.get("stream"):
        deltas = [{"role": "assistant", "content": ""}, *_deltas(said, calls)]
        return MockResponse(events=[*_events(body, frame, deltas, finish, used), openai_server.DONE])
    message = {"role": "assistant", "content": content, "tool_calls": calls}
    choices = [_choice(body, index, "message", message, finish) for index in range(body.get("n") or 1)]
    return json_response({**frame, "object": "chat.completion", "choices": choices, "usage": used})


def _choice(body: dict[str, Any], index: int, name: str, message: dict[str, Any], finish: str | None) -> dict[str, Any]:
    """`name`: `message` or `delta`."""
    choice = {"index": index, name: message, "finish_reason": finish}
    spoken = "".join(part.get("text", "") for part in as_parts(message["content"]))
    if body.get("logprobs") and spoken:
        tokens = openai_server.word_logprobs(spoken, body.get("top_logprobs") or 0)
        choice["logprobs"] = {"content": [{**token, "token_id": 7} for token in tokens]}
    return choice


def _content(said: ModelReply) -> Any:
    """A list where the model thought first, else text; nobody but the model refuses here, so it is text as well."""
    text = said.text or said.refusal
    if not said.thought:
        return text
    return [_thought(said.thought), *([{"type": "text", "text": text}] if text else [])]


def _thought(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}], "closed": True}


def _deltas(said: ModelReply, calls: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Calls come whole in the last delta; a thought's last piece and the first of the text come together."""
    thoughts = [{"type": "thinking", "thinking": [{"type": "text", "text": one}]} for one in split_words(said.thought)]
    texts = split_words(said.text or said.refusal)
    deltas: list[dict[str, Any]] = [{"content": [one]} for one in thoughts]
    if thoughts:
        first = [{"type": "text", "text": texts.pop(0)}] if texts else []
        deltas[-1] = {"content": [{**thoughts[-1], "closed": True}, *first]}
    deltas += [{"content": text} for text in texts]
    if calls:
        deltas.append({"content": "", "tool_calls": [{**call, "index": number} for number, call in enumerate(calls)]})
    return deltas


def _events(
    body: dict[str, Any], frame: dict[str, Any], deltas: list[dict[str, Any]], finish: str, used: dict[str, Any]
) -> Iterator[bytes]:
    """The finish reason stands in the last delta, usage beside the last of all, and padding beside any."""
    count = body.get("n") or 1
    for index in range(count):
        for number, delta in enumerate(deltas):
            last = number == len(deltas) - 1
            choice = _choice(body, index, "delta", delta, finish if last else None)
            more: dict[str, Any] = {"usage": used} if last and index == count - 1 else {"p": "abcdefgh"[: number % 8]}
            yield sse_event({**frame, "object": "chat.completion.chunk", "choices": [choice], **more})


API = ProviderApi(respond, error, _rate_limited, _error_event)
