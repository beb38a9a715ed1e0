"""The evidence that failures carry against a provider.

How it is counted is tested in tests/unit/routing/test_provider_health.py.
"""

import gzip
import zlib

import pytest

from nulpoint.errors import ClientCause, Evidence, Failure, Kind
from nulpoint.formats import sse
from nulpoint.formats.malformed import malformed_response
from nulpoint.http.client.connection import deadline_exceeded
from nulpoint.protocols.bedrock import response as bedrock_response
from nulpoint.protocols.gemini import candidates
from nulpoint.protocols.mistral import response as mistral_response
from nulpoint.protocols.provider_errors import embedded_failure, provider_failure
from nulpoint.proxy.response_body import check_response, read_body, stream_mismatch

EVIDENCE_BY_KIND = {
    Kind.CONNECT: Evidence.PROVIDER,
    Kind.UPSTREAM: Evidence.ACCOUNT,
    Kind.TIMEOUT: Evidence.ACCOUNT,
    **dict.fromkeys(
        (
            Kind.REJECTED,
            Kind.AUTH,
            Kind.QUOTA,
            Kind.NOT_FOUND,
            Kind.TOO_LONG,
            Kind.RATE_LIMIT,
            Kind.OVERLOADED,
            Kind.CLIENT_DISCONNECTED,
            Kind.INTERNAL,
        ),
        Evidence.NONE,
    ),
}


@pytest.mark.parametrize("kind", Kind)
def test_by_kind(kind):
    assert Failure(kind, 500, "why").evidence is EVIDENCE_BY_KIND[kind]


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("cause", ClientCause)
def test_what_a_caller_can_bring_about_is_none_whatever_its_kind(kind, cause):
    assert Failure(kind, 500, "why", client_cause=cause).evidence is Evidence.NONE


@pytest.mark.parametrize("status", range(400, 600))
def test_by_the_status_the_provider_answered(status):
    """A 4xx is about the request or the key, also where it is told as a 502 or 504."""
    failure = provider_failure("openai", status, b"{}", None)
    assert failure.evidence is (Evidence.NONE if status < 500 else Evidence.ACCOUNT)


@pytest.mark.parametrize(
    ("body", "evidence"),
    [
        (b'{"error":{"message":"m","type":"invalid_request_error"}}', Evidence.NONE),
        (b'{"error":{"message":"m","type":"rate_limit_error"}}', Evidence.NONE),
        (b'{"error":{"message":"m","code":424}}', Evidence.NONE),
        (b'{"error":{"message":"m","type":"overloaded_error"}}', Evidence.ACCOUNT),
        (b'{"error":{"message":"m"}}', Evidence.ACCOUNT),  # it does not say what it means
    ],
)
def test_an_error_with_a_good_status_is_what_it_means(body, evidence):
    assert embedded_failure("openai", body).evidence is evidence


class Answer:
    def __init__(self, body, encoding):
        self._body, self.headers = body, {b"content-encoding": encoding}

    async def body(self):
        return self._body


def read(body, encoding, limit=1000):
    with pytest.raises(Failure) as raised:
        read_body(Answer(body, encoding), limit).send(None)
    return raised.value


def raised_by(function, *arguments):
    with pytest.raises(Failure) as raised:
        function(*arguments)
    return raised.value


MADE = {
    "the request's own deadline": (deadline_exceeded, ClientCause.DEADLINE),
    "an event over the bound": (sse.EventTooLargeError, ClientCause.OVER_LIMIT),
    "an answer that grows over the bound": (lambda: read(gzip.compress(b"x" * 9000), b"gzip"), ClientCause.OVER_LIMIT),
    "an answer whose compression is broken": (lambda: read(b"no gzip", b"gzip"), None),
    "an answer whose compressed body is cut": (lambda: read(zlib.compress(b"{}")[:-2], b"deflate"), None),
    "a compression nobody asked for": (lambda: read(b"{}", b"br"), None),
    "the form that was not asked for": (
        lambda: stream_mismatch("a stream", "a whole answer"),
        ClientCause.STREAM_MISMATCH,
    ),
    "no JSON": (lambda: raised_by(check_response, "openai", b"<html>", None), None),
    "another type than the API has": (lambda: malformed_response("it has no choices"), None),
    "Gemini made nothing and says why": (lambda: candidates.no_output_failure(["OTHER"]), ClientCause.NO_OUTPUT),
    "Gemini made nothing and says nothing": (lambda: candidates.no_output_failure([None]), None),
    "Bedrock could not read the model": (
        lambda: bedrock_response.no_output_failure("malformed_tool_use"),
        ClientCause.NO_OUTPUT,
    ),
    "Mistral's model failed": (
        lambda: raised_by(mistral_response.parse, b'{"choices":[{"message":{"content":""},"finish_reason":"error"}]}'),
        ClientCause.NO_OUTPUT,
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_where_they_are_made(name):
    make, cause = MADE[name]
    assert make().client_cause is cause
