"""Writes a request for Anthropic's Messages API (version 2023-06-01).

What each model accepts is in the facts about it (`models/`). Sources: the request types of the `anthropic` SDK and
recorded traffic.
"""

from typing import Any, NamedTuple

from nulpoint.conversation.emulation import ToolEmulation
from nulpoint.conversation.parts import Members
from nulpoint.conversation.request import ConversationRequest, OutputFormat
from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.anthropic.cache import write_within_limit
from nulpoint.protocols.anthropic.messages import AnthropicConversation, write_conversation
from nulpoint.protocols.anthropic.reasoning import (
    BINDING_BETA,
    choose_thinking,
    is_thinking,
    keeps_thinking,
    limit_own_effort,
    read_effort,
    thinks_unasked,
    with_drop_block,
)
from nulpoint.protocols.anthropic.schema import object_schema
from nulpoint.protocols.anthropic.strict import StrictSchemas
from nulpoint.protocols.anthropic.tools import write_search, write_tools
from nulpoint.protocols.dropped import report_extra
from nulpoint.protocols.json_schema import SchemaRewriter
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.openai.chat import (
    OPENAI_MEMBERS,
    RequestFields,
    end_user,
    invalid,
    object_of,
    output_limit,
    stop_sequences,
)
from nulpoint.protocols.openai.response_format import format_instruction
from nulpoint.protocols.provider_protocol import NO_HEADERS, Headers, RenderedRequest

_DEFAULT_MAX_TOKENS = 4096  # sent when nobody knows how much the model can produce, because the API requires a limit
_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_IGNORED_OF_FORMAT = frozenset({"json_schema"})
_OF_ACCOUNT = frozenset({"metadata", "safety_identifier", "user", "service_tier"})


def render(request: ConversationRequest, model: str, facts: ModelFacts, limits: TranslationLimits) -> RenderedRequest:
    """Write a request. Raises Failure (400) that names the member which is wrong or cannot be expressed."""
    rendered = render_message(request, model, facts, limits)
    body = write_within_limit(rendered.message, rendered.fields)
    return RenderedRequest(body, rendered.fields.dropped, rendered.emulation, rendered.headers)


class RenderedMessage(NamedTuple):
    """A request as an object, the fields that know what was dropped, what to undo in the response, and the headers."""

    message: dict[str, Any]
    fields: RequestFields
    emulation: ToolEmulation
    headers: Headers


def render_message(
    request: ConversationRequest, model: str, facts: ModelFacts, limits: TranslationLimits
) -> RenderedMessage:
    """Return the request as an object. Raises Failure (400) like `render`."""
    fields = RequestFields(request.settings, limits)
    if fields.pop("n", 1) != 1:
        raise invalid("n", "must be 1: Anthropic gives one response per request", "unsupported_value")
    effort, own_thinking = read_effort(fields), fields.get("thinking")
    kept = keeps_thinking(effort, own_thinking, facts)
    conversation = write_conversation(request.messages, facts, fields, keep_thinking=kept)
    limit = limited_output(facts, fields)
    message: dict[str, Any] = {"model": model}
    message["max_tokens"] = (facts.output or _DEFAULT_MAX_TOKENS) if limit is None else limit
    message["messages"] = conversation.turns
    if fields.pop("stream"):
        message["stream"] = True
    fields.pop("stream_options")
    strict = StrictSchemas(fields)
    output_schema = None
    if request.output_format is not None:
        output_schema = _output_schema(request.output_format, facts, strict)
    emulation = write_tools(message, request, facts, conversation, strict, fields)
    write_search(message, facts, fields)
    thinks = _reasoning(message, effort, facts, conversation, fields)
    if request.output_format is not None:
        emulation = _format(
            message, request.output_format, output_schema, facts, conversation, emulation, fields, thinks=thinks
        )
    _sampling(message, facts, fields, thinks=thinks)
    if fields.has_any(_OF_ACCOUNT):
        _account_fields(message, fields)
    if conversation.system:
        message["system"] = conversation.system
    _anthropic_fields(message, facts, fields)
    headers = _bind_thinking(message, facts, conversation) if facts.binds_reasoning else NO_HEADERS
    return RenderedMessage(message, fields, emulation, headers)


def limited_output(facts: ModelFacts, fields: RequestFields) -> int | None:
    """Take the limit of output tokens, and return it, but at most what the model can produce. Raises Failure (400)."""
    name = "max_tokens" if fields.get("max_completion_tokens") is None else "max_completion_tokens"
    limit = output_limit(fields)
    if limit is not None and facts.output is not None and limit > facts.output:
        fields.report_dropped(name)
        return facts.output
    return limit


def _anthropic_fields(message: dict[str, Any], facts: ModelFacts, fields: RequestFields) -> None:
    """Add Anthropic's own members. They replace those translated from OpenAI's; `output_config` is merged."""
    for name in facts.refused:
        if name not in OPENAI_MEMBERS and fields.pop(name) is not None:
            fields.report_dropped(name)
    leftovers = fields.leftovers()
    if not leftovers:
        return
    config = leftovers.get("output_config")
    if isinstance(config, dict):
        limited = limit_own_effort(config, leftovers.get("thinking") or message.get("thinking"), fields)
        leftovers["output_config"] = {**message.get("output_config", {}), **limited}
    message.update(leftovers)


