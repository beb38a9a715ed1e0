"""Defines what can be known of a model at a host. The facts themselves are rows in `data/`."""

from datetime import date
from typing import Literal

import msgspec

from nulpoint.models.prices import Price, PriceChange

Effort = Literal["minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[Effort, ...] = ("minimal", "low", "medium", "high", "xhigh", "max")  # ascending
ToolChoiceMode = Literal["none", "auto", "required", "named"]
Medium = Literal["image", "audio", "video", "pdf"]
Tier = Literal["large", "small", "reasoning"]


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The facts of one model at one host. A default means that nothing is known, and lets everything through.

    Members of requests have the names of OpenAI's chat completions.

    What it is:
        kind: what the model is for.
        context: the maximum number of input tokens.
        output: the maximum number of output tokens.
        chat: whether it can be reached by the chat API, and not only by the Responses API.
        media: what it accepts besides text; None if that is not known.
    Lifecycle and price:
        tier: the group of models that may take its place in built-in fallbacks.
        fallback_for: the tiers in which it is the host's built-in fallback target.
        retires: the day on which the host turns it off.
        replacement: the model that the host recommends in its place.
        price: the price until the first of `price_changes`, which are in the order of their dates.
        price_factor: what the host takes times the price, for example because the name is that of a region.
    Reasoning:
        reasoning: how the amount of reasoning is chosen: as a number of tokens, as a level, or only on or off. `none`:
            the model does not reason; None: that is not known.
        efforts: the levels it accepts besides `none`, in ascending order.
        default_effort: the level of a request that names none; `none` if it then does not reason.
        thinking_off: how reasoning is turned off: by the level `none`, by a switch with the value `disabled` or
            `between_tools`, or not at all.
        budget_min, budget_max: the range of the number of tokens.
        reasoning_history: whether messages of the assistant may, must or must never carry its earlier reasoning.
        shows_reasoning: whether responses have the text of its reasoning without being asked for it.
        binds_reasoning: whether the host checks that reasoning comes back in the conversation where it was made.
    Tools:
        chat_tools: whether function tools can be used by the chat API: always, only without reasoning, or never.
        tool_choice: the forms of `tool_choice` that it accepts.
        forced_tools_while_thinking: whether a tool can be forced while it reasons.
        strict_tools: whether tools can be `strict`.
        parallel_tool_calls: whether `parallel_tool_calls` is accepted.
        server_tools: the tools that the host itself runs.
        server_tools_with_functions: whether these may stand beside function tools.
        call_signatures: whether calls must come back with the signatures that the model gave them.
        media_in_results: whether results of tools can hold media.
    Messages and sampling:
        refused: the parameters that it rejects or ignores.
        refused_while_thinking: those that it rejects or ignores while it reasons.
        temperature_with_top_p: whether both may be set.
        limit_member: the parameter that limits the output.
        prefill: whether the last message may be the assistant's, which it continues.
        system_anywhere: whether system messages may stand among the others.
        url_context: whether it fetches the URLs of media itself.
    Output formats:
        json_object, json_schema: the kinds of `response_format` that it accepts.
        json_with_tools, json_with_stream, json_while_thinking: whether they can be combined with these.
    Embeddings:
        embeddings_method: the method of the API that makes embeddings, where models of one host differ.
        embeddings_task_in_text: whether the task of the vectors is written into the text, and not into a member.
    """

    kind: Literal["chat", "embeddings", "rerank", "moderation", "image", "audio"] = "chat"
    context: int | None = None
    output: int | None = None
    chat: bool = True
    media: tuple[Medium, ...] | None = None
    tier: Tier | None = None
    fallback_for: tuple[Tier, ...] = ()
    retires: date | None = None
    replacement: str | None = None
    price: Price | None = None
    price_changes: tuple[PriceChange, ...] = ()
    price_factor: float = 1.0
    reasoning: Literal["none", "budget", "effort", "switch"] | None = None
    efforts: tuple[Effort, ...] = ()
    default_effort: Effort | Literal["none"] | None = None
    thinking_off: Literal["effort", "disabled", "between_tools", "impossible"] = "effort"
    budget_min: int | None = None
    budget_max: int | None = None
    reasoning_history: Literal["never", "may", "must"] = "may"
    shows_reasoning: bool = True
    binds_reasoning: bool = False
    chat_tools: Literal["always", "without_reasoning", "never"] = "always"
    tool_choice: tuple[ToolChoiceMode, ...] = ("none", "auto", "required", "named")
    forced_tools_while_thinking: bool = True
    strict_tools: bool = True
    parallel_tool_calls: bool = True
    server_tools: tuple[str, ...] = ()
    server_tools_with_functions: bool = True
    call_signatures: bool = False
    media_in_results: bool = True
    refused: tuple[str, ...] = ()
    refused_while_thinking: tuple[str, ...] = ()
    temperature_with_top_p: bool = True
    limit_member: Literal["max_tokens", "max_completion_tokens", "either"] = "either"
    prefill: bool = True
    system_anywhere: bool = True
    url_context: bool = True
    json_object: bool = True
    json_schema: bool = True
    json_with_tools: bool = True
    json_with_stream: bool = True
    json_while_thinking: bool = True
    embeddings_method: str | None = None
    embeddings_task_in_text: bool = False


NO_FACTS = ModelFacts()
FACT_NAMES = ModelFacts.__struct_fields__
