"""A chat request as Bedrock's Converse API takes it.

Facts: the service model of `bedrock-runtime` and AWS's documentation; what a model can do is in `bedrock_models`.
"""

import re
from typing import Any

from nulpoint.protocols.anthropic.request import is_plain_object
from nulpoint.protocols.anthropic.schema import object_schema, strict_schema
from nulpoint.protocols.bedrock.messages import Conversation, cache_point, read_conversation
from nulpoint.protocols.bedrock.capabilities import Abilities, abilities, check_model
from nulpoint.protocols.bedrock.reasoning import reasoning
from nulpoint.protocols.openai.chat import (
    Encoded,
    Members,
    deep_nesting_refused,
    json_text,
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


@deep_nesting_refused
def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> Encoded:
    """Raises Failure (400) naming the member that is wrong or cannot be said at all."""
    check_model(model)
    members, messages, tools, wrapped = read_request(body, limits)
    able = abilities(model)
    if members.take("n", 1) != 1:
        raise wrong("n", "must be 1: Bedrock gives one answer a request", "unsupported_value")
    talk = read_conversation(messages, able, members)
    request: Request = {"messages": talk.turns}
    members.take("stream")
    members.take("stream_options")
    _tools(request, able, tools, talk, members)
    thinks = reasoning(request, able, talk, members)
    wrapped = _format(request, able, talk, wrapped, thinks, members)
    _inference(request, able, thinks, members)
    _account(request, members)
    if talk.system:
        request["system"] = talk.system
    _own(request, members)
    return Encoded(write_body(request), members.dropped, wrapped)


def _own(request: Request, members: Members) -> None:
    """Members the caller gives by Converse's names win over what was made of OpenAI's; the model's own go to it."""
    models: dict[str, Any] = {}
    for name, value in members.rest().items():
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


def _tools(request: Request, able: Abilities, tools: Tools, talk: Conversation, members: Members) -> None:
    if not (tools.functions or tools.own or "toolUse" in talk.kinds):
        return
    own = [tool for tool in tools.own if not _OWN_TOOLS.isdisjoint(tool)]
    models = [tool for tool in tools.own if _OWN_TOOLS.isdisjoint(tool)]  # of the model, as Claude's computer use
    if models:
        request["additionalModelRequestFields"] = {"tools": models}
    made = [block for tool in tools.allowed() for block in _tool(tool, able, members)] + own
    called = talk.called()
    forbidden = tools.choice is not None and tools.choice.mode == "none"
    if not called and (not made or forbidden):
        return
    if not made:  # a conversation with calls in it is refused without tools
        made = [{"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}} for name in called]
    config: dict[str, Any] = {"tools": made}
    if forbidden:
        members.drop("tool_choice")  # nor can it be said there that none may be called
    elif tools.choice is not None and tools.choice.mode != "auto":
        config["toolChoice"] = _tool_choice(tools.choice)
    request["toolConfig"] = config


def _tool(tool: dict[str, Any], able: Abilities, members: Members) -> list[dict[str, Any]]:
    """The tool, and behind it the cache mark set on it."""
    function = tool["function"]
    members.drop_others(function, _OF_FUNCTION, "tools.function")
    rewriting = Rewriting("tools.function.parameters", members.limits.schema_nodes)
    made: dict[str, Any] = {"name": function["name"]}
    if (function.get("description") or "").strip():  # blank ones are refused
        made["description"] = function["description"]
    schema = object_schema(function.get("parameters") or {"properties": {}}, rewriting)
    if function.get("strict") and able.claude is not None and able.claude.schemas:
        schema = strict_schema(schema, rewriting)
        made["strict"] = True
    elif function.get("strict"):
        members.drop("tools.function.strict")
    made["inputSchema"] = {"json": schema}
    rewriting.report(members)
    mark = function.get("cache_control") or tool.get("cache_control")
    return [{"toolSpec": made}, cache_point(mark)] if mark else [{"toolSpec": made}]


def _tool_choice(choice: Choice) -> dict[str, Any]:
    if choice.names is not None and len(choice.names) == 1:
        return {"tool": {"name": next(iter(choice.names))}}
    return {"any": {}}


# -- the form of the answer --------------------------------------------------------------------------------------------


def _format(
    request: Request, able: Abilities, talk: Conversation, wrapped: Wrapped, thinks: bool, members: Members
) -> Wrapped:
    """A schema for the answer: structured output; for older models a tool that must be called, or only words."""
    wanted = read_format(members)
    if wanted is None:
        return wrapped
    schema = wanted.described()
    if schema is not None and able.claude is not None and able.claude.schemas:
        _structured(request, schema, wanted.given, members)
        return wrapped
    alone = "toolConfig" not in request and not thinks and not talk.continues_answer()
    if schema is not None and alone and able.forces != "none" and is_plain_object(schema):
        name = str(wanted.given.get("name") or "answer")
        tool = {"name": name, "description": "Give the answer.", "inputSchema": {"json": schema}}
        choice: dict[str, Any] = {"tool": {"name": name}} if able.forces == "tool" else {"any": {}}
        request["toolConfig"] = {"tools": [{"toolSpec": tool}], "toolChoice": choice}
        return wrapped._replace(schema_tool=name)
    talk.system.append({"text": wanted.in_words()})
    members.drop("response_format")  # nothing holds the model to it
    return wrapped


def _structured(request: Request, schema: dict[str, Any], given: dict[str, Any], members: Members) -> None:
    rewriting = Rewriting(SCHEMA, members.limits.schema_nodes)
    strict = strict_schema(schema, rewriting)
    rewriting.report(members)
    named = {name: given[name] for name in ("name", "description") if given.get(name)}
    structure = {"jsonSchema": {"schema": json_text(strict), **named}}
    config = request.get("outputConfig", {})
    request["outputConfig"] = {**config, "textFormat": {"type": "json_schema", "structure": structure}}


# -- the rest ----------------------------------------------------------------------------------------------------------


def _inference(request: Request, able: Abilities, thinks: bool, members: Members) -> None:
    config: dict[str, Any] = {}
    limit = output_limit(members)
    if limit is not None:
        config["maxTokens"] = limit
    _sampling(config, able, thinks, members)
    stops = stop_sequences(members)
    if stops and able.claude is not None:
        given, stops = stops, [stop for stop in stops if stop.strip()]
        if len(stops) < len(given):
            members.drop("stop")  # Claude refuses white space alone
    if stops:
        config["stopSequences"] = stops
    if config:
        request["inferenceConfig"] = config


def _sampling(config: dict[str, Any], able: Abilities, thinks: bool, members: Members) -> None:
    temperature, top_p = members.take("temperature"), members.take("top_p")
    if isinstance(temperature, int | float) and temperature > 1:
        raise wrong("temperature", "must be 0 to 1 for Bedrock", "unsupported_value")
    claude = able.claude
    fixed = claude is not None and (thinks or not claude.samples)
    if temperature is not None and not fixed:
        config["temperature"] = temperature
    elif temperature not in (None, 1):
        members.drop("temperature")
    both = claude is None or claude.samples_both or "temperature" not in config
    if top_p is not None and both and not fixed:
        config["topP"] = top_p
    elif top_p not in (None, 1):
        members.drop("top_p")


def _account(request: Request, members: Members) -> None:
    metadata = object_of(members.take("metadata"), "metadata")
    if metadata and len(metadata) <= _MOST_METADATA and all(_is_metadata(one) for one in metadata.items()):
        request["requestMetadata"] = metadata
    elif metadata:
        members.drop("metadata")
    tier = members.take("service_tier")
    if tier in _TIERS:
        request["serviceTier"] = {"type": tier}
    elif tier is not None and tier not in _USUAL_TIERS:
        members.drop("service_tier")


def _is_metadata(item: tuple[str, Any]) -> bool:
    """What AWS takes for the metadata of a request, which goes into the log of invocations."""
    return all(isinstance(text, str) and _METADATA.fullmatch(text) for text in item) and bool(item[0])
