"""A chat request as Bedrock's Converse API takes it.

Facts: the service model of `bedrock-runtime` and AWS's documentation; what a model can do is in `bedrock_models`.
"""

import re
from typing import Any

from nulpoint.protocols.anthropic.request import is_plain_object
from nulpoint.protocols.anthropic.schema import object_schema, strict_schema
from nulpoint.protocols.bedrock.capabilities import BedrockCapabilities, capabilities_of, check_model
from nulpoint.protocols.bedrock.messages import BedrockConversation, cache_point, read_conversation
from nulpoint.protocols.bedrock.reasoning import reasoning
from nulpoint.protocols.emulation import Emulation
from nulpoint.protocols.json_schema import Rewriting
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.openai.chat import (
    EncodedRequest,
    RequestFields,
    invalid,
    json_text,
    object_of,
    output_limit,
    reject_deep_nesting,
    stop_sequences,
    write_body,
)
from nulpoint.protocols.openai.chat_request import read_request
from nulpoint.protocols.openai.response_format import SCHEMA, read_format
from nulpoint.protocols.openai.tools import ToolChoice, ToolSet

# Converse's own top-level members; whatever else is no member of OpenAI's belongs to the model behind it.
_OWN = frozenset(
    {
        "additionalModelRequestFields", "additionalModelResponseFieldPaths", "guardrailConfig", "inferenceConfig",
        "outputConfig", "performanceConfig", "projectIdentifier", "promptVariables", "requestMetadata", "serviceTier",
        "toolConfig",
    }
)  # fmt: skip
_OWN_TOOLS = frozenset({"toolSpec", "systemTool", "cachePoint"})
_TIERS = ("flex", "priority", "reserved")
_USUAL_TIERS = ("auto", "default")
_METADATA = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,\-.]{0,256}")
_MOST_METADATA = 16
_OF_FUNCTION = frozenset({"name", "description", "parameters", "strict", "cache_control"})

Request = dict[str, Any]


@reject_deep_nesting
def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> EncodedRequest:
    """Raises Failure (400) naming the member that is wrong or cannot be said at all."""
    check_model(model)
    fields, messages, tools, emulation = read_request(body, limits)
    capabilities = capabilities_of(model)
    if fields.pop("n", 1) != 1:
        raise invalid("n", "must be 1: Bedrock gives one answer a request", "unsupported_value")
    talk = read_conversation(messages, capabilities, fields)
    request: Request = {"messages": talk.turns}
    fields.pop("stream")
    fields.pop("stream_options")
    _tools(request, capabilities, tools, talk, fields)
    thinks = reasoning(request, capabilities, talk, fields)
    emulation = _format(request, capabilities, talk, emulation, thinks, fields)
    _inference(request, capabilities, thinks, fields)
    _account(request, fields)
    if talk.system:
        request["system"] = talk.system
    _own(request, fields)
    return EncodedRequest(write_body(request), fields.dropped, emulation)


def _own(request: Request, members: RequestFields) -> None:
    """Members the caller gives by Converse's names win over what was made of OpenAI's; the model's own go to it."""
    models: dict[str, Any] = {}
    for name, value in members.leftovers().items():
        if name not in _OWN:
            models[name] = value
        elif isinstance(value, dict) and isinstance(request.get(name), dict):
            request[name] = {**request[name], **value}
        else:
            request[name] = value
    if models:
        fields = request.get("additionalModelRequestFields") or {}
        request["additionalModelRequestFields"] = {**models, **fields}


# -- tools -------------------------------------------------------------------------------------------------------------


