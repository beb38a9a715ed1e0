"""Writes a request for Anthropic's Messages API (version 2023-06-01).

What each model can do is in `capabilities.py`. Sources: the request types of the `anthropic` SDK and recorded traffic.
"""

from typing import Any

from nulpoint.conversation.emulation import NO_EMULATION, ToolEmulation, custom_tools_as_functions
from nulpoint.conversation.parts import Members
from nulpoint.conversation.request import ConversationRequest, OutputFormat
from nulpoint.conversation.tools import CustomTool, FunctionTool, ToolChoice
from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.anthropic.capabilities import AnthropicCapabilities, capabilities_of
from nulpoint.protocols.anthropic.messages import AnthropicConversation, write_conversation
from nulpoint.protocols.anthropic.schema import object_schema, strict_schema
from nulpoint.protocols.dropped import report_extra, sent_as_function
from nulpoint.protocols.json_schema import SchemaRewriter
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.openai.chat import (
    RequestFields,
    end_user,
    invalid,
    object_of,
    output_limit,
    stop_sequences,
    write_body,
)
from nulpoint.protocols.openai.response_format import format_instruction
from nulpoint.protocols.provider_protocol import RenderedRequest

# The usual numbers of tokens, at Google and elsewhere, for OpenAI's levels of effort. A budget is at most half of the
# response's token limit.
THINKING_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 32_000, "max": 32_000}
MIN_THINKING_BUDGET = 1024
_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_IGNORED_OF_TOOL = frozenset({"type", "cache_control", "function.cache_control", "custom.cache_control"})
_IGNORED_OF_FORMAT = frozenset({"json_schema"})
_OF_ACCOUNT = frozenset({"metadata", "safety_identifier", "user", "service_tier"})
_OF_SEARCH = frozenset({"user_location"})


def render(request: ConversationRequest, model: str, facts: ModelFacts, limits: TranslationLimits) -> RenderedRequest:
    """Write a request. Raises Failure (400) that names the member which is wrong or cannot be expressed."""
    message, fields, emulation = render_message(request, model, facts, limits)
    return RenderedRequest(write_body(message), fields.dropped, emulation)


def render_message(
    request: ConversationRequest, model: str, _facts: ModelFacts, limits: TranslationLimits
) -> tuple[dict[str, Any], RequestFields, ToolEmulation]:
    """Return the request as an object, with the fields that know what was dropped, and what to undo."""
    fields = RequestFields(request.settings, limits)
    capabilities = capabilities_of(model)
    if fields.pop("n", 1) != 1:
        raise invalid("n", "must be 1: Anthropic gives one response per request", "unsupported_value")
    conversation = write_conversation(request.messages, capabilities, fields)
    limit = output_limit(fields)
    message: dict[str, Any] = {"model": model, "max_tokens": capabilities.max_output_tokens if limit is None else limit}
    message["messages"] = conversation.turns
    if fields.pop("stream"):
        message["stream"] = True
    fields.pop("stream_options")
    emulation = _tools(message, request, conversation, fields)
    _search(message, capabilities, fields)
    _reasoning(message, capabilities, conversation, fields)
    if request.output_format is not None:
        emulation = _format(message, request.output_format, capabilities, conversation, emulation, fields)
    _sampling(message, capabilities, fields)
    if fields.has_any(_OF_ACCOUNT):
        _account_fields(message, fields)
    if conversation.system:
        message["system"] = conversation.system
    _anthropic_fields(message, fields)
    return message, fields, emulation


def _anthropic_fields(message: dict[str, Any], fields: RequestFields) -> None:
    """Add Anthropic's own members. They replace those translated from OpenAI's; `output_config` is merged."""
    leftovers = fields.leftovers()
    if not leftovers:
        return
    config = leftovers.get("output_config")
    if isinstance(config, dict):
        leftovers["output_config"] = {**message.get("output_config", {}), **config}
    message.update(leftovers)


