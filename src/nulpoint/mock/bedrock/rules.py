"""What Bedrock's Converse refuses, and in which words.

Facts: the service model of `bedrock-runtime`, and messages of real refusals as people report them.
"""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Iterator
from typing import Any

from nulpoint.mock.bedrock.request_schema import REQUEST, UNIONS
from nulpoint.mock.interface import signature
from nulpoint.mock.request_schema import Violation, json_type, violations

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CALL_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_DOCUMENT_NAME = re.compile(r"(?!.*\s\s)[\w\s\-()\[\]]{1,200}", re.ASCII)
_CONSTRAINT = "1 validation error detected: Value at '{}' failed to satisfy constraint: Member must {}"
_LIMITS = {"temperature": (0, 1), "topP": (0, 1), "maxTokens": (1, 10**9)}
_MAX_CACHE_POINTS = 4

SignatureCheck = Callable[[dict[str, Any]], bool]


def is_signed_by_mock(thought: dict[str, Any]) -> bool:
    """Whether this mock wrote that thought, and nobody has changed it."""
    return bool(thought.get("signature") == signature("bedrock", thought["text"]))


def find_problem(body: dict[str, Any], model: str, check_signature: SignatureCheck = is_signed_by_mock) -> str | None:
    """The first thing that is wrong, as Bedrock words it; `signed` judges the signature of a thought."""
    for misfit in violations(body, REQUEST):
        return _violation_message(misfit)
    body = without_nulls(body)
    for rule in _RULES:
        for text in rule(body):
            return text
    return next(_thoughts(body, model, check_signature), None)


def without_nulls(value: Any) -> Any:
    """Without members that are null, which say nothing."""
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _violation_message(misfit: Violation) -> str:
    place = ".".join(str(step + 1) + ".member" if isinstance(step, int) else step for step in misfit.path)
    match misfit.kind:
        case "unknown":
            return f"Malformed input request: #/{place}: extraneous key [{misfit.name}] is not permitted"
        case "missing":
            return _CONSTRAINT.format(place, "not be null")
        case "value":
            return _CONSTRAINT.format(place, f"satisfy enum value set: [{', '.join(misfit.expected)}]")
    return f"STRUCTURE_VALUE or {json_type(misfit.expected)} expected at '{place}'"


# -- rules: each gives what is wrong in its own matter -----------------------------------------------------------------


