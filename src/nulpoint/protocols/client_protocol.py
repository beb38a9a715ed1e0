"""The interface of a client protocol: a public API that clients speak to the gateway."""

from typing import Protocol

from nulpoint.conversation.request import ConversationRequest
from nulpoint.conversation.response import ConversationResponse
from nulpoint.conversation.stream import StreamWriter
from nulpoint.errors import Failure
from nulpoint.formats.json_edit import JsonEdit
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.openai.envelope import Envelope
from nulpoint.protocols.stream_transformer import StreamTransformer


class ClientProtocol(Protocol):
    """Reads what the gateway must know of a request, and writes what it says to clients in the form of their API."""

    @property
    def read_envelope(self) -> "EnvelopeReader":
        """Reads the model of a request, and whether and how the client wants a stream."""

    def error_body(self, failure: Failure) -> bytes:
        """Return the body of an error response."""

    def error_event(self, failure: Failure) -> bytes:
        """Return the event that reports a failure inside a stream that has no content yet."""

    @property
    def conversations(self) -> "ConversationFormat | None":
        """How clients and the gateway write conversations in this API; None if it has none, such as embeddings."""


class EnvelopeReader(Protocol):
    def __call__(self, body: bytes, /, *, canonical: bool) -> Envelope:
        """Read a body. With `canonical`, make the canonical text of a short one too. Raises Failure (400)."""


class ClientRequest(Protocol):
    """A request that has been read as a conversation. It knows how its client gets the response."""

    @property
    def conversation(self) -> ConversationRequest: ...

    def write_response(self, response: ConversationResponse, created: int) -> bytes:
        """Return the body of a complete response of the date `created`, in Unix seconds. Raises Failure (502)."""

    def stream_writer(self, created: int, *, show_usage: bool) -> StreamWriter:
        """Return what writes the response as a stream."""


class IncompleteStreamError(Exception):
    """What is stored does not add up to a complete and unambiguous response in the other form."""


class StoredForms(Protocol):
    """Converts responses for the cache, which keeps a body or the events of a stream, and serves each as the other."""

    def from_stream(self, stream: bytes) -> tuple[bytes, bytes] | None:
        """Return a whole stream as it is stored, without its end, and the event with its usage apart.

        Return None if it must not be stored, because it did not end well.
        """

    def body_of(self, events: bytes) -> bytes:
        """Return stored events, with the usage, as a body. Raises IncompleteStreamError."""

    def stream_of(self, body: bytes) -> tuple[bytes, bytes]:
        """Return a stored body as events, without the end, and the one with the usage. Raises IncompleteStreamError."""

    @property
    def end(self) -> bytes:
        """The event at the end of every complete stream."""


class ConversationFormat(Protocol):
    """Reads and writes conversations in the format of one API.

    At hosts that speak the API, requests and responses are passed on, with few changes. At all others, they are
    translated: a request is read as a conversation, and the response is written from one.
    """

    @property
    def name(self) -> str:
        """The name of the API's format, which the rows of wire formats list under `speaks`."""

    def read_request(self, body: bytes, limits: TranslationLimits) -> ClientRequest:
        """Read a request. Raises Failure (400)."""

    def conversation_key(self, body: bytes, envelope: Envelope) -> bytes | None:
        """Return what all requests of one conversation have in common, and those of others rarely; None if unknown.

        The same account is asked for all of them. So it must cost little, and may be wrong.
        """

    def ask_for_usage(self, body: bytes, envelope: Envelope) -> JsonEdit:
        """Return the change by which a request for a stream asks for its usage."""

    def observer(self, *, hide_usage: bool, finish_ends: bool) -> StreamTransformer:
        """Return what checks a stream that is passed on.

        With `hide_usage` it removes the usage for which only the gateway asked. `finish_ends` says that the host's
        streams have no event at the end, which is then added.
        """

    def without_usage(self, events: bytes) -> bytes:
        """Return complete events without those that have only usage."""

    def has_content(self, data: bytes) -> bool:
        """Return whether the data of an event is content for the client, after which no other provider can take over.

        Events that cannot be read count as content. The end of a response is none unless it says why there is none.
        """

    def stream_failure(self, events: bytes, request: bytes, /, *, complete: bool) -> Failure | None:
        """Return why the events of a stream that is passed on and has no content are not an answer; None if they are.

        Of a stream that is not complete only errors are found. `request` is the body of the client's request.
        """

    @property
    def stored(self) -> StoredForms: ...
