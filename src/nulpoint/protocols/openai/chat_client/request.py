"""Reads requests for chat completions as conversations, and writes the responses for their clients."""

from typing import NamedTuple

from nulpoint.conversation.request import ConversationRequest
from nulpoint.conversation.response import ConversationResponse
from nulpoint.conversation.stream import StreamWriter
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.openai.chat import reject_deep_nesting
from nulpoint.protocols.openai.chat_client.reader import read_chat
from nulpoint.protocols.openai.chat_client.writer import ChatStreamWriter, write_response


class ChatRequest(NamedTuple):
    """A request for a chat completion. Clients with `functions` get calls as `function_call`."""

    conversation: ConversationRequest

    def write_response(self, response: ConversationResponse, created: int) -> bytes:
        return write_response(response, created, legacy_functions=self.conversation.has_legacy_functions())

    def stream_writer(self, created: int, *, show_usage: bool) -> StreamWriter:
        conversation = self.conversation
        return ChatStreamWriter(
            created,
            show_usage,
            legacy_functions=conversation.has_legacy_functions(),
            may_be_empty=conversation.may_get_nothing(),
        )


@reject_deep_nesting
def read_chat_request(body: bytes, limits: TranslationLimits) -> ChatRequest:
    """Read a request. Raises Failure (400)."""
    return ChatRequest(read_chat(body, limits))
