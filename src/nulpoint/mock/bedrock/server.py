"""Amazon Bedrock: Converse, ConverseStream in AWS's own framing, and InvokeModel for the embedding models."""

from typing import Any
from urllib.parse import unquote

import msgspec

from nulpoint.mock.bedrock import eventstream
from nulpoint.mock.bedrock.aws_auth import check_authorization
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

_ERRORS = {
    400: "ValidationException", 403: "AccessDeniedException", 404: "ResourceNotFoundException",
    408: "ModelTimeoutException", 424: "ModelErrorException", 429: "ThrottlingException",
    500: "InternalServerException", 503: "ServiceUnavailableException",
}  # fmt: skip
_STREAM_ERRORS = {
    400: "validationException", 424: "modelStreamErrorException", 429: "throttlingException",
    503: "serviceUnavailableException", 529: "serviceUnavailableException",
}  # fmt: skip
_STOPS = {"stop": "end_turn", "length": "max_tokens", "sequence": "stop_sequence", "calls": "tool_use"}
_DIMENSIONS = {"amazon.titan-embed-text-v1": 1536, "amazon.titan-embed-text-v2:0": 1024}
_COHERE_DIMENSIONS, _COHERE_TEXTS = 1024, 96


def respond(request: MockRequest) -> MockResponse:
    found = _respond(request)
    found.headers = {"x-amzn-requestid": f"00000000-0000-4000-8000-{request.number:012}", **found.headers}
    return found


def _respond(request: MockRequest) -> MockResponse:
    refused = check_authorization(request)
    if refused is not None:
        return _error(403, *refused)
    parts = request.path.split("/")
    if request.method != "POST" or len(parts) != 4 or parts[1] != "model":
        return _error(404, "UnknownOperationException", "")
    if not isinstance(request.body, dict):
        return _error(400, "SerializationException", "The request body is no JSON object")
    model = unquote(parts[2])
    if "." not in model and not model.startswith("arn:aws:bedrock:"):
        return error(400, "The provided model identifier is invalid.")
    match parts[3]:
        case "invoke":
            return _invoke(request.body, model)
        case "converse" | "converse-stream":
            return _converse(request, model, stream=parts[3] == "converse-stream")
    return _error(404, "UnknownOperationException", "")


def error(status: int, message: str) -> MockResponse:
    return _error(status, _ERRORS.get(status, "InternalServerException"), message)


def _error(status: int, kind: str, message: str) -> MockResponse:
    headers = {"x-amzn-errortype": f"{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/"}
    return json_response({"message": message}, status, headers)


def _rate_limited(seconds: float) -> MockResponse:
    limited = error(429, "Too many requests, please wait before trying again.")
    limited.headers |= {"retry-after": f"{seconds:g}"} if seconds else {}
    return limited


def _error_event(status: int, message: str) -> bytes:
    return eventstream.exception(_STREAM_ERRORS.get(status, "internalServerException"), message)


# -- what is asked -----------------------------------------------------------------------------------------------------


def _converse(request: MockRequest, model: str, *, stream: bool) -> MockResponse:
    body = request.body
    wrong = find_problem(body, model)
    if wrong:
        return error(400, wrong)
    body = without_nulls(body)
    said = generate_reply(_model_request(body, request.word_count))
    message = {"role": "assistant", "content": _blocks(said)}
    told = {"usage": _usage(body, message), "metrics": {"latencyMs": 42}, **_trace(body, said)}
    stop = _stop(body, said)
    if stream:
        return MockResponse(events=_events(message, stop, told), headers={"content-type": eventstream.MEDIA_TYPE})
    return json_response({"output": {"message": message}, "stopReason": stop, **told})


