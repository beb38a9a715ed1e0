"""Writes a request for Bedrock's Converse API.

What each model can do is in `capabilities.py`. Sources: the service model of `bedrock-runtime` and AWS's documentation.
"""

import re
from typing import Any

from nulpoint.conversation.emulation import ToolEmulation, custom_tools_as_functions
from nulpoint.conversation.parts import Members
from nulpoint.conversation.request import ConversationRequest, OutputFormat
from nulpoint.conversation.tools import CustomTool, FunctionTool, ToolChoice
from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.anthropic.request import is_plain_object
from nulpoint.protocols.anthropic.schema import object_schema, strict_schema
from nulpoint.protocols.bedrock.capabilities import BedrockCapabilities, capabilities_of, check_model
from nulpoint.protocols.bedrock.messages import BedrockConversation, cache_point, write_conversation
from nulpoint.protocols.bedrock.reasoning import reasoning
from nulpoint.protocols.dropped import report_extra, sent_as_function
from nulpoint.protocols.json_schema import SchemaRewriter
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.openai.chat import (
    RequestFields,
    invalid,
    json_text,
    object_of,
    output_limit,
    stop_sequences,
    write_body,
)
from nulpoint.protocols.openai.response_format import format_instruction
from nulpoint.protocols.provider_protocol import RenderedRequest

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
_IGNORED_OF_TOOL = frozenset({"type", "cache_control", "function.cache_control", "custom.cache_control"})
_IGNORED_OF_FORMAT = frozenset({"json_schema"})

Request = dict[str, Any]


def render(
    conversation: ConversationRequest, model: str, _facts: ModelFacts, limits: TranslationLimits
) -> RenderedRequest:
    """Write a request. Raises Failure (400) that names the member which is wrong or cannot be expressed."""
    check_model(model)
    fields = RequestFields(conversation.settings, limits)
    capabilities = capabilities_of(model)
    if fields.pop("n", 1) != 1:
        raise invalid("n", "must be 1: Bedrock gives one response per request", "unsupported_value")
    written = write_conversation(conversation.messages, capabilities, fields)
    request: Request = {"messages": written.turns}
    fields.pop("stream")
    fields.pop("stream_options")
    emulation = custom_tools_as_functions(conversation.tools)
    _tools(request, capabilities, conversation, written, fields)
    thinks = reasoning(request, capabilities, written, fields)
    if conversation.output_format is not None:
        emulation = _format(request, conversation.output_format, capabilities, written, emulation, thinks, fields)
    _inference(request, capabilities, thinks, fields)
    _account_fields(request, fields)
    if written.system:
        request["system"] = written.system
    _provider_fields(request, fields)
    return RenderedRequest(write_body(request), fields.dropped, emulation)


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
    conversation: ConversationRequest,
    written: BedrockConversation,
    fields: RequestFields,
) -> None:
    if not (conversation.tools or "toolUse" in written.kinds):
        return
    provider_tools, choice = conversation.provider_tools(), conversation.tool_choice
    converse_tools = [tool for tool in provider_tools if not _CONVERSE_TOOLS.isdisjoint(tool)]
    # The other tools in a provider's format are the model's own, such as Claude's computer use.
    model_tools = [tool for tool in provider_tools if _CONVERSE_TOOLS.isdisjoint(tool)]
    if model_tools:
        request["additionalModelRequestFields"] = {"tools": model_tools}
    definitions = [block for tool in conversation.allowed_tools() for block in _tool(tool, capabilities, fields)]
    definitions += converse_tools
    called = written.called_tools()
    forbidden = choice is not None and choice.mode == "none"
    if not called and (not definitions or forbidden):
        return
    if not definitions:  # Converse rejects a conversation with tool calls in it if the request has no tools
        definitions = [{"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}} for name in called]
    config: dict[str, Any] = {"tools": definitions}
    if forbidden:
        fields.report_dropped("tool_choice")  # Converse cannot express that no tool may be called
    elif choice is not None and choice.is_required():
        config["toolChoice"] = _tool_choice(choice)
    request["toolConfig"] = config


def _tool(tool: FunctionTool | CustomTool, capabilities: BedrockCapabilities, fields: RequestFields) -> list[Members]:
    """Return the definition of a tool, followed by its cache mark if the client set one."""
    report_extra(fields, tool.extra, tool.path, _IGNORED_OF_TOOL)
    if isinstance(tool, CustomTool):
        tool = sent_as_function(tool, fields)
    rewriter = SchemaRewriter(tool.schema_path, fields.limits.schema_nodes)
    definition: dict[str, Any] = {"name": tool.name}
    if (tool.description or "").strip():  # Converse rejects blank descriptions
        definition["description"] = tool.description
    schema = object_schema(tool.parameters or {"properties": {}}, rewriter)
    if tool.strict and capabilities.claude is not None and capabilities.claude.structured_outputs:
        schema = strict_schema(schema, rewriter)
        definition["strict"] = True
    elif tool.strict:
        fields.report_dropped("tools.function.strict")
    definition["inputSchema"] = {"json": schema}
    rewriter.report(fields)
    return [{"toolSpec": definition}, *([cache_point(tool.cache.control)] if tool.cache else [])]


def _tool_choice(choice: ToolChoice) -> dict[str, Any]:
    name = choice.only_name()
    return {"any": {}} if name is None else {"tool": {"name": name}}


# -- the format of the response ----------------------------------------------------------------------------------------


def _format(
    request: Request,
    output_format: OutputFormat,
    capabilities: BedrockCapabilities,
    written: BedrockConversation,
    emulation: ToolEmulation,
    thinks: bool,
    fields: RequestFields,
) -> ToolEmulation:
    """Write the output format, and return the emulation with anything added for it.

    A schema becomes structured output; for older models a tool that must be called, or only an instruction in words.
    """
    report_extra(fields, output_format.extra, output_format.path, _IGNORED_OF_FORMAT)
    if output_format.kind == "text":
        return emulation
    schema = output_format.described_schema()
    if schema is not None and capabilities.claude is not None and capabilities.claude.structured_outputs:
        _structured_output(request, schema, output_format, fields)
        return emulation
    can_force_tool = "toolConfig" not in request and not thinks and not written.continues_answer()
    if schema is not None and can_force_tool and capabilities.forced_tool_choice != "none" and is_plain_object(schema):
        name = output_format.name or "answer"
        tool = {"name": name, "description": "Give the answer.", "inputSchema": {"json": schema}}
        choice: dict[str, Any] = {"tool": {"name": name}} if capabilities.forced_tool_choice == "tool" else {"any": {}}
        request["toolConfig"] = {"tools": [{"toolSpec": tool}], "toolChoice": choice}
        return emulation._replace(schema_tool=name)
    written.system.append({"text": format_instruction(schema)})
    fields.report_dropped(output_format.path)  # nothing enforces an instruction
    return emulation


def _structured_output(request: Request, schema: Members, output_format: OutputFormat, fields: RequestFields) -> None:
    rewriter = SchemaRewriter(output_format.schema_path, fields.limits.schema_nodes)
    strict = strict_schema(schema, rewriter)
    rewriter.report(fields)
    labels = {"name": output_format.name, "description": output_format.description}
    known = {name: text for name, text in labels.items() if text}
    structure = {"jsonSchema": {"schema": json_text(strict), **known}}
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
