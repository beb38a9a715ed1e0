"""Writes tools, and the choice among them, for Anthropic's Messages API."""

from typing import Any

from nulpoint.conversation.emulation import NO_EMULATION, ToolEmulation, custom_tools_as_functions
from nulpoint.conversation.request import ConversationRequest
from nulpoint.conversation.tools import CustomTool, FunctionTool
from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.anthropic.messages import AnthropicConversation
from nulpoint.protocols.anthropic.schema import object_schema
from nulpoint.protocols.anthropic.strict import StrictSchemas
from nulpoint.protocols.dropped import report_extra, sent_as_function
from nulpoint.protocols.json_schema import SchemaRewriter
from nulpoint.protocols.openai.chat import RequestFields, object_of
from nulpoint.protocols.tool_choice import FittedToolChoice, fit_tool_choice

_IGNORED_OF_TOOL = frozenset({"type", "cache_control", "function.cache_control", "custom.cache_control"})
_OF_SEARCH = frozenset({"user_location"})


def write_tools(
    message: dict[str, Any],
    request: ConversationRequest,
    facts: ModelFacts,
    conversation: AnthropicConversation,
    strict: StrictSchemas,
    fields: RequestFields,
) -> ToolEmulation:
    """Write the tools and the choice among them. Returns which custom tools are sent as functions."""
    if not request.tools and len(conversation.turns) == 1:  # so no tool has been called either
        fields.pop("parallel_tool_calls")
        return NO_EMULATION
    emulation = custom_tools_as_functions(request.tools)
    definitions = [_tool(tool, facts, strict, fields) for tool in request.client_tools()] + request.provider_tools()
    parallel = fields.pop("parallel_tool_calls", True) and not request.has_legacy_functions()
    if not definitions:
        called = conversation.called_tools()
        if called:  # Anthropic rejects a conversation with tool calls in it if the request has no tools
            message["tools"] = [stub_tool(name) for name in called]
            message["tool_choice"] = {"type": "none"}
        return emulation
    message["tools"] = definitions
    fitted = fit_tool_choice(request, facts, fields)
    if fitted.instruction is not None:
        conversation.add_instruction(fitted.instruction, facts)
    if fitted.only_tool is not None:
        message["tools"] = [tool for tool in definitions if tool.get("name") == fitted.only_tool]
    choice = _tool_choice(fitted)
    if not parallel and fitted.mode != "none":
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if choice:
        message["tool_choice"] = choice
    return emulation


def stub_tool(name: str) -> dict[str, Any]:
    """Return the definition of a tool that is only known by its calls."""
    return {"name": name, "input_schema": {"type": "object"}}


def _tool(
    tool: FunctionTool | CustomTool, facts: ModelFacts, strict: StrictSchemas, fields: RequestFields
) -> dict[str, Any]:
    report_extra(fields, tool.extra, tool.path, _IGNORED_OF_TOOL)
    if isinstance(tool, CustomTool):
        tool = sent_as_function(tool, fields)
    rewriter = SchemaRewriter(tool.schema_path, fields.limits.schema_nodes)
    definition: dict[str, Any] = {"name": tool.name}
    if tool.description:
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
    definition["input_schema"] = schema
    return {**definition, "cache_control": tool.cache.control} if tool.cache else definition


def _tool_choice(fitted: FittedToolChoice) -> dict[str, Any] | None:
    if fitted.mode is None:
        return None
    if fitted.name is not None:
        return {"type": "tool", "name": fitted.name}
    return {"type": "any" if fitted.is_forced() else fitted.mode}


def write_search(message: dict[str, Any], facts: ModelFacts, fields: RequestFields) -> None:
    """Translate OpenAI's web search to the web search tool that Anthropic runs itself."""
    search_options = fields.pop("web_search_options")
    if search_options is None:
        return
    options = object_of(search_options, "web_search_options")
    if "web_search" not in facts.server_tools or message.get("tool_choice") == {"type": "none"}:
        fields.report_dropped("web_search_options")
        return
    tool: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}
    path = "web_search_options.user_location"
    location = object_of(object_of(options.get("user_location"), path).get("approximate"), f"{path}.approximate")
    if location:
        tool["user_location"] = {"type": "approximate", **location}
    report_extra(fields, options, "web_search_options", _OF_SEARCH)
    message["tools"] = [*message.get("tools", []), tool]
