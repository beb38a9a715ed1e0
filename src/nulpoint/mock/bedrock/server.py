"""Amazon Bedrock: Converse, ConverseStream in AWS's own framing, and InvokeModel for the embedding models."""

from typing import Any
from urllib.parse import unquote

import msgspec

from nulpoint.mock.answers import Answer, Call, Dialect, json_answer, json_text, signature, token_count, vector
from nulpoint.mock.bedrock import eventstream
from nulpoint.mock.bedrock.aws_auth import refusal
from nulpoint.mock.bedrock.rules import present, problem
from nulpoint.mock.model import Asked, Reply, Tool, Turn, fragments, pieces, reply, sight

_ERRORS = {
    400: "ValidationException", 403: "AccessDeniedException", 404: "ResourceNotFoundException",
    408: "ModelTimeoutException", 424: "ModelErrorException", 429: "ThrottlingException",
    500: "InternalServerException", 503: "ServiceUnavailableException",
}  # fmt: skip
_IN_STREAMS = {
    400: "validationException", 424: "modelStreamErrorException", 429: "throttlingException",
    503: "serviceUnavailableException", 529: "serviceUnavailableException",
}  # fmt: skip
_STOPS = {"stop": "end_turn", "length": "max_tokens", "sequence": "stop_sequence", "calls": "tool_use"}
_DIMENSIONS = {"amazon.titan-embed-text-v1": 1536, "amazon.titan-embed-text-v2:0": 1024}
_COHERE_DIMENSIONS, _COHERE_TEXTS = 1024, 96


def answer(call: Call) -> Answer:
    found = _answer(call)
    found.headers = {"x-amzn-requestid": f"00000000-0000-4000-8000-{call.number:012}", **found.headers}
    return found


def _answer(call: Call) -> Answer:
    refused = refusal(call)
    if refused is not None:
        return _error(403, *refused)
    parts = call.path.split("/")
    if call.method != "POST" or len(parts) != 4 or parts[1] != "model":
        return _error(404, "UnknownOperationException", "")
    if not isinstance(call.body, dict):
        return _error(400, "SerializationException", "The request body is no JSON object")
    model = unquote(parts[2])
    if "." not in model and not model.startswith("arn:aws:bedrock:"):
        return error(400, "The provided model identifier is invalid.")
    match parts[3]:
        case "invoke":
            return _invoke(call.body, model)
        case "converse" | "converse-stream":
            return _converse(call, model, stream=parts[3] == "converse-stream")
    return _error(404, "UnknownOperationException", "")


def error(status: int, message: str) -> Answer:
    return _error(status, _ERRORS.get(status, "InternalServerException"), message)


def _error(status: int, kind: str, message: str) -> Answer:
    headers = {"x-amzn-errortype": f"{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/"}
    return json_answer({"message": message}, status, headers)


def _rate_limited(seconds: float) -> Answer:
    limited = error(429, "Too many requests, please wait before trying again.")
    limited.headers |= {"retry-after": f"{seconds:g}"} if seconds else {}
    return limited


def _error_event(status: int, message: str) -> bytes:
    return eventstream.exception(_IN_STREAMS.get(status, "internalServerException"), message)


# -- what is asked -----------------------------------------------------------------------------------------------------


def _converse(call: Call, model: str, *, stream: bool) -> Answer:
    body = call.body
    wrong = problem(body, model)
    if wrong:
        return error(400, wrong)
    body = present(body)
    said = reply(_asked(body, call.words))
    message = {"role": "assistant", "content": _blocks(said)}
    told = {"usage": _usage(body, message), "metrics": {"latencyMs": 42}, **_trace(body, said)}
    stop = _stop(body, said)
    if stream:
        return Answer(events=_events(message, stop, told), headers={"content-type": eventstream.MEDIA_TYPE})
    return json_answer({"output": {"message": message}, "stopReason": stop, **told})


