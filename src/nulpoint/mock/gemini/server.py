"""The Gemini API (v1beta), and the OpenAI-compatible endpoint Google offers beside it."""

import re
from typing import Any

import msgspec

from nulpoint.mock.gemini.rules import (
    declared_functions,
    find_embedding_problem,
    find_problem,
    model_version,
    normalize,
    sign,
)
from nulpoint.mock.interface import (
    MockRequest,
    MockResponse,
    ProviderApi,
    json_response,
    sse_event,
    token_count,
    vector,
)
from nulpoint.mock.model import (
    ANY_OBJECT,
    SEARCH_SOURCE,
    ModelReply,
    ModelRequest,
    Tool,
    Turn,
    describe_media,
    generate_reply,
    split_words,
)
from nulpoint.mock.openai import server as openai_server

_COMPATIBLE = "/v1beta/openai/"
_CALL = re.compile(r"/v1beta/models/([^/:]+):(\w+)")
_MODEL = re.compile(r"(gemini|gemma|learnlm|text-embedding|embedding)\b")
_STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 402: "RESOURCE_EXHAUSTED", 403: "PERMISSION_DENIED",
    404: "NOT_FOUND", 409: "ABORTED", 429: "RESOURCE_EXHAUSTED", 499: "CANCELLED", 500: "INTERNAL",
    503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
_TYPE = "type.googleapis.com/google.rpc."


