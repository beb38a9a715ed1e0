"""The Mistral API: nearly OpenAI's, but strict about what it does not know and with ways of its own in streams."""

import re
from collections.abc import Iterator
from typing import Any

from nulpoint.mock.answers import CREATED, Answer, Call, Dialect, event, json_answer, token_count
from nulpoint.mock.mistral.rules import CHAT, EMBEDDINGS, problem, unknown
from nulpoint.mock.model import Reply, pieces, reply
from nulpoint.mock.openai import server as openai_server
from nulpoint.mock.openai.rules import parts_of

_MODEL = re.compile(r"(mistral|magistral|ministral|codestral|devstral|pixtral|voxtral|open-mi)")
_KINDS = {401: "unauthorized", 402: "billing_error", 403: "forbidden", 404: "not_found", 429: "rate_limited"}


def answer(call: Call) -> Answer:
    if not call.headers.get("authorization", "").startswith("Bearer ") or "bad-key" in call.headers["authorization"]:
        return json_answer({"detail": "Invalid API Key"}, 401)
    if call.path == "/v1/models":
        return json_answer({"object": "list", "data": [{"id": "mistral-large-latest", "object": "model"}]})
    route = {"/v1/chat/completions": _chat, "/v1/embeddings": _embeddings}.get(call.path)
    if route is None or not isinstance(call.body, dict):
        return json_answer({"message": "no Route matched with those values"}, 404)
    found = route(call)
    found.headers = {"mistral-correlation-id": f"mock{call.number}", **found.headers}
    return found


def error(status: int, message: str) -> Answer:
    return json_answer(_error(status, message), status)


def _error(status: int, message: str, kind: str | None = None, code: str | None = None) -> dict[str, Any]:
    usual = _KINDS.get(status, "invalid_request_error" if status < 500 else "internal_server_error")
    body = {"object": "error", "message": message, "type": kind or usual, "param": None}
    return {**body, "code": code or ("1300" if status == 429 else None), "raw_status_code": status}


def _rate_limited(seconds: float) -> Answer:
    limited = error(429, "Rate limit exceeded")
    limited.headers = {"retry-after": f"{seconds:g}"} if seconds else {}
    return limited


def _error_event(status: int, message: str) -> bytes:
    return event(_error(status, message))


def _wrong(body: dict[str, Any], shape: Any) -> Answer | None:
    details = unknown(body, shape)
    if details:
        return json_answer({"detail": details}, 422)
    if not _MODEL.match(body["model"]):
        return json_answer(_error(400, f"Invalid model: {body['model']}", "invalid_model", "1500"), 400)
    refusal = problem(body) if shape is CHAT else None
    return json_answer(_error(400, *refusal), 400) if refusal else None


def _embeddings(call: Call) -> Answer:
    body = call.body
    call.body = {**body, "dimensions": body.get("output_dimension") or 1024}
    return _wrong(body, EMBEDDINGS) or openai_server.embeddings(call)


def _chat(call: Call) -> Answer:
    body = call.body
    wrong = _wrong(body, CHAT)
    if wrong is not None:
        return wrong
    said = reply(openai_server.asked(body, call.words))
    calls = openai_server.calls_of(said, "mock{:05d}") or None
    content = _content(said)
    prompt, completion = token_count(body["messages"]), token_count([content, calls])
    used: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if body.get("prompt_cache_key"):
        used["prompt_tokens_details"] = {"cached_tokens": prompt // 2}
    frame = {"id": f"{call.number:032x}", "created": CREATED, "model": body["model"]}
    finish = openai_server.FINISHES[said.finish]
    if body.get("stream"):
        deltas = [{"role": "assistant", "content": ""}, *_deltas(said, calls)]
        return Answer(events=[*_events(body, frame, deltas, finish, used), openai_server.DONE])
    message = {"role": "assistant", "content": content, "tool_calls": calls}
    choices = [_choice(body, index, "message", message, finish) for index in range(body.get("n") or 1)]
    return json_answer({**frame, "object": "chat.completion", "choices": choices, "usage": used})


def _choice(body: dict[str, Any], index: int, name: str, message: dict[str, Any], finish: str | None) -> dict[str, Any]:
    """`name`: `message` or `delta`."""
    choice = {"index": index, name: message, "finish_reason": finish}
    spoken = "".join(part.get("text", "") for part in parts_of(message["content"]))
    if body.get("logprobs") and spoken:
        tokens = openai_server.logprobs_of(spoken, body.get("top_logprobs") or 0)
        choice["logprobs"] = {"content": [{**token, "token_id": 7} for token in tokens]}
    return choice


def _content(said: Reply) -> Any:
    """A list where the model thought first, else text; nobody but the model refuses here, so it is text as well."""
    text = said.text or said.refusal
    if not said.thought:
        return text
    return [_thought(said.thought), *([{"type": "text", "text": text}] if text else [])]


def _thought(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}], "closed": True}


def _deltas(said: Reply, calls: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Calls come whole in the last delta; a thought's last piece and the first of the text come together."""
    thoughts = [{"type": "thinking", "thinking": [{"type": "text", "text": one}]} for one in pieces(said.thought)]
    texts = pieces(said.text or said.refusal)
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
            yield event({**frame, "object": "chat.completion.chunk", "choices": [choice], **more})


DIALECT = Dialect(answer, error, _rate_limited, _error_event)
