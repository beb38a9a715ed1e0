"""Anthropic's Messages API (version 2023-06-01) behind the OpenAI chat format.

Facts: the types of the `anthropic` SDK and recorded traffic. What the OpenAI shape cannot hold comes back under
`provider_specific_fields.anthropic`: where an answer has more than text and tool calls (thinking with its signature,
citations, tools the provider ran), all its blocks stand there as they came, and when a caller hands the message back
they are sent again exactly.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from nulpoint.codecs.canonical import (
    Encoded,
    Members,
    arguments_of,
    data_url,
    json_text,
    parts_of,
    read_answer,
    read_request,
    wrong,
)
from nulpoint.wire.foreign import MISSHAPEN, unusable

VERSION = "2023-06-01"
EXTRA = "provider_specific_fields"

_VERSION_IN_NAME = re.compile(r"claude-(?:[a-z]+-)*(\d)(?:[-.](\d{1,2}))?(?![0-9])")
# The most a model may answer, by the version in its name: what it gets when the caller sets no limit.
_CEILINGS = (((4, 6), 128_000), ((4, 2), 64_000), ((4, 0), 32_000), ((3, 7), 64_000), ((3, 5), 8_192), ((0, 0), 4_096))
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 32_000, "max": 32_000}
_EFFORTS = {"minimal": "low"}
_TIERS = {"auto": "auto", "default": "standard_only"}
_STOPS = {
    "end_turn": "stop", "stop_sequence": "stop", "pause_turn": "stop", "max_tokens": "length",
    "model_context_window_exceeded": "length", "tool_use": "tool_calls", "refusal": "content_filter",
}  # fmt: skip
_PLAIN_BLOCKS = frozenset({"text", "tool_use"})


def model_version(model: str) -> tuple[int, int]:
    """The version in a model's name; a name that tells none counts as the newest."""
    found = _VERSION_IN_NAME.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (99, 0)


def output_ceiling(model: str) -> int:
    version = model_version(model)
    if version == (4, 0) and "opus" not in model:  # Sonnet 4
        return 64_000
    return next(ceiling for since, ceiling in _CEILINGS if version >= since)


# -- requests ----------------------------------------------------------------------------------------------------------


def encode(body: bytes, model: str) -> Encoded:
    """Raises Failure (400) naming the member that is wrong or cannot be said at all."""
    request = read_request(body)
    members = Members(request)
    members.take("model")
    limit = members.take("max_completion_tokens") or members.take("max_tokens") or output_ceiling(model)
    members.take("max_tokens")
    message: dict[str, Any] = {"model": model, "max_tokens": limit}
    if members.take("n", 1) != 1:
        raise wrong("n", "must be 1: Anthropic gives one answer a request", "unsupported_value")
    system, messages = _messages(members.take("messages"), model, members)
    message["messages"] = messages
    if system:
        message["system"] = system
    if members.take("stream"):
        message["stream"] = True
    members.take("stream_options")
    _tools(message, members)
    _reasoning(message, members, model)
    _sampling(message, members, model)
    _output(message, members, model)
    _account(message, members)
    message.update(members.rest())
    return Encoded(msgspec.json.encode(message), members.dropped)


