"""The rules by which Anthropic's Messages API rejects requests, with the text of its errors.

Sources: the request types of the `anthropic` SDK, recorded traffic, and error messages that users have reported.
What differs between models is in `model_rules`.
"""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any

from nulpoint.mock.anthropic import binding
from nulpoint.mock.anthropic.model_rules import model_problems
from nulpoint.mock.anthropic.request_schema import BETA_MEMBERS, REQUEST, TOOL, USER_BLOCKS
from nulpoint.mock.anthropic.schema_limits import subschemas
from nulpoint.mock.request_schema import Path, Record, Violation, json_type, violations

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_PROPERTY_KEY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_MAX_CACHE_MARKS = 4

SignatureCheck = Callable[[dict[str, Any]], bool]


def find_problem(
    body: dict[str, Any],
    headers: Mapping[str, str],
    check_signature: SignatureCheck = binding.is_signed_by_mock,
    host: str = "anthropic",
) -> str | None:
    """Return the error message for the first problem in a request, or None.

    `check_signature` returns whether the signature of a thinking block is valid. `host` is where the model is asked:
    `anthropic`, `vertexai` or `bedrock`.
    """
    members = {**REQUEST.members, **(BETA_MEMBERS if "anthropic-beta" in headers else {})}
    for violation in violations(body, Record(members, REQUEST.required)):
        return violation_message(violation, body)
    for rule in _RULES:
        for text in rule(body):
            return text
    for text in model_problems(body, host):
        return text
    if headers.get("anthropic-version") == "2026-10-21":
        for name in ("temperature", "top_p", "top_k"):
            if name in body:
                return f"{name}: Extra inputs are not permitted"
    if "block_binding" in (body.get("thinking") or {}) and binding.BETA not in headers.get("anthropic-beta", ""):
        return f"thinking.{body['thinking']['type']}.block_binding: Extra inputs are not permitted"
    return next(_signatures(body, check_signature), None)


def as_blocks(content: Any) -> list[dict[str, Any]]:
    """Return content as blocks, whether it was written as a string or as a list."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def merge_turns(body: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the role and blocks of each turn. Anthropic treats adjacent messages of one role as one turn."""
    groups = groupby(body["messages"], key=lambda message: message["role"])
    return [(role, [block for message in group for block in as_blocks(message["content"])]) for role, group in groups]


# -- error messages for schema violations ------------------------------------------------------------------------------


def violation_message(violation: Violation, body: Any) -> str:
    path = _violation_path(violation.path, body)
    match violation.kind:
        case "unknown":
            return f"{path}: Extra inputs are not permitted"
        case "missing":
            return f"{path}: Field required"
        case "value":
            allowed = ", ".join(f"'{value}'" for value in violation.expected)
            if violation.path[-1] == "type":
                return f"{path}: Input tag '{violation.value}' does not match any of the expected tags: {allowed}"
            return f"{path}: Input should be {allowed}"
    kinds = {"object": "dictionary", "array": "list"}
    kind = json_type(violation.expected)
    return f"{path}: Input should be a valid {kinds.get(kind, kind)}"


def _violation_path(path: Path, body: Any) -> str:
    """Return a path such as `messages.1.content.0.tool_use.index`, which names the type of tagged records."""
    steps: list[str] = []
    value = body
    for step in path:
        if isinstance(value, dict) and steps and isinstance(value.get("type"), str) and step != "type":
            steps.append(value["type"])
        steps.append(str(step))
        value = _child(value, step)
    return ".".join(steps)


def _child(value: Any, step: Any) -> Any:
    if isinstance(value, dict):
        return value.get(step)
    return value[step] if isinstance(value, list) else None


# -- rules: each yields error messages about one subject ---------------------------------------------------------------


def _roles(body: dict[str, Any]) -> Iterator[str]:
    messages = body["messages"]
    if not messages:
        yield "messages: at least one message is required"
    elif messages[0]["role"] == "assistant":
        yield 'messages: first message must use the "user" role'


def _last_text(body: dict[str, Any]) -> Iterator[str]:
    last = merge_turns(body)[-1]
    text = last[1][-1].get("text") if last[0] == "assistant" and last[1] else None
    if text is not None and text != text.rstrip():
        yield "messages: final assistant content cannot end with trailing whitespace"


