"""What Gemini's generateContent refuses, and in which words.

Facts: the request types of the `google-genai` SDK, recorded traffic, and messages of real refusals as people report
them. Protocol buffers lie behind this API: members may be written in camelCase or snake_case, a list of one may be
written as that one, and neighbours of one role are one turn.
"""

import re
from collections.abc import Callable, Iterator
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from nulpoint.mock.interface import json_text, signature, sorted_json
from nulpoint.mock.request_schema import ListOf, MapOf, Path, Record, Violation, json_type, record, violations


def _one_or_many(shape: Any) -> Any:
    return (ListOf(shape), shape)


_schema: dict[str, Any] = {
    "type": str, "format": str, "title": str, "description": str, "nullable": bool, "enum": list, "pattern": str,
    "default": object, "example": object, "required": _one_or_many(str), "propertyOrdering": _one_or_many(str), "ref": str,
    "additionalProperties": object,
    **dict.fromkeys(("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"), (str, int)),
    **dict.fromkeys(("minimum", "maximum"), float),
}  # fmt: skip
SCHEMA = Record(_schema)  # what `parameters` and `responseSchema` may hold: a part of OpenAPI's
_schema.update(items=SCHEMA, anyOf=_one_or_many(SCHEMA), properties=MapOf(SCHEMA), defs=MapOf(SCHEMA))

_BLOB = record("data mimeType", mimeType=str, data=str, displayName=str)
_FILE = record("fileUri", fileUri=str, mimeType=str, displayName=str)
PAYLOADS = {
    "text": str, "inlineData": _BLOB, "fileData": _FILE,
    "functionCall": record("name", name=str, args=dict, id=str),
    "functionResponse": record("name response", name=str, response=dict, id=str, willContinue=bool, scheduling=str,
                               parts=_one_or_many(record("", inlineData=_BLOB, fileData=_FILE))),
    "executableCode": record("code", code=str, language=str, id=str),
    "codeExecutionResult": record("outcome", outcome=str, output=str, id=str),
    "toolCall": record("toolType", id=str, toolType=str, args=dict),
    "toolResponse": record("toolType", id=str, toolType=str, response=dict),
}  # fmt: skip
_PART = record("", **PAYLOADS, thought=bool, thoughtSignature=str, videoMetadata=dict, mediaResolution=(dict, str),
               partMetadata=dict)  # fmt: skip
_CONTENT = record("", role=str, parts=_one_or_many(_PART))
_FUNCTION = record("name", name=str, description=str, parameters=SCHEMA, parametersJsonSchema=object, response=SCHEMA,
                   responseJsonSchema=object, behavior=str)  # fmt: skip
_TOOL = record(
    "", functionDeclarations=_one_or_many(_FUNCTION),
    **dict.fromkeys(("googleSearch", "googleSearchRetrieval", "codeExecution", "urlContext", "fileSearch",
                     "computerUse", "googleMaps"), dict), mcpServers=list,
)  # fmt: skip
_THINKING = record("", includeThoughts=bool, thinkingBudget=int, thinkingLevel=str)
_CONFIG = record(
    "", temperature=float, topP=float, topK=float, candidateCount=int, maxOutputTokens=int, seed=int, logprobs=int,
    stopSequences=_one_or_many(str), responseLogprobs=bool, presencePenalty=float, frequencyPenalty=float,
    responseMimeType=str, responseSchema=SCHEMA, responseJsonSchema=object, responseFormat=object,
    responseModalities=_one_or_many(str), mediaResolution=str, thinkingConfig=_THINKING, speechConfig=dict, imageConfig=dict,
    enableEnhancedCivicAnswers=bool,
)  # fmt: skip
_CALLING = record("", mode=str, allowedFunctionNames=_one_or_many(str))
_TOOL_CONFIG = record("", functionCallingConfig=_CALLING, retrievalConfig=dict, includeServerSideToolInvocations=bool)
_REQUEST = record(
    "", contents=_one_or_many(_CONTENT), systemInstruction=_CONTENT, tools=_one_or_many(_TOOL), toolConfig=_TOOL_CONFIG, model=str,
    generationConfig=_CONFIG, safetySettings=_one_or_many(dict), cachedContent=str, serviceTier=str, store=bool, labels=dict,
)  # fmt: skip
_EMBED = record("content", model=str, content=_CONTENT, taskType=str, title=str, outputDimensionality=int)
_EMBED_BATCH = record("requests", model=str, requests=ListOf(_EMBED))

