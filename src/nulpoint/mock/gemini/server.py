"""A mock of the Gemini API (v1beta) and of Google's OpenAI-compatible endpoint."""

import re
from datetime import date
from typing import Any

import msgspec

from nulpoint.mock.gemini.models import GeminiModel, find_model, serving_model
from nulpoint.mock.gemini.rules import (
    declared_functions,
    find_embedding_problem,
    find_problem,
    normalize,
    sign,
)
from nulpoint.mock.interface import (
    MockRequest,
    MockResponse,
    ProviderApi,
    json_response,
    signature,
    sorted_json,
    sse_event,
    token_count,
    vector,
)
from nulpoint.mock.model import (
    ANY_OBJECT,
    CONTINUATION_PROMPT,
    SEARCH_SOURCE,
    ModelReply,
    ModelRequest,
    Tool,
    Turn,
    describe_media,
    generate_reply,
    split_words,
)
from nulpoint.mock.model_table import is_retired
from nulpoint.mock.openai import server as openai_server

_OPENAI_PREFIX = "/v1beta/openai/"
_METHOD_PATH = re.compile(r"/v1beta/models/([^/:]+):(\w+)")
_KNOWN_MODELS = re.compile(r"(gemini|gemma|learnlm|text-embedding|embedding)\b")
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_TYPE_PREFIX = "type.googleapis.com/google.rpc."