def _empty_content(body: dict[str, Any]) -> Iterator[str]:
    last = len(body["messages"]) - 1
    for number, message in enumerate(body["messages"]):
        if not message["content"] and not (number == last and message["role"] == "assistant"):
            yield f"messages.{number}: all messages must have non-empty content except for the optional final assistant message"
        yield from _empty_text_blocks("messages", message["role"], as_blocks(message["content"]))
    if isinstance(body.get("system"), list):
        yield from _empty_text_blocks("system", "system", body["system"])


def _empty_text_blocks(path: str, role: str, blocks: list[dict[str, Any]]) -> Iterator[str]:
    for block in blocks:
        if block["type"] == "text" and block["text"] == "":
            yield f"{path}: text content blocks must be non-empty"
        if block["type"] == "text" and not block["text"].strip() and role != "assistant":
            yield f"{path}: text content blocks must contain non-whitespace text"
        if block["type"] == "tool_result" and isinstance(block.get("content"), list):
            yield from _empty_text_blocks(path, role, block["content"])


def _media(body: dict[str, Any]) -> Iterator[str]:
    for number, message in enumerate(body["messages"]):
        for path, block in _blocks_with_results(f"messages.{number}.content", message["content"]):
            source = block.get("source")
            if not isinstance(source, dict) or source.get("type") != "base64":
                continue
            path = f"{path}.{block['type']}.source.base64"
            allowed = _IMAGE_TYPES if block["type"] == "image" else ("application/pdf",)
            if source["media_type"] not in allowed:
                yield f"{path}.media_type: Input should be {', '.join(repr(media_type) for media_type in allowed)}"
            try:
                b64decode(source["data"], validate=True)
            except NotBase64:
                yield f"{path}: invalid base64 data"


