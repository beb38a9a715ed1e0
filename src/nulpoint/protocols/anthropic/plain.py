"""Reads the most frequent responses: those with a single text.

One typed decoding takes the place of an untyped one, one that checks the types, and much of the rest. What has any
member that is not declared here is not plain. Sources: the types of the `anthropic` SDK and recorded traffic.
"""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from nulpoint.conversation.usage import Tokens


class _Plain(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    pass


class _PlainText(_Plain):
    type: Literal["text"]
    text: str


class _PlainCacheCreation(_Plain):
    """`msgspec.to_builtins` returns it as it was sent."""

    ephemeral_5m_input_tokens: Tokens | UnsetType = UNSET
    ephemeral_1h_input_tokens: Tokens | UnsetType = UNSET


class _PlainUsage(_Plain):
    """The usage of a response."""

    input_tokens: Tokens
    output_tokens: Tokens
    cache_read_input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None
    cache_creation: _PlainCacheCreation | None = None
    service_tier: str | None = None
    inference_geo: str | None = None


class _PlainMessage(_Plain):
    """A complete response with a text."""

    id: str
    model: str
    content: tuple[_PlainText]
    stop_reason: Literal["end_turn", "max_tokens"]
    usage: _PlainUsage
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    stop_sequence: None = None
    stop_details: None = None
    container: None = None
    context_management: None = None


read_plain_message = msgspec.json.Decoder(_PlainMessage).decode