def _tools(
    message: dict[str, Any],
    request: ConversationRequest,
    conversation: AnthropicConversation,
    fields: RequestFields,
) -> ToolEmulation:
    """Write the tools and the choice among them. Returns which custom tools are sent as functions."""
    if not request.tools and len(conversation.turns) == 1:  # so no tool has been called either
        fields.pop("parallel_tool_calls")
        return NO_EMULATION
    emulation = custom_tools_as_functions(request.tools)
    capabilities = capabilities_of(message["model"])
    definitions = [_tool(tool, capabilities, fields) for tool in request.allowed_tools()] + request.provider_tools()
    parallel = fields.pop("parallel_tool_calls", True) and not request.has_legacy_functions()
    if not definitions:
        called = conversation.called_tools()
        if called:  # Anthropic rejects a conversation with tool calls in it if the request has no tools
            message["tools"] = [{"name": name, "input_schema": {"type": "object"}} for name in called]
            message["tool_choice"] = {"type": "none"}
        return emulation
    message["tools"] = definitions
    choice = _tool_choice(request.tool_choice)
    if not parallel and (choice or {}).get("type") != "none":
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if choice:
        message["tool_choice"] = choice
    return emulation


def _tool(
    tool: FunctionTool | CustomTool, capabilities: AnthropicCapabilities, fields: RequestFields
) -> dict[str, Any]:
    report_extra(fields, tool.extra, tool.path, _IGNORED_OF_TOOL)
    if isinstance(tool, CustomTool):
        tool = sent_as_function(tool, fields)
    rewriter = SchemaRewriter(tool.schema_path, fields.limits.schema_nodes)
    definition: dict[str, Any] = {"name": tool.name}
    if tool.description:
        definition["description"] = tool.description
    schema = object_schema(tool.parameters or {"properties": {}}, rewriter)
    if tool.strict and capabilities.structured_outputs:
        schema = strict_schema(schema, rewriter)
        definition["strict"] = True
    elif tool.strict:
        fields.report_dropped("tools.function.strict")
    definition["input_schema"] = schema
    rewriter.report(fields)
    return {**definition, "cache_control": tool.cache.control} if tool.cache else definition


def _tool_choice(choice: ToolChoice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    name = choice.only_name()
    if name is not None:
        return {"type": "tool", "name": name}
    return {"type": {"none": "none", "auto": "auto"}.get(choice.mode, "any")}


def _search(message: dict[str, Any], capabilities: AnthropicCapabilities, fields: RequestFields) -> None:
    """Translate OpenAI's web search to the web search tool that Anthropic runs itself."""
    search_options = fields.pop("web_search_options")
    if search_options is None:
        return
    options = object_of(search_options, "web_search_options")
    if not capabilities.web_search or message.get("tool_choice") == {"type": "none"}:
        fields.report_dropped("web_search_options")
        return
    tool: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}
    path = "web_search_options.user_location"
    location = object_of(object_of(options.get("user_location"), path).get("approximate"), f"{path}.approximate")
    if location:
        tool["user_location"] = {"type": "approximate", **location}
    report_extra(fields, options, "web_search_options", _OF_SEARCH)
    message["tools"] = [*message.get("tools", []), tool]


def _reasoning(
    message: dict[str, Any],
    capabilities: AnthropicCapabilities,
    conversation: AnthropicConversation,
    fields: RequestFields,
) -> None:
    effort = fields.pop("reasoning_effort")
    if effort is None:
        return
    if effort not in (*THINKING_BUDGETS, "none"):
        raise invalid("reasoning_effort", f"must be one of none, {', '.join(THINKING_BUDGETS)}")
    if effort == "none":
        if capabilities.always_thinks:
            message["output_config"] = {"effort": "low"}
            fields.report_dropped("reasoning_effort")
        elif capabilities.thinking != "none":
            message["thinking"] = {"type": "disabled"}
    elif capabilities.thinking == "adaptive":
        message["thinking"] = {"type": "adaptive"}
        message["output_config"] = {"effort": "low" if effort == "minimal" else effort}
        if effort == "minimal":
            fields.report_dropped("reasoning_effort")
    else:
        _budget(message, THINKING_BUDGETS[effort], capabilities, conversation, fields)


