"""Defines a model's complete response as a value."""

from typing import Literal

import msgspec

from nulpoint.conversation.parts import NO_MEMBERS, Members, Part
from nulpoint.conversation.usage import UsageReport

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class Choice(msgspec.Struct, frozen=True, gc=False):
    """Holds one of the messages that a client may choose from.

    Fields:
        parts: text, reasoning, refusals and tool calls, in the order in which the model produced them.
        finish_reason: why the model stopped.
        provider_data: what no other field expresses, by provider. If the client sends the message back as a part of
            the next request, that provider gets it again.
        index: the number of the choice.
        logprobs: the log probabilities of the tokens, in the form of the chat completions API.
    """

    parts: tuple[Part, ...]
    finish_reason: FinishReason
    provider_data: Members = NO_MEMBERS
    index: int = 0
    logprobs: Members | None = None


class ConversationResponse(msgspec.Struct, frozen=True, gc=False):
    """A complete response.

    Fields:
        id: the provider's id of the response.
        model: the model's name as the provider reports it.
        choices: the message, or several if the client asked for them.
        usage: the token counts, if they were reported.
        created: when the provider made the response, in Unix seconds, if it says so.
    """

    id: str
    model: str
    choices: tuple[Choice, ...]
    usage: UsageReport | None = None
    created: int | None = None