def _messages(
    messages: list[dict[str, Any]], model: str, members: Members
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """System blocks, and turns of user and assistant; neighbours of one role become one turn."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = message["role"]
        if message.get("name") and role != "tool":
            members.drop("messages.name")
        if role in ("system", "developer"):
            blocks = [_text(part, where) for part in parts_of(message.get("content"), where)]
            in_place = bool(turns) and turns[-1]["role"] == "user" and model_version(model) >= (4, 8)
            if in_place:
                turns.append({"role": "system", "content": blocks})
            else:
                system += blocks
        elif role == "assistant":
            _turn(turns, "assistant", _assistant_blocks(message, where, members))
        elif role == "tool":
            _turn(turns, "user", [_tool_result(message, where)])
        elif role == "user":
            _turn(turns, "user", [_block(part, where) for part in parts_of(message.get("content"), where)])
        else:
            raise wrong(f"{where}.role", "must be system, developer, user, assistant or tool")
    return system, turns


def _turn(turns: list[dict[str, Any]], role: str, blocks: list[dict[str, Any]]) -> None:
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        content = turns[-1]["content"] + blocks
        # Results must come first in the turn, whatever the caller wrote between them.
        content.sort(key=lambda block: block["type"] != "tool_result") if role == "user" else None
        turns[-1]["content"] = content
    else:
        turns.append({"role": role, "content": blocks})


def _assistant_blocks(message: dict[str, Any], where: str, members: Members) -> list[dict[str, Any]]:
    calls = message.get("tool_calls") or []
    kept = _kept_blocks(message)
    if kept is not None:
        return kept
    if message.get("reasoning_content"):
        members.drop("messages.reasoning_content")  # without its signature thinking cannot go back
    if message.get("audio"):
        members.drop("messages.audio")
    blocks = [_text(part, where) for part in parts_of(message.get("content"), where)]
    if message.get("refusal") and not blocks:
        blocks = [{"type": "text", "text": message["refusal"]}]
    for number, call in enumerate(calls):
        at = f"{where}.tool_calls[{number}]"
        if call.get("type", "function") != "function":
            raise wrong(f"{at}.type", "must be function: Anthropic has no custom tools", "unsupported_value")
        name = call.get("function", {}).get("name")
        blocks.append({"type": "tool_use", "id": call.get("id"), "name": name, "input": arguments_of(call, at)})
    return blocks


def _kept_blocks(message: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The blocks of our own answer, handed back: used only if the caller has not changed text or calls since."""
    extra = message.get(EXTRA)
    blocks = extra.get("anthropic", {}).get("content") if isinstance(extra, dict) else None
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        return None
    text = "".join(part.get("text", "") for part in parts_of(message.get("content"), "messages"))
    kept_text = "".join(block.get("text", "") for block in blocks if block.get("type") == "text")
    ids = [call.get("id") for call in message.get("tool_calls") or []]
    kept_ids = [block.get("id") for block in blocks if block.get("type") == "tool_use"]
    return blocks if (text, ids) == (kept_text, kept_ids) else None


def _tool_result(message: dict[str, Any], where: str) -> dict[str, Any]:
    call_id = message.get("tool_call_id")
    if not isinstance(call_id, str):
        raise wrong(f"{where}.tool_call_id", "must name the call this answers")
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": call_id}
    content = message.get("content")
    result["content"] = (
        content if isinstance(content, str) else [_block(part, where) for part in parts_of(content, where)]
    )
    return _marked(result, message)


def _text(part: dict[str, Any], where: str) -> dict[str, Any]:
    if part.get("type") == "refusal":
        return {"type": "text", "text": part.get("refusal", "")}
    if part.get("type") != "text":
        raise wrong(f"{where}.content", f"cannot hold a part of type {str(part.get('type'))[:40]!r} in this role")
    return _marked({"type": "text", "text": part["text"]}, part)


def _marked(block: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """With the cache mark the caller set: Anthropic's own, or OpenAI's breakpoint."""
    if part.get("cache_control"):
        block["cache_control"] = part["cache_control"]
    elif part.get("prompt_cache_breakpoint"):
        block["cache_control"] = {"type": "ephemeral"}
    return block


def _block(part: dict[str, Any], where: str) -> dict[str, Any]:
    """A part of a user's message as a block. Parts in Anthropic's own shape pass as they are."""
    kind = part.get("type")
    if kind in ("text", "refusal"):
        return _text(part, where)
    if kind == "image_url":
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        return _marked({"type": "image", "source": _source(url, f"{where}.content.image_url")}, part)
    if kind == "file":
        return _marked(_document(part.get("file") or {}, where), part)
    if kind == "input_audio":
        raise wrong(f"{where}.content", "holds audio, which Anthropic's models do not take", "unsupported_value")
    return part


def _source(url: Any, where: str) -> dict[str, Any]:
    if not isinstance(url, str):
        raise wrong(where, "must hold a URL")
    data = data_url(url, where)
    if data:
        return {"type": "base64", "media_type": data[0], "data": data[1]}
    return {"type": "url", "url": url}


def _document(file: dict[str, Any], where: str) -> dict[str, Any]:
    if file.get("file_id"):
        document: dict[str, Any] = {"type": "document", "source": {"type": "file", "file_id": file["file_id"]}}
    else:
        source = _source(file.get("file_data"), f"{where}.content.file.file_data")
        document = {"type": "document", "source": source}
    if file.get("filename"):
        document["title"] = file["filename"]
    return document


def _tools(message: dict[str, Any], members: Members) -> None:
    for legacy in ("functions", "function_call"):
        if members.take(legacy):
            raise wrong(legacy, "is the form of before `tools`, which Anthropic needs", "unsupported_parameter")
    tools = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(members.take("tools") or [])]
    choice, names = _tool_choice(members.take("tool_choice"))
    parallel = members.take("parallel_tool_calls", True)
    if not tools:
        return
    message["tools"] = [tool for tool in tools if names is None or tool.get("name") in names]
    if parallel is False and (choice or {}).get("type") != "none":
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if choice:
        message["tool_choice"] = choice


def _tool(tool: Any, where: str) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise wrong(where, "must be an object")
    if tool.get("type") == "custom" and "input_schema" not in tool:
        raise wrong(f"{where}.type", "must be function: Anthropic has no free-form tools", "unsupported_value")
    function = tool.get("function")
    if not isinstance(function, dict):
        return tool  # one of Anthropic's own
    made: dict[str, Any] = {"name": function.get("name")}
    if function.get("description"):
        made["description"] = function["description"]
    made["input_schema"] = function.get("parameters") or {"type": "object", "properties": {}}
    if function.get("strict") is not None:
        made["strict"] = function["strict"]
    return _marked(_marked(made, function), tool)


def _tool_choice(choice: Any) -> tuple[dict[str, Any] | None, set[str] | None]:
    """Anthropic's choice, and the names of the only tools allowed, where they are limited."""
    simple = {"none": "none", "auto": "auto", "required": "any"}
    if choice is None:
        return None, None
    if isinstance(choice, str) and choice in simple:
        return {"type": simple[choice]}, None
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"type": "tool", "name": choice.get("function", {}).get("name")}, None
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools") or {}
        names = {tool.get("function", {}).get("name") for tool in allowed.get("tools") or []}
        return {"type": simple.get(allowed.get("mode", "auto"), "auto")}, names
    raise wrong("tool_choice", "must be none, auto, required, a function or allowed_tools")


