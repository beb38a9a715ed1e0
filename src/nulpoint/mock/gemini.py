"""The Gemini API (v1beta), and the OpenAI-compatible endpoint Google offers beside it."""

import re
from typing import Any

from nulpoint.mock import openai
from nulpoint.mock.answers import Answer, Call, event, example, json_answer, token_count, vector, words

_COMPATIBLE = "/v1beta/openai/"
_CALL = re.compile(r"/v1beta/models/([^/:]+):(\w+)")
_STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip


def answer(call: Call) -> Answer:
    if call.path.startswith(_COMPATIBLE):
        call.path = "/v1/" + call.path.removeprefix(_COMPATIBLE)
        return openai.answer(call)
    key = call.headers.get("x-goog-api-key")
    if not key or key == "bad-key":
        return error(400, "API key not valid. Please pass a valid API key.", reason="API_KEY_INVALID")
    if call.path == "/v1beta/models":
        return json_answer({"models": [{"name": "models/gemini-2.5-flash", "inputTokenLimit": 1_048_576}]})
    found = _CALL.fullmatch(call.path)
    verbs = {
        "generateContent": _generate,
        "streamGenerateContent": _stream,
        "batchEmbedContents": _embed_batch,
        "embedContent": _embed,
    }
    if found is None or found[2] not in verbs:
        return error(404, "Not found.")
    if found[1] == "no-such-model":
        return error(404, "models/no-such-model is not found for API version v1beta")
    if not isinstance(call.body, dict):
        return error(400, "Invalid JSON payload received.")
    return verbs[found[2]](call, found[1])


def error(status: int, message: str, reason: str | None = None, retry_after: float | None = None) -> Answer:
    details: list[dict[str, Any]] = []
    if reason:
        details.append({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason})
    if retry_after is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{retry_after:g}s"})
    body = {"code": status, "message": message, "status": _STATUSES.get(status, "UNKNOWN"), "details": details}
    return json_answer({"error": body}, status)


def _parts(call: Call) -> list[dict[str, Any]]:
    contents = call.body.get("contents") or []
    last = contents[-1].get("parts", []) if contents else []
    declared = [f for tool in call.body.get("tools") or () for f in tool.get("functionDeclarations") or ()]
    answered = any("functionResponse" in part for part in last)
    mode = ((call.body.get("toolConfig") or {}).get("functionCallingConfig") or {}).get("mode")
    if declared and not answered and mode != "NONE":
        wanted = declared if any("parallel" in part.get("text", "") for part in last) else declared[:1]
        return [
            {"functionCall": {"name": f["name"], "args": example(f.get("parametersJsonSchema") or f.get("parameters"))}}
            for f in wanted
        ]
    return [{"text": piece} for piece in words(call.words)]


def _response(call: Call, model: str, parts: list[dict[str, Any]], finish: str | None, tokens: int) -> dict[str, Any]:
    prompt = token_count(call.body.get("contents"))
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    used = {"promptTokenCount": prompt, "candidatesTokenCount": tokens, "totalTokenCount": prompt + tokens}
    return {
        "candidates": [candidate],
        "usageMetadata": used,
        "modelVersion": model,
        "responseId": f"mock{call.number}",
    }


def _generate(call: Call, model: str) -> Answer:
    parts = _parts(call)
    if "text" in parts[0]:
        parts = [{"text": "".join(part["text"] for part in parts)}]
    return json_answer(_response(call, model, parts, "STOP", token_count(parts)))


def _stream(call: Call, model: str) -> Answer:
    parts = _parts(call)
    events = [event(_response(call, model, [part], None, i + 1), end=b"\r\n") for i, part in enumerate(parts)]
    last = _response(call, model, [{"text": ""}], "STOP", token_count(parts))
    return Answer(events=[*events, event(last, end=b"\r\n")])


def _embed_batch(call: Call, model: str) -> Answer:
    return json_answer({"embeddings": [_embedding(one) for one in call.body.get("requests") or ()]})


def _embed(call: Call, model: str) -> Answer:
    return json_answer({"embedding": _embedding(call.body)})


def _embedding(one: dict[str, Any]) -> dict[str, Any]:
    text = "".join(part.get("text", "") for part in (one.get("content") or {}).get("parts", ()))
    return {"values": vector(text, one.get("outputDimensionality") or 768)}
