"""The rules by which Gemini's generateContent API rejects requests, with the text of its errors.

Sources: the request types of the `google-genai` SDK, recorded traffic, and error messages that users have reported.
The API is based on protocol buffers: members may be written in camelCase or snake_case, and a list of one item may be
written as that item. Adjacent messages of one role are one turn.
"""

import re
from collections.abc import Callable, Iterator
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from nulpoint.mock.gemini.models import GeminiModel, find_model
from nulpoint.mock.interface import json_text, signature, sorted_json
from nulpoint.mock.request_schema import ListOf, MapOf, Path, Record, Violation, json_type, record, violations


def _one_or_many(shape: Any) -> Any:
    return (ListOf(shape), shape)


_schema: dict[str, Any] = {
    "type": str,
    "format": str,
    "title": str,
    "description": str,
    "nullable": bool,
    "enum": list,
    "pattern": str,
    "default": object,
    "example": object,
    "required": _one_or_many(str),
    "propertyOrdering": _one_or_many(str),
    "ref": str,
    "additionalProperties": object,
    **dict.fromkeys(("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"), (str, int)),
    **dict.fromkeys(("minimum", "maximum"), float),
}
SCHEMA = Record(_schema)  # the subset of OpenAPI schemas that `parameters` and `responseSchema` accept
_schema.update(items=SCHEMA, anyOf=_one_or_many(SCHEMA), properties=MapOf(SCHEMA), defs=MapOf(SCHEMA))

_BLOB = record("data mimeType", mimeType=str, data=str, displayName=str)
_FILE = record("fileUri", fileUri=str, mimeType=str, displayName=str)
PAYLOADS = {
    "text": str,
    "inlineData": _BLOB,
    "fileData": _FILE,
    "functionCall": record("name", name=str, args=dict, id=str),
    "functionResponse": record(
        "name response",
        name=str,
        response=dict,
        id=str,
        willContinue=bool,
        scheduling=str,
        parts=_one_or_many(record("", inlineData=_BLOB, fileData=_FILE)),
    ),
    "executableCode": record("code", code=str, language=str, id=str),
    "codeExecutionResult": record("outcome", outcome=str, output=str, id=str),
    "toolCall": record("toolType", id=str, toolType=str, args=dict),
    "toolResponse": record("toolType", id=str, toolType=str, response=dict),
}
_PART = record(
    "",
    **PAYLOADS,
    thought=bool,
    thoughtSignature=str,
    videoMetadata=dict,
    mediaResolution=(dict, str),
    partMetadata=dict,
)
_CONTENT = record("", role=str, parts=_one_or_many(_PART))
_FUNCTION = record(
    "name",
    name=str,
    description=str,
    parameters=SCHEMA,
    parametersJsonSchema=object,
    response=SCHEMA,
    responseJsonSchema=object,
    behavior=str,
)
_TOOL = record(
    "",
    functionDeclarations=_one_or_many(_FUNCTION),
    **dict.fromkeys(
        (
            "googleSearch",
            "googleSearchRetrieval",
            "codeExecution",
            "urlContext",
            "fileSearch",
            "computerUse",
            "googleMaps",
        ),
        dict,
    ),
    mcpServers=list,
)
_THINKING_CONFIG = record("", includeThoughts=bool, thinkingBudget=int, thinkingLevel=str)
_GENERATION_CONFIG = record(
    "",
    temperature=float,
    topP=float,
    topK=float,
    candidateCount=int,
    maxOutputTokens=int,
    seed=int,
    logprobs=int,
    stopSequences=_one_or_many(str),
    responseLogprobs=bool,
    presencePenalty=float,
    frequencyPenalty=float,
    responseMimeType=str,
    responseSchema=SCHEMA,
    responseJsonSchema=object,
    responseFormat=object,
    responseModalities=_one_or_many(str),
    mediaResolution=str,
    thinkingConfig=_THINKING_CONFIG,
    speechConfig=dict,
    imageConfig=dict,
    enableEnhancedCivicAnswers=bool,
)
_FUNCTION_CALLING_CONFIG = record("", mode=str, allowedFunctionNames=_one_or_many(str))
_TOOL_CONFIG = record(
    "", functionCallingConfig=_FUNCTION_CALLING_CONFIG, retrievalConfig=dict, includeServerSideToolInvocations=bool
)
_REQUEST = record(
    "",
    contents=_one_or_many(_CONTENT),
    systemInstruction=_CONTENT,
    tools=_one_or_many(_TOOL),
    toolConfig=_TOOL_CONFIG,
    model=str,
    generationConfig=_GENERATION_CONFIG,
    safetySettings=_one_or_many(dict),
    cachedContent=str,
    serviceTier=str,
    store=bool,
    labels=dict,
    continuationToken=str,
)
_EMBED_CONFIG = record(
    "",
    taskType=str,
    title=str,
    outputDimensionality=int,
    autoTruncate=bool,
    documentOcr=bool,
    audioTrackExtraction=bool,
)
_EMBED_REQUEST = record(
    "content",
    model=str,
    content=_CONTENT,
    taskType=str,
    title=str,
    outputDimensionality=int,
    embedContentConfig=_EMBED_CONFIG,
)
_BATCH_EMBED_REQUEST = record("requests", model=str, requests=ListOf(_EMBED_REQUEST))

