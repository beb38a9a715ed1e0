"""Translates a request for a provider that speaks another API than the client, and its response back."""

from typing import NamedTuple

from nulpoint.conversation.answer import check_answer
from nulpoint.conversation.emulation import EmulationWriter, ToolEmulation
from nulpoint.conversation.names import replace_names
from nulpoint.conversation.response import ConversationResponse
from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.client_protocol import ClientRequest
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.openai.chat import reject_deep_nesting
from nulpoint.protocols.openai.usage import STABLE_FINISH_REASONS, ResponseMetadata
from nulpoint.protocols.provider_protocol import NO_HEADERS, Headers, ProviderProtocol, ResponseSource
from nulpoint.protocols.stream_transformer import StreamTransformer


class TranslatedResponse(NamedTuple):
    """A response in the client's format, and what it says about itself."""

    body: bytes
    metadata: ResponseMetadata


class Translation(NamedTuple):
    """How the response to one request is translated back.

    `emulation` is what was replaced in the request and has to be restored in the response. `headers` are sent with the
    request.
    """

    request: ClientRequest
    provider: ProviderProtocol
    emulation: ToolEmulation
    headers: Headers = NO_HEADERS

    def response(self, body: bytes, source: ResponseSource, created: int) -> TranslatedResponse:
        """Translate a complete response. `created` is its date in Unix seconds. Raises Failure (502)."""
        response = self.provider.parse(body, source)
        if not self.request.conversation.may_get_nothing():
            check_answer(response)
        if self.emulation.any():
            response = self.emulation.restore_response(response)
        return TranslatedResponse(self.request.write_response(response, created), _metadata(response))

    def stream(self, source: ResponseSource, created: int, *, show_usage: bool) -> StreamTransformer:
        """Return what translates the response as a stream. `show_usage` says whether the client gets the usage."""
        writer = self.request.stream_writer(created, show_usage=show_usage)
        if self.emulation.any():
            writer = EmulationWriter(writer, self.emulation)
        return self.provider.stream_parser(writer, source)


class TranslatedRequest(NamedTuple):
    """A request in a provider's format, the names of dropped members, and how its response is translated."""

    body: bytes
    dropped: list[str]
    translation: Translation


@reject_deep_nesting
def translate(
    request: ClientRequest, provider: ProviderProtocol, model: str, facts: ModelFacts, limits: TranslationLimits
) -> TranslatedRequest:
    """Translate a request for a model of which `facts` are known.

    Raises Failure (400) if the provider does not support it.
    """
    conversation, replaced = replace_names(request.conversation, provider.names)
    rendered = provider.render(conversation, model, facts, limits)
    emulation = rendered.emulation if replaced is None else rendered.emulation._replace(names=replaced)
    translation = Translation(request, provider, emulation, rendered.headers)
    return TranslatedRequest(rendered.body, [*request.conversation.dropped, *rendered.dropped], translation)


def _metadata(response: ConversationResponse) -> ResponseMetadata:
    usage = response.usage.counts() if response.usage is not None else None
    ended = all([choice.finish_reason in STABLE_FINISH_REASONS for choice in response.choices])
    return ResponseMetadata(usage, response.model, False, ended)
