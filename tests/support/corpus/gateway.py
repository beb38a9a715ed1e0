"""Processes recorded bytes with the gateway's code for real requests, without sockets."""

import asyncio
import atexit
import functools
import json
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple

from nulpoint.errors import Failure
from nulpoint.protocols.openai.client import OPENAI_CLIENT
from nulpoint.protocols.openai.envelope import read_envelope
from nulpoint.protocols.openai.usage import ResponseMetadata, read_metadata
from nulpoint.providers.operations import OPERATIONS
from nulpoint.providers.spec import ProviderSpec, Route
from nulpoint.proxy.response_body import check_response
from nulpoint.proxy.streaming.relay import StreamRelay
from nulpoint.proxy.upstream_request import UpstreamRequest, prepare
from nulpoint.routing.chains import Target
from support.chat_codec import CODECS
from support.provider_endpoints import endpoint_of

CREATED = 1_700_000_000
MODEL = "some-model"


class Shown(NamedTuple):
    """The bytes sent to the client: status and body, or the failure that was reported instead or after a part of it."""

    body: bytes
    facts: ResponseMetadata
    failure: Failure | None = None
    began: bool = True  # whether a part of the response was sent before it failed


def prepared(host: ProviderSpec, route: Route, **members: Any) -> tuple[bytes, UpstreamRequest]:
    """The client's request, and the upstream request."""
    asked = {"prompt": "hi"} if route == "completions" else {"messages": [{"role": "user", "content": "hi"}]}
    if route == "embeddings":
        asked = {"input": "hi"}
    endpoint = endpoint_of(host, route)
    body = json.dumps({"model": MODEL, **asked, **members}).encode()
    return body, prepare(body, read_envelope(body), endpoint, Target.at(endpoint.provider, MODEL))


def show_whole(host: ProviderSpec, route: Route, body: bytes, **members: Any) -> Shown:
    """Process a whole response as the proxy does."""
    request, ready = prepared(host, route, **members)
    try:
        if ready.translation is not None:
            return Shown(*ready.translate_response(ready.translation, body, {}, CREATED))
        if ready.embeddings is not None:
            body = ready.embeddings.decode(body, request, MODEL)
        facts = read_metadata(body)
        if facts.suspect:
            check_response(host.name, body, None)
    except Failure as failure:
        return Shown(b"", ResponseMetadata(), failure, began=False)
    return Shown(body, facts)


def show_stream(host: ProviderSpec, pieces: Iterable[bytes], *, usage: bool, route: Route = "chat") -> Shown:
    """Relay a stream whose reads are `pieces`. `usage` says that the client requested usage."""
    return _loop().run_until_complete(_show_stream(host, pieces, usage, route))


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop


async def _show_stream(host: ProviderSpec, pieces: Iterable[bytes], usage: bool, route: Route) -> Shown:
    _, ready = prepared(host, route, stream=True, stream_options={"include_usage": usage})
    client_format = OPERATIONS[route].client_protocol.conversations
    assert client_format is not None
    watcher = ready.stream_transformer(client_format, {}, CREATED)
    answer = _Answer()
    relay = StreamRelay(_Upstream(pieces), answer, watcher, client_format)  # type: ignore[arg-type]  # stand-ins
    failure = None
    try:
        await relay.run()
        assert answer.ended
    except Failure as caught:
        failure = caught
        assert not answer.ended
    if failure is not None and answer.sent:
        answer.write(OPENAI_CLIENT.error_event(failure))
    return Shown(bytes(answer.sent), watcher.metadata(), failure, bool(answer.sent))


class _Upstream:
    """A provider's connection with predefined reads."""

    headers: ClassVar[dict[bytes, bytes]] = {}
    deadline = 0.0

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self.ended = False

    async def pump_to(self, pass_on: Callable[[bytes], bool]) -> None:
        for piece in self._pieces:
            if not pass_on(piece):
                return
        self.ended = True

    def take(self) -> bytes:
        return b""

    def start_idle_timeout(self) -> float:
        return 0.0

    def progress(self) -> None:
        pass

    def lift_deadline(self) -> None:
        pass


class _Answer:
    """A client that reads at once."""

    paused = False

    def __init__(self) -> None:
        self.client = self
        self.sent = bytearray()
        self.ended = False

    def send_head(self) -> None:
        pass

    def commit(self, error_event: object) -> None:
        pass

    def writer(self) -> Callable[[bytes], None]:
        return self.write

    def write(self, data: bytes) -> None:
        self.sent += data

    def end(self, data: bytes = b"") -> None:
        self.write(data)
        self.ended = True

    async def drain(self) -> None:
        return


def translated(host: ProviderSpec) -> bool:
    """Say whether the host uses a format other than OpenAI's."""
    return host.wire in CODECS
