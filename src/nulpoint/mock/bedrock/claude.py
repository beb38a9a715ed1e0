"""The Converse requests to Claude models, seen as requests to the Messages API.

Bedrock passes what Converse has no member for to the model. The model then rejects what its row in
`nulpoint.mock.anthropic.models` does not accept, and Bedrock repeats its words.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from nulpoint.mock.anthropic import binding
from nulpoint.mock.anthropic.model_rules import model_problems
from nulpoint.mock.anthropic.models import find_model
from nulpoint.mock.anthropic.request_schema import BETA_MEMBERS, REQUEST
from nulpoint.mock.anthropic.rules import violation_message
from nulpoint.mock.request_schema import ListOf, Record, violations

_MODEL_ERROR = "The model returned the following errors: "
_MODEL_FIELDS = Record({**REQUEST.members, **BETA_MEMBERS, "anthropic_beta": ListOf(str)})
_TYPES = {"toolUse": "tool_use", "toolResult": "tool_result"}


def is_claude(model: str) -> bool:
    return "anthropic.claude" in model


def claude_problems(body: dict[str, Any], model: str) -> Iterator[str]:
    """Yield what a Claude model does not accept of a valid Converse request."""
    fields = body.get("additionalModelRequestFields") or {}
    for violation in violations(fields, _MODEL_FIELDS):
        yield _MODEL_ERROR + violation_message(violation, fields)
    if "block_binding" in (fields.get("thinking") or {}) and binding.BETA not in (fields.get("anthropic_beta") or ()):
        yield f"{_MODEL_ERROR}thinking.{fields['thinking']['type']}.block_binding: Extra inputs are not permitted"
    for text in model_problems(messages_request(body, model), "bedrock"):
        yield _MODEL_ERROR + text


def messages_request(body: dict[str, Any], model: str) -> dict[str, Any]:
    """Return a Converse request in the format of the Messages API, as far as the model's rules look at it.

    Blocks without a rule keep Converse's format. Cache points are left out.
    """
    config, fields = body.get("inferenceConfig") or {}, body.get("additionalModelRequestFields") or {}
    renamed = {"temperature": config.get("temperature"), "top_p": config.get("topP")}
    return {
        **{name: value for name, value in renamed.items() if value is not None},
        **{name: value for name, value in fields.items() if name in ("thinking", "top_k", "top_p", "temperature")},
        "model": model,
        "max_tokens": config.get("maxTokens") or find_model(model).max_tokens,
        "system": [block for block in body.get("system") or () if "cachePoint" not in block],
        "messages": [_message(message) for message in body["messages"]],
        "output_config": _output_config(body, fields),
        **_tools(body.get("toolConfig") or {}, fields.get("tools") or []),
    }


def _message(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "role": message["role"],
        "content": [_block(block) for block in message["content"] if "cachePoint" not in block],
    }


def _block(block: dict[str, Any]) -> dict[str, Any]:
    thought = (block.get("reasoningContent") or {}).get("reasoningText")
    if thought is not None:
        return {"type": "thinking", "thinking": thought["text"], "signature": thought.get("signature", "")}
    kind = next(iter(block), "text")
    return {"type": _TYPES.get(kind, kind), "block": block[kind]}


def _output_config(body: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    converse, config = body.get("outputConfig") or {}, dict(fields.get("output_config") or {})
    if converse.get("effort"):
        config["effort"] = converse["effort"]
    if converse.get("textFormat"):
        schema = converse["textFormat"]["structure"]["jsonSchema"]["schema"]
        config["format"] = {"schema": msgspec.json.decode(schema)}
    return config


def _tools(config: dict[str, Any], more: list[Any]) -> dict[str, Any]:
    specs = [tool["toolSpec"] for tool in config.get("tools") or () if "toolSpec" in tool]
    tools = [
        {
            "name": spec["name"],
            "description": spec.get("description"),
            "input_schema": spec["inputSchema"]["json"],
            "strict": spec.get("strict"),
        }
        for spec in specs
    ]
    choice = next(iter(config.get("toolChoice") or {}), None)
    return {"tools": [*tools, *more], **({"tool_choice": {"type": choice}} if choice else {})}
