"""A chat request as Anthropic's Messages API (version 2023-06-01) takes it.

Facts: the request types of the `anthropic` SDK and recorded traffic; what a model can do is in `anthropic_models`.
"""

from typing import Any

from nulpoint.protocols.anthropic.capabilities import AnthropicCapabilities, capabilities_of
from nulpoint.protocols.anthropic.messages import AnthropicConversation, read_conversation
from nulpoint.protocols.anthropic.schema import object_schema, strict_schema
from nulpoint.protocols.emulation import Emulation
from nulpoint.protocols.json_schema import Rewriting
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.openai.chat import (
    EncodedRequest,
    RequestFields,
    end_user,
    invalid,
    object_of,
    output_limit,
    reject_deep_nesting,
    stop_sequences,
    write_body,
)
from nulpoint.protocols.openai.chat_request import read_request
from nulpoint.protocols.openai.response_format import SCHEMA, read_format
from nulpoint.protocols.openai.tools import ToolChoice, ToolSet

# Google's and others' usual numbers for OpenAI's levels. A budget takes at most half of what the answer may have.
BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 32_000, "max": 32_000}
SMALLEST_BUDGET = 1024
_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_OF_FUNCTION = frozenset({"name", "description", "parameters", "strict", "cache_control"})
_OF_SEARCH = frozenset({"user_location"})


@reject_deep_nesting
def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> EncodedRequest:
    """Raises Failure (400) naming the member that is wrong or cannot be said at all."""
    fields, messages, tools, emulation = read_request(body, limits)
    capabilities = capabilities_of(model)
    if fields.pop("n", 1) != 1:
        raise invalid("n", "must be 1: Anthropic gives one answer a request", "unsupported_value")
    talk = read_conversation(messages, capabilities, fields)
    limit = output_limit(fields)
    message: dict[str, Any] = {"model": model, "max_tokens": capabilities.ceiling if limit is None else limit}
    message["messages"] = talk.turns
    if fields.pop("stream"):
        message["stream"] = True
    fields.pop("stream_options")
    _tools(message, tools, emulation, talk, fields)
    _search(message, capabilities, fields)
    _reasoning(message, capabilities, talk, fields)
    emulation = _format(message, capabilities, talk, emulation, fields)
    _sampling(message, capabilities, fields)
    _account(message, fields)
    if talk.system:
        message["system"] = talk.system
    _own(message, fields)
    return EncodedRequest(write_body(message), fields.dropped, emulation)


def _own(message: dict[str, Any], fields: RequestFields) -> None:
    """Members of Anthropic's own win over what was made of OpenAI's; `output_config` holds both."""
    own = fields.leftovers()
    config = own.get("output_config")
    if isinstance(config, dict):
        own["output_config"] = {**message.get("output_config", {}), **config}
    message.update(own)


def _tools(
    message: dict[str, Any], tools: ToolSet, emulation: Emulation, talk: AnthropicConversation, fields: RequestFields
) -> None:
    capabilities = capabilities_of(message["model"])
    made = [_tool(tool, capabilities, fields) for tool in tools.allowed()] + tools.provider_tools
    parallel = fields.pop("parallel_tool_calls", True) and not emulation.legacy
    if not made:
        called = talk.uses_tools()
        if called:  # a conversation with calls in it is refused without tools
            message["tools"] = [{"name": name, "input_schema": {"type": "object"}} for name in called]
            message["tool_choice"] = {"type": "none"}
        return
    message["tools"] = made
    choice = _tool_choice(tools.choice)
    if not parallel and (choice or {}).get("type") != "none":
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if choice:
        message["tool_choice"] = choice


def _tool(tool: dict[str, Any], capabilities: AnthropicCapabilities, fields: RequestFields) -> dict[str, Any]:
    function = tool["function"]
    fields.report_other_members(function, _OF_FUNCTION, "tools.function")
    rewriting = Rewriting("tools.function.parameters", fields.limits.schema_nodes)
    made: dict[str, Any] = {"name": function["name"]}
    if function.get("description"):
        made["description"] = function["description"]
    schema = object_schema(function.get("parameters") or {"properties": {}}, rewriting)
    if function.get("strict") and capabilities.schemas:
        schema = strict_schema(schema, rewriting)
        made["strict"] = True
    elif function.get("strict"):
        fields.report_dropped("tools.function.strict")
    made["input_schema"] = schema
    rewriting.report(fields)
    mark = function.get("cache_control") or tool.get("cache_control")
    return {**made, "cache_control": mark} if mark else made


