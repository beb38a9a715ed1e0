"""Translates a chat request to Bedrock's Converse API.

What each model can do is in `capabilities.py`. Sources: the service model of `bedrock-runtime` and AWS's documentation.
"""

import re
from typing import Any

from nulpoint.protocols.anthropic.request import is_plain_object
from nulpoint.protocols.anthropic.schema import object_schema, strict_schema
from nulpoint.protocols.bedrock.capabilities import BedrockCapabilities, capabilities_of, check_model
from nulpoint.protocols.bedrock.messages import BedrockConversation, cache_point, read_conversation
from nulpoint.protocols.bedrock.reasoning import reasoning
from nulpoint.protocols.emulation import Emulation
from nulpoint.protocols.json_schema import SchemaRewriter
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

# The top-level members of Converse that clients may send. Any other member that is not OpenAI's belongs to the model.
_CONVERSE_MEMBERS = frozenset(
    {
        "additionalModelRequestFields",
        "additionalModelResponseFieldPaths",
        "guardrailConfig",
        "inferenceConfig",
        "outputConfig",
        "performanceConfig",
        "projectIdentifier",
        "promptVariables",
        "requestMetadata",
        "serviceTier",
        "toolConfig",
    }
)
_CONVERSE_TOOLS = frozenset({"toolSpec", "systemTool", "cachePoint"})
_TIERS = ("flex", "priority", "reserved")
_STANDARD_TIERS = ("auto", "default")
_METADATA = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,\-.]{0,256}")
_MAX_METADATA = 16
_OF_FUNCTION = frozenset({"name", "description", "parameters", "strict", "cache_control"})

Request = dict[str, Any]


@reject_deep_nesting
def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> EncodedRequest:
    """Translate a request. Raises Failure (400) that names the member which is wrong or cannot be expressed."""
    check_model(model)
    fields, messages, tools, emulation = read_request(body, limits)
    capabilities = capabilities_of(model)
    if fields.pop("n", 1) != 1:
        raise invalid("n", "must be 1: Bedrock gives one response per request", "unsupported_value")
    conversation = read_conversation(messages, capabilities, fields)
    request: Request = {"messages": conversation.turns}
    fields.pop("stream")
    fields.pop("stream_options")
    _tools(request, capabilities, tools, conversation, fields)
    thinks = reasoning(request, capabilities, conversation, fields)
    emulation = _format(request, capabilities, conversation, emulation, thinks, fields)
    _inference(request, capabilities, thinks, fields)
    _account_fields(request, fields)
    if conversation.system:
        request["system"] = conversation.system
    _provider_fields(request, fields)
    return EncodedRequest(write_body(request), fields.dropped, emulation)


def _provider_fields(request: Request, fields: RequestFields) -> None:
    """Add the members that are not OpenAI's.

    Members of Converse replace what was translated from OpenAI's; those of the model are passed on to it.
    """
    model_fields: dict[str, Any] = {}
    for name, value in fields.leftovers().items():
        if name not in _CONVERSE_MEMBERS:
            model_fields[name] = value
        elif isinstance(value, dict) and isinstance(request.get(name), dict):
            request[name] = {**request[name], **value}
        else:
            request[name] = value
    if model_fields:
        additional = request.get("additionalModelRequestFields") or {}
        request["additionalModelRequestFields"] = {**model_fields, **additional}


# -- tools -------------------------------------------------------------------------------------------------------------


