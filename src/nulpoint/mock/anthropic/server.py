"""The Anthropic Messages API, and the OpenAI-compatible endpoint Anthropic offers beside it."""

from typing import Any

from nulpoint.mock.anthropic.rules import as_blocks, count_cache_marks, find_problem, merge_turns
from nulpoint.mock.interface import (
    MockRequest,
    MockResponse,
    ProviderApi,
    json_response,
    json_text,
    signature,
    sse_event,
    token_count,
)
from nulpoint.mock.model import (
    SEARCH_SOURCE,
    ModelReply,
    ModelRequest,
    Tool,
    Turn,
    describe_media,
    generate_reply,
    split_arguments,
    split_words,
)
from nulpoint.mock.openai import server as openai_server

_ERROR_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    404: "not_found_error", 409: "conflict_error", 413: "request_too_large", 429: "rate_limit_error",
    500: "api_error", 504: "timeout_error", 529: "overloaded_error",
}  # fmt: skip
_STOPS = {
    "stop": "end_turn", "length": "max_tokens", "sequence": "stop_sequence", "calls": "tool_use", "refusal": "refusal",
}  # fmt: skip
_MODELS = ("claude-sonnet-5", "claude-haiku-5-5", "claude-opus-5")


def respond(request: MockRequest) -> MockResponse:
    if request.path == "/v1/chat/completions":
        return openai_server.respond(request)
    refused = _check_request(request)
    if refused is not None:
        return refused
    if request.path == "/v1/models":
        return json_response({"data": [_model(name) for name in _MODELS], "has_more": False})
    found = create_message(request) if request.path == "/v1/messages" else error(404, "Not Found")
    found.headers = {"request-id": f"req_mock{request.number}", **found.headers}
    return found


def error(status: int, message: str) -> MockResponse:
    return json_response(_error(status, message), status)


def _error(status: int, message: str) -> dict[str, Any]:
    kind = _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_mock"}


def _rate_limited(seconds: float) -> MockResponse:
    limited = error(429, "This request would exceed your organization's rate limit.")
    limited.headers = {"retry-after": f"{seconds:g}"} if seconds else {}
    return limited


def _check_request(request: MockRequest) -> MockResponse | None:
    key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
    if not key or key == "bad-key":
        return error(401, "invalid x-api-key")
    if "anthropic-version" not in request.headers:
        return error(400, "anthropic-version: header is required")
    return None


def _model(name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "2026-09-01T00:00:00Z"}


def create_message(request: MockRequest) -> MockResponse:
    body = request.body
    if not isinstance(body, dict):
        return error(400, "The request body is not valid JSON")
    if isinstance(body.get("model"), str) and not body["model"].startswith("claude"):
        return error(404, f"model: {body['model']}")
    wrong = find_problem(body, request.headers)
    if wrong:
        return error(400, wrong)
    said = generate_reply(_model_request(body, request.word_count))
    blocks = _blocks(said, shown=(body.get("thinking") or {}).get("display") != "omitted")
    message = {
        "id": f"msg_mock{request.number}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": blocks,
        "stop_reason": _STOPS[said.finish],
        "stop_sequence": said.stop_sequence,
        **_stop_details(said),
        "usage": _usage(body, blocks, said),
    }
    return MockResponse(events=_events(message)) if body.get("stream") else json_response(message)


# -- what is asked -----------------------------------------------------------------------------------------------------


def _model_request(body: dict[str, Any], words: int) -> ModelRequest:
    tools = [tool for tool in body.get("tools") or [] if "input_schema" in tool]
    choice = body.get("tool_choice") or {}
    output = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    return ModelRequest(
        turns=[_turn(role, blocks) for role, blocks in merge_turns(body)],
        word_count=words,
        system=_system(body),
        tools=[] if choice.get("type") == "none" else [Tool(tool["name"], tool["input_schema"]) for tool in tools],
        forced_tool=choice.get("name") or ("" if choice.get("type") == "any" else None),
        single_call=bool(choice.get("disable_parallel_tool_use")),
        output_schema=output.get("schema"),
        thinking=(body.get("thinking") or {}).get("type") in ("enabled", "adaptive"),
        web_search=any(str(tool.get("type")).startswith("web_search") for tool in body.get("tools") or []),
        max_tokens=body["max_tokens"],
        stop_sequences=body.get("stop_sequences") or [],
    )


def _system(body: dict[str, Any]) -> str:
    later = [block for role, blocks in merge_turns(body) if role == "system" for block in blocks]
    return " ".join(block["text"] for block in as_blocks(body.get("system")) + later)


def _turn(role: str, blocks: list[dict[str, Any]]) -> Turn:
    results = [block for block in blocks if block["type"] == "tool_result"]
    inside = [inner for block in results for inner in as_blocks(block.get("content"))]
    return Turn(
        is_user=role == "user",
        text=" ".join(block["text"] for block in blocks if block["type"] == "text"),
        results=[" ".join(one.get("text", "") for one in as_blocks(block.get("content"))) for block in results],
        media=[_describe_media(block["source"]) for block in blocks + inside if block["type"] in ("image", "document")],
    )


