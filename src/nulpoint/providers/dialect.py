"""Defines in what a host of OpenAI's chat format differs from OpenAI.

A dialect says what a host does differently with every model. What differs between models, such as the levels of
reasoning and the accepted parameters, is in the facts about models; facts of all models of a host have the pattern `*`.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

Role = Literal["developer", "system", "user", "assistant", "tool", "function"]
Place = Literal["message", "part", "call", "tool"]
ExtraField = Literal["provider_specific_fields", "extra_content", "annotations", "reasoning_details"]
EXTRA_FIELDS: tuple[ExtraField, ...] = (
    "provider_specific_fields",
    "extra_content",
    "annotations",
    "reasoning_details",
)


class Dialect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ways in which a host of OpenAI's chat format differs from OpenAI.

    Without any of them, requests are passed on as they are, but for the one extra field that no other host has. What a
    client sent and the host cannot take is named in the response.

    Fields:
        roles: roles of messages that the host does not know, each with the one that is sent instead.
        accepts: for places within a request (`message`, `part` of its content, `call` of a tool in it, `tool`), the
            only members that the host accepts there. Other members are left out.
        rejects: for the same places, members that the host rejects or ignores. They are left out.
        extras: the extra fields of earlier responses that the host understands in messages. The others, which this
            gateway or another provider made, are left out.
        reasoning: the member of assistant messages that holds earlier reasoning. If it is null, clients' names for it
            are kept.
        lost_reasoning: the text that stands for the reasoning of assistant messages with tool calls, if a client did
            not keep it and the model rejects messages without it.
        thinking_switch: the parameter that turns reasoning on and off, for models without levels of it and for those
            that do not accept the level `none`: `thinking` for `{"thinking": {"type": "disabled"}}`, `enable_thinking`
            for `{"enable_thinking": false}`, `reasoning` for `{"reasoning": {"enabled": false}}`.
        values: parameters whose values have other names at the host; a value for which it has no name is null.
        lists: parameters that the host accepts only as lists; a single value becomes a list.
        defaults: parameters that are sent unless the client gives them.
        text_content: whether content that is only text is sent as one text (`joined`) or as the client sent it.
        cache_marks: whether `cache_control`, which is Anthropic's, may be in the request, its messages and tools. If
            not, it is left out.
        needs_user: whether one of the messages must be the user's. If none is, one is added.
        custom_tools: whether tools may be of the type `custom`.
        allowed_tools: whether `tool_choice` may be of the type `allowed_tools`. If not, the other tools are left out.
    """

    roles: Mapping[Role, Role] = {}
    accepts: Mapping[Place, tuple[str, ...]] = {}
    rejects: Mapping[Place, tuple[str, ...]] = {}
    extras: tuple[ExtraField, ...] = EXTRA_FIELDS[1:]
    reasoning: Literal["reasoning_content", "reasoning"] | None = None
    lost_reasoning: str | None = None
    thinking_switch: Literal["thinking", "enable_thinking", "reasoning"] | None = None
    values: Mapping[str, Mapping[str, str | None]] = {}
    lists: tuple[str, ...] = ()
    defaults: Mapping[str, str | bool | int] = {}
    text_content: Literal["joined", "as_sent"] = "as_sent"
    cache_marks: bool = True
    needs_user: bool = False
    custom_tools: bool = True
    allowed_tools: bool = True


PLAIN = Dialect()
