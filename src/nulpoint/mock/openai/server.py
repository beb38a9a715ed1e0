"""A mock of the OpenAI API, which also serves for the compatible endpoints of other providers.

Below a path such as `/groq/v1` it plays one of the stricter hosts in `hosts`.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import msgspec

from nulpoint.mock.interface import (
    CREATED,
    MockRequest,
    MockResponse,
    ProviderApi,
    base64_floats,
    json_response,
    json_text,
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
    describe_media_url,
    generate_reply,
    sample_words,
    split_arguments,
    split_words,
)
from nulpoint.mock.model_table import is_retired
from nulpoint.mock.openai import hosts
from nulpoint.mock.openai.models import find_model
from nulpoint.mock.openai.moderations import create_moderation, moderation_problem
from nulpoint.mock.openai.rules import as_parts, find_embedding_problem, find_problem
from nulpoint.mock.rerank.ranking import find_problem as find_rerank_problem
from nulpoint.mock.rerank.ranking import ranked_results

DONE = b"data: [DONE]\n\n"
MODELS = ("gpt-5.4", "gpt-5.4-mini", "gpt-5.2", "gpt-6-sol", "text-embedding-3-small", "omni-moderation-latest")
FINISH_REASONS = {"stop": "stop", "length": "length", "sequence": "stop", "calls": "tool_calls", "refusal": "stop"}
_SYSTEM_ROLES = ("system", "developer")
_DIMENSIONS = {"text-embedding-3-large": 3072}
_MIN_CACHED_TOKENS = 1024  # prompts from this length on count as cached, in steps of 128 tokens
_DEPRECATIONS = "https://platform.openai.com/docs/deprecations"
_ERROR_CODES = {429: "rate_limit_exceeded", 503: "server_is_overloaded"}


def respond(request: MockRequest) -> MockResponse:
    """Dispatch a request by its path, and report errors as OpenAI does, or as the host that the path chooses."""
    host, request.path = hosts.split_path(request.path)
    rejection = _check_request(request, host)
    if rejection is not None:
        return rejection
    if request.path == "/v1/models":
        return json_response({"object": "list", "data": [_model(name) for name in MODELS]})
    if request.path.startswith("/v1/models/"):
        return json_response(_model(request.path.removeprefix("/v1/models/")))
    if host is not None and request.path == "/v1/chat/completions":
        return create_chat_completion(request, host)
    route = {
        "/v1/chat/completions": create_chat_completion,
        "/v1/completions": create_completion,
        "/v1/embeddings": create_embeddings,
        "/v1/moderations": create_moderations,
        "/v1/rerank": create_rerank,
    }.get(request.path)
    response = route(request) if route else error(404, f"Unknown request URL: POST {request.path}", "unknown_url")
    response.headers = {**_headers(request), **response.headers}
    return response


def error(status: int, message: str, code: str | None = None, param: str | None = None) -> MockResponse:
    return json_response(_error(status, message, code, param), status)


def _error(status: int, message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    kind = "requests" if status == 429 else "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code or _ERROR_CODES.get(status)}}


def _rate_limited(seconds: float) -> MockResponse:
    response = error(429, "Rate limit reached for requests")
    response.headers = {"retry-after": f"{seconds:g}"} if seconds else {}
    return response


def _error_event(status: int, message: str) -> bytes:
    return sse_event(_error(status, message))


def _check_request(request: MockRequest, host: str | None) -> MockResponse | None:
    key = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not key or key == "bad-key":
        message = f"Incorrect API key provided: {key[:4]}****." if key else "You didn't provide an API key."
        return host_error(host, 401, message, "invalid_api_key")
    if request.method != "POST":
        return None
    if not isinstance(request.body, dict):
        return host_error(host, 400, "We could not parse the JSON body of your request.")
    name = str(request.body.get("model"))
    if host is not None:
        end = hosts.HOSTS[host].retires.get(name)
        status, text = hosts.HOSTS[host].gone
        is_gone = name.startswith("no-such") or (end is not None and request.today >= date.fromisoformat(end))
        return host_error(host, status, text.format(model=name), "model_not_found") if is_gone else None
    if name.startswith("no-such"):
        return error(404, f"The model `{name}` does not exist", "model_not_found")
    if is_retired(find_model(name), "openai", request.today):
        return error(
            404, f"The model `{name}` has been deprecated, learn more here: {_DEPRECATIONS}", "model_not_found"
        )
    return None


def host_error(
    host: str | None, status: int, message: str, code: str | None = None, param: str | None = None
) -> MockResponse:
    """Return an error in the shape of a host, or in OpenAI's for None."""
    if host is None:
        return error(status, message, code, param)
    status, body = hosts.error_body(host, status, message, code, param)
    return json_response(body, status)


