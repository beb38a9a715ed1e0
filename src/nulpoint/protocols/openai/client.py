"""The client protocols of OpenAI's API: chat completions, completions, embeddings and what has the same errors."""

from collections.abc import Callable

from nulpoint.protocols.client_protocol import ClientRequest, ConversationFormat, StoredForms
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.openai.answers import has_content, stream_failure
from nulpoint.protocols.openai.chat_client.request import read_chat_request
from nulpoint.protocols.openai.conversation_key import conversation_key
from nulpoint.protocols.openai.envelope import read_envelope
from nulpoint.protocols.openai.errors import error_body, error_event
from nulpoint.protocols.openai.stored_forms import CompletionForms
from nulpoint.protocols.openai.stream import PassThrough, UsageStripper, without_usage
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
    has_content = staticmethod(has_content)
    stream_failure = staticmethod(stream_failure)

    def __init__(
        self, name: str, read_request: Callable[[bytes, TranslationLimits], ClientRequest], stored: StoredForms
    ) -> None:
        self.name = name
        self.read_request = read_request
        self.stored = stored

    def observer(self, *, hide_usage: bool, finish_ends: bool) -> StreamTransformer:
        return UsageStripper(finish_ends=finish_ends) if hide_usage else PassThrough(finish_ends=finish_ends)


OPENAI_CLIENT = OpenAIClientProtocol()
OPENAI_CHAT = OpenAIClientProtocol(CompletionFormat("openai-chat", read_chat_request, CompletionForms("chat")))
OPENAI_COMPLETIONS = OpenAIClientProtocol(
    CompletionFormat("openai-completions", read_completion_request, CompletionForms("completions"))
)
