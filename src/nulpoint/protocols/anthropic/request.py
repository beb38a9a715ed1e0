"""A chat request as Anthropic's Messages API (version 2023-06-01) takes it.

Facts: the request types of the `anthropic` SDK and recorded traffic; what a model can do is in `anthropic_models`.
"""

from typing import Any

from nulpoint.protocols.anthropic.messages import Conversation, read_conversation
from nulpoint.protocols.anthropic.capabilities import Abilities, abilities
from nulpoint.protocols.anthropic.schema import object_schema, strict_schema
from nulpoint.protocols.openai.chat import (
    Encoded,
    Members,
    deep_nesting_refused,
    end_user,
    object_of,
    output_limit,
    stop_sequences,
    write_body,
    wrong,
)
from nulpoint.protocols.openai.chat_request import read_request
from nulpoint.protocols.json_schema import Rewriting
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.openai.response_format import SCHEMA, read_format
from nulpoint.protocols.openai.tools import Choice, Tools
from nulpoint.protocols.emulation import Wrapped

# Google's and others' usual numbers for OpenAI's levels. A budget takes at most half of what the answer may have.
BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 32_000, "max": 32_000}
SMALLEST_BUDGET = 1024
_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_OF_FUNCTION = frozenset({"name", "description", "parameters", "strict", "cache_control"})
_OF_SEARCH = frozenset({"user_location"})


@deep_nesting_refused
def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> Encoded:
    """Raises Failure (400) naming the member that is wrong or cannot be said at all."""
    members, messages, tools, wrapped = read_request(body, limits)
    able = abilities(model)
    if members.take("n", 1) != 1:
        raise wrong("n", "must be 1: Anthropic gives one answer a request", "unsupported_value")
    talk = read_conversation(messages, able, members)
    limit = output_limit(members)
    message: dict[str, Any] = {"model": model, "max_tokens": able.ceiling if limit is None else limit}
    message["messages"] = talk.turns
    if members.take("stream"):
        message["stream"] = True
    members.take("stream_options")
    _tools(message, tools, wrapped, talk, members)
    _search(message, able, members)
    _reasoning(message, able, talk, members)
    wrapped = _format(message, able, talk, wrapped, members)
    _sampling(message, able, members)
    _account(message, members)
    if talk.system:
        message["system"] = talk.system
    _own(message, members)
    return Encoded(write_body(message), members.dropped, wrapped)


def _own(message: dict[str, Any], members: Members) -> None:
    """Members of Anthropic's own win over what was made of OpenAI's; `output_config` holds both."""
    own = members.rest()
    config = own.get("output_config")
    if isinstance(config, dict):
        own["output_config"] = {**message.get("output_config", {}), **config}
    message.update(own)


def _tools(message: dict[str, Any], tools: Tools, wrapped: Wrapped, talk: Conversation, members: Members) -> None:
    able = abilities(message["model"])
    made = [_tool(tool, able, members) for tool in tools.allowed()] + tools.own
    parallel = members.take("parallel_tool_calls", True) and not wrapped.legacy
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


def _tool(tool: dict[str, Any], able: Abilities, members: Members) -> dict[str, Any]:
    function = tool["function"]
    members.drop_others(function, _OF_FUNCTION, "tools.function")
    rewriting = Rewriting("tools.function.parameters", members.limits.schema_nodes)
    made: dict[str, Any] = {"name": function["name"]}
    if function.get("description"):
        made["description"] = function["description"]
    schema = object_schema(function.get("parameters") or {"properties": {}}, rewriting)
    if function.get("strict") and able.schemas:
        schema = strict_schema(schema, rewriting)
        made["strict"] = True
    elif function.get("strict"):
        members.drop("tools.function.strict")
    made["input_schema"] = schema
    rewriting.report(members)
    mark = function.get("cache_control") or tool.get("cache_control")
    return {**made, "cache_control": mark} if mark else made


def _tool_choice(choice: Choice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    if choice.mode == "required" and choice.names is not None and len(choice.names) == 1:
        return {"type": "tool", "name": next(iter(choice.names))}
    return {"type": {"none": "none", "auto": "auto", "required": "any"}[choice.mode]}


def _search(message: dict[str, Any], able: Abilities, members: Members) -> None:
    """OpenAI's web search is a tool there that Anthropic runs itself."""
    given = members.take("web_search_options")
    if given is None:
        return
    options = object_of(given, "web_search_options")
    if not able.searches or message.get("tool_choice") == {"type": "none"}:
        members.drop("web_search_options")
        return
    tool: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}
    where = "web_search_options.user_location"
    place = object_of(object_of(options.get("user_location"), where).get("approximate"), f"{where}.approximate")
    if place:
        tool["user_location"] = {"type": "approximate", **place}
    members.drop_others(options, _OF_SEARCH, "web_search_options")
    message["tools"] = [*message.get("tools", []), tool]