# The documented replacement for a lost signature: base64 of `skip_thought_signature_validator`.
SKIP_SIGNATURE = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")
_MAX_EMBEDDINGS = 100
# The members that exist at one host only: where, their name, and the host.
_HOST_MEMBERS = (
    ("toolConfig", "includeServerSideToolInvocations", "gemini"),
    ("", "store", "gemini"),
    ("", "labels", "vertexai"),
)
_BUILT_IN_TOOLS = ("googleSearch", "googleSearchRetrieval", "codeExecution", "urlContext", "googleMaps", "fileSearch")
_THOUGHT_SIGNATURE_DOCS = "https://ai.google.dev/gemini-api/docs/thought-signatures"

SignatureCheck = Callable[[dict[str, Any]], bool]


class Rejection(NamedTuple):
    """An error message, and the paths of the fields it is about if there are any."""

    message: str
    paths: tuple[str, ...] = ()


def sign(part: dict[str, Any]) -> str:
    """Return the signature that this mock gives to a part."""
    call = part.get("functionCall")
    return (
        signature("thought", call["name"], sorted_json(call.get("args")))
        if call
        else signature("thought", part["text"])
    )


def is_signed_by_mock(part: dict[str, Any]) -> bool:
    """Return whether this mock signed the part, or its signature is the replacement for a lost one."""
    known = part["thoughtSignature"] == SKIP_SIGNATURE
    return known or (("text" in part or "functionCall" in part) and part["thoughtSignature"] == sign(part))


class _Call(NamedTuple):
    """A request to a model at a host."""

    name: str
    model: GeminiModel
    host: str


def find_problem(
    body: Any, model: str, check_signature: SignatureCheck = is_signed_by_mock, host: str = "gemini"
) -> Rejection | None:
    """Return the first problem in a generateContent request, or None.

    `body` has been normalized. `check_signature` returns whether the signature of a part is valid. `host` is `gemini`
    or `vertexai`.
    """
    mismatches = list(violations(body, _REQUEST))
    mismatches += [
        Violation("unknown", (parent, name) if parent else (name,), name)
        for parent, name, known_at in _HOST_MEMBERS
        if host != known_at and name in ((body.get(parent) if parent else body) or {})
    ]
    if mismatches:
        return _rejection(mismatches, body)
    call = _Call(model, find_model(model), host)
    for rule in _RULES:
        for text in rule(body, call):
            return Rejection(text)
    for part in (part for content in _as_list(body["contents"]) for part in _as_list(content["parts"])):
        if part.get("thoughtSignature") and not check_signature(part):
            return Rejection("Corrupted thought signature.")
    return None


def find_embedding_problem(body: Any, batch: bool) -> Rejection | None:
    """Return the problem in an embedContent or batchEmbedContents request, or None."""
    mismatches = list(violations(body, _BATCH_EMBED_REQUEST if batch else _EMBED_REQUEST))
    if mismatches:
        return _rejection(mismatches, body)
    if batch and len(body["requests"]) > _MAX_EMBEDDINGS:
        text = f"at most {_MAX_EMBEDDINGS} requests can be in one batch"
        return Rejection(f"* BatchEmbedContentsRequest.requests: {text}\n")
    return None


_OPAQUE_MEMBERS = frozenset(
    {"args", "response", "parametersJsonSchema", "responseJsonSchema", "labels", "default", "example", "enum"}
)
_KEYED_MEMBERS = frozenset({"properties", "defs"})


