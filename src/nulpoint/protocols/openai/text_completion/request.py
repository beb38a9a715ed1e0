"""Reads requests for completions as conversations, and writes the responses for their clients."""

from typing import NamedTuple

from nulpoint.conversation.request import ConversationRequest
from nulpoint.conversation.response import ConversationResponse
from nulpoint.conversation.stream import StreamWriter
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.openai.chat import reject_deep_nesting
from nulpoint.protocols.openai.text_completion.reader import read_completion
from nulpoint.protocols.openai.text_completion.writer import CompletionStreamWriter, write_completion


class CompletionRequest(NamedTuple):
    """A request for a completion. A client with `functions` gets calls as `function_call`."""

    conversation: ConversationRequest

    def write_response(self, response: ConversationResponse, created: int) -> bytes:
        return write_completion(response, created, legacy_functions=self.conversation.has_legacy_functions())

    def stream_writer(self, created: int, *, show_usage: bool) -> StreamWriter:
        conversation = self.conversation
        return CompletionStreamWriter(
            created,
            show_usage,
            legacy_functions=conversation.has_legacy_functions(),
            may_be_empty=conversation.may_get_nothing(),
        )


@reject_deep_nesting
def read_completion_request(body: bytes, limits: TranslationLimits) -> CompletionRequest:
    """Read a request. Raises Failure (400)."""
    return CompletionRequest(read_completion(body, limits))