def _asked(body: dict[str, Any], words: int) -> Asked:
    config = body.get("toolConfig") or {}
    specs = [tool["toolSpec"] for tool in config.get("tools", ()) if "toolSpec" in tool]
    choice = config.get("toolChoice") or {}
    inference = body.get("inferenceConfig") or {}
    return Asked(
        turns=[_turn(message["role"], message["content"]) for message in body["messages"]],
        words=words,
        system=" ".join(block.get("text", "") for block in body.get("system") or ()),
        tools=[Tool(spec["name"], spec["inputSchema"]["json"]) for spec in specs],
        forced="" if "any" in choice else (choice.get("tool") or {}).get("name"),
        schema=_schema(body),
        thinks=_thinks(body.get("additionalModelRequestFields") or {}),
        limit=inference.get("maxTokens"),
        stops=inference.get("stopSequences") or [],
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
        user=role == "user",
        text=" ".join(block["text"] for block in blocks if "text" in block),
        results=[" ".join(_told(one) for one in result["content"]) for result in results],
        media=[
            _sight(kind, block[kind])
            for block in blocks + inside
            for kind in ("image", "document", "audio")
            if kind in block
        ],
    )


def _told(block: dict[str, Any]) -> str:
    return json_text(block["json"]) if "json" in block else str(block.get("text", ""))


def _sight(kind: str, given: dict[str, Any]) -> str:
    family = {"document": "application"}.get(kind, kind)
    return sight(f"{family}/{given.get('format', kind)}", given["source"].get("bytes", ""))


# -- what is answered --------------------------------------------------------------------------------------------------


def _blocks(said: Reply) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if said.thought:
        thought = {"text": said.thought, "signature": signature("bedrock", said.thought)}
        blocks.append({"reasoningContent": {"reasoningText": thought}})
    if said.text or said.refusal:
        blocks.append({"text": said.text or said.refusal})
    for number, wish in enumerate(said.wishes):
        made = signature("call", str(number), wish.name)[:22].replace("+", "a").replace("/", "b")
        blocks.append({"toolUse": {"toolUseId": f"tooluse_{made}", "name": wish.name, "input": wish.arguments}})
    return blocks


def _stop(body: dict[str, Any], said: Reply) -> str:
    if said.refusal:
        return "guardrail_intervened" if body.get("guardrailConfig") else "content_filtered"
    return _STOPS[said.finish]


def _trace(body: dict[str, Any], said: Reply) -> dict[str, Any]:
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
        return [{"toolUse": {"input": text}} for text in ["", *fragments(json_text(block["toolUse"]["input"]))]]
    if "reasoningContent" in block:
        thought = block["reasoningContent"]["reasoningText"]
        told = [{"reasoningContent": {"text": piece}} for piece in pieces(thought["text"])]
        return [*told, {"reasoningContent": {"signature": thought["signature"]}}]
    return [{"text": piece} for piece in pieces(block["text"])]


# -- embeddings --------------------------------------------------------------------------------------------------------


def _invoke(body: dict[str, Any], model: str) -> Answer:
    if "titan-embed" in model:
        return _titan(body, model)
    if "cohere.embed" in model:
        return _cohere(body)
    return error(400, f"The mock invokes embedding models alone, and {model} is none.")


def _titan(body: dict[str, Any], model: str) -> Answer:
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
    return _counted({"embedding": vector(text, dimensions), "inputTextTokenCount": counted}, counted)


def _cohere(body: dict[str, Any]) -> Answer:
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
    return _counted({**told, "embeddings": {"float": vectors} if typed else vectors}, token_count(texts))


def _counted(value: dict[str, Any], tokens: int) -> Answer:
    return json_answer(value, headers={"x-amzn-bedrock-input-token-count": str(tokens)})


def _malformed(why: str) -> Answer:
    return error(400, f"Malformed input request: {why}, please reformat your input and try again.")


DIALECT = Dialect(answer, error, _rate_limited, _error_event)
