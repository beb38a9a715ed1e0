"""The client protocols of OpenAI's API: chat completions, completions, embeddings and what has the same errors."""

from collections.abc import Callable
from typing import Any

import msgspec

from nulpoint.formats.malformed import NOT_JSON
from nulpoint.protocols.client_protocol import ClientRequest, ConversationFormat, StoredForms
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.openai.chat_client.request import read_chat_request
from nulpoint.protocols.openai.conversation_key import conversation_key
from nulpoint.protocols.openai.envelope import read_envelope
from nulpoint.protocols.openai.errors import error_body, error_event
from nulpoint.protocols.openai.stored_forms import CompletionForms
from nulpoint.protocols.openai.stream import DONE, PassThrough, UsageStripper, without_usage
from nulpoint.protocols.openai.stream_options import usage_option
from nulpoint.protocols.openai.text_completion.request import read_completion_request
from nulpoint.protocols.stream_transformer import StreamTransformer


class OpenAIClientProtocol:
    """Reads `model`, `stream` and `stream_options`, and writes errors, as OpenAI's API has them."""

    read_envelope = staticmethod(read_envelope)
    error_body = staticmethod(error_body)
    error_event = staticmethod(error_event)

    def __init__(self, conversations: ConversationFormat | None = None) -> None:
        self.conversations = conversations


class CompletionFormat:
    """The format of chat completions, or of the older completions: they differ only in the forms of their texts."""

    conversation_key = staticmethod(conversation_key)
    ask_for_usage = staticmethod(usage_option)
    without_usage = staticmethod(without_usage)

    def __init__(
        self, name: str, read_request: Callable[[bytes, TranslationLimits], ClientRequest], stored: StoredForms
    ) -> None:
        self.name = name
        self.read_request = read_request
        self.stored = stored

    def observer(self, *, hide_usage: bool, finish_ends: bool) -> StreamTransformer:
        return UsageStripper(finish_ends=finish_ends) if hide_usage else PassThrough(finish_ends=finish_ends)

    def has_content(self, data: bytes) -> bool:
        return has_content(data)


class _Chunk(msgspec.Struct):
    """The part of a stream chunk that decides whether it has content."""

    choices: list[dict[str, Any]] | None = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_NO_CONTENT = frozenset({"role"})  # members of a delta that are never content


def has_content(data: bytes) -> bool:
    """Return whether a chunk has content. Data that cannot be read, and `[DONE]`, count as content."""
    if data.strip() == DONE:
        return True
    try:
        chunk = _decode_chunk(data)
    except NOT_JSON:
        return True
    return any(map(_choice_has_content, chunk.choices or ()))


def _choice_has_content(choice: dict[str, Any]) -> bool:
    if choice.get("finish_reason") or choice.get("text"):
        return True
    delta = choice.get("delta")
    return isinstance(delta, dict) and any(value for name, value in delta.items() if name not in _NO_CONTENT)


OPENAI_CLIENT = OpenAIClientProtocol()
OPENAI_CHAT = OpenAIClientProtocol(CompletionFormat("openai-chat", read_chat_request, CompletionForms("chat")))
OPENAI_COMPLETIONS = OpenAIClientProtocol(
    CompletionFormat("openai-completions", read_completion_request, CompletionForms("completions"))
)