def _reasoning(message: dict[str, Any], members: Members, model: str) -> None:
    effort = members.take("reasoning_effort")
    if effort is None:
        return
    if effort not in (*_BUDGETS, "none"):
        raise wrong("reasoning_effort", f"must be none, {', '.join(_BUDGETS)}")
    version = model_version(model)
    if effort == "none":
        if version >= (3, 7):
            message["thinking"] = {"type": "disabled"}
    elif version >= (4, 6):
        message["thinking"] = {"type": "adaptive"}
        message["output_config"] = {"effort": _EFFORTS.get(effort, effort)}
    elif version >= (3, 7):
        budget = _BUDGETS[effort]
        message["thinking"] = {"type": "enabled", "budget_tokens": budget}
        message["max_tokens"] = max(message["max_tokens"], budget + 1024)
    else:
        members.drop("reasoning_effort")
    forced = message.get("tool_choice", {}).get("type") in ("any", "tool")
    if forced and message.get("thinking", {}).get("type") in ("enabled", "adaptive"):
        del message["thinking"]  # Anthropic refuses both together; the tool is what was asked for
        members.drop("reasoning_effort")


def _sampling(message: dict[str, Any], members: Members, model: str) -> None:
    temperature, top_p = members.take("temperature"), members.take("top_p")
    stop = members.take("stop")
    sequences = [stop] if isinstance(stop, str) else stop or []
    message_stops = [one for one in sequences if isinstance(one, str) and one.strip()]
    if len(message_stops) < len(sequences):
        members.drop("stop")  # white space alone is refused there
    if message_stops:
        message["stop_sequences"] = message_stops
    if isinstance(temperature, int | float) and temperature > 1:
        raise wrong("temperature", "must be 0 to 1 for Anthropic's models", "unsupported_value")
    version = model_version(model)
    thinking = message.get("thinking", {}).get("type") in ("enabled", "adaptive")
    fixed = version >= (4, 7) or thinking
    if temperature is not None and fixed and temperature != 1:
        members.drop("temperature")
    elif temperature is not None and not fixed:
        message["temperature"] = temperature
    if top_p is None:
        return
    if fixed or ("temperature" in message and version >= (4, 1)):
        if top_p != 1:
            members.drop("top_p")
    else:
        message["top_p"] = top_p


def _output(message: dict[str, Any], members: Members, model: str) -> None:
    wanted = members.take("response_format")
    if not isinstance(wanted, dict) or wanted.get("type") == "text":
        return
    schema = (wanted.get("json_schema") or {}).get("schema") if wanted.get("type") == "json_schema" else None
    if schema is None or model_version(model) < (4, 5):
        members.drop("response_format")
        return
    message["output_config"] = {**message.get("output_config", {}), "format": {"type": "json_schema", "schema": schema}}


