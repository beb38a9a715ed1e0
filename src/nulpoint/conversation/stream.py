"""The interface between a provider's stream and the stream that a client gets.

A provider protocol's stream parser calls a `StreamWriter` for everything it reads, and a client protocol implements it.
Each call returns the bytes to send to the client, often none, so a piece of text costs no objects.
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from nulpoint.conversation.parts import NO_MEMBERS, Citation, Members
from nulpoint.conversation.response import FinishReason
from nulpoint.conversation.usage import UsageReport
from nulpoint.errors import Failure

PartKind = Literal["text", "reasoning", "other"]


class StreamWriter(Protocol):
    """Writes the stream of one response for a client.

    The order of the calls is: `begin`, then the parts of the response, then `finish`, `usage` and `end`. A part is
    either everything between `start_part` and the start of the next part, or a tool call. Tool calls are numbered from
    0 in the order in which they start, and the pieces of several calls may be mixed.

    If the client asked for several choices, their parts may be mixed: `select_choice` says which one the following
    calls are about, up to its own `finish`. Each choice numbers its calls from 0.
    """

    def begin(self, response_id: str, model: str, *, index: int = 0, created: int | None = None) -> bytes:
        """Begin the response with this choice. Raises Failure (502) if the id and the model's name are too long.

        `created` is when the provider made the response, in Unix seconds, if it says so.
        """

    def select_choice(self, index: int) -> bytes:
        """Continue with this choice, which begins if it was not selected before."""

    def keep_alive(self) -> bytes:
        """Show that the provider's connection is alive, though the response makes no progress."""

    def progress(self) -> bytes:
        """Show that the response makes progress of which nothing can be sent yet."""

    def start_part(self, kind: PartKind) -> bytes: ...

    def text(self, text: str) -> bytes: ...

    def citation(self, citation: Citation) -> bytes:
        """Add a citation of the current text part, or of what its span says. With a span it may follow any part."""

    def reasoning(self, text: str) -> bytes: ...

    def signature(self, provider: str, data: str, *, redacted: bool = False) -> bytes:
        """Add a piece of the provider's opaque data of the current part, which is reasoning, or a text of Gemini.

        With `redacted` it is the encrypted form of reasoning without a text, or else the signature of the text: the
        members `redacted` and `signature` in the `provider_data` of a complete part.
        """

    def provider_part(self, provider: str, data: Members) -> bytes:
        """Write a whole part that only the provider can read, as in `ProviderPart`.

        `start_part("other")` was called when it began, and the pieces of other parts may have come since.
        """

    def start_call(
        self, number: int, call_id: str | None, name: str | None, provider_data: Members = NO_MEMBERS
    ) -> bytes:
        """Begin a call of a function. `arguments` and `end_call` follow.

        `provider_data` is what the provider adds to the call and wants to get again, by provider.
        """

    def arguments(self, number: int, text: str) -> bytes:
        """Add a piece of the JSON text of a call's arguments."""

    def end_call(self, number: int) -> bytes: ...

    def custom_call(
        self, number: int, call_id: str | None, name: str, text: str, provider_data: Members = NO_MEMBERS
    ) -> bytes:
        """Write a whole call of a custom tool with its input. `provider_data` is as in `start_call`."""

    def refusal(self, text: str) -> bytes:
        """Add a piece of the explanation of why the model does not answer."""

    def logprobs(self, logprobs: Members) -> bytes:
        """Add the log probabilities of all tokens of the choice, in the form of the chat completions API."""

    def finish(self, reason: FinishReason, provider_data: Mapping[str, Any]) -> bytes:
        """End the parts. `provider_data` is what no other call expresses, by provider."""

    def late_data(self, provider_data: Members) -> bytes:
        """Add to what `finish` said of the choice, because the provider sent it afterwards."""

    def usage(self, usage: UsageReport) -> bytes: ...

    def end(self) -> bytes:
        """Return the end of a stream that is known to be complete.

        Raises Failure (502) if it has no content, and no finish reason explains that (`conversation/answer.py`).
        """

    def error(self, failure: Failure) -> bytes:
        """Return the event that reports a failure, after which the stream ends without its proper end."""
