"""Reads the most frequent chunks and responses: those with a single text.

One typed decoding takes the place of an untyped one, one that checks the types, and much of the rest. What has any
member that is not declared here is not plain. Sources: the types of the `mistralai` SDK and recorded traffic.
"""

from typing import Literal

import msgspec

from nulpoint.conversation.usage import Tokens
from nulpoint.protocols.response_types import Index


class _Plain(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    pass


class _PlainText(_Plain):
    type: Literal["text"]
    text: str


class _PlainThinking(_Plain):
    type: Literal["thinking"]
    thinking: tuple[_PlainText]
    closed: bool


class _PlainDelta(_Plain):
    content: str | tuple[_PlainThinking]
    p: str | None = None


class _PlainChoice(_Plain):
    index: Index
    delta: _PlainDelta
    finish_reason: None = None
    logprobs: None = None
    p: str | None = None


class _PlainChunk(_Plain):
    """A chunk with one piece of text or thinking and nothing else, as nearly all chunks are."""

    choices: tuple[_PlainChoice]
    id: str | None = None
    object: str | None = None
    created: int | None = None
    model: str | None = None
    usage: None = None
    p: str | None = None


class _PlainMessage(_Plain):
    content: str
    role: Literal["assistant"] = "assistant"
    tool_calls: None = None


class _PlainWholeChoice(_Plain):
    index: Index
    message: _PlainMessage
    finish_reason: Literal["stop", "length"]
    logprobs: None = None


class _PlainPromptDetails(_Plain):
    cached_tokens: Tokens


class _PlainUsage(_Plain):
    prompt_tokens: Tokens
    completion_tokens: Tokens
    total_tokens: Tokens
    prompt_tokens_details: _PlainPromptDetails | None = None
    service_tier: str | None = None


class _PlainResponse(_Plain):
    """A complete response with a text."""

    id: str
    created: int
    model: str
    choices: tuple[_PlainWholeChoice]
    usage: _PlainUsage
    object: Literal["chat.completion"] = "chat.completion"


read_plain_chunk = msgspec.json.Decoder(_PlainChunk).decode
read_plain_response = msgspec.json.Decoder(_PlainResponse).decode