def respond(request: MockRequest) -> MockResponse:
    if request.path.startswith(_OPENAI_PREFIX):
        request.path = "/v1/" + request.path.removeprefix(_OPENAI_PREFIX)
        return openai_server.respond(request)
    key = request.headers.get("x-goog-api-key")
    if not key or key == "bad-key":
        reason = {"@type": f"{_TYPE_PREFIX}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
        return error(400, "API key not valid. Please pass a valid API key.", [reason])
    if request.path == "/v1beta/models":
        return json_response({"models": [{"name": "models/gemini-3.8-flash", "inputTokenLimit": 1_048_576}]})
    match = _METHOD_PATH.fullmatch(request.path)
    methods = {
        "generateContent": generate_content,
        "streamGenerateContent": stream_content,
        "batchEmbedContents": _embed_batch,
        "embedContent": _embed,
    }
    if match is None or match[2] not in methods:
        return error(404, "Not found.")
    if not _serves(match[1], match[2], request.today):
        text = f"models/{match[1]} is not found for API version v1beta, or is not supported for {match[2]}."
        return error(404, f"{text} Call ListModels to see the list of available models and their supported methods.")
    if not isinstance(request.body, dict):
        return error(400, "Invalid JSON payload received.")
    request.body = normalize(request.body)
    return methods[match[2]](request, match[1])


def _serves(name: str, method: str, today: date) -> bool:
    """Return whether there is a model of this name on this day that has the method."""
    model = find_model(name)
    chats = method in ("generateContent", "streamGenerateContent")
    has_method = not model.embeds if chats else method in model.embeds.get("gemini", ())
    return bool(_KNOWN_MODELS.match(name)) and has_method and not is_retired(model, "gemini", today)


def error(
    status: int, message: str, details: list[dict[str, Any]] | None = None, kind: str | None = None
) -> MockResponse:
    """Return an error; `kind` is its name if that is not the usual one of the status."""
    return json_response(_error(status, message, details, kind), status)


def _error(
    status: int, message: str, details: list[dict[str, Any]] | None = None, kind: str | None = None
) -> dict[str, Any]:
    body = {"code": status, "message": message, "status": kind or _STATUSES.get(status, "UNKNOWN")}
    return {"error": {**body, **({"details": details} if details else {})}}


def _rate_limited(seconds: float) -> MockResponse:
    """Return a 429 with the wait in its details: Gemini sends no Retry-After header."""
    quota = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
    details: list[dict[str, Any]] = [{"@type": f"{_TYPE_PREFIX}QuotaFailure", "violations": [{"quotaId": quota}]}]
    text = "You exceeded your current quota, please check your plan and billing details."
    if seconds:
        details.append({"@type": f"{_TYPE_PREFIX}RetryInfo", "retryDelay": f"{seconds:g}s"})
        text += f" Please retry in {seconds:g}s."
    return error(429, text, details)


def _error_event(status: int, message: str) -> bytes:
    """Encode an error inside a stream: Gemini sends JSON over several lines instead of an event."""
    return msgspec.json.format(msgspec.json.encode(_error(status, message)), indent=2) + b"\r\n"


def _rejection_response(request: MockRequest, model: str, host: str) -> MockResponse | None:
    rejection = find_problem(request.body, model, host=host)
    if rejection is None:
        return None
    return error(400, rejection.message, _violations(rejection.message, rejection.paths))


def _violations(message: str, fields: tuple[str, ...]) -> list[dict[str, Any]]:
    lines = message.split("\n")
    violations = [{"field": field, "description": line} for field, line in zip(fields, lines, strict=False)]
    return [{"@type": f"{_TYPE_PREFIX}BadRequest", "fieldViolations": violations}] if violations else []


# -- translation of requests -------------------------------------------------------------------------------------------


def _model_request(body: dict[str, Any], words: int) -> ModelRequest:
    config = body.get("generationConfig") or {}
    calling_config = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode, names = calling_config.get("mode", "AUTO").upper(), calling_config.get("allowedFunctionNames") or []
    functions = (
        []
        if mode == "NONE"
        else [function for function in declared_functions(body) if not names or function["name"] in names]
    )
    thinking = config.get("thinkingConfig") or {}
    disabled = thinking.get("thinkingBudget") == 0 or str(thinking.get("thinkingLevel")).upper() == "MINIMAL"
    schema = config.get("responseJsonSchema", config.get("responseSchema", ANY_OBJECT))
    tools = body.get("tools") or []
    return ModelRequest(
        turns=[_turn(content) for content in _as_list(body["contents"])],
        word_count=words,
        system=_turn(body.get("systemInstruction") or {"parts": []}).text,
        tools=[
            Tool(function["name"], function.get("parametersJsonSchema") or function.get("parameters"))
            for function in functions
        ],
        forced_tool="" if mode == "ANY" else None,
        output_schema=schema if config.get("responseMimeType") == "application/json" else None,
        thinking=bool(thinking) and not disabled,
        web_search=any("googleSearch" in tool for tool in tools),
        max_tokens=config.get("maxOutputTokens"),
        stop_sequences=config.get("stopSequences") or [],
    )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _turn(content: dict[str, Any]) -> Turn:
    parts = _as_list(content["parts"])
    responses = [part["functionResponse"] for part in parts if "functionResponse" in part]
    nested = [inner for response in responses for inner in _as_list(response.get("parts") or [])]
    return Turn(
        is_user=content.get("role") != "model",
        text=" ".join(part["text"] for part in parts if part.get("text", "").strip() and not part.get("thought")),
        results=[" ".join(str(value) for value in response["response"].values()) for response in responses],
        media=[description for part in parts + nested for description in _describe_media(part)],
    )


def _describe_media(part: dict[str, Any]) -> list[str]:
    if "inlineData" in part:
        return [describe_media(part["inlineData"]["mimeType"], part["inlineData"]["data"])]
    return [part["fileData"]["fileUri"]] if "fileData" in part else []


# -- translation of replies --------------------------------------------------------------------------------------------


def _parts(reply: ModelReply, model: GeminiModel, show_thought: bool) -> list[dict[str, Any]]:
    """Return the parts of a reply.

    From Gemini 3 on, calls have ids, and the first call of a step has a signature. Older models sign only if they
    think.
    """
    has_signatures = model.signs_calls or bool(reply.thought)
    parts: list[dict[str, Any]] = [{"text": reply.thought, "thought": True}] if reply.thought and show_thought else []
    if reply.text:
        parts.append({"text": reply.text})
        if has_signatures and not reply.tool_calls:
            parts[-1]["thoughtSignature"] = sign(parts[-1])
    for number, tool_call in enumerate(reply.tool_calls):
        call: dict[str, Any] = {"name": tool_call.name, "args": tool_call.arguments}
        if model.signs_calls:
            call["id"] = f"mock{number}{tool_call.name}"[:16]
        parts.append({"functionCall": call})
        if number == 0 and has_signatures:
            parts[-1]["thoughtSignature"] = sign(parts[-1])
    return parts


def _grounding(reply: ModelReply) -> dict[str, Any]:
    url, title = SEARCH_SOURCE
    support = {"segment": {"startIndex": 0, "endIndex": len(reply.text.encode()), "text": reply.text}}
    return {
        "webSearchQueries": [reply.search_query],
        "groundingChunks": [{"web": {"uri": url, "title": title}}],
        "groundingSupports": [{**support, "groundingChunkIndices": [0]}],
    }


def _usage(body: dict[str, Any], reply: ModelReply, parts: list[dict[str, Any]]) -> dict[str, int]:
    """Return the usage. Thoughts are not part of the candidates' tokens; cached tokens are part of the prompt's."""
    prompt = token_count([body["contents"], body.get("systemInstruction"), body.get("tools")])
    thoughts = token_count(reply.thought) if reply.thought else 0
    visible_parts = [part for part in parts if not part.get("thought")]
    candidate_tokens = token_count(visible_parts) if visible_parts else 0
    cached = prompt // 2 if body.get("cachedContent") else 0
    return {
        "promptTokenCount": prompt,
        **({"candidatesTokenCount": candidate_tokens} if candidate_tokens else {}),
        "totalTokenCount": prompt + candidate_tokens + thoughts,
        **({"thoughtsTokenCount": thoughts} if thoughts else {}),
        **({"cachedContentTokenCount": cached} if cached else {}),
    }


def _logprobs(parts: list[dict[str, Any]]) -> dict[str, Any]:
    text = "".join(part.get("text", "") for part in parts if not part.get("thought"))
    chosen = [{"token": token, "tokenId": 7, "logProbability": -0.1} for token in split_words(text)]
    return {"chosenCandidates": chosen, "topCandidates": [{"candidates": [candidate]} for candidate in chosen]}


class _GeminiReply:
    """A reply: its parts, and the frame around each piece that is sent."""

    def __init__(self, call: MockRequest, model: str) -> None:
        body = call.body
        config = body.get("generationConfig") or {}
        thinking = config.get("thinkingConfig") or {}
        self.reply = generate_reply(_model_request(body, call.word_count))
        self.token = _continuation_token(body) if find_model(model).continues and _is_long(body) else None
        if self.token:
            self.reply.text = _half(self.reply.text, second="continuationToken" in body)
            self.token = None if "continuationToken" in body else self.token
        self.parts = _parts(self.reply, find_model(model), bool(thinking.get("includeThoughts")))
        self.usage = _usage(body, self.reply, self.parts)
        self.count = config.get("candidateCount") or 1
        self.with_logprobs = config.get("responseLogprobs")
        self._frame = {"modelVersion": model, "responseId": f"mock{call.number}"}

    def response(self, candidates: list[dict[str, Any]], usage: dict[str, int], **more: Any) -> dict[str, Any]:
        content = {"candidates": candidates} if candidates else {}
        return {**content, **more, "usageMetadata": usage, **self._frame}

    def blocked(self) -> dict[str, Any]:
        usage = {name: self.usage["promptTokenCount"] for name in ("promptTokenCount", "totalTokenCount")}
        return self.response([], usage, promptFeedback={"blockReason": "PROHIBITED_CONTENT"})

    def finish(self) -> dict[str, Any]:
        reason = "CONTINUATION" if self.token else "MAX_TOKENS" if self.reply.finish == "length" else "STOP"
        return {
            "finishReason": reason,
            **({"continuationToken": self.token} if self.token else {}),
            **({"groundingMetadata": _grounding(self.reply)} if self.reply.search_query else {}),
        }

    def candidate(self, index: int, parts: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        content = {"content": {"role": "model", "parts": parts}} if parts else {}
        logprobs = {"logprobsResult": _logprobs(parts)} if parts and self.with_logprobs else {}
        return {**content, **logprobs, **more, "index": index}


def _is_long(body: dict[str, Any]) -> bool:
    """Return whether the prompt asks for a response in two parts."""
    return CONTINUATION_PROMPT in sorted_json(body["contents"]).lower()


def _continuation_token(body: dict[str, Any]) -> str:
    """Return the token that continues the response to a request; the request must then be the same."""
    return signature("continuation", sorted_json([body["contents"], body.get("systemInstruction")]))


def _half(text: str, *, second: bool) -> str:
    words = split_words(text)
    middle = (len(words) + 1) // 2
    return "".join(words[middle:] if second else words[:middle])


def generate_content(request: MockRequest, model: str, host: str = "gemini") -> MockResponse:
    model = serving_model(model, host, request.today)
    rejection = _rejection_response(request, model, host)
    if rejection is not None:
        return rejection
    if request.body.get("continuationToken") not in (None, _continuation_token(request.body)):
        return error(400, "Invalid continuation token.")
    reply = _GeminiReply(request, model)
    if reply.reply.refusal:
        return json_response(reply.blocked())
    candidates = [reply.candidate(index, reply.parts, **reply.finish()) for index in range(reply.count)]
    return json_response(reply.response(candidates, reply.usage))


def stream_content(request: MockRequest, model: str, host: str = "gemini") -> MockResponse:
    """Stream text in pieces and every call in one event, followed by the finish reason with the final usage."""
    model = serving_model(model, host, request.today)
    rejection = _rejection_response(request, model, host)
    if rejection is not None:
        return rejection
    if request.body.get("continuationToken") not in (None, _continuation_token(request.body)):
        return error(400, "Invalid continuation token.")
    reply = _GeminiReply(request, model)
    if reply.reply.refusal:
        return MockResponse(events=[_event(reply.blocked())])
    interim_usage = {name: count for name, count in reply.usage.items() if name != "candidatesTokenCount"}
    events = []
    for index in range(reply.count):
        for part in reply.parts:
            events += [
                _event(reply.response([reply.candidate(index, [piece])], interim_usage)) for piece in _split_part(part)
            ]
        finish = reply.candidate(index, [], **reply.finish())
        events.append(_event(reply.response([finish], reply.usage)))
    return MockResponse(events=events)


def _event(value: Any) -> bytes:
    return sse_event(value, line_end=b"\r\n")


def _split_part(part: dict[str, Any]) -> list[dict[str, Any]]:
    """Split a part for a stream. The signature of a text comes at its end, on an empty text."""
    if "text" not in part:
        return [part]
    more = {"thought": True} if part.get("thought") else {}
    signature_part = [{"text": "", "thoughtSignature": sign({"text": ""})}] if "thoughtSignature" in part else []
    return [*({"text": piece, **more} for piece in split_words(part["text"])), *signature_part]


# -- embeddings --------------------------------------------------------------------------------------------------------


def _embed_batch(request: MockRequest, model: str) -> MockResponse:
    return embed(request, batch=True)


def _embed(request: MockRequest, model: str) -> MockResponse:
    return embed(request, batch=False)


def embed(request: MockRequest, *, batch: bool) -> MockResponse:
    """Respond to embedContent or batchEmbedContents."""
    rejection = find_embedding_problem(request.body, batch=batch)
    if rejection is not None:
        return error(400, rejection.message, _violations(rejection.message, rejection.paths))
    if batch:
        return json_response({"embeddings": [_embedding(item) for item in request.body["requests"]]})
    usage = {"promptTokenCount": token_count(request.body["content"])}
    return json_response({"embedding": _embedding(request.body), "usageMetadata": usage})


def _embedding(item: dict[str, Any]) -> dict[str, Any]:
    text = "".join(part.get("text", "") for part in _as_list(item["content"]["parts"]))
    size = item.get("outputDimensionality") or (item.get("embedContentConfig") or {}).get("outputDimensionality")
    return {"values": vector(text, size or 768)}


API = ProviderApi(respond, error, _rate_limited, _error_event)
