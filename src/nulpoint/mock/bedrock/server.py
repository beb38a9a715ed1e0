"""A mock of Amazon Bedrock: Converse, ConverseStream in AWS event framing, and InvokeModel for embedding models."""

from typing import Any
from urllib.parse import unquote

import msgspec

from nulpoint.mock.anthropic import binding
from nulpoint.mock.anthropic.model_rules import ModelCall
from nulpoint.mock.anthropic.models import find_model
from nulpoint.mock.bedrock import eventstream
from nulpoint.mock.bedrock.aws_auth import access_key, check_authorization
from nulpoint.mock.bedrock.claude import is_claude, messages_request
from nulpoint.mock.bedrock.rules import find_problem, without_nulls
from nulpoint.mock.interface import (
    MockRequest,
    MockResponse,
    ProviderApi,
    json_response,
    json_text,
    signature,
    token_count,
    vector,
)
from nulpoint.mock.model import (
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

_ERROR_TYPES = {
    400: "ValidationException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
_STREAM_ERRORS = {
    400: "validationException",
    424: "modelStreamErrorException",
    429: "throttlingException",
    503: "serviceUnavailableException",
    529: "serviceUnavailableException",
}
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "sequence": "stop_sequence", "calls": "tool_use"}
_ENDED = "This model version has reached the end of its life. Please refer to the AWS documentation for more details."
_DIMENSIONS = {"amazon.titan-embed-text-v1": 1536, "amazon.titan-embed-text-v2:0": 1024}
_COHERE_DIMENSIONS, _COHERE_MAX_TEXTS = 1024, 96


def respond(request: MockRequest) -> MockResponse:
    response = _respond(request)
    response.headers = {"x-amzn-requestid": f"00000000-0000-4000-8000-{request.number:012}", **response.headers}
    return response


def _respond(request: MockRequest) -> MockResponse:
    rejection = check_authorization(request)
    if rejection is not None:
        return _error(403, *rejection)
    parts = request.path.split("/")
    if request.method != "POST" or len(parts) != 4 or parts[1] != "model":
        return _error(404, "UnknownOperationException", "")
    if not isinstance(request.body, dict):
        return _error(400, "SerializationException", "The request body is not a JSON object")
    model = unquote(parts[2])
    if "." not in model and not model.startswith("arn:aws:bedrock:"):
        return error(400, "The provided model identifier is invalid.")
    if is_claude(model) and is_retired(find_model(model), "bedrock", request.today):
        return error(404, _ENDED)
    match parts[3]:
        case "invoke":
            return _invoke(request.body, model)
        case "converse" | "converse-stream":
            return _converse(request, model, stream=parts[3] == "converse-stream")
    return _error(404, "UnknownOperationException", "")


def error(status: int, message: str) -> MockResponse:
    return _error(status, _ERROR_TYPES.get(status, "InternalServerException"), message)


def _error(status: int, kind: str, message: str) -> MockResponse:
    headers = {"x-amzn-errortype": f"{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/"}
    return json_response({"message": message}, status, headers)


def _rate_limited(seconds: float) -> MockResponse:
    response = error(429, "Too many requests, please wait before trying again.")
    response.headers |= {"retry-after": f"{seconds:g}"} if seconds else {}
    return response


def _error_event(status: int, message: str) -> bytes:
    return eventstream.exception(_STREAM_ERRORS.get(status, "internalServerException"), message)


# -- translation of requests -------------------------------------------------------------------------------------------


def _converse(request: MockRequest, model: str, *, stream: bool) -> MockResponse:
    body = request.body
    problem = find_problem(body, model)
    if problem:
        return error(400, problem)
    body = without_nulls(body)
    call = ModelCall(messages_request(body, model), find_model(model), "bedrock") if is_claude(model) else None
    account = access_key(request.headers)
    bound = binding.check(call.body, account) if call else binding.Binding(None, [])
    if bound.problem:
        return error(400, f"The model returned the following errors: {bound.problem}")
    reply = generate_reply(_model_request(body, request.word_count, thinks=call.thinks_first if call else None))
    message = {"role": "assistant", "content": _blocks(reply, call, account)}
    metadata = {"usage": _usage(body, message), "metrics": {"latencyMs": 42}, **_trace(body, reply)}
    stop_reason = _stop_reason(body, reply)
    if stream:
        return MockResponse(
            events=_events(message, stop_reason, metadata), headers={"content-type": eventstream.MEDIA_TYPE}
        )
    return json_response({"output": {"message": message}, "stopReason": stop_reason, **metadata})


def _model_request(body: dict[str, Any], words: int, *, thinks: bool | None) -> ModelRequest:
    """Translate a request. `thinks` says whether the model thinks, if that is not for the request to say."""
    config = body.get("toolConfig") or {}
    specs = [tool["toolSpec"] for tool in config.get("tools", ()) if "toolSpec" in tool]
    choice = config.get("toolChoice") or {}
    inference_config = body.get("inferenceConfig") or {}
    return ModelRequest(
        turns=[_turn(message["role"], message["content"]) for message in body["messages"]],
        word_count=words,
        system=" ".join(block.get("text", "") for block in body.get("system") or ()),
        tools=[Tool(spec["name"], spec["inputSchema"]["json"]) for spec in specs],
        forced_tool="" if "any" in choice else (choice.get("tool") or {}).get("name"),
        output_schema=_schema(body),
        thinking=_thinks(body.get("additionalModelRequestFields") or {}) if thinks is None else thinks,
        max_tokens=inference_config.get("maxTokens"),
        stop_sequences=inference_config.get("stopSequences") or [],
    )


def _schema(body: dict[str, Any]) -> Any:
    text_format = (body.get("outputConfig") or {}).get("textFormat")
    return msgspec.json.decode(text_format["structure"]["jsonSchema"]["schema"]) if text_format else None


def _thinks(model_fields: dict[str, Any]) -> bool:
    thinking = model_fields.get("thinking") or model_fields.get("reasoningConfig") or {}
    return thinking.get("type") in ("enabled", "adaptive")


def _turn(role: str, blocks: list[dict[str, Any]]) -> Turn:
    results = [block["toolResult"] for block in blocks if "toolResult" in block]
    nested = [inner for result in results for inner in result["content"]]
    return Turn(
        is_user=role == "user",
        text=" ".join(block["text"] for block in blocks if "text" in block),
        results=[" ".join(_result_text(block) for block in result["content"]) for result in results],
        media=[
            _describe_media(kind, block[kind])
            for block in blocks + nested
            for kind in ("image", "document", "audio")
            if kind in block
        ],
    )


def _result_text(block: dict[str, Any]) -> str:
    return json_text(block["json"]) if "json" in block else str(block.get("text", ""))


def _describe_media(kind: str, source: dict[str, Any]) -> str:
    family = {"document": "application"}.get(kind, kind)
    return describe_media(f"{family}/{source.get('format', kind)}", source["source"].get("bytes", ""))


# -- translation of replies --------------------------------------------------------------------------------------------


def _blocks(reply: ModelReply, call: ModelCall | None, account: str) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if reply.thought:
        text = reply.thought if call is None or call.shows_thoughts else ""
        signed = binding.sign(call.body, account, text) if call else signature("bedrock", text)
        blocks.append({"reasoningContent": {"reasoningText": {"text": text, "signature": signed}}})
    if reply.text or reply.refusal:
        blocks.append({"text": reply.text or reply.refusal})
    for number, tool_call in enumerate(reply.tool_calls):
        call_id = signature("call", str(number), tool_call.name)[:22].replace("+", "a").replace("/", "b")
        blocks.append(
            {"toolUse": {"toolUseId": f"tooluse_{call_id}", "name": tool_call.name, "input": tool_call.arguments}}
        )
    return blocks


def _stop_reason(body: dict[str, Any], reply: ModelReply) -> str:
    if reply.refusal:
        return "guardrail_intervened" if body.get("guardrailConfig") else "content_filtered"
    return _STOP_REASONS[reply.finish]


def _trace(body: dict[str, Any], reply: ModelReply) -> dict[str, Any]:
    if not reply.refusal or (body.get("guardrailConfig") or {}).get("trace") not in ("enabled", "enabled_full"):
        return {}
    return {"trace": {"guardrail": {"actionReason": "Guardrail blocked."}}}


def _usage(body: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    """Return the usage: the first turn writes the content before a cache point, and later turns read it."""
    prompt_tokens = token_count([body["messages"], body.get("system"), body.get("toolConfig")])
    cached_tokens = prompt_tokens // 2 if "cachePoint" in json_text(body) else 0
    is_later_turn = any(earlier["role"] == "assistant" for earlier in body["messages"])
    output_tokens = token_count(message["content"])
    return {
        "inputTokens": prompt_tokens - cached_tokens,
        "outputTokens": output_tokens,
        "totalTokens": prompt_tokens + output_tokens,
        "cacheReadInputTokens": cached_tokens if is_later_turn else 0,
        "cacheWriteInputTokens": 0 if is_later_turn else cached_tokens,
    }


# -- streams -----------------------------------------------------------------------------------------------------------


def _events(message: dict[str, Any], stop_reason: str, metadata: dict[str, Any]) -> list[bytes]:
    events = [eventstream.event("messageStart", {"role": message["role"]})]
    for index, block in enumerate(message["content"]):
        position = {"contentBlockIndex": index}
        if "toolUse" in block:
            start = {name: block["toolUse"][name] for name in ("toolUseId", "name")}
            events.append(eventstream.event("contentBlockStart", {**position, "start": {"toolUse": start}}))
        events += [eventstream.event("contentBlockDelta", {**position, "delta": delta}) for delta in _deltas(block)]
        events.append(eventstream.event("contentBlockStop", position))
    events.append(eventstream.event("messageStop", {"stopReason": stop_reason}))
    return [*events, eventstream.event("metadata", metadata)]


def _deltas(block: dict[str, Any]) -> list[dict[str, Any]]:
    if "toolUse" in block:
        return [{"toolUse": {"input": text}} for text in ["", *split_arguments(json_text(block["toolUse"]["input"]))]]
    if "reasoningContent" in block:
        thought = block["reasoningContent"]["reasoningText"]
        deltas = [{"reasoningContent": {"text": piece}} for piece in split_words(thought["text"])]
        return [*deltas, {"reasoningContent": {"signature": thought["signature"]}}]
    return [{"text": piece} for piece in split_words(block["text"])]


# -- embeddings --------------------------------------------------------------------------------------------------------


def _invoke(body: dict[str, Any], model: str) -> MockResponse:
    if "titan-embed" in model:
        return _titan_embedding(body, model)
    if "cohere.embed" in model:
        return _cohere_embeddings(body)
    return error(400, f"The mock supports InvokeModel only for embedding models, and {model} is not one.")


def _titan_embedding(body: dict[str, Any], model: str) -> MockResponse:
    allowed = {"inputText", "dimensions", "normalize", "embeddingTypes"} if "v2" in model else {"inputText"}
    unknown = sorted(body.keys() - allowed)
    if unknown:
        return _malformed_request(f"extraneous key [{unknown[0]}] is not permitted")
    text = body.get("inputText")
    if not isinstance(text, str) or not text:
        return _malformed_request("required key [inputText] not found")
    dimensions = body.get("dimensions", _DIMENSIONS.get(model, 1024))
    if dimensions not in (256, 512, 1024, 1536):
        return _malformed_request(f"#/dimensions: {dimensions} is not a valid enum value")
    tokens = token_count(text)
    return _token_counted({"embedding": vector(text, dimensions), "inputTextTokenCount": tokens}, tokens)


def _cohere_embeddings(body: dict[str, Any]) -> MockResponse:
    unknown = sorted(body.keys() - {"texts", "input_type", "truncate", "embedding_types", "output_dimension"})
    if unknown:
        return _malformed_request(f"extraneous key [{unknown[0]}] is not permitted")
    texts = body.get("texts")
    if (
        not isinstance(texts, list)
        or not 0 < len(texts) <= _COHERE_MAX_TEXTS
        or not all(isinstance(text, str) for text in texts)
    ):
        return _malformed_request(f"#/texts: expected between 1 and {_COHERE_MAX_TEXTS} items")
    if body.get("input_type") not in ("search_document", "search_query", "classification", "clustering"):
        return _malformed_request("#/input_type: is not a valid enum value")
    vectors: Any = [vector(text, body.get("output_dimension", _COHERE_DIMENSIONS)) for text in texts]
    by_type = body.get("embedding_types") is not None
    response = {"id": "mock", "texts": texts, "response_type": "embeddings_by_type" if by_type else "embeddings_floats"}
    return _token_counted({**response, "embeddings": {"float": vectors} if by_type else vectors}, token_count(texts))


def _token_counted(value: dict[str, Any], tokens: int) -> MockResponse:
    return json_response(value, headers={"x-amzn-bedrock-input-token-count": str(tokens)})


def _malformed_request(reason: str) -> MockResponse:
    return error(400, f"Malformed input request: {reason}, please reformat your input and try again.")


API = ProviderApi(respond, error, _rate_limited, _error_event)
