"""Writes a request for Bedrock's Converse API.

What each model accepts is in the facts about it (`models/`). Sources: the service model of `bedrock-runtime` and AWS's
documentation.
"""

import re
from typing import Any

from nulpoint.conversation.emulation import ToolEmulation, custom_tools_as_functions
from nulpoint.conversation.parts import Members
from nulpoint.conversation.request import ConversationRequest, OutputFormat
from nulpoint.conversation.tools import CustomTool, FunctionTool
from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.added_texts import MUST_NOT_CALL
from nulpoint.protocols.anthropic.reasoning import keeps_thinking, read_effort
from nulpoint.protocols.anthropic.request import is_plain_object, limited_output, sampling
from nulpoint.protocols.anthropic.schema import object_schema
from nulpoint.protocols.anthropic.strict import StrictSchemas
from nulpoint.protocols.bedrock.cache import fit_cache_marks
from nulpoint.protocols.bedrock.messages import BedrockConversation, cache_point, write_conversation
from nulpoint.protocols.bedrock.model_id import check_model, maker_of
from nulpoint.protocols.bedrock.reasoning import bind_thinking, claude_reasoning, other_reasoning, own_thinking_of
from nulpoint.protocols.dropped import report_extra, sent_as_function
from nulpoint.protocols.json_schema import SchemaRewriter
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.openai.chat import (
    OPENAI_MEMBERS,
    RequestFields,
    invalid,
    json_text,
    object_of,
    stop_sequences,
    write_body,
)
from nulpoint.protocols.openai.response_format import format_instruction
from nulpoint.protocols.provider_protocol import RenderedRequest
from nulpoint.protocols.tool_choice import fit_tool_choice

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
_INFERENCE_NAMES = {"temperature": "temperature", "top_p": "topP"}

Request = dict[str, Any]


def render(
    conversation: ConversationRequest, model: str, facts: ModelFacts, limits: TranslationLimits
) -> RenderedRequest:
    """Write a request. Raises Failure (400) that names the member which is wrong or cannot be expressed."""
    check_model(model)
    maker = maker_of(model, facts)
    fields = RequestFields(conversation.settings, limits)
    if fields.pop("n", 1) != 1:
        raise invalid("n", "must be 1: Bedrock gives one response per request", "unsupported_value")
    effort = read_effort(fields)
    own_thinking = own_thinking_of(fields)
    kept = keeps_thinking(effort, own_thinking, facts)
    written = write_conversation(conversation.messages, facts, fields, keep_thinking=kept)
    request: Request = {"messages": written.turns}
    fields.pop("stream")
    fields.pop("stream_options")
    emulation = custom_tools_as_functions(conversation.tools)
    strict = StrictSchemas(fields)
    output_schema = None
    if conversation.output_format is not None:
        output_schema = _output_schema(conversation.output_format, facts, strict)
    _tools(request, facts, conversation, written, strict, fields)
    thinks = False
    if maker == "anthropic":
        thinks = claude_reasoning(request, effort, own_thinking, facts, written, fields)
    else:
        other_reasoning(request, effort, maker, facts, fields)
    if conversation.output_format is not None:
        emulation = _format(
            request, conversation.output_format, output_schema, facts, written, emulation, fields, thinks=thinks
        )
    _inference(request, facts, maker, fields, thinks=thinks)
    _account_fields(request, fields)
    if written.system:
        request["system"] = written.system
    _provider_fields(request, facts, fields)
    fit_cache_marks(request, maker, fields)
    if facts.binds_reasoning:
        bind_thinking(request, facts, written)
    return RenderedRequest(write_body(request), fields.dropped, emulation)