def _headers(request: MockRequest) -> dict[str, str]:
    return {
        "x-request-id": f"req_mock{request.number}",
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
    """Return the usage. Reasoning tokens are part of the completion, and cached tokens are part of the prompt."""
    cached = prompt // 128 * 128 if prompt >= _MIN_CACHED_TOKENS else 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion + reasoning,
        "total_tokens": prompt + completion + reasoning,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": 0},
    }


# -- chat: translation of requests -------------------------------------------------------------------------------------


def model_request(body: dict[str, Any], word_count: int) -> ModelRequest:
    """Translate a chat request. Mistral uses this too, because its requests are nearly the same."""
    tools, choice = body.get("tools") or [], body.get("tool_choice")
    functions = [tool["function"] for tool in tools if isinstance(tool.get("function"), dict)]
    response_format = body.get("response_format") or {}
    schema = (response_format.get("json_schema") or {}).get("schema", ANY_OBJECT)
    stop = body.get("stop") or []
    return ModelRequest(
        turns=[_turn(message) for message in body["messages"]],
        word_count=word_count,
        system=" ".join(_turn(message).text for message in body["messages"] if message["role"] in _SYSTEM_ROLES),
        tools=[]
        if choice == "none"
        else [Tool(function["name"], function.get("parameters")) for function in functions],
        forced_tool=choice["function"]["name"]
        if isinstance(choice, dict) and "function" in choice
        else ""
        if choice in ("required", "any")
        else None,
        single_call=body.get("parallel_tool_calls") is False,
        output_schema=schema if response_format.get("type") in ("json_schema", "json_object") else None,
        thinking=body.get("reasoning_effort") not in (None, "none") or body.get("prompt_mode") == "reasoning",
        web_search=body.get("web_search_options") is not None,
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        stop_sequences=[stop] if isinstance(stop, str) else stop,
    )


def _turn(message: dict[str, Any]) -> Turn:
    parts = as_parts(message.get("content"))
    text = " ".join(part.get("text", "") for part in parts if part.get("type") == "text")
    media = [
        _describe_media(part) for part in parts if part.get("type") not in ("text", "refusal", "thinking", "reference")
    ]
    if message["role"] == "tool":
        return Turn(is_user=True, results=[text], media=media)
    return Turn(is_user=message["role"] == "user", text=text, media=media)


def _describe_media(part: dict[str, Any]) -> str:
    """Describe an image, file or audio part by its type and size, or by its URL or file id."""
    inner = part.get(str(part.get("type")))
    match inner:
        case {"url": str(url)} | {"file_data": str(url)} | str(url) if url.startswith(("data:", "http")):
            return describe_media_url(url)
        case {"data": str(data)} | str(data):
            kind = inner.get("format", "wav") if isinstance(inner, dict) else "wav"
            return describe_media(f"audio/{kind}", data)
    return str(part.get("file_id") or (inner or {}).get("file_id"))


# -- chat: translation of replies --------------------------------------------------------------------------------------


