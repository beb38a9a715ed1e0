"""The rules by which Bedrock's Converse API rejects requests, with the text of its errors.

Sources: the service model of `bedrock-runtime`, and error messages that users have reported.
"""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Iterator
from typing import Any

from nulpoint.mock.anthropic import binding
from nulpoint.mock.bedrock.claude import claude_problems, is_claude
from nulpoint.mock.bedrock.request_schema import REQUEST, UNIONS
from nulpoint.mock.interface import signature
from nulpoint.mock.request_schema import Violation, json_type, violations

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CALL_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_DOCUMENT_NAME = re.compile(r"(?!.*\s\s)[\w\s\-()\[\]]{1,200}", re.ASCII)
_CONSTRAINT = "1 validation error detected: Value at '{}' failed to satisfy constraint: Member must {}"
_RANGES = {"temperature": (0, 1), "topP": (0, 1), "maxTokens": (1, 10**9)}
_MAX_CACHE_POINTS = 4

SignatureCheck = Callable[[dict[str, Any]], bool]


def is_signed_by_mock(thought: dict[str, Any]) -> bool:
    """Return whether this mock wrote the thought, and it was not changed since."""
    text, given = thought["text"], thought.get("signature") or ""
    return given == signature("bedrock", text) or binding.is_signed_by_mock({"thinking": text, "signature": given})


def find_problem(body: dict[str, Any], model: str, check_signature: SignatureCheck = is_signed_by_mock) -> str | None:
    """Return the error message for the first problem in a request, or None.

    `check_signature` returns whether the signature of a thought is valid.
    """
    for violation in violations(body, REQUEST):
        return _violation_message(violation)
    body = without_nulls(body)
    for rule in _RULES:
        for text in rule(body):
            return text
    problems = claude_problems(body, model) if is_claude(model) else iter(())
    return next(problems, None) or next(_thoughts(body, check_signature), None)


def without_nulls(value: Any) -> Any:
    """Remove members that are null: Bedrock treats them as missing."""
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _violation_message(violation: Violation) -> str:
    path = ".".join(str(step + 1) + ".member" if isinstance(step, int) else step for step in violation.path)
    match violation.kind:
        case "unknown":
            return f"Malformed input request: #/{path}: extraneous key [{violation.name}] is not permitted"
        case "missing":
            return _CONSTRAINT.format(path, "not be null")
        case "value":
            return _CONSTRAINT.format(path, f"satisfy enum value set: [{', '.join(violation.expected)}]")
    return f"STRUCTURE_VALUE or {json_type(violation.expected)} expected at '{path}'"


# -- rules: each yields error messages about one subject ---------------------------------------------------------------