def normalize(value: Any, keyed: bool = False) -> Any:
    """Convert a request to camelCase and remove nulls. JSON that belongs to the client, such as arguments, is kept."""
    if isinstance(value, list):
        return [normalize(item) for item in value]
    if not isinstance(value, dict):
        return value
    normalized = {}
    for name, member in value.items():
        if member is None:
            continue  # protocol buffers have no null
        member_name = name if keyed else re.sub(r"(?<=[a-z])_([a-z])", lambda match: match[1].upper(), name)
        normalized[member_name] = (
            member
            if member_name in _OPAQUE_MEMBERS and not keyed
            else normalize(member, member_name in _KEYED_MEMBERS and not keyed)
        )
    return normalized


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def declared_functions(body: Any) -> list[dict[str, Any]]:
    """Return all functions declared in a request."""
    return [function for tool in _as_list(body.get("tools")) for function in _as_list(tool.get("functionDeclarations"))]


# -- error messages for schema violations ------------------------------------------------------------------------------


def _rejection(problems: list[Violation], body: Any) -> Rejection:
    """Return one rejection that names every violation, as Gemini does."""
    lines = [_violation_message(misfit, body) for misfit in problems]
    return Rejection("\n".join(lines), tuple(_violation_path(violation.path[:-1], body) for violation in problems))


def _violation_message(violation: Violation, body: Any) -> str:
    path = _violation_path(violation.path, body)
    parent = _violation_path(violation.path[:-1], body)
    location = f" at '{parent}'" if parent else ""
    if violation.kind == "unknown":
        return f'Invalid JSON payload received. Unknown name "{violation.name}"{location}: Cannot find field.'
    if violation.kind == "missing":
        return f"* GenerateContentRequest.{path}: must not be empty"
    if isinstance(violation.value, list):
        name = violation.path[-1] if violation.path else ""
        return f'Invalid JSON payload received. Unknown name "{name}"{location}: Proto field is not repeating, cannot start list.'
    return f"Invalid value at '{path}' ({json_type(violation.expected)}), {json_text(violation.value)[:80]}"


def _violation_path(path: Path, body: Any) -> str:
    """Return a path such as `tools[0].function_declarations[0].parameters.properties[1].value`."""
    text = ""
    value = body
    for number, step in enumerate(path):
        if isinstance(step, int):
            text += f"[{step}]"
            value = value[step]
        elif number and path[number - 1] in _KEYED_MEMBERS and isinstance(value, dict):
            text += f"[{list(value).index(step)}].value"
            value = value[step]
        else:
            text += ("." if text else "") + re.sub("([A-Z])", lambda match: "_" + match[1].lower(), step)
            value = value.get(step) if isinstance(value, dict) else None
    return text


# -- rules: each yields error messages about one subject ---------------------------------------------------------------


def _contents(body: Any, call: _Call) -> Iterator[str]:
    contents = _as_list(body.get("contents"))
    if not contents:
        yield "* GenerateContentRequest.contents: contents is not specified\n"
        return
    for number, content in enumerate(contents):
        if content.get("role") not in (None, "user", "model"):
            yield "Please use a valid role: user, model."
        if not _as_list(content.get("parts")):
            yield f"* GenerateContentRequest.contents[{number}].parts: contents.parts must not be empty.\n"
        for index, part in enumerate(_as_list(content.get("parts"))):
            path = f"contents[{number}].parts[{index}]"
            payloads = [name for name in PAYLOADS if part.get(name) is not None]
            if not part:
                yield f"* GenerateContentRequest.{path}.data: required oneof field 'data' must have one initialized field\n"
            if len(payloads) > 1:
                yield f"Invalid value at '{path}' (oneof), oneof field 'data' is already set. Cannot set '{payloads[1]}'"
    if contents[-1].get("role") == "model" and not call.model.ends_with_model:
        yield "Requests ending with a model turn are not supported."


class _Turn(NamedTuple):
    role: str
    calls: list[dict[str, Any]]
    responses: list[dict[str, Any]]


def _turns(body: Any) -> list[_Turn]:
    turns = []
    for role, contents in groupby(_as_list(body["contents"]), key=lambda content: content.get("role") or "user"):
        parts = [part for content in contents for part in _as_list(content["parts"])]
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        turns.append(_Turn(role, calls, [part["functionResponse"] for part in parts if "functionResponse" in part]))
    return turns


