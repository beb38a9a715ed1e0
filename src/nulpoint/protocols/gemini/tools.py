"""Writes tools, and the choice among them, for Gemini's API."""

from typing import Any

from nulpoint.conversation.parts import Members
from nulpoint.conversation.request import ConversationRequest
from nulpoint.conversation.tools import CustomTool, FunctionTool, ToolChoice
from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.dropped import report_extra, sent_as_function
from nulpoint.protocols.gemini.hosts import GeminiHost
from nulpoint.protocols.openai.chat import RequestFields, object_of

_IGNORED_OF_TOOL = frozenset({"type"})


def write_tools(request: dict[str, Any], conversation: ConversationRequest, fields: RequestFields) -> None:
    client_tools, choice = conversation.client_tools(), conversation.tool_choice
    if fields.pop("parallel_tool_calls") is False and client_tools:
        fields.report_dropped("parallel_tool_calls")
    required = choice is not None and choice.is_required()
    functions = client_tools if required else conversation.allowed_tools()
    declarations = [_declaration(tool, fields) for tool in functions]
    gemini_tools: list[Members] = [{"functionDeclarations": declarations}] if declarations else []
    gemini_tools += conversation.provider_tools()
    if gemini_tools:
        request["tools"] = gemini_tools
    strict = any(isinstance(tool, FunctionTool) and tool.strict for tool in functions)
    calling_config = _calling_config(choice, strict)
    if declarations and calling_config:
        request["toolConfig"] = {"functionCallingConfig": calling_config}


def _declaration(tool: FunctionTool | CustomTool, fields: RequestFields) -> dict[str, Any]:
    report_extra(fields, tool.extra, tool.path, _IGNORED_OF_TOOL)
    if isinstance(tool, CustomTool):
        tool = sent_as_function(tool, fields)
    declaration: dict[str, Any] = {"name": tool.name}
    if tool.description:
        declaration["description"] = tool.description
    if tool.parameters:
        declaration["parametersJsonSchema"] = tool.parameters
    return declaration


def _calling_config(choice: ToolChoice | None, strict: bool) -> dict[str, Any] | None:
    """Return the `functionCallingConfig`, or None for the default.

    The modes `ANY` and `VALIDATED` both enforce the schemas of calls. With `VALIDATED` the model may also respond with
    text.
    """
    mode = choice.mode if choice else None
    if choice is not None and choice.is_required():
        names = {"allowedFunctionNames": sorted(set(choice.names))} if choice.names is not None else {}
        return {"mode": "ANY", **names}
    if mode == "none":
        return {"mode": "NONE"}
    if strict:
        return {"mode": "VALIDATED"}
    return {"mode": "AUTO"} if mode else None


def write_search(request: dict[str, Any], facts: ModelFacts, host: GeminiHost, fields: RequestFields) -> None:
    """Translate OpenAI's web search to Gemini's tool for it, which older models reject beside functions."""
    value = fields.pop("web_search_options")
    if value is None:
        return
    options = object_of(value, "web_search_options")
    tools = request.get("tools", [])
    functions = any("functionDeclarations" in tool for tool in tools)
    if "web_search" not in facts.server_tools or (functions and not facts.server_tools_with_functions):
        fields.report_dropped("web_search_options")
        return
    report_extra(fields, options, "web_search_options")
    request["tools"] = [*tools, {"googleSearch": {}}]
    if functions and host.server_calls_shown:
        request["toolConfig"] = {**request.get("toolConfig", {}), "includeServerSideToolInvocations": True}