def _model_request(body: dict[str, Any], words: int) -> ModelRequest:
    config = body.get("toolConfig") or {}
    specs = [tool["toolSpec"] for tool in config.get("tools", ()) if "toolSpec" in tool]
    choice = config.get("toolChoice") or {}
    inference = body.get("inferenceConfig") or {}
    return ModelRequest(
        turns=[_turn(message["role"], message["content"]) for message in body["messages"]],
        word_count=words,
        system=" ".join(block.get("text", "") for block in body.get("system") or ()),
        tools=[Tool(spec["name"], spec["inputSchema"]["json"]) for spec in specs],
        forced_tool="" if "any" in choice else (choice.get("tool") or {}).get("name"),
        output_schema=_schema(body),
        thinking=_thinks(body.get("additionalModelRequestFields") or {}),
        max_tokens=inference.get("maxTokens"),
        stop_sequences=inference.get("stopSequences") or [],
    )


def _schema(body: dict[str, Any]) -> Any:
    wanted = (body.get("outputConfig") or {}).get("textFormat")
    return msgspec.json.decode(wanted["structure"]["jsonSchema"]["schema"]) if wanted else None


def _thinks(fields: dict[str, Any]) -> bool:
    asked = fields.get("thinking") or fields.get("reasoningConfig") or {}
    return asked.get("type") in ("enabled", "adaptive")


def _turn(role: str, blocks: list[dict[str, Any]]) -> Turn:
    results = [block["toolResult"] for block in blocks if "toolResult" in block]
    inside = [inner for result in results for inner in result["content"]]
    return Turn(
        is_user=role == "user",
        text=" ".join(block["text"] for block in blocks if "text" in block),
        results=[" ".join(_result_text(one) for one in result["content"]) for result in results],
        media=[
            _describe_media(kind, block[kind])
            for block in blocks + inside
            for kind in ("image", "document", "audio")
            if kind in block
        ],
    )


def _result_text(block: dict[str, Any]) -> str:
    return json_text(block["json"]) if "json" in block else str(block.get("text", ""))


def _describe_media(kind: str, given: dict[str, Any]) -> str:
    family = {"document": "application"}.get(kind, kind)
    return describe_media(f"{family}/{given.get('format', kind)}", given["source"].get("bytes", ""))


# -- what is answered --------------------------------------------------------------------------------------------------


def _blocks(said: ModelReply) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if said.thought:
        thought = {"text": said.thought, "signature": signature("bedrock", said.thought)}
        blocks.append({"reasoningContent": {"reasoningText": thought}})
    if said.text or said.refusal:
        blocks.append({"text": said.text or said.refusal})
    for number, wish in enumerate(said.tool_calls):
        made = signature("call", str(number), wish.name)[:22].replace("+", "a").replace("/", "b")
        blocks.append({"toolUse": {"toolUseId": f"tooluse_{made}", "name": wish.name, "input": wish.arguments}})
    return blocks


def _stop(body: dict[str, Any], said: ModelReply) -> str:
    if said.refusal:
        return "guardrail_intervened" if body.get("guardrailConfig") else "content_filtered"
    return _STOPS[said.finish]


def _trace(body: dict[str, Any], said: ModelReply) -> dict[str, Any]:
    if not said.refusal or (body.get("guardrailConfig") or {}).get("trace") not in ("enabled", "enabled_full"):
        return {}
    return {"trace": {"guardrail": {"actionReason": "Guardrail blocked."}}}


