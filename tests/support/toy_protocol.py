"""A client protocol in fifty lines, to show what adding one takes: this file, and its row in the table of operations.

A request is `{"model": "m", "say": "hi"}`, and the response `{"said": "hello"}`. In a stream each call of a stream parser
is an event of its own.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, cast

from nulpoint.conversation.parts import Text
from nulpoint.conversation.request import ConversationRequest, Message
from nulpoint.conversation.response import ConversationResponse
from nulpoint.conversation.stream import StreamWriter
from nulpoint.errors import Failure, rejected
from nulpoint.protocols.client_protocol import IncompleteStreamError
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.openai.envelope import Envelope, read_envelope
from nulpoint.providers.operations import Operation
from support.line_writer import LineWriter


class ToyWriter:
    """Writes the lines of `LineWriter` as events."""

    def __getattr__(self, name: str) -> Callable[..., bytes]:
        write = getattr(LineWriter(), name)
        return lambda *what, **more: b"".join(b"data: %b\n\n" % line for line in write(*what, **more).splitlines())


class ToyRequest(NamedTuple):
    conversation: ConversationRequest

    def write_response(self, response: ConversationResponse, created: int) -> bytes:
        said = "".join([part.text for part in response.choices[0].parts if isinstance(part, Text)])
        return json.dumps({"said": said, "date": created}).encode()

    def stream_writer(self, created: int, *, show_usage: bool) -> StreamWriter:
        return cast(StreamWriter, ToyWriter())


class ToyProtocol:
    name = "toy"
    end = b""
    read_envelope = staticmethod(read_envelope)

    @property
    def conversations(self) -> Any:
        return self

    @property
    def stored(self) -> Any:
        return self

    def error_body(self, failure: Failure) -> bytes:
        return json.dumps({"oops": failure.message, "about": failure.param}).encode()

    def error_event(self, failure: Failure) -> bytes:
        return b"\n\ndata: oops %b\n\n" % failure.message.encode()

    def read_request(self, body: bytes, limits: TranslationLimits) -> ToyRequest:
        said = json.loads(body).get("say")
        if not isinstance(said, str):
            raise rejected("`say` must be text", param="say")
        stream = {"stream": True} if json.loads(body).get("stream") else {}
        return ToyRequest(
            ConversationRequest((Message("user", (Text(said),), "say", True),), (), None, None, {**stream})
        )

    def conversation_key(self, body: bytes, envelope: Envelope) -> None:
        """Toys do not converse: each request stands alone."""

    def without_usage(self, events: bytes) -> bytes:
        return events

    def has_content(self, data: bytes) -> bool:
        return not data.startswith((b"begin", b"part"))

    def from_stream(self, stream: bytes) -> None:
        """Streams are not stored, and a stored body is never served as a stream."""

    def body_of(self, events: bytes) -> NoReturn:
        raise IncompleteStreamError

    stream_of = body_of


TOY = Operation(
    name="toy", noun="toy talk", path="/toy", client_protocol=ToyProtocol(), through="chat", streams=True,
    generates_text=True,
)  # fmt: skip
