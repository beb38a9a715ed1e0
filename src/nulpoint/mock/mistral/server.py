"""A mock of the Mistral API, which resembles OpenAI's but rejects unknown members and streams differently."""

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
from nulpoint.mock.mistral.models import find_model
from nulpoint.mock.mistral.rules import CHAT, EMBEDDINGS, find_problem, validation_errors
from nulpoint.mock.model import ModelReply, generate_reply, split_words
from nulpoint.mock.model_table import is_retired
from nulpoint.mock.openai import server as openai_server
from nulpoint.mock.openai.rules import as_parts

_KNOWN_MODELS = re.compile(r"(mistral|magistral|ministral|codestral|devstral|pixtral|voxtral|open-mi|zai-glm|deepseek)")
_ERROR_TYPES = {401: "unauthorized", 402: "billing_error", 403: "forbidden", 404: "not_found", 429: "rate_limited"}


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
    response = route(request)
    response.headers = {"mistral-correlation-id": f"mock{request.number}", **response.headers}
    return response


def error(status: int, message: str) -> MockResponse:
    return json_response(_error(status, message), status)


def _error(status: int, message: str, type: str | None = None, code: str | None = None) -> dict[str, Any]:
    default_type = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "internal_server_error")
    body = {"object": "error", "message": message, "type": type or default_type, "param": None}
    return {**body, "code": code or ("1300" if status == 429 else None), "raw_status_code": status}


def _rate_limited(seconds: float) -> MockResponse:
    response = error(429, "Rate limit exceeded")
    response.headers = {"retry-after": f"{seconds:g}"} if seconds else {}
    return response


def _error_event(status: int, message: str) -> bytes:
    return sse_event(_error(status, message))


def _rejection_response(request: MockRequest, schema: Any) -> MockResponse | None:
    body = request.body
    details = validation_errors(body, schema)
    if details:
        return json_response({"detail": details}, 422)
    if not _KNOWN_MODELS.match(body["model"]):
        return json_response(_error(400, f"Invalid model: {body['model']}", "invalid_model", "1500"), 400)
    if is_retired(find_model(body["model"]), "mistral", request.today):
        return json_response(_error(404, f"Invalid model: {body['model']}", "invalid_model", "1500"), 404)
    rejection = find_problem(body) if schema is CHAT else None
    return json_response(_error(400, *rejection), 400) if rejection else None


def _embeddings(request: MockRequest) -> MockResponse:
    rejection = _rejection_response(request, EMBEDDINGS)
    request.body = {**request.body, "dimensions": request.body.get("output_dimension") or 1024}
    return rejection or openai_server.embeddings_response(request)


def _chat(request: MockRequest) -> MockResponse:
    body = request.body
    rejection = _rejection_response(request, CHAT)
    if rejection is not None:
        return rejection
    model_request = openai_server.model_request(body, request.word_count)
    model_request.thinking |= find_model(body["model"]).thinks_unasked and body.get("reasoning_effort") != "none"
    reply = generate_reply(model_request)
    tool_calls = openai_server.tool_calls(reply, "mock{:05d}") or None
    content = _content(reply)
    prompt, completion = token_count(body["messages"]), token_count([content, tool_calls])
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if body.get("prompt_cache_key"):
        usage["prompt_tokens_details"] = {"cached_tokens": prompt // 2}
    frame = {"id": f"{request.number:032x}", "created": CREATED, "model": body["model"]}
    finish = openai_server.FINISH_REASONS[reply.finish]
    if body.get("stream"):
        deltas = [{"role": "assistant", "content": ""}, *_deltas(reply, tool_calls)]
        return MockResponse(events=[*_events(body, frame, deltas, finish, usage), openai_server.DONE])
    message = {"role": "assistant", "content": content, "tool_calls": tool_calls}
    choices = [_choice(body, index, "message", message, finish) for index in range(body.get("n") or 1)]
    return json_response({**frame, "object": "chat.completion", "choices": choices, "usage": usage})


def _choice(body: dict[str, Any], index: int, name: str, message: dict[str, Any], finish: str | None) -> dict[str, Any]:
    """Return one choice; `name` is `message` or `delta`."""
    choice = {"index": index, name: message, "finish_reason": finish}
    text = "".join(part.get("text", "") for part in as_parts(message["content"]))
    if body.get("logprobs") and text:
        tokens = openai_server.word_logprobs(text, body.get("top_logprobs") or 0)
        choice["logprobs"] = {"content": [{**token, "token_id": 7} for token in tokens]}
    return choice


def _content(reply: ModelReply) -> Any:
    """Return the content: a list if the model thought first, else text. Mistral sends refusals as text too."""
    text = reply.text or reply.refusal
    if not reply.thought:
        return text
    return [_thought(reply.thought), *([{"type": "text", "text": text}] if text else [])]


def _thought(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}], "closed": True}


def _deltas(reply: ModelReply, tool_calls: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Return the deltas of a stream.

    Tool calls come complete in the last delta. The last piece of a thought shares a delta with the first piece of text.
    """
    thoughts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": piece}]} for piece in split_words(reply.thought)
    ]
    texts = split_words(reply.text or reply.refusal)
    deltas: list[dict[str, Any]] = [{"content": [piece]} for piece in thoughts]
    if thoughts:
        first_text = [{"type": "text", "text": texts.pop(0)}] if texts else []
        deltas[-1] = {"content": [{**thoughts[-1], "closed": True}, *first_text]}
    deltas += [{"content": text} for text in texts]
    if tool_calls:
        deltas.append(
            {"content": "", "tool_calls": [{**call, "index": number} for number, call in enumerate(tool_calls)]}
        )
    return deltas


def _events(
    body: dict[str, Any], frame: dict[str, Any], deltas: list[dict[str, Any]], finish: str, usage: dict[str, Any]
) -> Iterator[bytes]:
    """Encode the events. The last delta has the finish reason, the very last one the usage, and the others padding."""
    count = body.get("n") or 1
    for index in range(count):
        for number, delta in enumerate(deltas):
            is_last = number == len(deltas) - 1
            choice = _choice(body, index, "delta", delta, finish if is_last else None)
            extra: dict[str, Any] = (
                {"usage": usage} if is_last and index == count - 1 else {"p": "abcdefgh"[: number % 8]}
            )
            yield sse_event({**frame, "object": "chat.completion.chunk", "choices": [choice], **extra})


API = ProviderApi(respond, error, _rate_limited, _error_event)