def _provider_fields(request: Request, facts: ModelFacts, fields: RequestFields) -> None:
    """Add the members that are not OpenAI's.

    Members of Converse replace what was translated from OpenAI's; those of the model are passed on to it.
    """
    for name in facts.refused:
        if name not in OPENAI_MEMBERS and fields.pop(name) is not None:
            fields.report_dropped(name)
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
    facts: ModelFacts,
    conversation: ConversationRequest,
    written: BedrockConversation,
    strict: StrictSchemas,
    fields: RequestFields,
) -> None:
    if not (conversation.tools or "toolUse" in written.kinds):
        return
    provider_tools = conversation.provider_tools()
    converse_tools = [tool for tool in provider_tools if not _CONVERSE_TOOLS.isdisjoint(tool)]
    # The other tools in a provider's format are the model's own, such as Claude's computer use.
    model_tools = [tool for tool in provider_tools if _CONVERSE_TOOLS.isdisjoint(tool)]
    if model_tools:
        request["additionalModelRequestFields"] = {"tools": model_tools}
    definitions = [block for tool in conversation.client_tools() for block in _tool(tool, facts, strict, fields)]
    definitions += converse_tools
    called = written.called_tools()
    fitted = fit_tool_choice(conversation, facts, fields)
    if not called and (not definitions or fitted.mode == "none"):
        return
    if not definitions:  # Converse rejects a conversation with tool calls in it if the request has no tools
        definitions = [{"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}} for name in called]
    if fitted.mode == "none":
        fields.report_dropped("tool_choice")  # Converse cannot express that no tool may be called
        written.add_instruction(MUST_NOT_CALL)
    elif fitted.instruction is not None:
        written.add_instruction(fitted.instruction)
    if fitted.only_tool is not None:
        definitions = [tool for tool in definitions if tool.get("toolSpec", {}).get("name") == fitted.only_tool]
    config: dict[str, Any] = {"tools": definitions}
    if fitted.is_forced():
        config["toolChoice"] = {"any": {}} if fitted.name is None else {"tool": {"name": fitted.name}}
    request["toolConfig"] = config


def _tool(
    tool: FunctionTool | CustomTool, facts: ModelFacts, strict: StrictSchemas, fields: RequestFields
) -> list[Members]:
    """Return the definition of a tool, followed by its cache mark if the client set one."""
    report_extra(fields, tool.extra, tool.path, _IGNORED_OF_TOOL)
    if isinstance(tool, CustomTool):
        tool = sent_as_function(tool, fields)
    rewriter = SchemaRewriter(tool.schema_path, fields.limits.schema_nodes)
    definition: dict[str, Any] = {"name": tool.name}
    if (tool.description or "").strip():  # Converse rejects blank descriptions
        definition["description"] = tool.description
    schema = object_schema(tool.parameters or {"properties": {}}, rewriter)
    rewriter.report(fields)
    if tool.strict:
        enforced = strict.for_tool(schema, tool.schema_path) if facts.strict_tools else None
        if enforced is not None:
            schema = enforced
            definition["strict"] = True
        else:
            fields.report_dropped("tools.function.strict")
    definition["inputSchema"] = {"json": schema}
    return [{"toolSpec": definition}, *([cache_point(tool.cache.control)] if tool.cache else [])]


# -- the format of the response ----------------------------------------------------------------------------------------


def _output_schema(output_format: OutputFormat, facts: ModelFacts, strict: StrictSchemas) -> dict[str, Any] | None:
    """Return the schema of the response as it can be enforced, or None if it cannot."""
    schema = output_format.described_schema()
    if schema is None or not facts.json_schema:
        return None
    return strict.for_output(schema, output_format.schema_path)


def _format(
    request: Request,
    output_format: OutputFormat,
    enforced: dict[str, Any] | None,
    facts: ModelFacts,
    written: BedrockConversation,
    emulation: ToolEmulation,
    fields: RequestFields,
    *,
    thinks: bool,
) -> ToolEmulation:
    """Write the output format, and return the emulation with anything added for it.

    A schema becomes structured output (`enforced`); for models without it a tool that must be called; or else, as for
    schemas that cannot be enforced, only an instruction in words.
    """
    report_extra(fields, output_format.extra, output_format.path, _IGNORED_OF_FORMAT)
    if output_format.kind == "text":
        return emulation
    if enforced is not None:
        _structured_output(request, enforced, output_format)
        return emulation
    schema = output_format.described_schema()
    choice = _forced_choice(output_format.name or "answer", facts, thinks=thinks)
    can_use_tool = not facts.json_schema and "toolConfig" not in request and not written.continues_answer()
    if schema is not None and can_use_tool and choice is not None and is_plain_object(schema):
        name = output_format.name or "answer"
        rewriter = SchemaRewriter(output_format.schema_path, fields.limits.schema_nodes)
        json_schema = {"json": object_schema(schema, rewriter)}
        tool = {"name": name, "description": "Give the answer.", "inputSchema": json_schema}
        request["toolConfig"] = {"tools": [{"toolSpec": tool}], "toolChoice": choice}
        return emulation._replace(schema_tool=name)
    written.system.append({"text": format_instruction(schema)})
    fields.report_dropped(output_format.path)  # nothing enforces an instruction
    return emulation


def _forced_choice(name: str, facts: ModelFacts, *, thinks: bool) -> dict[str, Any] | None:
    """Return the choice that forces the only tool of a request, or None if the model cannot be forced."""
    if thinks and not facts.forced_tools_while_thinking:
        return None
    if "named" in facts.tool_choice:
        return {"tool": {"name": name}}
    return {"any": {}} if "required" in facts.tool_choice else None


def _structured_output(request: Request, schema: Members, output_format: OutputFormat) -> None:
    labels = {"name": output_format.name, "description": output_format.description}
    known = {name: text for name, text in labels.items() if text}
    structure = {"jsonSchema": {"schema": json_text(schema), **known}}
    config = request.get("outputConfig", {})
    request["outputConfig"] = {**config, "textFormat": {"type": "json_schema", "structure": structure}}


# -- sampling and account ----------------------------------------------------------------------------------------------


def _inference(request: Request, facts: ModelFacts, maker: str, fields: RequestFields, *, thinks: bool) -> None:
    config: dict[str, Any] = {}
    limit = limited_output(facts, fields)
    if limit is not None:
        config["maxTokens"] = limit
    for name, value in sampling(facts, fields, thinks=thinks).items():
        config[_INFERENCE_NAMES[name]] = value
    stops = stop_sequences(fields)
    if stops and maker == "anthropic":
        all_stops, stops = stops, [stop for stop in stops if stop.strip()]
        if len(stops) < len(all_stops):
            fields.report_dropped("stop")  # Claude rejects stop sequences of white space
    if stops:
        config["stopSequences"] = stops
    if config:
        request["inferenceConfig"] = config


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
