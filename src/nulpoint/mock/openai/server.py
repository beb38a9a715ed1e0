"""The OpenAI API, and with small differences the compatible endpoints of others."""

from collections.abc import Iterator
from typing import Any

import msgspec

from nulpoint.mock.answers import (
    CREATED,
    Answer,
    Call,
    Dialect,
    event,
    json_answer,
    json_text,
    packed,
    token_count,
    vector,
)
from nulpoint.mock.model import (
    ANY_OBJECT,
    SOURCE,
    Asked,
    Reply,
    Tool,
    Turn,
    fragments,
    media_of,
    pieces,
    reply,
    sight,
    words,
)
from nulpoint.mock.openai.rules import parts_of, problem

DONE = b"data: [DONE]\n\n"
MODELS = ("gpt-5.4", "gpt-5.4-mini", "gpt-5.2", "gpt-6-sol", "text-embedding-3-small")
FINISHES = {"stop": "stop", "length": "length", "sequence": "stop", "calls": "tool_calls", "refusal": "stop"}
_SYSTEM = ("system", "developer")
_DIMENSIONS = {"text-embedding-3-large": 3072}
_CACHED = 1024  # prompts of so many tokens count as cached, in steps of 128
_LIMITS = {429: "rate_limit_exceeded", 503: "server_is_overloaded"}


def answer(call: Call) -> Answer:
    """Dispatch by path; whatever is wrong is answered as OpenAI does."""
    refused = _refused(call)
    if refused is not None:
        return refused
    if call.path == "/v1/models":
        return json_answer({"object": "list", "data": [_model(name) for name in MODELS]})
    if call.path.startswith("/v1/models/"):
        return json_answer(_model(call.path.removeprefix("/v1/models/")))
    route = {"/v1/chat/completions": chat, "/v1/completions": completions, "/v1/embeddings": embeddings}.get(call.path)
    found = route(call) if route else error(404, f"Unknown request URL: POST {call.path}", "unknown_url")
    found.headers = {**_headers(call), **found.headers}
    return found


def error(status: int, message: str, code: str | None = None, param: str | None = None) -> Answer:
    return json_answer(_error(status, message, code, param), status)


def _error(status: int, message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    kind = "requests" if status == 429 else "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code or _LIMITS.get(status)}}


def _rate_limited(seconds: float) -> Answer:
    limited = error(429, "Rate limit reached for requests")
    limited.headers = {"retry-after": f"{seconds:g}"} if seconds else {}
    return limited


def _error_event(status: int, message: str) -> bytes:
    return event(_error(status, message))


def _refused(call: Call) -> Answer | None:
    key = call.headers.get("authorization", "").removeprefix("Bearer ")
    if not key or key == "bad-key":
        shown = f"Incorrect API key provided: {key[:4]}****." if key else "You didn't provide an API key."
        return error(401, shown, "invalid_api_key")
    if call.method == "POST" and not isinstance(call.body, dict):
        return error(400, "We could not parse the JSON body of your request.")
    if call.method == "POST" and str(call.body.get("model")).startswith("no-such"):
        return error(404, f"The model `{call.body['model']}` does not exist", "model_not_found")
    return None


def _headers(call: Call) -> dict[str, str]:
    return {
        "x-request-id": f"req_mock{call.number}",
        "openai-processing-ms": "12",
        "openai-version": "2020-10-01",
        "openai-organization": "org-mock",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-reset-requests": "6ms",
        "set-cookie": "__cf_bm=mock; path=/; HttpOnly",
        "server": "cloudflare",
    }


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "openai"}


def usage(prompt: int, completion: int, reasoning: int = 0) -> dict[str, Any]:
    """Reasoning is part of the completion, what is cached is part of the prompt."""
    cached = prompt // 128 * 128 if prompt >= _CACHED else 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion + reasoning,
        "total_tokens": prompt + completion + reasoning,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": 0},
    }


# -- chat: what is asked -----------------------------------------------------------------------------------------------


