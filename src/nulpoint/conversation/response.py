"""Defines a model's complete response as a value."""

from typing import Literal

import msgspec

from nulpoint.conversation.parts import NO_MEMBERS, Members, Part
from nulpoint.conversation.usage import Usage

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class ConversationResponse(msgspec.Struct, frozen=True, gc=False):
    """A complete response.

    Fields:
        id: the provider's id of the response.
        model: the model's name as the provider reports it.
        parts: text, reasoning, refusals and tool calls, in the order in which the model produced them.
        finish_reason: why the model stopped.
        usage: the token counts, if they were reported.
        provider_data: what no other field expresses, by provider. If the client sends the response back as a part of
            the next request, that provider gets it again.
    """

    id: str
    model: str
    parts: tuple[Part, ...]
    finish_reason: FinishReason
    usage: Usage | None = None
    provider_data: Members = NO_MEMBERS