def create_chat_completion(request: MockRequest, host: str | None = None) -> MockResponse:
    """Respond to `/v1/chat/completions`, with tools, structured outputs, several choices and streams."""
    body = request.body
    rejection = find_problem(body) or (hosts.find_problem(body, host) if host else None)
    if rejection is not None:
        return host_error(host, rejection.status, rejection.message, rejection.code, rejection.param)
    call = model_request(body, request.word_count)
    call.thinking = call.thinking or hosts.thinks_unasked(body, host)
    reply = generate_reply(call)
    message = _message(reply)
    if host and reply.thought:
        message[hosts.HOSTS[host].thoughts] = reply.thought
    frame = {
        "id": f"chatcmpl-mock{request.number}",
        "created": CREATED,
        "model": body["model"],
        "system_fingerprint": "fp_mock",
    }
    reasoning = token_count(reply.thought) if reply.thought else 0
    usage_body = usage(token_count(body["messages"]), token_count(message), reasoning)
    finish, count = FINISH_REASONS[reply.finish], body.get("n") or 1
    logprobs = None
    if body.get("logprobs"):
        logprobs = {"content": word_logprobs(reply.text, body.get("top_logprobs") or 0), "refusal": None}
    if body.get("stream"):
        include_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        return MockResponse(
            events=list(_events(frame, message, finish, count, logprobs, usage_body if include_usage else None))
        )
    choices = [{"index": i, "message": message, "logprobs": logprobs, "finish_reason": finish} for i in range(count)]
    return json_response({**frame, "object": "chat.completion", "choices": choices, "usage": usage_body})


def _message(reply: ModelReply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None, "refusal": reply.refusal or None}
    if reply.tool_calls:
        message["tool_calls"] = tool_calls(reply, "call_mock{}")
    if reply.search_query:
        url, title = SEARCH_SOURCE
        citation = {"url": url, "title": title, "start_index": 0, "end_index": len(reply.text)}
        message["annotations"] = [{"type": "url_citation", "url_citation": citation}]
    return message


def tool_calls(reply: ModelReply, call_id: str) -> list[dict[str, Any]]:
    """Return the tool calls; `call_id` is a format string that takes the number of the call."""
    return [
        {
            "id": call_id.format(number),
            "type": "function",
            "function": {"name": tool_call.name, "arguments": json_text(tool_call.arguments)},
        }
        for number, tool_call in enumerate(reply.tool_calls)
    ]


def word_logprobs(text: str, limit: int) -> list[dict[str, Any]]:
    """Return log probabilities with each word as a token, whose only alternative is itself (none if `limit` is 0)."""
    tokens = [{"token": token, "logprob": -0.1, "bytes": list(token.encode())} for token in split_words(text)]
    return [{**token, "top_logprobs": [token] * min(limit, 1)} for token in tokens]


def _events(
    frame: dict[str, Any],
    message: dict[str, Any],
    finish: str,
    count: int,
    logprobs: dict[str, Any] | None,
    usage_body: dict[str, Any] | None,
) -> Iterator[bytes]:
    """Encode the chunks in OpenAI's order. If usage is requested, all chunks but the last have `usage: null`."""
    extra = {"usage": None} if usage_body else {}

    def chunk(index: int, delta: dict[str, Any], reason: str | None = None, token: Any = None) -> bytes:
        logprobs_body = {"content": [token], "refusal": None} if token else None
        choice = {"index": index, "delta": delta, "logprobs": logprobs_body, "finish_reason": reason}
        return sse_event({**frame, "object": "chat.completion.chunk", "choices": [choice], **extra})

    for index in range(count):
        content = None if message.get("tool_calls") else ""
        yield chunk(index, {"role": "assistant", "content": content, "refusal": None})
        for name in hosts.THOUGHT_MEMBERS:
            for word in split_words(message.get(name) or ""):
                yield chunk(index, {name: word})
        for number, word in enumerate(split_words(message["content"] or "")):
            yield chunk(index, {"content": word}, token=logprobs and logprobs["content"][number])
        for word in split_words(message["refusal"] or ""):
            yield chunk(index, {"refusal": word})
        for delta in _call_deltas(message.get("tool_calls") or ()):
            yield chunk(index, {"tool_calls": [delta]})
        if message.get("annotations"):
            yield chunk(index, {"annotations": message["annotations"]})
        yield chunk(index, {}, finish)
    if usage_body:
        yield sse_event({**frame, "object": "chat.completion.chunk", "choices": [], "usage": usage_body})
    yield DONE


def _call_deltas(calls: Any) -> Iterator[dict[str, Any]]:
    for position, call in enumerate(calls):
        yield {"index": position, **call, "function": {**call["function"], "arguments": ""}}
        for piece in split_arguments(call["function"]["arguments"]):
            yield {"index": position, "function": {"arguments": piece}}