# Google documents this in place of a signature that got lost (base64 of `skip_thought_signature_validator`).
SKIP_SIGNATURE = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
_VERSION = re.compile(r"gemini-(\d)(?:\.(\d))?(?!\d)")
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")
_MAX_OUTPUT_TOKENS = 65_536
_DOCS = "https://ai.google.dev/gemini-api/docs/thought-signatures"

SignatureCheck = Callable[[dict[str, Any]], bool]


class Rejection(NamedTuple):
    """`fields`: where, for those that name places."""

    message: str
    paths: tuple[str, ...] = ()


def sign(part: dict[str, Any]) -> str:
    """The signature of a part this mock made."""
    call = part.get("functionCall")
    return (
        signature("thought", call["name"], sorted_json(call.get("args")))
        if call
        else signature("thought", part["text"])
    )


def is_signed_by_mock(part: dict[str, Any]) -> bool:
    """Whether the signature is this mock's own and belongs to that part, or says that it got lost."""
    known = part["thoughtSignature"] == SKIP_SIGNATURE
    return known or (("text" in part or "functionCall" in part) and part["thoughtSignature"] == sign(part))


def find_problem(body: Any, model: str, check_signature: SignatureCheck = is_signed_by_mock) -> Rejection | None:
    """What is wrong with a generateContent request; `given` is the body as `plain` has made it."""
    misfit = [one for one in violations(body, _REQUEST)]
    if misfit:
        return _rejection(misfit, body)
    version = model_version(model)
    for rule in _RULES:
        for text in rule(body, model, version):
            return Rejection(text)
    for part in (part for content in _as_list(body["contents"]) for part in _as_list(content["parts"])):
        if part.get("thoughtSignature") and not check_signature(part):
            return Rejection("Corrupted thought signature.")
    return None


def find_embedding_problem(body: Any, batch: bool) -> Rejection | None:
    """What is wrong with an embedContent or batchEmbedContents request."""
    misfit = list(violations(body, _EMBED_BATCH if batch else _EMBED))
    return _rejection(misfit, body) if misfit else None


def model_version(model: str) -> tuple[int, int]:
    """The version in a model's name; a name without one counts as the newest."""
    found = _VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (99, 0)


_OPAQUE = frozenset(
    {"args", "response", "parametersJsonSchema", "responseJsonSchema", "labels", "default", "example", "enum"}
)
_KEYED = frozenset({"properties", "defs"})