def _tool_choice(choice: ToolChoice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    if choice.mode == "required" and choice.names is not None and len(choice.names) == 1:
        return {"type": "tool", "name": next(iter(choice.names))}
    return {"type": {"none": "none", "auto": "auto", "required": "any"}[choice.mode]}


def _search(message: dict[str, Any], capabilities: AnthropicCapabilities, fields: RequestFields) -> None:
    """OpenAI's web search is a tool there that Anthropic runs itself."""
    given = fields.pop("web_search_options")
    if given is None:
        return
    options = object_of(given, "web_search_options")
    if not capabilities.searches or message.get("tool_choice") == {"type": "none"}:
        fields.report_dropped("web_search_options")
        return
    tool: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}
    where = "web_search_options.user_location"
    place = object_of(object_of(options.get("user_location"), where).get("approximate"), f"{where}.approximate")
    if place:
        tool["user_location"] = {"type": "approximate", **place}
    fields.report_other_members(options, _OF_SEARCH, "web_search_options")
    message["tools"] = [*message.get("tools", []), tool]


def _reasoning(
    message: dict[str, Any], capabilities: AnthropicCapabilities, talk: AnthropicConversation, fields: RequestFields
) -> None:
    effort = fields.pop("reasoning_effort")
    if effort is None:
        return
    if effort not in (*BUDGETS, "none"):
        raise invalid("reasoning_effort", f"must be none, {', '.join(BUDGETS)}")
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
        _budget(message, BUDGETS[effort], capabilities, talk, fields)


def _budget(
    message: dict[str, Any],
    budget: int,
    capabilities: AnthropicCapabilities,
    talk: AnthropicConversation,
    fields: RequestFields,
) -> None:
    """Thinking with a number of tokens: not beside a tool that must be called, nor where it cannot fit."""
    forced = message.get("tool_choice", {}).get("type") in ("any", "tool")
    budget = min(budget, message["max_tokens"] // 2)
    if capabilities.thinking == "none" or forced or budget < SMALLEST_BUDGET or not talk.may_think():
        fields.report_dropped("reasoning_effort")
    else:
        message["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _thinks(message: dict[str, Any], fields: RequestFields) -> bool:
    thinking = fields.get("thinking") or message.get("thinking") or {}
    return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive", "between_tools")


def _format(
    message: dict[str, Any],
    capabilities: AnthropicCapabilities,
    talk: AnthropicConversation,
    emulation: Emulation,
    fields: RequestFields,
) -> Emulation:
    """A schema for the answer: structured output; for older models a tool that must be called, or only words."""
    wanted = read_format(fields)
    if wanted is None:
        return emulation
    schema = wanted.described_schema()
    if schema is not None and capabilities.schemas:
        rewriting = Rewriting(SCHEMA, fields.limits.schema_nodes)
        strict = strict_schema(schema, rewriting)
        rewriting.report(fields)
        config = message.get("output_config", {})
        message["output_config"] = {**config, "format": {"type": "json_schema", "schema": strict}}
        return emulation
    alone = "tools" not in message and not _thinks(message, fields) and not talk.continues_answer()
    if schema is not None and alone and is_plain_object(schema):
        name = str(wanted.json_schema.get("name") or "answer")
        message["tools"] = [{"name": name, "description": "Give the answer.", "input_schema": schema}]
        message["tool_choice"] = {"type": "tool", "name": name, "disable_parallel_tool_use": True}
        return emulation._replace(schema_tool=name)
    talk.system.append({"type": "text", "text": wanted.as_instruction()})
    fields.report_dropped("response_format")  # nothing holds the model to it
    return emulation


def is_plain_object(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "object" and not {"anyOf", "oneOf", "allOf", "$ref"} & set(schema)


def _sampling(message: dict[str, Any], capabilities: AnthropicCapabilities, fields: RequestFields) -> None:
    temperature, top_p = fields.pop("temperature"), fields.pop("top_p")
    stops = stop_sequences(fields)
    visible = [stop for stop in stops if stop.strip()]
    if len(visible) < len(stops):
        fields.report_dropped("stop")  # white space alone is refused there
    if visible:
        message["stop_sequences"] = visible
    if isinstance(temperature, int | float) and temperature > 1:
        raise invalid("temperature", "must be 0 to 1 for Anthropic's models", "unsupported_value")
    fixed = not capabilities.samples or _thinks(message, fields)
    if temperature is not None and fixed and temperature != 1:
        fields.report_dropped("temperature")
    elif temperature is not None and not fixed:
        message["temperature"] = temperature
    if top_p is None:
        return
    if fixed or ("temperature" in message and not capabilities.samples_both):
        if top_p != 1:
            fields.report_dropped("top_p")
    else:
        message["top_p"] = top_p


def _account(message: dict[str, Any], fields: RequestFields) -> None:
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