def _budget(
    message: dict[str, Any],
    budget: int,
    capabilities: AnthropicCapabilities,
    conversation: AnthropicConversation,
    fields: RequestFields,
) -> None:
    """Turn on thinking with a number of tokens, unless a tool must be called or the budget does not fit."""
    forced = message.get("tool_choice", {}).get("type") in ("any", "tool")
    budget = min(budget, message["max_tokens"] // 2)
    if capabilities.thinking == "none" or forced or budget < MIN_THINKING_BUDGET or not conversation.may_think():
        fields.report_dropped("reasoning_effort")
    else:
        message["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _thinks(message: dict[str, Any], fields: RequestFields) -> bool:
    thinking = fields.get("thinking") or message.get("thinking") or {}
    return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive", "between_tools")


def _format(
    message: dict[str, Any],
    output_format: OutputFormat,
    capabilities: AnthropicCapabilities,
    conversation: AnthropicConversation,
    emulation: ToolEmulation,
    fields: RequestFields,
) -> ToolEmulation:
    """Write the output format, and return the emulation with anything added for it.

    A schema becomes structured output; for older models a tool that must be called, or only an instruction in words.
    """
    report_extra(fields, output_format.extra, output_format.path, _IGNORED_OF_FORMAT)
    if output_format.kind == "text":
        return emulation
    schema = output_format.described_schema()
    if schema is not None and capabilities.structured_outputs:
        rewriter = SchemaRewriter(output_format.schema_path, fields.limits.schema_nodes)
        strict = strict_schema(schema, rewriter)
        rewriter.report(fields)
        config = message.get("output_config", {})
        message["output_config"] = {**config, "format": {"type": "json_schema", "schema": strict}}
        return emulation
    can_force_tool = "tools" not in message and not _thinks(message, fields) and not conversation.continues_answer()
    if schema is not None and can_force_tool and is_plain_object(schema):
        name = output_format.name or "answer"
        message["tools"] = [{"name": name, "description": "Give the answer.", "input_schema": schema}]
        message["tool_choice"] = {"type": "tool", "name": name, "disable_parallel_tool_use": True}
        return emulation._replace(schema_tool=name)
    conversation.system.append({"type": "text", "text": format_instruction(schema)})
    fields.report_dropped(output_format.path)  # nothing enforces an instruction
    return emulation


def is_plain_object(schema: Members) -> bool:
    return schema.get("type") == "object" and not {"anyOf", "oneOf", "allOf", "$ref"} & set(schema)


def _sampling(message: dict[str, Any], capabilities: AnthropicCapabilities, fields: RequestFields) -> None:
    temperature, top_p = fields.pop("temperature"), fields.pop("top_p")
    stops = stop_sequences(fields)
    accepted = [stop for stop in stops if stop.strip()]
    if len(accepted) < len(stops):
        fields.report_dropped("stop")  # Anthropic rejects stop sequences of white space
    if accepted:
        message["stop_sequences"] = accepted
    if isinstance(temperature, int | float) and temperature > 1:
        raise invalid("temperature", "must be 0 to 1 for Anthropic's models", "unsupported_value")
    fixed = not capabilities.accepts_sampling or _thinks(message, fields)
    if temperature is not None and fixed and temperature != 1:
        fields.report_dropped("temperature")
    elif temperature is not None and not fixed:
        message["temperature"] = temperature
    if top_p is None:
        return
    if fixed or ("temperature" in message and not capabilities.accepts_temperature_with_top_p):
        if top_p != 1:
            fields.report_dropped("top_p")
    else:
        message["top_p"] = top_p


def _account_fields(message: dict[str, Any], fields: RequestFields) -> None:
    metadata = object_of(fields.pop("metadata"), "metadata")
    user = end_user(fields)
    if set(metadata) == {"user_id"}:
        message["metadata"] = metadata
        if user not in (None, metadata["user_id"]):
            fields.report_dropped("user")
    elif user:
        message["metadata"] = {"user_id": user}
    if metadata and message.get("metadata") is not metadata:
        fields.report_dropped("metadata")
    tier = fields.pop("service_tier")
    if tier is not None:
        message["service_tier"] = _TIERS.get(str(tier), "auto")
        if str(tier) not in _TIERS:
            fields.report_dropped("service_tier")