def asked(body: dict[str, Any], count: int) -> Asked:
    """Also for Mistral, whose requests are nearly the same."""
    tools, choice = body.get("tools") or [], body.get("tool_choice")
    functions = [tool["function"] for tool in tools if isinstance(tool.get("function"), dict)]
    wanted = body.get("response_format") or {}
    schema = (wanted.get("json_schema") or {}).get("schema", ANY_OBJECT)
    stop = body.get("stop") or []
    return Asked(
        turns=[_turn(message) for message in body["messages"]],
        words=count,
        system=" ".join(_turn(message).text for message in body["messages"] if message["role"] in _SYSTEM),
        tools=[] if choice == "none" else [Tool(one["name"], one.get("parameters")) for one in functions],
        forced=choice["function"]["name"] if isinstance(choice, dict) and "function" in choice
        else "" if choice in ("required", "any") else None,
        one_call=body.get("parallel_tool_calls") is False,
        schema=schema if wanted.get("type") in ("json_schema", "json_object") else None,
        thinks=body.get("reasoning_effort") not in (None, "none") or body.get("prompt_mode") == "reasoning",
        searches=body.get("web_search_options") is not None,
        limit=body.get("max_completion_tokens") or body.get("max_tokens"),
        stops=[stop] if isinstance(stop, str) else stop,
    )  # fmt: skip


def _turn(message: dict[str, Any]) -> Turn:
    parts = parts_of(message.get("content"))
    text = " ".join(part.get("text", "") for part in parts if part.get("type") == "text")
    media = [_sight(part) for part in parts if part.get("type") not in ("text", "refusal", "thinking", "reference")]
    if message["role"] == "tool":
        return Turn(user=True, results=[text], media=media)
    return Turn(user=message["role"] == "user", text=text, media=media)


def _sight(part: dict[str, Any]) -> str:
    """Whatever it holds, its type and size."""
    inner = part.get(str(part.get("type")))
    match inner:
        case {"url": str(url)} | {"file_data": str(url)} | str(url) if url.startswith(("data:", "http")):
            return media_of(url)
        case {"data": str(data)} | str(data):
            kind = inner.get("format", "wav") if isinstance(inner, dict) else "wav"
            return sight(f"audio/{kind}", data)
    return str(part.get("file_id") or (inner or {}).get("file_id"))


# -- chat: what is answered --------------------------------------------------------------------------------------------


def chat(call: Call) -> Answer:
    """`/v1/chat/completions`, with tools, structured outputs, several choices and streams."""
    body = call.body
    wrong = problem(body)
    if wrong is not None:
        return error(wrong.status, wrong.message, wrong.code, wrong.param)
    said = reply(asked(body, call.words))
    message = _message(said)
    frame = {
        "id": f"chatcmpl-mock{call.number}",
        "created": CREATED,
        "model": body["model"],
        "system_fingerprint": "fp_mock",
    }
    reasoning = token_count(said.thought) if said.thought else 0
    used = usage(token_count(body["messages"]), token_count(message), reasoning)
    finish, count = FINISHES[said.finish], body.get("n") or 1
    logprobs = None
    if body.get("logprobs"):
        logprobs = {"content": logprobs_of(said.text, body.get("top_logprobs") or 0), "refusal": None}
    if body.get("stream"):
        wants = bool((body.get("stream_options") or {}).get("include_usage"))
        return Answer(events=list(_events(frame, message, finish, count, logprobs, used if wants else None)))
    choices = [{"index": i, "message": message, "logprobs": logprobs, "finish_reason": finish} for i in range(count)]
    return json_answer({**frame, "object": "chat.completion", "choices": choices, "usage": used})


def _message(said: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None, "refusal": said.refusal or None}
    if said.wishes:
        message["tool_calls"] = calls_of(said, "call_mock{}")
    if said.query:
        url, title = SOURCE
        cited = {"url": url, "title": title, "start_index": 0, "end_index": len(said.text)}
        message["annotations"] = [{"type": "url_citation", "url_citation": cited}]
    return message


def calls_of(said: Reply, call_id: str) -> list[dict[str, Any]]:
    """The calls, with ids in the pattern given."""
    return [
        {
            "id": call_id.format(number),
            "type": "function",
            "function": {"name": wish.name, "arguments": json_text(wish.arguments)},
        }
        for number, wish in enumerate(said.wishes)
    ]