def normalize(value: Any, keyed: bool = False) -> Any:
    """The request in camelCase and without nulls, whichever way it was written; JSON of the caller's own is left alone."""
    if isinstance(value, list):
        return [normalize(one) for one in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for name, member in value.items():
        if member is None:
            continue  # protocol buffers know no null
        there = name if keyed else re.sub(r"(?<=[a-z])_([a-z])", lambda found: found[1].upper(), name)
        made[there] = member if there in _OPAQUE and not keyed else normalize(member, there in _KEYED and not keyed)
    return made


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def declared_functions(body: Any) -> list[dict[str, Any]]:
    """All declared functions."""
    return [one for tool in _as_list(body.get("tools")) for one in _as_list(tool.get("functionDeclarations"))]


# -- words for a shape that does not fit -------------------------------------------------------------------------------


def _rejection(problems: list[Violation], body: Any) -> Rejection:
    """Gemini names them all."""
    lines = [_violation_message(misfit, body) for misfit in problems]
    return Rejection("\n".join(lines), tuple(_violation_path(one.path[:-1], body) for one in problems))


def _violation_message(misfit: Violation, body: Any) -> str:
    place = _violation_path(misfit.path, body)
    above = _violation_path(misfit.path[:-1], body)
    at = f" at '{above}'" if above else ""
    if misfit.kind == "unknown":
        return f'Invalid JSON payload received. Unknown name "{misfit.name}"{at}: Cannot find field.'
    if misfit.kind == "missing":
        return f"* GenerateContentRequest.{place}: must not be empty"
    if isinstance(misfit.value, list):
        name = misfit.path[-1] if misfit.path else ""
        return f'Invalid JSON payload received. Unknown name "{name}"{at}: Proto field is not repeating, cannot start list.'
    return f"Invalid value at '{place}' ({json_type(misfit.expected)}), {json_text(misfit.value)[:80]}"


def _violation_path(path: Path, body: Any) -> str:
    """`tools[0].function_declarations[0].parameters.properties[1].value`"""
    text = ""
    value = body
    for number, step in enumerate(path):
        if isinstance(step, int):
            text += f"[{step}]"
            value = value[step]
        elif number and path[number - 1] in _KEYED and isinstance(value, dict):
            text += f"[{list(value).index(step)}].value"
            value = value[step]
        else:
            text += ("." if text else "") + re.sub("([A-Z])", lambda found: "_" + found[1].lower(), step)
            value = value.get(step) if isinstance(value, dict) else None
    return text


# -- rules: each gives what is wrong in its own matter -----------------------------------------------------------------

_Version = tuple[int, int]


def _contents(given: Any, model: str, version: _Version) -> Iterator[str]:
    contents = _as_list(given.get("contents"))
    if not contents:
        yield "* GenerateContentRequest.contents: contents is not specified\n"
        return
    for number, content in enumerate(contents):
        if content.get("role") not in (None, "user", "model"):
            yield "Please use a valid role: user, model."
        if not _as_list(content.get("parts")):
            yield f"* GenerateContentRequest.contents[{number}].parts: contents.parts must not be empty.\n"
        for place, part in enumerate(_as_list(content.get("parts"))):
            where = f"contents[{number}].parts[{place}]"
            payloads = [name for name in PAYLOADS if part.get(name) is not None]
            if not part:
                yield f"* GenerateContentRequest.{where}.data: required oneof field 'data' must have one initialized field\n"
            if len(payloads) > 1:
                yield f"Invalid value at '{where}' (oneof), oneof field 'data' is already set. Cannot set '{payloads[1]}'"
    if contents[-1].get("role") == "model" and version >= (3, 5):
        yield "Requests ending with a model turn are not supported."


class _Turn(NamedTuple):
    role: str
    calls: list[dict[str, Any]]
    responses: list[dict[str, Any]]


def _turns(given: Any) -> list[_Turn]:
    turns = []
    for role, some in groupby(_as_list(given["contents"]), key=lambda content: content.get("role") or "user"):
        parts = [part for content in some for part in _as_list(content["parts"])]
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        turns.append(_Turn(role, calls, [part["functionResponse"] for part in parts if "functionResponse" in part]))
    return turns


def _pairing(given: Any, model: str, version: _Version) -> Iterator[str]:
    turns = _turns(given)
    for number, turn in enumerate(turns):
        before = turns[number - 1] if number else None
        if turn.calls and before is None:
            yield "Please ensure that function call turn comes immediately after a user turn or after a function response turn."
        if turn.responses and (before is None or not before.calls):
            yield "Please ensure that function response turn comes immediately after a function call turn."
        if before is not None and len(before.calls) != len(turn.responses):
            yield (
                "Please ensure that the number of function response parts is equal to the number of function call parts"
                " of the function call turn."
            )
        names = [call["name"] for call in before.calls] if before else []
        for response in turn.responses:
            if response["name"] not in names:
                yield f"Please ensure that function response `{response['name']}` answers a call of the turn before."
    yield from _ids(turns)


def _ids(turns: list[_Turn]) -> Iterator[str]:
    """Where calls have ids, their responses have the same."""
    for before, turn in pairwise(turns):
        called = {call["id"] for call in before.calls if call.get("id")}
        if any(response.get("id") and called and response["id"] not in called for response in turn.responses):
            yield "Please ensure that the ids of function responses are those of the function calls before."


def _signatures(given: Any, model: str, version: _Version) -> Iterator[str]:
    """From Gemini 3 on, the first call of each step since the newest question has its signature."""
    if version < (3, 0):
        return
    contents = _as_list(given["contents"])
    asked = [
        number for number, content in enumerate(contents)
        if content.get("role") != "model" and any("functionResponse" not in part for part in _as_list(content["parts"]))
    ]  # fmt: skip
    for number, content in enumerate(contents):
        calls = [part for part in _as_list(content["parts"]) if "functionCall" in part]
        if number > max(asked, default=-1) and calls and not calls[0].get("thoughtSignature"):
            yield (
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to work"
                " correctly, and missing thought_signature may lead to degraded model performance. Additional data,"
                f" function call `default_api:{calls[0]['functionCall']['name']}` , position {number + 1}. Please refer"
                f" to {_DOCS} for more details."
            )


def _tools(given: Any, model: str, version: _Version) -> Iterator[str]:
    functions = declared_functions(given)
    for number, function in enumerate(functions):
        where = f"* GenerateContentRequest.tools[0].function_declarations[{number}]"
        if not _NAME.fullmatch(function["name"]):
            yield (
                f"{where}.name: [FIELD_INVALID] Invalid function name. Must start with a letter or an underscore. Must"
                " be alphameric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum"
                " length of 128.\n"
            )
        if "parameters" in function and "parametersJsonSchema" in function:
            yield f"{where}: parameters and parameters_json_schema cannot both be set\n"
    names = [function["name"] for function in functions]
    for name in names:
        if names.count(name) > 1:
            yield f"Duplicate function declaration found: {name}"
    calling = (given.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode = calling.get("mode", "AUTO").upper()
    if mode not in ("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"):
        yield f"Invalid value at 'tool_config.function_calling_config.mode' (Mode), \"{calling['mode']}\""
    allowed = _as_list(calling.get("allowedFunctionNames"))
    if allowed and mode not in ("ANY", "VALIDATED"):
        yield "Function calling config has allowed function names, but the mode is not ANY or VALIDATED."
    for name in allowed:
        if name not in names:
            yield f"Function calling config allows `{name}`, which is not declared."


def _thinking(given: Any, model: str, version: _Version) -> Iterator[str]:
    config = (given.get("generationConfig") or {}).get("thinkingConfig")
    if not config:
        return
    budget, level = config.get("thinkingBudget"), config.get("thinkingLevel")
    if budget is not None and level is not None:
        yield "You can only set only one of thinking budget and thinking level."
    if version < (2, 5):
        yield "Thinking is not supported for this model."
    if level is not None and version < (3, 0):
        yield "Thinking level is not supported for this model."
    if level is not None and level.upper() not in ("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"):
        yield f"Invalid value at 'generation_config.thinking_config.thinking_level' (ThinkingLevel), \"{level}\""
    if level is not None and level.upper() == "MINIMAL" and ("pro" in model or version >= (3, 7)):
        yield "Thinking level MINIMAL is not supported for this model. Please retry with other thinking level."
    if budget is not None and version == (2, 5):
        yield from _budget(budget, model)


def _budget(budget: int, model: str) -> Iterator[str]:
    least, most = (128, 32_768) if "pro" in model else (512, 24_576) if "lite" in model else (1, 24_576)
    if budget == 0 and "pro" in model:
        yield "Budget 0 is invalid. This model only works in thinking mode."
    if budget not in (0, -1) and not least <= budget <= most:
        yield f"The thinking budget {budget} is invalid. Please choose a value between {least} and {most}."


def _config(given: Any, model: str, version: _Version) -> Iterator[str]:
    config = given.get("generationConfig") or {}
    where = "* GenerateContentRequest.generation_config"
    for name, least, most in (("temperature", 0, 2), ("topP", 0, 1), ("candidateCount", 1, 8), ("logprobs", 0, 20)):
        if config.get(name) is not None and not least <= config[name] <= most:
            yield f"{where}.{_violation_path((name,), {})}: must be in the range [{least}, {most}]\n"
    if not 1 <= (config.get("maxOutputTokens") or 1) <= _MAX_OUTPUT_TOKENS:
        yield (
            f"Unable to submit request because it has a maxOutputTokens value of {config['maxOutputTokens']} but the"
            f" supported range is from 1 (inclusive) to {_MAX_OUTPUT_TOKENS + 1} (exclusive). Update the value and try again."
        )
    if len(_as_list(config.get("stopSequences"))) > 5:
        yield f"{where}.stop_sequences: at most 5 stop sequences are allowed\n"
    as_json = config.get("responseMimeType") == "application/json"
    schemas = [name for name in ("responseSchema", "responseJsonSchema") if config.get(name) is not None]
    if schemas and not as_json:
        yield f"{where}.{_violation_path((schemas[0],), {})}: only allowed with response_mime_type application/json\n"
    if len(schemas) > 1:
        yield f"{where}: response_schema and response_json_schema cannot both be set\n"
    if as_json and declared_functions(given) and version < (3, 0):
        yield "Function calling with a response mime type: 'application/json' is unsupported"


_RULES: tuple[Callable[[Any, str, _Version], Iterator[str]], ...] = (
    _contents, _pairing, _signatures, _tools, _thinking, _config,
)  # fmt: skip
