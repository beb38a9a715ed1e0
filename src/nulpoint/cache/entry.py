"""A cached response, in the memory of this process or in Redis: a JSON body, or the events of a stream.

Either form can be served as the other. In the form in which it was stored, the response has the provider's bytes; the
other form is built from them.
"""

import msgspec

from nulpoint.conversation.usage import Usage
from nulpoint.protocols.client_protocol import StoredForms


class CacheEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A successful and complete response.

    Fields:
        content: the JSON body, or the events of a stream without its end and the event that has only usage.
        usage_event: the event that has only usage, if the stream had one.
        streamed: whether `content` is the events of a stream.
        provider, model: the target that sent the response.
        usage: the tokens it used.
        stored: when it was stored, in Unix seconds.
        response_model: the model as the provider named it in its response.
        dropped: the request members that the provider does not support, comma-separated.
    """

    content: bytes
    usage_event: bytes
    streamed: bool
    provider: str
    model: str
    usage: Usage | None
    stored: float
    response_model: str = ""
    dropped: str = ""

    @property
    def size(self) -> int:
        """Return its size in bytes."""
        texts = len(self.model) + len(self.response_model) + len(self.dropped)
        return len(self.content) + len(self.usage_event) + texts

    def as_body(self, forms: StoredForms) -> bytes:
        """Return the response to a request without `stream`. Raises IncompleteStreamError if a part is missing."""
        return forms.body_of(self.content + self.usage_event) if self.streamed else self.content

    def as_stream(self, forms: StoredForms, with_usage: bool) -> bytes:
        """Return the response to a request with `stream`, its end included. Raises IncompleteStreamError."""
        events, usage = (self.content, self.usage_event) if self.streamed else forms.stream_of(self.content)
        return b"".join((events, usage if with_usage else b"", forms.end))