def _blocks(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, message in enumerate(body["messages"]):
        for index, block in enumerate(message["content"]):
            yield f"messages.{number}.content.{index}", block


def _unions(value: Any, path: str = "", name: str = "", union: bool = False) -> Iterator[str]:
    """Check that every union (such as a content block, source or tool) has exactly one member."""
    if isinstance(value, dict):
        if (union or name in UNIONS) and len(value) != 1:
            yield f"The union at {path or 'the request'} must have exactly one member set, not {len(value)}"
        for key, inner in value.items():
            if key not in ("json", "input", "additionalModelRequestFields", "requestMetadata", "promptVariables"):
                yield from _unions(inner, f"{path}.{key}".lstrip("."), key)
    elif isinstance(value, list) and name in ("content", "system", "tools"):
        for index, inner in enumerate(value):
            yield from _unions(inner, f"{path}.{index}", union=True)
    elif isinstance(value, list) and name == "messages":
        for index, inner in enumerate(value):
            yield from _unions(inner, f"{path}.{index}")


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
    for index, block in enumerate(body.get("system") or []):
        if not str(block.get("text", "x")).strip():
            yield f"The text field in the SystemContentBlock object at system.{index} is blank. Add text and try again."
    for path, block in _blocks(body):
        if "text" in block and not block["text"].strip():
            yield f"The text field in the ContentBlock object at {path} is blank. Add text to the text field, and try again."
    last_message = body["messages"][-1]
    if last_message["role"] == "assistant" and str(last_message["content"][-1].get("text", "")).endswith((" ", "\n")):
        yield "messages: final assistant content cannot end with trailing whitespace"


def _pairing(body: dict[str, Any]) -> Iterator[str]:
    messages = body["messages"]
    kinds = {name for _, block in _blocks(body) for name in block}
    if {"toolUse", "toolResult"} & kinds and "toolConfig" not in body:
        yield "The toolConfig field must be defined when using toolUse and toolResult content blocks."
    for number, message in enumerate(messages):
        previous_blocks = messages[number - 1]["content"] if number else []
        call_ids = [block["toolUse"]["toolUseId"] for block in previous_blocks if _needs_result(block)]
        result_ids = [block["toolResult"]["toolUseId"] for block in message["content"] if "toolResult" in block]
        missing = [call_id for call_id in call_ids if call_id not in result_ids]
        if missing:
            yield f"Expected toolResult blocks at messages.{number}.content for the following Ids: {', '.join(missing)}"
        if len(result_ids) > len(call_ids) or set(result_ids) - set(call_ids):
            yield (
                f"The number of toolResult blocks at messages.{number}.content exceeds the number of toolUse blocks of"
                " previous turn."
            )
    all_ids = [block["toolUse"]["toolUseId"] for _, block in _blocks(body) if "toolUse" in block]
    if len(set(all_ids)) < len(all_ids):
        yield "messages: `toolUse` ids must be unique"
    for call_id in all_ids:
        if not _CALL_ID.fullmatch(call_id):
            yield _CONSTRAINT.format("toolUseId", "satisfy regular expression pattern: [a-zA-Z0-9_.:-]+")
    for path, block in _blocks(body):
        result = block.get("toolResult") or {}
        if result.get("status") == "error" and not result["content"]:
            yield f"The content field at {path}.toolResult cannot be empty when status value is error."


def _needs_result(block: dict[str, Any]) -> bool:
    return "toolUse" in block and block["toolUse"].get("type") != "server_tool_use"


def _media(body: dict[str, Any]) -> Iterator[str]:
    names: list[str] = []
    for number, message in enumerate(body["messages"]):
        kinds = {name for block in message["content"] for name in block}
        if "document" in kinds and "text" not in kinds:
            yield f"messages.{number}: a text block must be included when a document is"
    for path, block in [*_blocks(body), *_result_blocks(body)]:
        for kind in ("image", "document", "video", "audio"):
            data = ((block.get(kind) or {}).get("source") or {}).get("bytes")
            if data is not None and not _is_base64(data):
                yield f"The {kind} at {path} is not base64"
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
    """Return the path and content of the blocks inside tool results."""
    results = [(path, block["toolResult"]) for path, block in _blocks(body) if "toolResult" in block]
    return [(f"{path}.toolResult.content", inner) for path, result in results for inner in result["content"]]


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
    for index, spec in enumerate(specs):
        path = f"toolConfig.tools.{index}.toolSpec"
        if not _TOOL_NAME.fullmatch(spec["name"]):
            yield _CONSTRAINT.format(f"{path}.name", "satisfy regular expression pattern: [a-zA-Z0-9_-]+")
        if spec.get("description") == "":
            yield _CONSTRAINT.format(f"{path}.description", "have length greater than or equal to 1")
        if spec["inputSchema"]["json"].get("type") != "object":
            yield f"The value at {path}.inputSchema.json.type must be one of the following: object."
    names = [spec["name"] for spec in specs]
    if len(set(names)) < len(names):
        yield "The toolConfig.tools field holds tools of the same name."
    chosen_tool = ((config.get("toolChoice") or {}).get("tool") or {}).get("name")
    if chosen_tool is not None and chosen_tool not in names:
        yield f"The tool {chosen_tool} at toolConfig.toolChoice.tool is not defined in toolConfig.tools."


def _numbers(body: dict[str, Any]) -> Iterator[str]:
    config = body.get("inferenceConfig") or {}
    for name, (minimum, maximum) in _RANGES.items():
        value = config.get(name)
        if value is not None and not minimum <= value <= maximum:
            bound = f"less than or equal to {maximum}" if value > maximum else f"greater than or equal to {minimum}"
            yield _CONSTRAINT.format(f"inferenceConfig.{name}", f"have value {bound}")
    if "" in (config.get("stopSequences") or ()):
        yield _CONSTRAINT.format("inferenceConfig.stopSequences", "have length greater than or equal to 1")


def _cache_points(body: dict[str, Any]) -> Iterator[str]:
    count = 0
    for blocks in (body.get("system") or [], *(message["content"] for message in body["messages"])):
        for index, block in enumerate(blocks):
            count += "cachePoint" in block
            if "cachePoint" in block and not index:
                yield "cachePoint cannot be inserted before anything that could be cached."
    count += sum("cachePoint" in tool for tool in (body.get("toolConfig") or {}).get("tools", ()))
    if count > _MAX_CACHE_POINTS:
        yield f"A maximum of {_MAX_CACHE_POINTS} cachePoint blocks may be provided. Found {count}."


def _thoughts(body: dict[str, Any], check_signature: SignatureCheck) -> Iterator[str]:
    """Check the thoughts that are sent back."""
    for path, block in _blocks(body):
        thought = (block.get("reasoningContent") or {}).get("reasoningText")
        if thought is not None and not check_signature(thought):
            yield f"{path}: Invalid `signature` in `thinking` block"


_RULES = (_roles, _unions, _texts, _pairing, _media, _tools, _numbers, _cache_points)