def _bind_thinking(message: dict[str, Any], facts: ModelFacts, conversation: AnthropicConversation) -> Headers:
    """Ask the model to leave out earlier thinking that does not fit any more. Returns the header that this needs."""
    thinking = message.get("thinking")
    if not conversation.has_thinking():
        return NO_HEADERS
    bound = with_drop_block(thinking, facts)
    if bound is None:
        return NO_HEADERS
    message["thinking"] = bound
    return {b"anthropic-beta": BINDING_BETA.encode()}


def _reasoning(
    message: dict[str, Any],
    effort: str | None,
    facts: ModelFacts,
    conversation: AnthropicConversation,
    fields: RequestFields,
) -> bool:
    """Set how much the model is to think, and return whether it thinks."""
    own_thinking = fields.get("thinking")
    if effort is None:
        return thinks_unasked(facts) if own_thinking is None else is_thinking(own_thinking)
    chosen = choose_thinking(
        effort,
        message["max_tokens"],
        forced=message.get("tool_choice", {}).get("type") in ("any", "tool"),
        may_use_budget=facts.reasoning == "budget" and conversation.may_think(),
        facts=facts,
        fields=fields,
    )
    if chosen.thinking is not None:
        message["thinking"] = chosen.thinking
    if chosen.effort is not None:
        message["output_config"] = {"effort": chosen.effort}
    return chosen.is_on if own_thinking is None else is_thinking(own_thinking)


# -- the format of the response ----------------------------------------------------------------------------------------


def _output_schema(output_format: OutputFormat, facts: ModelFacts, strict: StrictSchemas) -> dict[str, Any] | None:
    """Return the schema of the response as it can be enforced, or None if it cannot."""
    schema = output_format.described_schema()
    if schema is None or not facts.json_schema:
        return None
    return strict.for_output(schema, output_format.schema_path)


def _format(
    message: dict[str, Any],
    output_format: OutputFormat,
    enforced: dict[str, Any] | None,
    facts: ModelFacts,
    conversation: AnthropicConversation,
    emulation: ToolEmulation,
    fields: RequestFields,
    *,
    thinks: bool,
) -> ToolEmulation:
    """Write the output format, and return the emulation with anything added for it.

    A schema becomes structured output (`enforced`); for older models a tool that must be called; or else, as for
    schemas that Anthropic cannot enforce, only an instruction in words.
    """
    report_extra(fields, output_format.extra, output_format.path, _IGNORED_OF_FORMAT)
    if output_format.kind == "text":
        return emulation
    if enforced is not None:
        message["output_config"] = {
            **message.get("output_config", {}), "format": {"type": "json_schema", "schema": enforced},
        }  # fmt: skip
        return emulation
    schema = output_format.described_schema()
    can_force = "named" in facts.tool_choice and not (thinks and not facts.forced_tools_while_thinking)
    can_use_tool = (
        not facts.json_schema and can_force and "tools" not in message and not conversation.continues_answer()
    )
    if schema is not None and can_use_tool and is_plain_object(schema):
        name = output_format.name or "answer"
        rewriter = SchemaRewriter(output_format.schema_path, fields.limits.schema_nodes)
        tool = {"name": name, "description": "Give the answer.", "input_schema": object_schema(schema, rewriter)}
        message["tools"] = [tool]
        message["tool_choice"] = {"type": "tool", "name": name, "disable_parallel_tool_use": True}
        return emulation._replace(schema_tool=name)
    conversation.system.append({"type": "text", "text": format_instruction(schema)})
    fields.report_dropped(output_format.path)  # nothing enforces an instruction
    return emulation


def is_plain_object(schema: Members) -> bool:
    return schema.get("type") == "object" and not {"anyOf", "oneOf", "allOf", "$ref"} & set(schema)


# -- sampling and account ----------------------------------------------------------------------------------------------


def _sampling(message: dict[str, Any], facts: ModelFacts, fields: RequestFields, *, thinks: bool) -> None:
    stops = stop_sequences(fields)
    accepted = [stop for stop in stops if stop.strip()]
    if len(accepted) < len(stops):
        fields.report_dropped("stop")  # Anthropic rejects stop sequences of white space
    if accepted:
        message["stop_sequences"] = accepted
    message.update(sampling(facts, fields, thinks=thinks))


def sampling(facts: ModelFacts, fields: RequestFields, *, thinks: bool) -> dict[str, Any]:
    """Take `temperature` and `top_p`, and return what the model accepts of them. Raises Failure (400).

    The value 1 of both is the default, so leaving it out loses nothing.
    """
    refused = (*facts.refused, *(facts.refused_while_thinking if thinks else ()))
    accepted: dict[str, Any] = {}
    for name in ("temperature", "top_p"):
        value = fields.pop(name)
        if value is None:
            continue
        if name in refused or (accepted and not facts.temperature_with_top_p):
            if value != 1:
                fields.report_dropped(name)
        elif name == "temperature" and isinstance(value, int | float) and value > 1:
            raise invalid("temperature", "must be 0 to 1 for this model", "unsupported_value")
        else:
            accepted[name] = value
    return accepted


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
