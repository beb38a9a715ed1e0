"""The OpenAI API, and with small differences the compatible endpoints of others."""

from typing import Any

import msgspec

from nulpoint.mock.answers import (
    CREATED,
    Answer,
    Call,
    event,
    example,
    json_answer,
    packed,
    text_of,
    token_count,
    vector,
    words,
)

DONE = b"data: [DONE]\n\n"
MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-3.5-turbo-instruct", "text-embedding-3-small")
_DIMENSIONS = {"text-embedding-3-large": 3072}


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


def error(status: int, message: str, code: str | None, param: str | None = None) -> Answer:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return json_answer({"error": {"message": message, "type": kind, "param": param, "code": code}}, status)


def _refused(call: Call) -> Answer | None:
    key = call.headers.get("authorization", "").removeprefix("Bearer ")
    if not key or key == "bad-key":
        shown = f"Incorrect API key provided: {key[:4]}****." if key else "You didn't provide an API key."
        return error(401, shown, "invalid_api_key")
    if call.method == "POST" and not isinstance(call.body, dict):
        return error(400, "We could not parse the JSON body of your request.", None)
    if call.method == "POST" and call.body.get("model") == "no-such-model":
        return error(404, "The model `no-such-model` does not exist", "model_not_found")
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


def usage(prompt: int, completion: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


# -- chat --------------------------------------------------------------------------------------------------------------


def chat(call: Call) -> Answer:
    """`/v1/chat/completions`, with tools, structured outputs, several choices and streams."""
    body = call.body
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return error(400, "Missing required parameter: 'messages'.", "missing_required_parameter", "messages")
    message = reply_to(body, messages, call.words)
    frame = {
        "id": f"chatcmpl-mock{call.number}",
        "created": CREATED,
        "model": body["model"],
        "system_fingerprint": "fp_mock",
    }
    used = usage(token_count(messages), token_count(message))
    count = body.get("n") or 1
    if body.get("stream"):
        wants = bool((body.get("stream_options") or {}).get("include_usage"))
        return Answer(events=list(chat_events(frame, message, count, used if wants else None)))
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    logprobs = _logprobs(message["content"]) if body.get("logprobs") else None
    choices = [{"index": i, "message": message, "logprobs": logprobs, "finish_reason": finish} for i in range(count)]
    return json_answer({**frame, "object": "chat.completion", "choices": choices, "usage": used})


def reply_to(body: dict[str, Any], messages: list[Any], count: int) -> dict[str, Any]:
    """The assistant's message: a tool call where tools are offered, else JSON or words."""
    tools = [tool["function"] for tool in body.get("tools") or () if tool.get("type") == "function"]
    last = messages[-1]
    if tools and last.get("role") != "tool" and body.get("tool_choice") != "none":
        wanted = tools if "parallel" in text_of(last.get("content")) else tools[:1]
        calls = [
            {
                "id": f"call_mock{i}",
                "type": "function",
                "function": {
                    "name": tool["name"],
                    "arguments": msgspec.json.encode(example(tool.get("parameters"))).decode(),
                },
            }
            for i, tool in enumerate(wanted)
        ]
        return {"role": "assistant", "content": None, "refusal": None, "tool_calls": calls}
    wanted_format = body.get("response_format") or {}
    if wanted_format.get("type") == "json_schema":
        text = msgspec.json.encode(example(wanted_format["json_schema"].get("schema"))).decode()
    elif wanted_format.get("type") == "json_object":
        text = "{}"
    else:
        text = "".join(words(count))
    return {"role": "assistant", "content": text, "refusal": None}


def _logprobs(text: str | None) -> dict[str, Any]:
    tokens = (text or "").split()
    return {
        "content": [{"token": t, "logprob": -0.1, "bytes": list(t.encode()), "top_logprobs": []} for t in tokens],
        "refusal": None,
    }


def chat_events(frame: dict[str, Any], message: dict[str, Any], count: int, used: dict[str, Any] | None) -> Any:
    """The chunks in OpenAI's order; with usage asked for, every other chunk has `usage: null`."""
    extra = {"usage": None} if used else {}

    def chunk(index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event({**frame, "object": "chat.completion.chunk", "choices": [choice], **extra})

    calls = message.get("tool_calls")
    for index in range(count):
        yield chunk(index, {"role": "assistant", "content": None if calls else "", "refusal": None})
        for position, call in enumerate(calls or ()):
            arguments = call["function"]["arguments"]
            start = {**call["function"], "arguments": ""}
            yield chunk(index, {"tool_calls": [{"index": position, **call, "function": start}]})
            for cut in range(0, len(arguments), 8):
                piece = {"index": position, "function": {"arguments": arguments[cut : cut + 8]}}
                yield chunk(index, {"tool_calls": [piece]})
        for word in _pieces(message["content"]):
            yield chunk(index, {"content": word})
        yield chunk(index, {}, "tool_calls" if calls else "stop")
    if used:
        yield event({**frame, "object": "chat.completion.chunk", "choices": [], "usage": used})
    yield DONE


def _pieces(text: str | None) -> list[str]:
    return [(" " if i else "") + word for i, word in enumerate((text or "").split(" "))] if text else []


# -- legacy completions and embeddings ---------------------------------------------------------------------------------


def completions(call: Call) -> Answer:
    body = call.body
    if "prompt" not in body:
        return error(400, "Missing required parameter: 'prompt'.", "missing_required_parameter", "prompt")
    text = "".join(words(call.words))
    frame = {"id": f"cmpl-mock{call.number}", "object": "text_completion", "created": CREATED, "model": body["model"]}
    used = usage(token_count(body["prompt"]), token_count(text))
    if not body.get("stream"):
        choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": "stop"}
        return json_answer({**frame, "choices": [choice], "usage": used})
    events = [
        event({**frame, "choices": [{"text": piece, "index": 0, "logprobs": None, "finish_reason": None}]})
        for piece in _pieces(text)
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