def _pairing(body: Any, call: _Call) -> Iterator[str]:
    turns = _turns(body)
    for number, turn in enumerate(turns):
        previous = turns[number - 1] if number else None
        if turn.calls and previous is None:
            yield "Please ensure that function call turn comes immediately after a user turn or after a function response turn."
        if turn.responses and (previous is None or not previous.calls):
            yield "Please ensure that function response turn comes immediately after a function call turn."
        if previous is not None and len(previous.calls) != len(turn.responses):
            yield (
                "Please ensure that the number of function response parts is equal to the number of function call parts"
                " of the function call turn."
            )
        names = [call["name"] for call in previous.calls] if previous else []
        for response in turn.responses:
            if response["name"] not in names:
                yield f"Please ensure that function response `{response['name']}` answers a call of the turn before."
    yield from _call_ids(turns, call.model)


def _call_ids(turns: list[_Turn], model: GeminiModel) -> Iterator[str]:
    """Check that function responses have the ids of the function calls, if the calls have ids."""
    for previous, turn in pairwise(turns):
        call_ids = {call["id"] for call in previous.calls if call.get("id")}
        if not call_ids:
            continue
        if model.needs_response_ids and not all(response.get("id") for response in turn.responses):
            yield "Function response is missing an id in functionResponse parts. It must be the id of the function call."
        if any(response.get("id") and response["id"] not in call_ids for response in turn.responses):
            yield "Please ensure that the ids of function responses are those of the function calls before."


def _signatures(body: Any, call: _Call) -> Iterator[str]:
    """Check that, from Gemini 3 on, the first call of each step since the last question has a signature."""
    if not call.model.signs_calls:
        return
    contents = _as_list(body["contents"])
    questions = [
        number
        for number, content in enumerate(contents)
        if content.get("role") != "model" and any("functionResponse" not in part for part in _as_list(content["parts"]))
    ]
    for number, content in enumerate(contents):
        calls = [part for part in _as_list(content["parts"]) if "functionCall" in part]
        if number > max(questions, default=-1) and calls and not calls[0].get("thoughtSignature"):
            yield (
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to work"
                " correctly, and missing thought_signature may lead to degraded model performance. Additional data,"
                f" function call `default_api:{calls[0]['functionCall']['name']}` , position {number + 1}. Please refer"
                f" to {_THOUGHT_SIGNATURE_DOCS} for more details."
            )


def _tools(body: Any, call: _Call) -> Iterator[str]:
    functions = declared_functions(body)
    for number, function in enumerate(functions):
        path = f"* GenerateContentRequest.tools[0].function_declarations[{number}]"
        if not _NAME.fullmatch(function["name"]):
            yield (
                f"{path}.name: [FIELD_INVALID] Invalid function name. Must start with a letter or an underscore. Must"
                " be alphameric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum"
                " length of 128.\n"
            )
        if "parameters" in function and "parametersJsonSchema" in function:
            yield f"{path}: parameters and parameters_json_schema cannot both be set\n"
    names = [function["name"] for function in functions]
    for name in names:
        if names.count(name) > 1:
            yield f"Duplicate function declaration found: {name}"
    calling_config = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode = calling_config.get("mode", "AUTO").upper()
    if mode not in ("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"):
        yield f"Invalid value at 'tool_config.function_calling_config.mode' (Mode), \"{calling_config['mode']}\""
    allowed = _as_list(calling_config.get("allowedFunctionNames"))
    if allowed and mode not in ("ANY", "VALIDATED"):
        yield "Function calling config has allowed function names, but the mode is not ANY or VALIDATED."
    for name in allowed:
        if name not in names:
            yield f"Function calling config allows `{name}`, which is not declared."


def _server_tools(body: Any, call: _Call) -> Iterator[str]:
    """Check the tools that Google runs itself beside functions."""
    built_in = [name for tool in _as_list(body.get("tools")) for name in tool if name in _BUILT_IN_TOOLS]
    if call.host == "vertexai" and "fileSearch" in built_in:
        yield "Invalid JSON payload received. Unknown name \"fileSearch\" at 'tools[0]': Cannot find field."
    if not built_in or not declared_functions(body):
        return
    if not call.model.functions_with_search:
        yield "Tool use with function calling is unsupported by the model."
    if call.host == "gemini" and not (body.get("toolConfig") or {}).get("includeServerSideToolInvocations"):
        yield "Please enable tool_config.include_server_side_tool_invocations to use Built-in tools with Function calling."


def _references(body: Any, call: _Call) -> Iterator[str]:
    """Check that, from Gemini 3 on, `$ref` in a function response is the name of a part of it."""
    if not call.model.resolves_references:
        return
    for turn in _turns(body):
        for response in turn.responses:
            names = [
                part.get(kind, {}).get("displayName")
                for part in _as_list(response.get("parts"))
                for kind in ("inlineData", "fileData")
            ]
            for reference in _find_references(response["response"]):
                if reference not in names:
                    yield (
                        f"The referenced name `{reference}` in function_response.response does not match to a"
                        " display_name in function_response.parts."
                    )