def _blocks(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, message in enumerate(body["messages"]):
        for at, block in enumerate(message["content"]):
            yield f"messages.{number}.content.{at}", block


def _unions(value: Any, where: str = "", name: str = "", union: bool = False) -> Iterator[str]:
    """Blocks, sources and tools hold one thing each."""
    if isinstance(value, dict):
        if (union or name in UNIONS) and len(value) != 1:
            yield f"The union at {where or 'the request'} must have exactly one member set, not {len(value)}"
        for key, inner in value.items():
            if key not in ("json", "input", "additionalModelRequestFields", "requestMetadata", "promptVariables"):
                yield from _unions(inner, f"{where}.{key}".lstrip("."), key)
    elif isinstance(value, list) and name in ("content", "system", "tools"):
        for at, inner in enumerate(value):
            yield from _unions(inner, f"{where}.{at}", union=True)
    elif isinstance(value, list) and name == "messages":
        for at, inner in enumerate(value):
            yield from _unions(inner, f"{where}.{at}")


def _roles(body: dict[str, Any]) -> Iterator[str]:
    messages = body.get("messages")
    if not messages:
        yield "The messages field is required and must hold at least one message."
        return
    if messages[0]["role"] != "user":
        yield (
            "A conversation must start with a user message. Try again with a conversation that starts with a user"
            " message."
        )
    for number, message in enumerate(messages):
        if number and message["role"] == messages[number - 1]["role"]:
            yield (
                "A conversation must alternate between user and assistant roles. Make sure the conversation alternates"
                " between user and assistant roles and try again."
            )
        if not message["content"]:
            yield (
                f"The content field in the Message object at messages.{number} is empty. Add a ContentBlock object to"
                " the content field and try again."
            )


def _texts(body: dict[str, Any]) -> Iterator[str]:
    for at, block in enumerate(body.get("system") or []):
        if not str(block.get("text", "x")).strip():
            yield f"The text field in the SystemContentBlock object at system.{at} is blank. Add text and try again."
    for where, block in _blocks(body):
        if "text" in block and not block["text"].strip():
            yield f"The text field in the ContentBlock object at {where} is blank. Add text to the text field, and try again."
    last = body["messages"][-1]
    if last["role"] == "assistant" and str(last["content"][-1].get("text", "")).endswith((" ", "\n")):
        yield "messages: final assistant content cannot end with trailing whitespace"


def _pairing(body: dict[str, Any]) -> Iterator[str]:
    messages = body["messages"]
    kinds = {name for _, block in _blocks(body) for name in block}
    if {"toolUse", "toolResult"} & kinds and "toolConfig" not in body:
        yield "The toolConfig field must be defined when using toolUse and toolResult content blocks."
    for number, message in enumerate(messages):
        before = messages[number - 1]["content"] if number else []
        asked = [block["toolUse"]["toolUseId"] for block in before if _needs_result(block)]
        given = [block["toolResult"]["toolUseId"] for block in message["content"] if "toolResult" in block]
        missing = [one for one in asked if one not in given]
        if missing:
            yield f"Expected toolResult blocks at messages.{number}.content for the following Ids: {', '.join(missing)}"
        if len(given) > len(asked) or set(given) - set(asked):
            yield (
                f"The number of toolResult blocks at messages.{number}.content exceeds the number of toolUse blocks of"
                " previous turn."
            )
    ids = [block["toolUse"]["toolUseId"] for _, block in _blocks(body) if "toolUse" in block]
    if len(set(ids)) < len(ids):
        yield "messages: `toolUse` ids must be unique"
    for one in ids:
        if not _CALL_ID.fullmatch(one):
            yield _CONSTRAINT.format("toolUseId", "satisfy regular expression pattern: [a-zA-Z0-9_.:-]+")
    for where, block in _blocks(body):
        result = block.get("toolResult") or {}
        if result.get("status") == "error" and not result["content"]:
            yield f"The content field at {where}.toolResult cannot be empty when status value is error."


def _needs_result(block: dict[str, Any]) -> bool:
    return "toolUse" in block and block["toolUse"].get("type") != "server_tool_use"


def _media(body: dict[str, Any]) -> Iterator[str]:
    names: list[str] = []
    for number, message in enumerate(body["messages"]):
        kinds = {name for block in message["content"] for name in block}
        if "document" in kinds and "text" not in kinds:
            yield f"messages.{number}: a text block must be included when a document is"
    for where, block in [*_blocks(body), *_result_blocks(body)]:
        for kind in ("image", "document", "video", "audio"):
            data = ((block.get(kind) or {}).get("source") or {}).get("bytes")
            if data is not None and not _is_base64(data):
                yield f"The {kind} at {where} is not base64"
        if "document" in block:
            names.append(block["document"]["name"])
    for name in names:
        if not _DOCUMENT_NAME.fullmatch(name):
            yield (
                "The document file name can only contain alphanumeric characters, whitespace characters, hyphens,"
                " parentheses, and square brackets. The name can't contain more than one consecutive whitespace"
                " character."
            )
    if len(set(names)) < len(names):
        yield "Messages contain duplicate document names."


def _result_blocks(body: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """What stands in results."""
    results = [(where, block["toolResult"]) for where, block in _blocks(body) if "toolResult" in block]
    return [(f"{where}.toolResult.content", inner) for where, result in results for inner in result["content"]]


def _is_base64(data: str) -> bool:
    try:
        return bool(b64decode(data, validate=True))
    except NotBase64:
        return False


def _tools(body: dict[str, Any]) -> Iterator[str]:
    config = body.get("toolConfig")
    if config is None:
        return
    specs = [tool["toolSpec"] for tool in config["tools"] if "toolSpec" in tool]
    if not config["tools"]:
        yield _CONSTRAINT.format("toolConfig.tools", "have length greater than or equal to 1")
    for at, spec in enumerate(specs):
        where = f"toolConfig.tools.{at}.toolSpec"
        if not _TOOL_NAME.fullmatch(spec["name"]):
            yield _CONSTRAINT.format(f"{where}.name", "satisfy regular expression pattern: [a-zA-Z0-9_-]+")
        if spec.get("description") == "":
            yield _CONSTRAINT.format(f"{where}.description", "have length greater than or equal to 1")
        if spec["inputSchema"]["json"].get("type") != "object":
            yield f"The value at {where}.inputSchema.json.type must be one of the following: object."
    names = [spec["name"] for spec in specs]
    if len(set(names)) < len(names):
        yield "The toolConfig.tools field holds tools of the same name."
    wanted = ((config.get("toolChoice") or {}).get("tool") or {}).get("name")
    if wanted is not None and wanted not in names:
        yield f"The tool {wanted} at toolConfig.toolChoice.tool is not defined in toolConfig.tools."


def _numbers(body: dict[str, Any]) -> Iterator[str]:
    config = body.get("inferenceConfig") or {}
    for name, (least, most) in _LIMITS.items():
        value = config.get(name)
        if value is not None and not least <= value <= most:
            bound = f"less than or equal to {most}" if value > most else f"greater than or equal to {least}"
            yield _CONSTRAINT.format(f"inferenceConfig.{name}", f"have value {bound}")
    if "" in (config.get("stopSequences") or ()):
        yield _CONSTRAINT.format("inferenceConfig.stopSequences", "have length greater than or equal to 1")


def _cache_points(body: dict[str, Any]) -> Iterator[str]:
    count = 0
    for blocks in (body.get("system") or [], *(message["content"] for message in body["messages"])):
        for at, block in enumerate(blocks):
            count += "cachePoint" in block
            if "cachePoint" in block and not at:
                yield "cachePoint cannot be inserted before anything that could be cached."
    count += sum("cachePoint" in tool for tool in (body.get("toolConfig") or {}).get("tools", ()))
    if count > _MAX_CACHE_POINTS:
        yield f"A maximum of {_MAX_CACHE_POINTS} cachePoint blocks may be provided. Found {count}."


def _thoughts(body: dict[str, Any], model: str, check_signature: SignatureCheck) -> Iterator[str]:
    """Claude checks the thoughts it is handed back, and how it samples while it thinks."""
    for where, block in _blocks(body):
        thought = (block.get("reasoningContent") or {}).get("reasoningText")
        if thought is not None and not check_signature(thought):
            yield f"{where}: Invalid `signature` in `thinking` block"
    fields = body.get("additionalModelRequestFields") or {}
    if "anthropic." not in model or (fields.get("thinking") or {}).get("type") != "enabled":
        return
    config = body.get("inferenceConfig") or {}
    if config.get("temperature", 1) != 1:
        yield "`temperature` may only be set to 1 when thinking is enabled."
    if not {"auto"} >= set((body.get("toolConfig") or {}).get("toolChoice") or ()):
        yield "Thinking may not be enabled when tool_choice forces tool use."
    if fields["thinking"].get("budget_tokens", 0) >= config.get("maxTokens", 10**9):
        yield "`max_tokens` must be greater than `thinking.budget_tokens`."


_RULES = (_roles, _unions, _texts, _pairing, _media, _tools, _numbers, _cache_points)