# -- legacy completions and embeddings ---------------------------------------------------------------------------------


def create_completion(request: MockRequest) -> MockResponse:
    body = request.body
    if "prompt" not in body:
        return error(400, "Missing required parameter: 'prompt'.", "missing_required_parameter", "prompt")
    pieces = sample_words(request.word_count)
    frame = {
        "id": f"cmpl-mock{request.number}",
        "object": "text_completion",
        "created": CREATED,
        "model": body["model"],
    }
    usage_body = usage(token_count(body["prompt"]), token_count("".join(pieces)))
    if not body.get("stream"):
        choice = {"text": "".join(pieces), "index": 0, "logprobs": None, "finish_reason": "stop"}
        return json_response({**frame, "choices": [choice], "usage": usage_body})
    events = [
        sse_event({**frame, "choices": [{"text": piece, "index": 0, "logprobs": None, "finish_reason": None}]})
        for piece in pieces
    ]
    events.append(
        sse_event({**frame, "choices": [{"text": "", "index": 0, "logprobs": None, "finish_reason": "stop"}]})
    )
    if (body.get("stream_options") or {}).get("include_usage"):
        events.append(sse_event({**frame, "choices": [], "usage": usage_body}))
    return MockResponse(events=[*events, DONE])


def create_embeddings(request: MockRequest) -> MockResponse:
    rejection = find_embedding_problem(request.body)
    if rejection is not None:
        return error(rejection.status, rejection.message, rejection.code, rejection.param)
    return embeddings_response(request)


def embeddings_response(request: MockRequest) -> MockResponse:
    """Respond to a valid embeddings request. Mistral uses this too, because its responses are the same."""
    body = request.body
    input_value = body.get("input")
    is_single = isinstance(input_value, str) or (isinstance(input_value, list) and isinstance(input_value[0], int))
    inputs = [input_value] if is_single else input_value
    dimensions = body.get("dimensions") or _DIMENSIONS.get(body["model"], 1536)
    data = []
    for index, item in enumerate(inputs):
        numbers = vector(item if isinstance(item, str) else msgspec.json.encode(item).decode(), dimensions)
        embedding: Any = base64_floats(numbers) if body.get("encoding_format") == "base64" else numbers
        data.append({"object": "embedding", "index": index, "embedding": embedding})
    tokens = token_count(inputs)
    usage_body = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json_response({"object": "list", "data": data, "model": body["model"], "usage": usage_body})


def create_moderations(request: MockRequest) -> MockResponse:
    problem = moderation_problem(request.body)
    if problem is not None:
        message, code, param = problem
        return error(400, message, code, param)
    return create_moderation(request)


def create_rerank(request: MockRequest) -> MockResponse:
    """Respond as Together AI and vLLM do. OpenAI itself has no such endpoint."""
    body = request.body
    problem = find_rerank_problem(body, "top_n")
    if problem is not None:
        return error(400, problem)
    results = ranked_results(body, bool(body.get("return_documents")))
    tokens = token_count([body["query"], body["documents"]])
    usage_body = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
    frame = {"id": f"rerank-mock{request.number}", "object": "rerank", "model": body["model"]}
    return json_response({**frame, "results": results, "usage": usage_body})


def _host_api(name: str) -> ProviderApi:
    """Return the API whose errors have the shape of a host."""

    def rate_limited(seconds: float) -> MockResponse:
        response = host_error(name, 429, "Rate limit reached for requests")
        response.headers = {"retry-after": f"{seconds:g}"} if seconds else {}
        return response

    return ProviderApi(
        respond,
        lambda status, message: host_error(name, status, message),
        rate_limited,
        lambda status, message: sse_event(hosts.error_body(name, status, message, None, None)[1]),
    )


_HOST_APIS = {name: _host_api(name) for name in hosts.HOSTS}


def _api_for_path(path: str) -> ProviderApi | None:
    host, _ = hosts.split_path(path)
    return _HOST_APIS[host] if host else None


API = ProviderApi(respond, error, _rate_limited, _error_event, _api_for_path)