def _usage(body: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    """What stands before a cache point counts as written by the first turn and as read by later ones."""
    whole = token_count([body["messages"], body.get("system"), body.get("toolConfig")])
    marked = whole // 2 if "cachePoint" in json_text(body) else 0
    later = any(one["role"] == "assistant" for one in body["messages"])
    said = token_count(message["content"])
    return {
        "inputTokens": whole - marked,
        "outputTokens": said,
        "totalTokens": whole + said,
        "cacheReadInputTokens": marked if later else 0,
        "cacheWriteInputTokens": 0 if later else marked,
    }


# -- streams -----------------------------------------------------------------------------------------------------------


def _events(message: dict[str, Any], stop: str, told: dict[str, Any]) -> list[bytes]:
    events = [eventstream.event("messageStart", {"role": message["role"]})]
    for index, block in enumerate(message["content"]):
        place = {"contentBlockIndex": index}
        if "toolUse" in block:
            start = {name: block["toolUse"][name] for name in ("toolUseId", "name")}
            events.append(eventstream.event("contentBlockStart", {**place, "start": {"toolUse": start}}))
        events += [eventstream.event("contentBlockDelta", {**place, "delta": delta}) for delta in _deltas(block)]
        events.append(eventstream.event("contentBlockStop", place))
    events.append(eventstream.event("messageStop", {"stopReason": stop}))
    return [*events, eventstream.event("metadata", told)]


def _deltas(block: dict[str, Any]) -> list[dict[str, Any]]:
    if "toolUse" in block:
        return [{"toolUse": {"input": text}} for text in ["", *split_arguments(json_text(block["toolUse"]["input"]))]]
    if "reasoningContent" in block:
        thought = block["reasoningContent"]["reasoningText"]
        told = [{"reasoningContent": {"text": piece}} for piece in split_words(thought["text"])]
        return [*told, {"reasoningContent": {"signature": thought["signature"]}}]
    return [{"text": piece} for piece in split_words(block["text"])]


# -- embeddings --------------------------------------------------------------------------------------------------------


def _invoke(body: dict[str, Any], model: str) -> MockResponse:
    if "titan-embed" in model:
        return _titan(body, model)
    if "cohere.embed" in model:
        return _cohere(body)
    return error(400, f"The mock invokes embedding models alone, and {model} is none.")


def _titan(body: dict[str, Any], model: str) -> MockResponse:
    allowed = {"inputText", "dimensions", "normalize", "embeddingTypes"} if "v2" in model else {"inputText"}
    extra = sorted(body.keys() - allowed)
    if extra:
        return _malformed(f"extraneous key [{extra[0]}] is not permitted")
    text = body.get("inputText")
    if not isinstance(text, str) or not text:
        return _malformed("required key [inputText] not found")
    dimensions = body.get("dimensions", _DIMENSIONS.get(model, 1024))
    if dimensions not in (256, 512, 1024, 1536):
        return _malformed(f"#/dimensions: {dimensions} is not a valid enum value")
    counted = token_count(text)
    return _token_counted({"embedding": vector(text, dimensions), "inputTextTokenCount": counted}, counted)


def _cohere(body: dict[str, Any]) -> MockResponse:
    extra = sorted(body.keys() - {"texts", "input_type", "truncate", "embedding_types", "output_dimension"})
    if extra:
        return _malformed(f"extraneous key [{extra[0]}] is not permitted")
    texts = body.get("texts")
    if (
        not isinstance(texts, list)
        or not 0 < len(texts) <= _COHERE_TEXTS
        or not all(isinstance(one, str) for one in texts)
    ):
        return _malformed(f"#/texts: expected between 1 and {_COHERE_TEXTS} items")
    if body.get("input_type") not in ("search_document", "search_query", "classification", "clustering"):
        return _malformed("#/input_type: is not a valid enum value")
    vectors: Any = [vector(text, body.get("output_dimension", _COHERE_DIMENSIONS)) for text in texts]
    typed = body.get("embedding_types") is not None
    told = {"id": "mock", "texts": texts, "response_type": "embeddings_by_type" if typed else "embeddings_floats"}
    return _token_counted({**told, "embeddings": {"float": vectors} if typed else vectors}, token_count(texts))


def _token_counted(value: dict[str, Any], tokens: int) -> MockResponse:
    return json_response(value, headers={"x-amzn-bedrock-input-token-count": str(tokens)})


def _malformed(why: str) -> MockResponse:
    return error(400, f"Malformed input request: {why}, please reformat your input and try again.")


API = ProviderApi(respond, error, _rate_limited, _error_event)