def _reasoning(message: dict[str, Any], able: Abilities, talk: Conversation, members: Members) -> None:
    effort = members.take("reasoning_effort")
    if effort is None:
        return
    if effort not in (*BUDGETS, "none"):
        raise wrong("reasoning_effort", f"must be none, {', '.join(BUDGETS)}")
    if effort == "none":
        if able.always_thinks:
            message["output_config"] = {"effort": "low"}
            members.drop("reasoning_effort")
        elif able.thinking != "none":
            message["thinking"] = {"type": "disabled"}
    elif able.thinking == "adaptive":
        message["thinking"] = {"type": "adaptive"}
        message["output_config"] = {"effort": "low" if effort == "minimal" else effort}
        if effort == "minimal":
            members.drop("reasoning_effort")
    else:
        _budget(message, BUDGETS[effort], able, talk, members)


def _budget(message: dict[str, Any], budget: int, able: Abilities, talk: Conversation, members: Members) -> None:
    """Thinking with a number of tokens: not beside a tool that must be called, nor where it cannot fit."""
    forced = message.get("tool_choice", {}).get("type") in ("any", "tool")
    budget = min(budget, message["max_tokens"] // 2)
    if able.thinking == "none" or forced or budget < SMALLEST_BUDGET or not talk.may_think():
        members.drop("reasoning_effort")
    else:
        message["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _thinks(message: dict[str, Any], members: Members) -> bool:
    thinking = members.given("thinking") or message.get("thinking") or {}
    return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive", "between_tools")


def _format(
    message: dict[str, Any], able: Abilities, talk: Conversation, wrapped: Wrapped, members: Members
) -> Wrapped:
    """A schema for the answer: structured output; for older models a tool that must be called, or only words."""
    wanted = read_format(members)
    if wanted is None:
        return wrapped
    schema = wanted.described()
    if schema is not None and able.schemas:
        rewriting = Rewriting(SCHEMA, members.limits.schema_nodes)
        strict = strict_schema(schema, rewriting)
        rewriting.report(members)
        config = message.get("output_config", {})
        message["output_config"] = {**config, "format": {"type": "json_schema", "schema": strict}}
        return wrapped
    alone = "tools" not in message and not _thinks(message, members) and not talk.continues_answer()
    if schema is not None and alone and is_plain_object(schema):
        name = str(wanted.given.get("name") or "answer")
        message["tools"] = [{"name": name, "description": "Give the answer.", "input_schema": schema}]
        message["tool_choice"] = {"type": "tool", "name": name, "disable_parallel_tool_use": True}
        return wrapped._replace(schema_tool=name)
    talk.system.append({"type": "text", "text": wanted.in_words()})
    members.drop("response_format")  # nothing holds the model to it
    return wrapped


def is_plain_object(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "object" and not {"anyOf", "oneOf", "allOf", "$ref"} & set(schema)


def _sampling(message: dict[str, Any], able: Abilities, members: Members) -> None:
    temperature, top_p = members.take("temperature"), members.take("top_p")
    stops = stop_sequences(members)
    visible = [stop for stop in stops if stop.strip()]
    if len(visible) < len(stops):
        members.drop("stop")  # white space alone is refused there
    if visible:
        message["stop_sequences"] = visible
    if isinstance(temperature, int | float) and temperature > 1:
        raise wrong("temperature", "must be 0 to 1 for Anthropic's models", "unsupported_value")
    fixed = not able.samples or _thinks(message, members)
    if temperature is not None and fixed and temperature != 1:
        members.drop("temperature")
    elif temperature is not None and not fixed:
        message["temperature"] = temperature
    if top_p is None:
        return
    if fixed or ("temperature" in message and not able.samples_both):
        if top_p != 1:
            members.drop("top_p")
    else:
        message["top_p"] = top_p


def _account(message: dict[str, Any], members: Members) -> None:
    metadata = object_of(members.take("metadata"), "metadata")
    user = end_user(members)
    if set(metadata) == {"user_id"}:
        message["metadata"] = metadata
        if user not in (None, metadata["user_id"]):
            members.drop("user")
    elif user:
        message["metadata"] = {"user_id": user}
    if metadata and message.get("metadata") is not metadata:
        members.drop("metadata")
    tier = members.take("service_tier")
    if tier is not None:
        message["service_tier"] = _TIERS.get(str(tier), "auto")
        if str(tier) not in _TIERS:
            members.drop("service_tier")