def _account(message: dict[str, Any], members: Members) -> None:
    metadata = members.take("metadata")
    user = members.take("safety_identifier") or members.take("user")
    members.take("user")
    if isinstance(metadata, dict) and set(metadata) == {"user_id"}:
        message["metadata"] = metadata
    elif user:
        message["metadata"] = {"user_id": user}
    if metadata and message.get("metadata") is not metadata:
        members.drop("metadata")
    tier = members.take("service_tier")
    if tier in ("auto", "standard_only"):
        message["service_tier"] = tier
    elif tier is not None:
        message["service_tier"] = _TIERS.get(tier, "auto")
        if tier not in _TIERS:
            members.drop("service_tier")


# -- answers -----------------------------------------------------------------------------------------------------------


def decode(body: bytes, created: int) -> bytes:
    """A whole answer in the OpenAI shape. Raises Failure (502) for what is no answer."""
    answer = read_answer("anthropic", body)
    try:
        return msgspec.json.encode(_completion(answer, created))
    except MISSHAPEN:
        raise unusable("the provider's answer cannot be used: it is no message of Anthropic's API") from None


def _completion(answer: dict[str, Any], created: int) -> dict[str, Any]:
    message = message_of(answer["content"] or [], answer)
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": finish_of(answer.get("stop_reason"), "tool_calls" in message),
    }
    return {
        "id": answer.get("id") or "",
        "object": "chat.completion",
        "created": created,
        "model": answer.get("model") or "",
        "choices": [choice],
        "usage": usage_of(answer["usage"]) if answer.get("usage") else None,
    }


def finish_of(reason: Any, called: bool) -> str:
    """A reason nobody knows is an end like another; it stands in the extra fields."""
    if reason is None:
        return "tool_calls" if called else "stop"
    return _STOPS.get(reason, "stop")


def message_of(blocks: list[dict[str, Any]], answer: dict[str, Any]) -> dict[str, Any]:
    """The assistant's message: text, calls, reasoning, and under `provider_specific_fields` all that is more."""
    texts = [block.get("text") or "" for block in blocks if block.get("type") == "text"]
    calls = [
        {
            "id": block.get("id"),
            "type": "function",
            "function": {"name": block.get("name"), "arguments": arguments_text(block.get("input"))},
        }
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    thinking = "".join([block.get("thinking") or "" for block in blocks if block.get("type") == "thinking"])
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(texts) if texts or not calls else None,
        "refusal": refusal_of(answer),
    }
    if calls:
        message["tool_calls"] = calls
    if thinking:
        message["reasoning_content"] = thinking
    annotations = list(annotations_of(blocks))
    if annotations:
        message["annotations"] = annotations
    extra = extra_of(blocks, answer)
    if extra:
        message[EXTRA] = {"anthropic": extra}
    return message


def arguments_text(given: Any) -> str:
    """A call's input as JSON text; some hosts of this format have it as text already."""
    return given if isinstance(given, str) and given else json_text(given or {})


def refusal_of(answer: dict[str, Any]) -> str | None:
    if answer.get("stop_reason") != "refusal":
        return None
    details = answer.get("stop_details")
    return (details.get("explanation") if isinstance(details, dict) else None) or "the model refused to answer"


def annotations_of(blocks: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Web citations, with their place in the joined text."""
    position = 0
    for block in blocks:
        if block.get("type") != "text":
            continue
        end = position + len(block.get("text") or "")
        for citation in block.get("citations") or ():
            if citation.get("url"):
                place = {"start_index": position, "end_index": end, "title": citation.get("title") or ""}
                yield {"type": "url_citation", "url_citation": {**place, "url": citation["url"]}}
        position = end


_MAPPED = frozenset({"id", "type", "role", "model", "content", "usage", "stop_reason"})


def extra_of(blocks: list[dict[str, Any]], answer: dict[str, Any]) -> dict[str, Any]:
    """What the OpenAI shape has no place for."""
    extra = {name: value for name, value in answer.items() if name not in _MAPPED and value is not None}
    if answer.get("stop_reason") not in (None, "end_turn", "tool_use", "max_tokens"):
        extra["stop_reason"] = answer["stop_reason"]
    if any(set(block) - {"type", "text", "id", "name", "input"} or block.get("type") not in _PLAIN_BLOCKS
           for block in blocks):  # fmt: skip
        extra["content"] = blocks
    usage = answer.get("usage") or {}
    more = {name: value for name, value in usage.items() if name not in _COUNTED and value is not None}
    if more:
        extra["usage"] = more
    return extra


_COUNTED = frozenset({"input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"})


def usage_of(usage: dict[str, Any]) -> dict[str, Any]:
    """Anthropic's `input_tokens` are only those that were not cached; OpenAI's prompt counts them all."""
    read, written = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
    prompt = (usage.get("input_tokens") or 0) + read + written
    completion = usage.get("output_tokens") or 0
    thinking = (usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": thinking},
    }