def _blocks_with_results(path: str, content: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the blocks of a message and those inside its tool results, with their paths."""
    for index, block in enumerate(as_blocks(content)):
        yield f"{path}.{index}", block
        if block["type"] == "tool_result":
            yield from _blocks_with_results(f"{path}.{index}.tool_result.content", block.get("content"))


def _pairing(body: dict[str, Any]) -> Iterator[str]:
    turns = merge_turns(body)
    for number, (role, blocks) in enumerate(turns):
        calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if len(set(calls)) < len(calls):
            yield f"messages.{number}: `tool_use` ids must be unique"
        following = turns[number + 1][1] if number + 1 < len(turns) else None
        if calls and (following is not None or role == "user"):
            yield from _missing_results(number, calls, following or [])
        previous_calls = (
            [block["id"] for block in turns[number - 1][1] if block["type"] == "tool_use"] if number else []
        )
        yield from _unexpected_results(number, blocks, previous_calls)


def _missing_results(number: int, calls: list[str], following: list[dict[str, Any]]) -> Iterator[str]:
    result_ids = [block["tool_use_id"] for block in following[: len(calls)] if block["type"] == "tool_result"]
    missing = [call_id for call_id in calls if call_id not in result_ids]
    if missing:
        yield (
            f"messages.{number}: `tool_use` ids were found without `tool_result` blocks immediately after:"
            f" {', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the next"
            " message."
        )


def _unexpected_results(number: int, blocks: list[dict[str, Any]], previous_calls: list[str]) -> Iterator[str]:
    results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    for index, result_id in enumerate(results):
        if result_id not in previous_calls:
            yield (
                f"messages.{number}.content.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {result_id}."
                " Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
        if results.count(result_id) > 1:
            yield (
                f"messages.{number}.content.{index}: each tool_use must have a single result. Found multiple"
                f" `tool_result` blocks with id: {result_id}"
            )


def _tools(body: dict[str, Any]) -> Iterator[str]:
    tools = body.get("tools") or []
    for number, tool in enumerate(tools):
        if tool.get("type", "custom") != "custom":
            continue  # tools that Anthropic provides have other members
        for violation in violations(tool, TOOL):
            yield f"tools.{number}.custom.{violation_message(violation, tool)}"
        yield from _check_tool(f"tools.{number}.custom", tool)
    names = [str(tool.get("name")) for tool in tools]
    if len(set(names)) < len(names):
        yield "tools: Tool names must be unique."
    choice = body.get("tool_choice") or {}
    if choice and not tools:
        yield "tool_choice: may only be specified while providing tools"
    if choice.get("type") == "tool" and choice["name"] not in names:
        yield f"Tool '{choice['name']}' not found in provided tools"
    blocks = [block["type"] for message in body["messages"] for block in as_blocks(message["content"])]
    if not tools and ("tool_use" in blocks or "tool_result" in blocks):
        yield "Requests which include `tool_use` or `tool_result` blocks must define tools."


def _check_tool(path: str, tool: dict[str, Any]) -> Iterator[str]:
    schema = tool["input_schema"]
    if not _TOOL_NAME.fullmatch(tool["name"]):
        yield f"{path}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
    if any(union in schema for union in ("oneOf", "allOf", "anyOf")):
        yield f"{path}.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level"
    if "type" not in schema:
        yield f"{path}.input_schema.type: Field required"
    elif schema["type"] != "object":
        yield f"{path}.input_schema.type: Input should be 'object'"
    for inner in subschemas(schema):
        properties = inner.get("properties")
        for key in properties if isinstance(properties, dict) else ():
            if not _PROPERTY_KEY.fullmatch(key):
                yield f"{path}.input_schema.properties: Property keys should match pattern '^[a-zA-Z0-9_.-]{{1,64}}$'"


def _thinking_comes_first(body: dict[str, Any]) -> Iterator[str]:
    """Check that, with a thinking budget, each assistant turn since the last user question begins with a thought."""
    if (body.get("thinking") or {}).get("type") != "enabled":
        return
    turns = merge_turns(body)
    questions = [
        number
        for number, (role, blocks) in enumerate(turns)
        if role == "user" and any(block["type"] in USER_BLOCKS for block in blocks)
    ]
    for number, (role, blocks) in enumerate(turns):
        if role != "assistant" or number < max(questions, default=0) or not blocks:
            continue
        if blocks[0]["type"] not in ("thinking", "redacted_thinking"):
            yield (
                f"messages.{number}.content.0.type: Expected `thinking` or `redacted_thinking`, but found"
                f" `{blocks[0]['type']}`. When `thinking` is enabled, a final `assistant` message must start with a"
                " thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks)."
            )


def _signatures(body: dict[str, Any], check_signature: SignatureCheck) -> Iterator[str]:
    for number, message in enumerate(body["messages"]):
        for index, block in enumerate(as_blocks(message["content"])):
            if block["type"] == "thinking" and not check_signature(block):
                yield f"messages.{number}.content.{index}: Invalid `signature` in `thinking` block"


def _stop_sequences(body: dict[str, Any]) -> Iterator[str]:
    for number, stop in enumerate(body.get("stop_sequences") or []):
        if not stop.strip():
            yield f"stop_sequences.{number}: each stop sequence must contain non-whitespace"


def _cache_marks(body: dict[str, Any]) -> Iterator[str]:
    count = count_cache_marks([body.get("tools") or [], body.get("system") or [], body["messages"]])
    if count > _MAX_CACHE_MARKS:
        yield f"A maximum of {_MAX_CACHE_MARKS} blocks with cache_control may be provided. Found {count}."


def _cache_lifetimes(body: dict[str, Any]) -> Iterator[str]:
    """Check that no mark for an hour comes after one for five minutes."""
    seen_short = False
    for lifetime in _lifetimes([body.get("tools") or [], body.get("system") or [], body["messages"]]):
        if lifetime == "1h" and seen_short:
            yield (
                "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note that blocks are"
                " processed in the following order: `tools`, `system`, `messages`."
            )
        seen_short |= lifetime == "5m"


def _lifetimes(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _lifetimes(item)
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        if name == "cache_control" and isinstance(inner, dict):
            yield inner.get("ttl") or "5m"
        elif name not in ("input", "input_schema"):
            yield from _lifetimes(inner)


def count_cache_marks(value: Any) -> int:
    """Count the cache_control members anywhere inside a value."""
    if isinstance(value, list):
        return sum(count_cache_marks(item) for item in value)
    if not isinstance(value, dict):
        return 0
    return bool(value.get("cache_control")) + sum(count_cache_marks(item) for item in value.values())


_RULES: tuple[Callable[[dict[str, Any]], Iterator[str]], ...] = (
    _roles,
    _empty_content,
    _last_text,
    _media,
    _pairing,
    _tools,
    _thinking_comes_first,
    _stop_sequences,
    _cache_marks,
    _cache_lifetimes,
)
