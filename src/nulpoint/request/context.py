"""The context of one request: what has happened to it so far.

The proxy, the cache and the limits report each step to the context of the request. When the request is finished, its
log record, the metrics and the headers of an error are made from the context. Only the methods below change it.
"""

import itertools
import re
from collections.abc import Callable
from os import urandom
from time import perf_counter

import msgspec

from nulpoint.conversation.usage import Usage
from nulpoint.errors import Failure
from nulpoint.http.message import Headers
from nulpoint.ratelimit.backend import Grant
from nulpoint.request.attempts import MAX_MODEL_NAME, AttemptHistory
from nulpoint.telemetry.request_log.bodies import BodyCopy, BodyLogger

# New ids have to be unique but not secret: a random part for the process, and a number.
_PROCESS = urandom(10).hex().encode("ascii")
_numbers = itertools.count(1)
_VALID_ID = re.compile(rb"[\w-]{1,64}", re.ASCII)


class RequestContext(msgspec.Struct):
    """Collects what is known about one request. Times are in seconds of `perf_counter`; 0.0 means not yet."""

    id: bytes
    route: str
    started: float  # the whole request had been received
    sent: float = 0.0  # the request went to the provider
    first_byte: float = 0.0  # the provider's response began; of a body: it was complete
    response_started: float = 0.0  # the response to the client began
    model: str = ""  # as the client asked for it
    provider: str = ""
    upstream_model: str = ""  # the name that was sent to the provider
    response_model: str = ""  # the name in the provider's response
    stream: bool = False
    key: bytes = b""  # digest of the client's key
    first_token: float = 0.0  # the first content of a stream was sent to the client
    coalesced: bool = False  # it got the response to another client's request
    cache: str = ""  # HIT, MISS or BYPASS
    limit_result: str = ""  # the decision of the rate limits
    limit_headers: bytes = b""  # headers with the remaining limits
    grant: Grant | None = None  # what the request holds of the limits
    committed: bool = False  # the client has got a part of a stream's content
    attempts: AttemptHistory | None = None  # only if the first attempt did not succeed
    dropped: int = 0  # members of the request that the provider does not support
    usage: Usage | None = None
    failure: Failure | None = None
    error_event: Callable[[Failure], bytes] | None = None  # how a failure is reported in a stream that has content
    body_copy: BodyCopy | None = None  # of the response, for the log

    # -- the request ---------------------------------------------------------------------------------------------------

    def copy_body(self, bodies: BodyLogger) -> BodyCopy:
        """Start a copy of the response body, which goes to the log. Return what the body has to be written to."""
        self.body_copy = copy = bodies.copy()
        return copy

    def request_parsed(self, model: str, stream: bool, client_key: bytes) -> None:
        self.model = model
        self.stream = stream
        self.key = client_key

    def limits_checked(self, result: str, headers: bytes, grant: Grant | None) -> None:
        self.limit_result = result
        self.limit_headers = headers
        self.grant = grant

    # -- the cache and shared calls ------------------------------------------------------------------------------------

    def cache_bypassed(self) -> None:
        self.cache = "BYPASS"

    def cache_missed(self, *, may_read: bool) -> None:
        """No cached response is sent. `may_read` is false if the client asked for a fresh response."""
        self.cache = "MISS" if may_read else "BYPASS"

    def cache_hit(self, provider: str, model: str, response_model: str, usage: Usage | None) -> None:
        """A cached response is about to be sent; the arguments describe the call that it came from."""
        self.cache = "HIT"
        self.provider = provider
        self.upstream_model = model
        self.response_model = response_model
        self.usage = usage
        self.response_started = perf_counter()

    def call_joined(self) -> None:
        """The request waits for the response to an identical one."""
        self.coalesced = True

    def shared_call_ended(self, leader: "RequestContext") -> None:
        """The request has got the response of another request's call, or its failure."""
        self.provider = leader.provider
        self.upstream_model = leader.upstream_model
        self.response_model = leader.response_model
        self.usage = leader.usage

    # -- the attempts --------------------------------------------------------------------------------------------------

    def target_chosen(self, provider: str) -> None:
        """The provider is to be tried first, but the attempt cannot be made, or not at once."""
        self.provider = provider

    def attempt_started(self, provider: str, model: str, dropped: int) -> None:
        """The request for this target is about to be signed. `dropped` counts members that it does not support."""
        self.provider = provider
        self.upstream_model = self.response_model = model
        self.dropped = dropped

    def request_sent(self, provider: str, model: str, dropped: int) -> None:
        """The request goes to this target now."""
        self.provider = provider
        self.upstream_model = self.response_model = model
        self.dropped = dropped
        self.first_byte = 0.0
        self.sent = perf_counter()

    def provider_responded(self) -> None:
        """The provider has begun its response, or completed a body: all the time until now was the provider's."""
        self.first_byte = perf_counter()

    def served_by(self, response_model: str | None, usage: Usage | None) -> None:
        """The provider's response names this model and reports this usage."""
        self.response_model = (response_model or self.response_model)[:MAX_MODEL_NAME]
        self.usage = usage

    def stream_ended(self, response_model: str | None, usage: Usage | None, *, committed: bool) -> None:
        """The provider's stream has ended, completely or not. `committed`: some of its content went to the client."""
        self.committed = committed
        self.served_by(response_model, usage)

    def model_redacted(self, model: str) -> None:
        """The name of the model contained a credential, which has been removed."""
        self.response_model = model

    def record_attempts(self) -> AttemptHistory:
        """Record the attempts one by one from now on, because there may be several. Return their history."""
        self.attempts = history = AttemptHistory(self.started)
        return history

    # -- the response --------------------------------------------------------------------------------------------------

    def response_began(self) -> None:
        """The response to the client begins. Only the first call counts."""
        if not self.response_started:
            self.response_started = perf_counter()

    def content_began(self, error_event: Callable[[Failure], bytes] | None) -> None:
        """The first content of a stream goes to the client. A failure after it is reported by `error_event`."""
        self.first_token = perf_counter()
        self.error_event = error_event

    def failed(self, failure: Failure) -> None:
        self.failure = failure

    def gateway_seconds(self) -> float:
        """Return the seconds that the gateway itself took until the response began."""
        to_provider = (self.sent or self.response_started) - self.started
        return to_provider + (self.response_started - self.first_byte if self.first_byte else 0.0)


def request_id(headers: Headers) -> bytes:
    """Return the client's `X-Request-ID` if it is valid, else an id that no other request has on any replica."""
    sent = headers.get(b"x-request-id")
    if sent is not None and _VALID_ID.fullmatch(sent):
        return sent
    return b"%b%012x" % (_PROCESS, next(_numbers))