def respond(request: MockRequest) -> MockResponse:
    if request.path.startswith(_COMPATIBLE):
        request.path = "/v1/" + request.path.removeprefix(_COMPATIBLE)
        return openai_server.respond(request)
    key = request.headers.get("x-goog-api-key")
    if not key or key == "bad-key":
        reason = {"@type": f"{_TYPE}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
        return error(400, "API key not valid. Please pass a valid API key.", [reason])
    if request.path == "/v1beta/models":
        return json_response({"models": [{"name": "models/gemini-3.8-flash", "inputTokenLimit": 1_048_576}]})
    found = _CALL.fullmatch(request.path)
    verbs = {
        "generateContent": generate_content,
        "streamGenerateContent": stream_content,
        "batchEmbedContents": _embed_batch,
        "embedContent": _embed,
    }
    if found is None or found[2] not in verbs:
        return error(404, "Not found.")
    if not _MODEL.match(found[1]):
        text = f"models/{found[1]} is not found for API version v1beta, or is not supported for {found[2]}."
        return error(404, f"{text} Call ListModels to see the list of available models and their supported methods.")
    if not isinstance(request.body, dict):
        return error(400, "Invalid JSON payload received.")
    request.body = normalize(request.body)
    return verbs[found[2]](request, found[1])


def error(status: int, message: str, details: list[dict[str, Any]] | None = None) -> MockResponse:
    return json_response(_error(status, message, details), status)


def _error(status: int, message: str, details: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    body = {"code": status, "message": message, "status": _STATUSES.get(status, "UNKNOWN")}
    return {"error": {**body, **({"details": details} if details else {})}}


def _rate_limited(seconds: float) -> MockResponse:
    """Gemini has no Retry-After field: the wait stands in the details."""
    quota = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
    details: list[dict[str, Any]] = [{"@type": f"{_TYPE}QuotaFailure", "violations": [{"quotaId": quota}]}]
    text = "You exceeded your current quota, please check your plan and billing details."
    if seconds:
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{seconds:g}s"})
        text += f" Please retry in {seconds:g}s."
    return error(429, text, details)


def _error_event(status: int, message: str) -> bytes:
    """Inside a stream an error is plain JSON over several lines, and no event at all."""
    return msgspec.json.format(msgspec.json.encode(_error(status, message)), indent=2) + b"\r\n"


def _rejection_response(request: MockRequest, model: str) -> MockResponse | None:
    refusal = find_problem(request.body, model)
    if refusal is None:
        return None
    return error(400, refusal.message, _violations(refusal.message, refusal.paths))


def _violations(message: str, fields: tuple[str, ...]) -> list[dict[str, Any]]:
    lines = message.split("\n")
    broken = [{"field": field, "description": line} for field, line in zip(fields, lines, strict=False)]
    return [{"@type": f"{_TYPE}BadRequest", "fieldViolations": broken}] if broken else []


# -- what is asked -----------------------------------------------------------------------------------------------------


def _model_request(body: dict[str, Any], words: int) -> ModelRequest:
    config = body.get("generationConfig") or {}
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode, names = calling.get("mode", "AUTO").upper(), calling.get("allowedFunctionNames") or []
    functions = [] if mode == "NONE" else [one for one in declared_functions(body) if not names or one["name"] in names]
    thinking = config.get("thinkingConfig") or {}
    off = thinking.get("thinkingBudget") == 0 or str(thinking.get("thinkingLevel")).upper() == "MINIMAL"
    schema = config.get("responseJsonSchema", config.get("responseSchema", ANY_OBJECT))
    tools = body.get("tools") or []
    return ModelRequest(
        turns=[_turn(content) for content in _as_list(body["contents"])],
        word_count=words,
        system=_turn(body.get("systemInstruction") or {"parts": []}).text,
        tools=[Tool(one["name"], one.get("parametersJsonSchema") or one.get("parameters")) for one in functions],
        forced_tool="" if mode == "ANY" else None,
        output_schema=schema if config.get("responseMimeType") == "application/json" else None,
        thinking=bool(thinking) and not off,
        web_search=any("googleSearch" in tool for tool in tools),
        max_tokens=config.get("maxOutputTokens"),
        stop_sequences=config.get("stopSequences") or [],
    )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _turn(content: dict[str, Any]) -> Turn:
    parts = _as_list(content["parts"])
    responses = [part["functionResponse"] for part in parts if "functionResponse" in part]
    inside = [inner for response in responses for inner in _as_list(response.get("parts") or [])]
    return Turn(
        is_user=content.get("role") != "model",
        text=" ".join(part["text"] for part in parts if part.get("text", "").strip() and not part.get("thought")),
        results=[" ".join(str(value) for value in response["response"].values()) for response in responses],
        media=[seen for part in parts + inside for seen in _describe_media(part)],
    )


def _describe_media(part: dict[str, Any]) -> list[str]:
    if "inlineData" in part:
        return [describe_media(part["inlineData"]["mimeType"], part["inlineData"]["data"])]
    return [part["fileData"]["fileUri"]] if "fileData" in part else []


# -- what is answered --------------------------------------------------------------------------------------------------


def _parts(said: ModelReply, version: tuple[int, int], shown: bool) -> list[dict[str, Any]]:
    """From Gemini 3 on calls have ids, and the first one of a step its signature; before, only thinking signs."""
    signs = version >= (3, 0) or bool(said.thought)
    parts: list[dict[str, Any]] = [{"text": said.thought, "thought": True}] if said.thought and shown else []
    if said.text:
        parts.append({"text": said.text})
        if signs and not said.tool_calls:
            parts[-1]["thoughtSignature"] = sign(parts[-1])
    for number, wish in enumerate(said.tool_calls):
        call: dict[str, Any] = {"name": wish.name, "args": wish.arguments}
        if version >= (3, 0):
            call["id"] = f"mock{number}{wish.name}"[:16]
        parts.append({"functionCall": call})
        if number == 0 and signs:
            parts[-1]["thoughtSignature"] = sign(parts[-1])
    return parts


def _grounding(said: ModelReply) -> dict[str, Any]:
    url, title = SEARCH_SOURCE
    support = {"segment": {"startIndex": 0, "endIndex": len(said.text.encode()), "text": said.text}}
    return {
        "webSearchQueries": [said.search_query],
        "groundingChunks": [{"web": {"uri": url, "title": title}}],
        "groundingSupports": [{**support, "groundingChunkIndices": [0]}],
    }


def _usage(body: dict[str, Any], said: ModelReply, parts: list[dict[str, Any]]) -> dict[str, int]:
    """Thoughts are counted beside the candidates; what is cached is part of the prompt."""
    prompt = token_count([body["contents"], body.get("systemInstruction"), body.get("tools")])
    thoughts = token_count(said.thought) if said.thought else 0
    spoken = [part for part in parts if not part.get("thought")]
    written = token_count(spoken) if spoken else 0
    cached = prompt // 2 if body.get("cachedContent") else 0
    return {
        "promptTokenCount": prompt,
        **({"candidatesTokenCount": written} if written else {}),
        "totalTokenCount": prompt + written + thoughts,
        **({"thoughtsTokenCount": thoughts} if thoughts else {}),
        **({"cachedContentTokenCount": cached} if cached else {}),
    }


def _logprobs(parts: list[dict[str, Any]]) -> dict[str, Any]:
    spoken = "".join(part.get("text", "") for part in parts if not part.get("thought"))
    chosen = [{"token": token, "tokenId": 7, "logProbability": -0.1} for token in split_words(spoken)]
    return {"chosenCandidates": chosen, "topCandidates": [{"candidates": [one]} for one in chosen]}


class _GeminiReply:
    """One answer: its parts, and the frame around each piece of it."""

    def __init__(self, call: MockRequest, model: str) -> None:
        given = call.body
        config = given.get("generationConfig") or {}
        thinking = config.get("thinkingConfig") or {}
        self.said = generate_reply(_model_request(given, call.word_count))
        self.parts = _parts(self.said, model_version(model), bool(thinking.get("includeThoughts")))
        self.usage = _usage(given, self.said, self.parts)
        self.count = config.get("candidateCount") or 1
        self._likely = config.get("responseLogprobs")
        self._frame = {"modelVersion": model, "responseId": f"mock{call.number}"}

    def response(self, candidates: list[dict[str, Any]], usage: dict[str, int], **more: Any) -> dict[str, Any]:
        said = {"candidates": candidates} if candidates else {}
        return {**said, **more, "usageMetadata": usage, **self._frame}

    def blocked(self) -> dict[str, Any]:
        usage = {name: self.usage["promptTokenCount"] for name in ("promptTokenCount", "totalTokenCount")}
        return self.response([], usage, promptFeedback={"blockReason": "PROHIBITED_CONTENT"})

    def finish(self) -> dict[str, Any]:
        reason = "MAX_TOKENS" if self.said.finish == "length" else "STOP"
        return {
            "finishReason": reason,
            **({"groundingMetadata": _grounding(self.said)} if self.said.search_query else {}),
        }

    def candidate(self, index: int, parts: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        content = {"content": {"role": "model", "parts": parts}} if parts else {}
        likely = {"logprobsResult": _logprobs(parts)} if parts and self._likely else {}
        return {**content, **likely, **more, "index": index}


def generate_content(request: MockRequest, model: str) -> MockResponse:
    wrong = _rejection_response(request, model)
    if wrong is not None:
        return wrong
    telling = _GeminiReply(request, model)
    if telling.said.refusal:
        return json_response(telling.blocked())
    candidates = [telling.candidate(index, telling.parts, **telling.finish()) for index in range(telling.count)]
    return json_response(telling.response(candidates, telling.usage))


def stream_content(request: MockRequest, model: str) -> MockResponse:
    """Text in pieces, calls whole and one an event; the finish comes after them, with the usage that counts."""
    wrong = _rejection_response(request, model)
    if wrong is not None:
        return wrong
    telling = _GeminiReply(request, model)
    if telling.said.refusal:
        return MockResponse(events=[_event(telling.blocked())])
    early = {name: count for name, count in telling.usage.items() if name != "candidatesTokenCount"}
    events = []
    for index in range(telling.count):
        for part in telling.parts:
            events += [_event(telling.response([telling.candidate(index, [one])], early)) for one in _split_part(part)]
        finish = telling.candidate(index, [], **telling.finish())
        events.append(_event(telling.response([finish], telling.usage)))
    return MockResponse(events=events)


def _event(value: Any) -> bytes:
    return sse_event(value, line_end=b"\r\n")


def _split_part(part: dict[str, Any]) -> list[dict[str, Any]]:
    """A text's signature comes at its end, alone on an empty text."""
    if "text" not in part:
        return [part]
    more = {"thought": True} if part.get("thought") else {}
    signed = [{"text": "", "thoughtSignature": sign({"text": ""})}] if "thoughtSignature" in part else []
    return [*({"text": piece, **more} for piece in split_words(part["text"])), *signed]


# -- embeddings --------------------------------------------------------------------------------------------------------


def _embed_batch(request: MockRequest, model: str) -> MockResponse:
    refusal = find_embedding_problem(request.body, batch=True)
    if refusal is not None:
        return error(400, refusal.message, _violations(refusal.message, refusal.paths))
    return json_response({"embeddings": [_embedding(one) for one in request.body["requests"]]})


def _embed(request: MockRequest, model: str) -> MockResponse:
    refusal = find_embedding_problem(request.body, batch=False)
    if refusal is not None:
        return error(400, refusal.message, _violations(refusal.message, refusal.paths))
    return json_response({"embedding": _embedding(request.body)})


def _embedding(one: dict[str, Any]) -> dict[str, Any]:
    text = "".join(part.get("text", "") for part in _as_list(one["content"]["parts"]))
    return {"values": vector(text, one.get("outputDimensionality") or 768)}


API = ProviderApi(respond, error, _rate_limited, _error_event)