def _tools(
    request: Request,
    capabilities: BedrockCapabilities,
    tools: ToolSet,
    talk: BedrockConversation,
    fields: RequestFields,
) -> None:
    if not (tools.functions or tools.provider_tools or "toolUse" in talk.kinds):
        return
    own = [tool for tool in tools.provider_tools if not _OWN_TOOLS.isdisjoint(tool)]
    models = [
        tool for tool in tools.provider_tools if _OWN_TOOLS.isdisjoint(tool)
    ]  # of the model, as Claude's computer use
    if models:
        request["additionalModelRequestFields"] = {"tools": models}
    made = [block for tool in tools.allowed() for block in _tool(tool, capabilities, fields)] + own
    called = talk.called()
    forbidden = tools.choice is not None and tools.choice.mode == "none"
    if not called and (not made or forbidden):
        return
    if not made:  # a conversation with calls in it is refused without tools
        made = [{"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}} for name in called]
    config: dict[str, Any] = {"tools": made}
    if forbidden:
        fields.report_dropped("tool_choice")  # nor can it be said there that none may be called
    elif tools.choice is not None and tools.choice.mode != "auto":
        config["toolChoice"] = _tool_choice(tools.choice)
    request["toolConfig"] = config


def _tool(tool: dict[str, Any], capabilities: BedrockCapabilities, fields: RequestFields) -> list[dict[str, Any]]:
    """The tool, and behind it the cache mark set on it."""
    function = tool["function"]
    fields.report_other_members(function, _OF_FUNCTION, "tools.function")
    rewriting = Rewriting("tools.function.parameters", fields.limits.schema_nodes)
    made: dict[str, Any] = {"name": function["name"]}
    if (function.get("description") or "").strip():  # blank ones are refused
        made["description"] = function["description"]
    schema = object_schema(function.get("parameters") or {"properties": {}}, rewriting)
    if function.get("strict") and capabilities.claude is not None and capabilities.claude.schemas:
        schema = strict_schema(schema, rewriting)
        made["strict"] = True
    elif function.get("strict"):
        fields.report_dropped("tools.function.strict")
    made["inputSchema"] = {"json": schema}
    rewriting.report(fields)
    mark = function.get("cache_control") or tool.get("cache_control")
    return [{"toolSpec": made}, cache_point(mark)] if mark else [{"toolSpec": made}]


def _tool_choice(choice: ToolChoice) -> dict[str, Any]:
    if choice.names is not None and len(choice.names) == 1:
        return {"tool": {"name": next(iter(choice.names))}}
    return {"any": {}}


# -- the form of the answer --------------------------------------------------------------------------------------------


def _format(
    request: Request,
    capabilities: BedrockCapabilities,
    talk: BedrockConversation,
    emulation: Emulation,
    thinks: bool,
    fields: RequestFields,
) -> Emulation:
    """A schema for the answer: structured output; for older models a tool that must be called, or only words."""
    wanted = read_format(fields)
    if wanted is None:
        return emulation
    schema = wanted.described_schema()
    if schema is not None and capabilities.claude is not None and capabilities.claude.schemas:
        _structured(request, schema, wanted.json_schema, fields)
        return emulation
    alone = "toolConfig" not in request and not thinks and not talk.continues_answer()
    if schema is not None and alone and capabilities.forces != "none" and is_plain_object(schema):
        name = str(wanted.json_schema.get("name") or "answer")
        tool = {"name": name, "description": "Give the answer.", "inputSchema": {"json": schema}}
        choice: dict[str, Any] = {"tool": {"name": name}} if capabilities.forces == "tool" else {"any": {}}
        request["toolConfig"] = {"tools": [{"toolSpec": tool}], "toolChoice": choice}
        return emulation._replace(schema_tool=name)
    talk.system.append({"text": wanted.as_instruction()})
    fields.report_dropped("response_format")  # nothing holds the model to it
    return emulation


def _structured(request: Request, schema: dict[str, Any], given: dict[str, Any], fields: RequestFields) -> None:
    rewriting = Rewriting(SCHEMA, fields.limits.schema_nodes)
    strict = strict_schema(schema, rewriting)
    rewriting.report(fields)
    named = {name: given[name] for name in ("name", "description") if given.get(name)}
    structure = {"jsonSchema": {"schema": json_text(strict), **named}}
    config = request.get("outputConfig", {})
    request["outputConfig"] = {**config, "textFormat": {"type": "json_schema", "structure": structure}}


# -- the rest ----------------------------------------------------------------------------------------------------------


def _inference(request: Request, capabilities: BedrockCapabilities, thinks: bool, fields: RequestFields) -> None:
    config: dict[str, Any] = {}
    limit = output_limit(fields)
    if limit is not None:
        config["maxTokens"] = limit
    _sampling(config, capabilities, thinks, fields)
    stops = stop_sequences(fields)
    if stops and capabilities.claude is not None:
        given, stops = stops, [stop for stop in stops if stop.strip()]
        if len(stops) < len(given):
            fields.report_dropped("stop")  # Claude refuses white space alone
    if stops:
        config["stopSequences"] = stops
    if config:
        request["inferenceConfig"] = config


def _sampling(config: dict[str, Any], capabilities: BedrockCapabilities, thinks: bool, fields: RequestFields) -> None:
    temperature, top_p = fields.pop("temperature"), fields.pop("top_p")
    if isinstance(temperature, int | float) and temperature > 1:
        raise invalid("temperature", "must be 0 to 1 for Bedrock", "unsupported_value")
    claude = capabilities.claude
    fixed = claude is not None and (thinks or not claude.samples)
    if temperature is not None and not fixed:
        config["temperature"] = temperature
    elif temperature not in (None, 1):
        fields.report_dropped("temperature")
    both = claude is None or claude.samples_both or "temperature" not in config
    if top_p is not None and both and not fixed:
        config["topP"] = top_p
    elif top_p not in (None, 1):
        fields.report_dropped("top_p")


def _account(request: Request, fields: RequestFields) -> None:
    metadata = object_of(fields.pop("metadata"), "metadata")
    if metadata and len(metadata) <= _MOST_METADATA and all(_is_metadata(one) for one in metadata.items()):
        request["requestMetadata"] = metadata
    elif metadata:
        fields.report_dropped("metadata")
    tier = fields.pop("service_tier")
    if tier in _TIERS:
        request["serviceTier"] = {"type": tier}
    elif tier is not None and tier not in _USUAL_TIERS:
        fields.report_dropped("service_tier")


def _is_metadata(item: tuple[str, Any]) -> bool:
    """What AWS takes for the metadata of a request, which goes into the log of invocations."""
    return all(isinstance(text, str) and _METADATA.fullmatch(text) for text in item) and bool(item[0])
