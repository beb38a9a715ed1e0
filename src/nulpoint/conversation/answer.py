"""Decides whether a complete response is an answer: whether the model said anything, or why it did not.

A response that ends as if all were well, but has no text, reasoning, refusal, call or media, is the provider's failure.
Only if the client asked for stop sequences may the first token have been one.
"""

from nulpoint.conversation.parts import Members, Part, ProviderPart, Reasoning, Text
from nulpoint.conversation.response import ConversationResponse, FinishReason
from nulpoint.errors import ClientCause, Failure, Kind

_UNEXPLAINED: frozenset[FinishReason] = frozenset({"stop", "tool_calls"})


def empty_answer() -> Failure:
    """Return the failure for a response without content. What a model generates depends on the prompt."""
    text = "the provider sent a response without any content, and no reason for that"
    return Failure(Kind.UPSTREAM, 502, text, code="provider_error", client_cause=ClientCause.NO_OUTPUT)


def explains_emptiness(reason: FinishReason) -> bool:
    """Return whether a finish reason says why there may be no content."""
    return reason not in _UNEXPLAINED


def check_answer(response: ConversationResponse) -> None:
    """Raise Failure (502) if no choice has any content, and no finish reason explains that."""
    for choice in response.choices:
        if explains_emptiness(choice.finish_reason) or any(map(_is_output, choice.parts)):
            return
    raise empty_answer()


def _is_output(part: Part) -> bool:
    if isinstance(part, Text | Reasoning):
        return bool(part.text)
    return not (isinstance(part, ProviderPart) and is_signature_only(part.data))


def is_signature_only(data: Members) -> bool:
    """Return whether a part in a provider's own format has nothing but a signature, which shows nothing to anybody."""
    return not any(value for name, value in data.items() if name not in _SHOWS_NOTHING and not _is_signature(name))


_SHOWS_NOTHING = frozenset({"type", "thought"})


def _is_signature(name: str) -> bool:
    return name.lower().endswith("signature")