def _tools(
    request: Request,
    capabilities: BedrockCapabilities,
    tools: ToolSet,
    conversation: BedrockConversation,
    fields: RequestFields,
) -> None:
    if not (tools.functions or tools.provider_tools or "toolUse" in conversation.kinds):
        return
    converse_tools = [tool for tool in tools.provider_tools if not _CONVERSE_TOOLS.isdisjoint(tool)]
    # The other tools in a provider's format are the model's own, such as Claude's computer use.
    model_tools = [tool for tool in tools.provider_tools if _CONVERSE_TOOLS.isdisjoint(tool)]
    if model_tools:
        request["additionalModelRequestFields"] = {"tools": model_tools}
    definitions = [block for tool in tools.allowed() for block in _tool(tool, capabilities, fields)] + converse_tools
    called = conversation.called_tools()
    forbidden = tools.choice is not None and tools.choice.mode == "none"
    if not called and (not definitions or forbidden):
        return
    if not definitions:  # Converse rejects a conversation with tool calls in it if the request has no tools
        definitions = [{"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}} for name in called]
    config: dict[str, Any] = {"tools": definitions}
    if forbidden:
        fields.report_dropped("tool_choice")  # Converse cannot express that no tool may be called
    elif tools.choice is not None and tools.choice.mode != "auto":
        config["toolChoice"] = _tool_choice(tools.choice)
    request["toolConfig"] = config


def _tool(tool: dict[str, Any], capabilities: BedrockCapabilities, fields: RequestFields) -> list[dict[str, Any]]:
    """Return the definition of a tool, followed by its cache mark if the client set one."""
    function = tool["function"]
    fields.report_other_members(function, _OF_FUNCTION, "tools.function")
    rewriter = SchemaRewriter("tools.function.parameters", fields.limits.schema_nodes)
    definition: dict[str, Any] = {"name": function["name"]}
    if (function.get("description") or "").strip():  # Converse rejects blank descriptions
        definition["description"] = function["description"]
    schema = object_schema(function.get("parameters") or {"properties": {}}, rewriter)
    if function.get("strict") and capabilities.claude is not None and capabilities.claude.structured_outputs:
        schema = strict_schema(schema, rewriter)
        definition["strict"] = True
    elif function.get("strict"):
        fields.report_dropped("tools.function.strict")
    definition["inputSchema"] = {"json": schema}
    rewriter.report(fields)
    cache_control = function.get("cache_control") or tool.get("cache_control")
    return [{"toolSpec": definition}, *([cache_point(cache_control)] if cache_control else [])]


def _tool_choice(choice: ToolChoice) -> dict[str, Any]:
    if choice.names is not None and len(choice.names) == 1:
        return {"tool": {"name": next(iter(choice.names))}}
    return {"any": {}}


# -- the format of the response ----------------------------------------------------------------------------------------


def _format(
    request: Request,
    capabilities: BedrockCapabilities,
    conversation: BedrockConversation,
    emulation: Emulation,
    thinks: bool,
    fields: RequestFields,
) -> Emulation:
    """Translate `response_format`, and return the emulation with anything added for it.

    A schema becomes structured output; for older models a tool that must be called, or only an instruction in words.
    """
    response_format = read_format(fields)
    if response_format is None:
        return emulation
    schema = response_format.described_schema()
    if schema is not None and capabilities.claude is not None and capabilities.claude.structured_outputs:
        _structured_output(request, schema, response_format.json_schema, fields)
        return emulation
    can_force_tool = "toolConfig" not in request and not thinks and not conversation.continues_answer()
    if schema is not None and can_force_tool and capabilities.forced_tool_choice != "none" and is_plain_object(schema):
        name = str(response_format.json_schema.get("name") or "answer")
        tool = {"name": name, "description": "Give the answer.", "inputSchema": {"json": schema}}
        choice: dict[str, Any] = {"tool": {"name": name}} if capabilities.forced_tool_choice == "tool" else {"any": {}}
        request["toolConfig"] = {"tools": [{"toolSpec": tool}], "toolChoice": choice}
        return emulation._replace(schema_tool=name)
    conversation.system.append({"text": response_format.as_instruction()})
    fields.report_dropped("response_format")  # nothing enforces an instruction
    return emulation


def _structured_output(
    request: Request, schema: dict[str, Any], json_schema: dict[str, Any], fields: RequestFields
) -> None:
    rewriter = SchemaRewriter(SCHEMA, fields.limits.schema_nodes)
    strict = strict_schema(schema, rewriter)
    rewriter.report(fields)
    labels = {name: json_schema[name] for name in ("name", "description") if json_schema.get(name)}
    structure = {"jsonSchema": {"schema": json_text(strict), **labels}}
    config = request.get("outputConfig", {})
    request["outputConfig"] = {**config, "textFormat": {"type": "json_schema", "structure": structure}}


# -- sampling and account ----------------------------------------------------------------------------------------------


def _inference(request: Request, capabilities: BedrockCapabilities, thinks: bool, fields: RequestFields) -> None:
    config: dict[str, Any] = {}
    limit = output_limit(fields)
    if limit is not None:
        config["maxTokens"] = limit
    _sampling(config, capabilities, thinks, fields)
    stops = stop_sequences(fields)
    if stops and capabilities.claude is not None:
        all_stops, stops = stops, [stop for stop in stops if stop.strip()]
        if len(stops) < len(all_stops):
            fields.report_dropped("stop")  # Claude rejects stop sequences of white space
    if stops:
        config["stopSequences"] = stops
    if config:
        request["inferenceConfig"] = config


def _sampling(config: dict[str, Any], capabilities: BedrockCapabilities, thinks: bool, fields: RequestFields) -> None:
    temperature, top_p = fields.pop("temperature"), fields.pop("top_p")
    if isinstance(temperature, int | float) and temperature > 1:
        raise invalid("temperature", "must be 0 to 1 for Bedrock", "unsupported_value")
    claude = capabilities.claude
    fixed = claude is not None and (thinks or not claude.accepts_sampling)
    if temperature is not None and not fixed:
        config["temperature"] = temperature
    elif temperature not in (None, 1):
        fields.report_dropped("temperature")
    both = claude is None or claude.accepts_temperature_with_top_p or "temperature" not in config
    if top_p is not None and both and not fixed:
        config["topP"] = top_p
    elif top_p not in (None, 1):
        fields.report_dropped("top_p")


def _account_fields(request: Request, fields: RequestFields) -> None:
    metadata = object_of(fields.pop("metadata"), "metadata")
    if metadata and len(metadata) <= _MAX_METADATA and all(_is_metadata(item) for item in metadata.items()):
        request["requestMetadata"] = metadata
    elif metadata:
        fields.report_dropped("metadata")
    tier = fields.pop("service_tier")
    if tier in _TIERS:
        request["serviceTier"] = {"type": tier}
    elif tier is not None and tier not in _STANDARD_TIERS:
        fields.report_dropped("service_tier")


def _is_metadata(item: tuple[str, Any]) -> bool:
    """Return whether AWS accepts this item in the metadata of a request, which goes into the log of invocations."""
    return all(isinstance(text, str) and _METADATA.fullmatch(text) for text in item) and bool(item[0])
