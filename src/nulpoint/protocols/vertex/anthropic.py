"""Writes requests for Anthropic's Messages API on Vertex AI.

There the URL path names the model and the body names the version of the API.

Sources: Anthropic's documentation, "Claude on Vertex AI"; the `anthropic` SDK's `lib/vertex` (read 2026-11).
"""

from nulpoint.conversation.request import ConversationRequest
from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.anthropic.cache import write_within_limit
from nulpoint.protocols.anthropic.request import render_message
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.provider_protocol import RenderedRequest

VERSION = "vertex-2023-10-16"


def render(request: ConversationRequest, model: str, facts: ModelFacts, limits: TranslationLimits) -> RenderedRequest:
    """Write a request for Vertex AI. Raises Failure (400) like `render_message`.

    A version in the client's request replaces ours.
    """
    rendered = render_message(request, model, facts, limits)
    message = rendered.message
    del message["model"]
    message.setdefault("anthropic_version", VERSION)
    body = write_within_limit(message, rendered.fields)
    return RenderedRequest(body, rendered.fields.dropped, rendered.emulation, rendered.headers)