def logprobs_of(text: str, most: int) -> list[dict[str, Any]]:
    """Each word as a token, and where `most` is not 0 the one likeliest of all, which is itself."""
    tokens = [{"token": token, "logprob": -0.1, "bytes": list(token.encode())} for token in pieces(text)]
    return [{**token, "top_logprobs": [token] * min(most, 1)} for token in tokens]


def _events(
    frame: dict[str, Any],
    message: dict[str, Any],
    finish: str,
    count: int,
    logprobs: dict[str, Any] | None,
    used: dict[str, Any] | None,
) -> Iterator[bytes]:
    """The chunks in OpenAI's order; with usage asked for, every other chunk has `usage: null`."""
    extra = {"usage": None} if used else {}

    def chunk(index: int, delta: dict[str, Any], reason: str | None = None, token: Any = None) -> bytes:
        known = {"content": [token], "refusal": None} if token else None
        choice = {"index": index, "delta": delta, "logprobs": known, "finish_reason": reason}
        return event({**frame, "object": "chat.completion.chunk", "choices": [choice], **extra})

    for index in range(count):
        first = None if message.get("tool_calls") else ""
        yield chunk(index, {"role": "assistant", "content": first, "refusal": None})
        for number, word in enumerate(pieces(message["content"] or "")):
            yield chunk(index, {"content": word}, token=logprobs and logprobs["content"][number])
        for word in pieces(message["refusal"] or ""):
            yield chunk(index, {"refusal": word})
        for delta in _call_deltas(message.get("tool_calls") or ()):
            yield chunk(index, {"tool_calls": [delta]})
        if message.get("annotations"):
            yield chunk(index, {"annotations": message["annotations"]})
        yield chunk(index, {}, finish)
    if used:
        yield event({**frame, "object": "chat.completion.chunk", "choices": [], "usage": used})
    yield DONE


def _call_deltas(calls: Any) -> Iterator[dict[str, Any]]:
    for position, call in enumerate(calls):
        yield {"index": position, **call, "function": {**call["function"], "arguments": ""}}
        for piece in fragments(call["function"]["arguments"]):
            yield {"index": position, "function": {"arguments": piece}}


# -- legacy completions and embeddings ---------------------------------------------------------------------------------


def completions(call: Call) -> Answer:
    body = call.body
    if "prompt" not in body:
        return error(400, "Missing required parameter: 'prompt'.", "missing_required_parameter", "prompt")
    said = words(call.words)
    frame = {"id": f"cmpl-mock{call.number}", "object": "text_completion", "created": CREATED, "model": body["model"]}
    used = usage(token_count(body["prompt"]), token_count("".join(said)))
    if not body.get("stream"):
        choice = {"text": "".join(said), "index": 0, "logprobs": None, "finish_reason": "stop"}
        return json_answer({**frame, "choices": [choice], "usage": used})
    events = [
        event({**frame, "choices": [{"text": piece, "index": 0, "logprobs": None, "finish_reason": None}]})
        for piece in said
    ]
    events.append(event({**frame, "choices": [{"text": "", "index": 0, "logprobs": None, "finish_reason": "stop"}]}))
    if (body.get("stream_options") or {}).get("include_usage"):
        events.append(event({**frame, "choices": [], "usage": used}))
    return Answer(events=[*events, DONE])


def embeddings(call: Call) -> Answer:
    body = call.body
    given = body.get("input")
    if given in (None, "", []):
        return error(400, "'input' cannot be empty", "empty_array", "input")
    single = isinstance(given, str) or (isinstance(given, list) and isinstance(given[0], int))
    inputs = [given] if single else given
    dimensions = body.get("dimensions") or _DIMENSIONS.get(body["model"], 1536)
    data = []
    for index, one in enumerate(inputs):
        numbers = vector(one if isinstance(one, str) else msgspec.json.encode(one).decode(), dimensions)
        shown: Any = packed(numbers) if body.get("encoding_format") == "base64" else numbers
        data.append({"object": "embedding", "index": index, "embedding": shown})
    tokens = token_count(inputs)
    used = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json_answer({"object": "list", "data": data, "model": body["model"], "usage": used})


DIALECT = Dialect(answer, error, _rate_limited, _error_event)
