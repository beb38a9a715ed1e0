"""A mock of the Anthropic Messages API and of Anthropic's OpenAI-compatible endpoint."""

from typing import Any

from nulpoint.mock.anthropic import binding
from nulpoint.mock.anthropic.model_rules import ModelCall
from nulpoint.mock.anthropic.models import find_model
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
from nulpoint.mock.model_table import is_retired
from nulpoint.mock.openai import server as openai_server

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "sequence": "stop_sequence",
    "calls": "tool_use",
    "refusal": "refusal",
}
_MODELS = ("claude-sonnet-5", "claude-haiku-5-5", "claude-opus-5")


def respond(request: MockRequest) -> MockResponse:
    if request.path == "/v1/chat/completions":
        return openai_server.respond(request)
    rejection = _check_request(request)
    if rejection is not None:
        return rejection
    if request.path == "/v1/models":
        return json_response({"data": [_model(name) for name in _MODELS], "has_more": False})
    response = create_message(request, _key(request)) if request.path == "/v1/messages" else error(404, "Not Found")
    response.headers = {"request-id": f"req_mock{request.number}", **response.headers}
    return response


def error(status: int, message: str) -> MockResponse:
    return json_response(_error(status, message), status)


def _error(status: int, message: str) -> dict[str, Any]:
    kind = _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_mock"}


def _rate_limited(seconds: float) -> MockResponse:
    response = error(429, "This request would exceed your organization's rate limit.")
    response.headers = {"retry-after": f"{seconds:g}"} if seconds else {}
    return response


def _check_request(request: MockRequest) -> MockResponse | None:
    key = _key(request)
    if not key or key == "bad-key":
        return error(401, "invalid x-api-key")
    if "anthropic-version" not in request.headers:
        return error(400, "anthropic-version: header is required")
    return None


def _key(request: MockRequest) -> str:
    return request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")


def _model(name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "2026-09-01T00:00:00Z"}


def create_message(request: MockRequest, account: str, host: str = "anthropic") -> MockResponse:
    """Respond to a request for a message; thoughts are bound to the account."""
    body = request.body
    if not isinstance(body, dict):
        return error(400, "The request body is not valid JSON")
    name = body.get("model")
    if isinstance(name, str) and (not name.startswith("claude") or is_retired(find_model(name), host, request.today)):
        return error(404, f"model: {name}")
    problem = find_problem(body, request.headers, host=host)
    bound = binding.check(body, account) if problem is None else binding.Binding(problem, [])
    if bound.problem:
        return error(400, bound.problem)
    call = ModelCall(body, find_model(body["model"]), host)
    reply = generate_reply(_model_request(body, request.word_count, thinks=call.thinks_first))
    blocks = _blocks(reply, body, account, show_thought=call.shows_thoughts)
    reports_changes = binding.BETA in request.headers.get("anthropic-beta", "") and call.model.thinking
    message = {
        "id": f"msg_mock{request.number}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": blocks,
        "stop_reason": _STOP_REASONS[reply.finish],
        "stop_sequence": reply.stop_sequence,
        **_stop_details(reply),
        **({"input_transformations": bound.transformations} if reports_changes else {}),
        "usage": _usage(body, blocks, reply),
    }
    return MockResponse(events=_events(message)) if body.get("stream") else json_response(message)


# -- translation of requests -------------------------------------------------------------------------------------------


def _model_request(body: dict[str, Any], words: int, *, thinks: bool) -> ModelRequest:
    tools = [tool for tool in body.get("tools") or [] if "input_schema" in tool]
    choice = body.get("tool_choice") or {}
    output_format = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    return ModelRequest(
        turns=[_turn(role, blocks) for role, blocks in merge_turns(body)],
        word_count=words,
        system=_system(body),
        tools=[] if choice.get("type") == "none" else [Tool(tool["name"], tool["input_schema"]) for tool in tools],
        forced_tool=choice.get("name") or ("" if choice.get("type") == "any" else None),
        single_call=bool(choice.get("disable_parallel_tool_use")),
        output_schema=output_format.get("schema"),
        thinking=thinks,
        web_search=any(str(tool.get("type")).startswith("web_search") for tool in body.get("tools") or []),
        max_tokens=body["max_tokens"],
        stop_sequences=body.get("stop_sequences") or [],
    )


def _system(body: dict[str, Any]) -> str:
    system_blocks = [block for role, blocks in merge_turns(body) if role == "system" for block in blocks]
    return " ".join(block["text"] for block in as_blocks(body.get("system")) + system_blocks)


def _turn(role: str, blocks: list[dict[str, Any]]) -> Turn:
    results = [block for block in blocks if block["type"] == "tool_result"]
    nested = [inner for block in results for inner in as_blocks(block.get("content"))]
    return Turn(
        is_user=role == "user",
        text=" ".join(block["text"] for block in blocks if block["type"] == "text"),
        results=[" ".join(part.get("text", "") for part in as_blocks(block.get("content"))) for block in results],
        media=[_describe_media(block["source"]) for block in blocks + nested if block["type"] in ("image", "document")],
    )