def _describe_media(source: dict[str, Any]) -> str:
    if source["type"] == "base64":
        return describe_media(source["media_type"], source["data"])
    return str(source.get("url") or source.get("file_id") or source.get("media_type"))


# -- what is answered --------------------------------------------------------------------------------------------------


def _blocks(said: ModelReply, *, shown: bool) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if said.thought:
        thought = said.thought if shown else ""
        blocks.append({"type": "thinking", "thinking": thought, "signature": signature("thinking", thought)})
    if said.search_query:
        blocks += _search(said.search_query)
    if said.text:
        blocks.append(
            {"type": "text", "text": said.text, **({"citations": [_citation(said)]} if said.search_query else {})}
        )
    for number, wish in enumerate(said.tool_calls):
        blocks.append({"type": "tool_use", "id": _call_id(wish, number), "name": wish.name, "input": wish.arguments})
    return blocks


def _call_id(wish: Any, number: int) -> str:
    return f"toolu_{signature('call', str(number), wish.name)[:22].replace('+', 'a').replace('/', 'b')}"


def _search(query: str) -> list[dict[str, Any]]:
    """A search that Anthropic runs by itself: nobody waits for its result."""
    url, title = SEARCH_SOURCE
    found = {"type": "web_search_result", "url": url, "title": title, "encrypted_content": "bW9jaw==", "page_age": None}
    use = {"type": "server_tool_use", "id": "srvtoolu_mock", "name": "web_search", "input": {"query": query}}
    return [use, {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_mock", "content": [found]}]


def _citation(said: ModelReply) -> dict[str, Any]:
    url, title = SEARCH_SOURCE
    place = {"type": "web_search_result_location", "url": url, "title": title, "encrypted_index": "bW9jaw=="}
    return {**place, "cited_text": said.text}


def _stop_details(said: ModelReply) -> dict[str, Any]:
    if not said.refusal:
        return {}
    return {"stop_details": {"type": "refusal", "category": None, "explanation": said.refusal}}


def _usage(body: dict[str, Any], blocks: list[dict[str, Any]], said: ModelReply) -> dict[str, Any]:
    """What is marked for the cache counts as written by the first turn and as read by later ones."""
    whole = token_count([body["messages"], body.get("system"), body.get("tools")])
    marked = whole // 2 if body.get("cache_control") or count_cache_marks(body) else 0
    later = any(message["role"] == "assistant" for message in body["messages"])
    return {
        "input_tokens": whole - marked,
        "cache_creation_input_tokens": 0 if later else marked,
        "cache_read_input_tokens": marked if later else 0,
        "output_tokens": token_count(blocks),
        **({"output_tokens_details": {"thinking_tokens": token_count(said.thought)}} if said.thought else {}),
        **({"server_tool_use": {"web_search_requests": 1}} if said.search_query else {}),
        "service_tier": "standard",
    }


# -- streams -----------------------------------------------------------------------------------------------------------


def _events(message: dict[str, Any]) -> list[bytes]:
    used = message["usage"]
    start = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
    start["usage"] = {**used, "output_tokens": 1}
    events = [_event("message_start", message=start)]
    for index, block in enumerate(message["content"]):
        empty, deltas = _deltas(block)
        events.append(_event("content_block_start", index=index, content_block=empty))
        if index == 0:
            events.append(_event("ping"))
        events += [_event("content_block_delta", index=index, delta=delta) for delta in deltas]
        events.append(_event("content_block_stop", index=index))
    stop = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details") if name in message}
    events.append(_event("message_delta", delta=stop, usage=used))
    return [*events, _event("message_stop")]


def _event(name: str, **fields: Any) -> bytes:
    return sse_event({"type": name, **fields}, name)


def _error_event(status: int, message: str) -> bytes:
    return sse_event(_error(status, message), "error")


def _deltas(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it starts, and what fills it."""
    match block["type"]:
        case "tool_use" | "server_tool_use":
            inputs = ["", *split_arguments(json_text(block["input"]))]
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": text} for text in inputs]
        case "thinking":
            thoughts = [{"type": "thinking_delta", "thinking": piece} for piece in split_words(block["thinking"])]
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return {**block, "thinking": "", "signature": ""}, [*thoughts, signed]
        case "text":
            cited = [{"type": "citations_delta", "citation": one} for one in block.get("citations", ())]
            texts = [{"type": "text_delta", "text": piece} for piece in split_words(block["text"])]
            return {"type": "text", "text": "", **({"citations": []} if cited else {})}, [*cited, *texts]
    return block, []


API = ProviderApi(respond, error, _rate_limited, _error_event)