def _find_references(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _find_references(item)
    elif isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for inner in value.values():
            yield from _find_references(inner)


def _thinking(body: Any, call: _Call) -> Iterator[str]:
    config = (body.get("generationConfig") or {}).get("thinkingConfig")
    if not config:
        return
    budget, level, model = config.get("thinkingBudget"), config.get("thinkingLevel"), call.model
    if budget is not None and level is not None:
        yield "You can only set only one of thinking budget and thinking level."
    if not model.thinks:
        yield "Thinking is not supported for this model."
    if level is not None and level.upper() not in ("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"):
        yield f"Invalid value at 'generation_config.thinking_config.thinking_level' (ThinkingLevel), \"{level}\""
    if level is not None and not model.levels:
        yield "Thinking level is not supported for this model."
    elif level is not None and level.upper() not in model.levels:
        yield f"Thinking level {level.upper()} is not supported for this model. Please retry with other thinking level."
    if budget is not None:
        yield from _budget(budget, model)


def _budget(budget: int, model: GeminiModel) -> Iterator[str]:
    if model.budget is None:
        yield "Thinking budget is not supported for this model."
        return
    minimum, maximum = model.budget
    if budget == 0 and minimum and not model.zero_budget:
        yield "Budget 0 is invalid. This model only works in thinking mode."
    if budget not in (0, -1) and not minimum <= budget <= maximum:
        yield f"The thinking budget {budget} is invalid. Please choose a value between {minimum} and {maximum}."


def _sampling(body: Any, call: _Call) -> Iterator[str]:
    config = body.get("generationConfig") or {}
    if call.host not in call.model.penalties and (config.get("presencePenalty") or config.get("frequencyPenalty")):
        yield "Penalty is not enabled for this model"
    if not call.model.candidates and (config.get("candidateCount") or 1) > 1:
        yield "Multiple candidates is not enabled for this model"
    if call.host not in call.model.logprobs and (config.get("responseLogprobs") or config.get("logprobs")):
        yield (
            f"Logprobs is not enabled for models/{call.name}"
            if call.host == "gemini"
            else "Logprobs is not supported for this model"
        )


def _continuation(body: Any, call: _Call) -> Iterator[str]:
    if "continuationToken" in body and not call.model.continues:
        yield "Continuation tokens are not supported for this model."
    if "cachedContent" in body and not call.model.caches:
        yield "CachedContent is not supported for this model."


def _generation_config(body: Any, call: _Call) -> Iterator[str]:
    config = body.get("generationConfig") or {}
    path = "* GenerateContentRequest.generation_config"
    for name, minimum, maximum in (
        ("temperature", 0, 2),
        ("topP", 0, 1),
        ("candidateCount", 1, 8),
        ("logprobs", 0, 20),
    ):
        if config.get(name) is not None and not minimum <= config[name] <= maximum:
            yield f"{path}.{_violation_path((name,), {})}: must be in the range [{minimum}, {maximum}]\n"
    if not 1 <= (config.get("maxOutputTokens") or 1) <= call.model.max_output:
        yield (
            f"Unable to submit request because it has a maxOutputTokens value of {config['maxOutputTokens']} but the"
            f" supported range is from 1 (inclusive) to {call.model.max_output + 1} (exclusive). Update the value and try again."
        )
    if len(_as_list(config.get("stopSequences"))) > 5:
        yield f"{path}.stop_sequences: at most 5 stop sequences are allowed\n"
    as_json = config.get("responseMimeType") == "application/json"
    schemas = [name for name in ("responseSchema", "responseJsonSchema") if config.get(name) is not None]
    if schemas and not as_json:
        yield f"{path}.{_violation_path((schemas[0],), {})}: only allowed with response_mime_type application/json\n"
    if len(schemas) > 1:
        yield f"{path}: response_schema and response_json_schema cannot both be set\n"
    if as_json and declared_functions(body) and not call.model.functions_with_json:
        yield "Function calling with a response mime type: 'application/json' is unsupported"


_RULES: tuple[Callable[[Any, _Call], Iterator[str]], ...] = (
    _contents,
    _pairing,
    _signatures,
    _references,
    _tools,
    _server_tools,
    _thinking,
    _sampling,
    _continuation,
    _generation_config,
)