def _describe_media(source: dict[str, Any]) -> str:
    if source["type"] == "base64":
        return describe_media(source["media_type"], source["data"])
    return str(source.get("url") or source.get("file_id") or source.get("media_type"))


# -- translation of replies --------------------------------------------------------------------------------------------


def _blocks(reply: ModelReply, body: dict[str, Any], account: str, *, show_thought: bool) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if reply.thought:
        thought = reply.thought if show_thought else ""
        blocks.append({"type": "thinking", "thinking": thought, "signature": binding.sign(body, account, thought)})
    if reply.search_query:
        blocks += _search_blocks(reply.search_query)
    if reply.text:
        blocks.append(
            {"type": "text", "text": reply.text, **({"citations": [_citation(reply)]} if reply.search_query else {})}
        )
    for number, tool_call in enumerate(reply.tool_calls):
        blocks.append(
            {
                "type": "tool_use",
                "id": _call_id(tool_call, number),
                "name": tool_call.name,
                "input": tool_call.arguments,
            }
        )
    return blocks


def _call_id(tool_call: Any, number: int) -> str:
    return f"toolu_{signature('call', str(number), tool_call.name)[:22].replace('+', 'a').replace('/', 'b')}"


def _search_blocks(query: str) -> list[dict[str, Any]]:
    """Return the blocks of a web search that Anthropic runs itself; the client does not send its result."""
    url, title = SEARCH_SOURCE
    result = {
        "type": "web_search_result",
        "url": url,
        "title": title,
        "encrypted_content": "bW9jaw==",
        "page_age": None,
    }
    tool_use = {"type": "server_tool_use", "id": "srvtoolu_mock", "name": "web_search", "input": {"query": query}}
    return [tool_use, {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_mock", "content": [result]}]


def _citation(reply: ModelReply) -> dict[str, Any]:
    url, title = SEARCH_SOURCE
    location = {"type": "web_search_result_location", "url": url, "title": title, "encrypted_index": "bW9jaw=="}
    return {**location, "cited_text": reply.text}


def _stop_details(reply: ModelReply) -> dict[str, Any]:
    if not reply.refusal:
        return {}
    return {"stop_details": {"type": "refusal", "category": None, "explanation": reply.refusal}}


def _usage(body: dict[str, Any], blocks: list[dict[str, Any]], reply: ModelReply) -> dict[str, Any]:
    """Return the usage: the first turn writes the content marked for the cache, and later turns read it."""
    total = token_count([body["messages"], body.get("system"), body.get("tools")])
    marked = total // 2 if body.get("cache_control") or count_cache_marks(body) else 0
    is_later_turn = any(message["role"] == "assistant" for message in body["messages"])
    return {
        "input_tokens": total - marked,
        "cache_creation_input_tokens": 0 if is_later_turn else marked,
        "cache_read_input_tokens": marked if is_later_turn else 0,
        "output_tokens": token_count(blocks),
        **({"output_tokens_details": {"thinking_tokens": token_count(reply.thought)}} if reply.thought else {}),
        **({"server_tool_use": {"web_search_requests": 1}} if reply.search_query else {}),
        "service_tier": "standard",
    }


# -- streams -----------------------------------------------------------------------------------------------------------


def _events(message: dict[str, Any]) -> list[bytes]:
    usage = message["usage"]
    start = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
    start["usage"] = {**usage, "output_tokens": 1}
    events = [_event("message_start", message=start)]
    for index, block in enumerate(message["content"]):
        empty, deltas = _deltas(block)
        events.append(_event("content_block_start", index=index, content_block=empty))
        if index == 0:
            events.append(_event("ping"))
        events += [_event("content_block_delta", index=index, delta=delta) for delta in deltas]
        events.append(_event("content_block_stop", index=index))
    stop = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details") if name in message}
    events.append(_event("message_delta", delta=stop, usage=usage))
    return [*events, _event("message_stop")]


def _event(name: str, **members: Any) -> bytes:
    return sse_event({"type": name, **members}, name)


def _error_event(status: int, message: str) -> bytes:
    return sse_event(_error(status, message), "error")


def _deltas(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Split a block into the empty block that starts it and the deltas that fill it."""
    match block["type"]:
        case "tool_use" | "server_tool_use":
            pieces = ["", *split_arguments(json_text(block["input"]))]
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": text} for text in pieces]
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in split_words(block["thinking"])]
            signature_delta = {"type": "signature_delta", "signature": block["signature"]}
            return {**block, "thinking": "", "signature": ""}, [*deltas, signature_delta]
        case "text":
            citations = [{"type": "citations_delta", "citation": citation} for citation in block.get("citations", ())]
            texts = [{"type": "text_delta", "text": piece} for piece in split_words(block["text"])]
            return {"type": "text", "text": "", **({"citations": []} if citations else {})}, [*citations, *texts]
    return block, []


API = ProviderApi(respond, error, _rate_limited, _error_event)
