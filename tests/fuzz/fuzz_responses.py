"""Fuzz targets for responses in every format: each is either decoded or reported as the provider's failure."""

from collections.abc import Callable
from datetime import date
from typing import Any

import msgspec
from hypothesis import strategies as st
from target import Target

from nulpoint.conversation.emulation import NO_EMULATION, ToolEmulation
from nulpoint.conversation.response import ConversationResponse
from nulpoint.conversation.usage import Usage
from nulpoint.errors import Failure, Kind
from nulpoint.formats.retry_after import parse_retry_after, parse_retry_after_headers
from nulpoint.models.catalog import built_in_models
from nulpoint.models.costs import Prices
from nulpoint.protocols.openai.chat_client.writer import write_response
from nulpoint.protocols.openai.chat_provider.response import parse
from nulpoint.protocols.openai.client import OPENAI_CLIENT
from nulpoint.protocols.openai.text_completion.writer import write_completion
from nulpoint.protocols.openai.usage import ResponseMetadata, read_final_metadata, read_metadata
from nulpoint.protocols.provider_errors import embedded_failure, has_embedded_error, provider_failure, redact_failure
from nulpoint.protocols.registry import EMBEDDINGS, ERROR_READERS, PROVIDER_PROTOCOLS
from nulpoint.proxy.response_body import check_response
from nulpoint.redaction.credential_matcher import CredentialMatcher
from support.chat_codec import CODECS, ChatCodec, codec_for_model
from support.mutation import mutated_json
from support.samples import ANSWERS, CHUNKS, ERRORS, OPENAI, VECTORS

SECRET = "Zt7Qp2Lk9Vx4Rm8Wc3Nb6Hy1"
CREATED = 1_700_000_000
TODAY = date(2026, 12, 1)
_PRICES = Prices(built_in_models())
_STATUSES = {400, 401, 402, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529}


def read_or_failed(read: Callable[[], Any]) -> Any:
    """Return what was read, or None if reading failed with a permitted failure."""
    try:
        return read()
    except Failure as failure:
        check_failure(failure)
        return None


def check_failure(failure: Failure) -> None:
    assert failure.kind not in (Kind.INTERNAL, Kind.CLIENT_DISCONNECTED), failure
    assert failure.status in _STATUSES, failure.status
    assert isinstance(failure.message, str)
    assert failure.message
    assert failure.retry_after is None or failure.retry_after > 0
    error = msgspec.json.decode(OPENAI_CLIENT.error_body(failure))["error"]
    assert all(error[name] is None or isinstance(error[name], str) for name in ("message", "type", "param", "code"))


def check_facts(facts: ResponseMetadata) -> None:
    """Check that the usage consists of numbers that a log, a metric and a limit can hold."""
    assert facts.model is None or isinstance(facts.model, str)
    usage = facts.usage
    if usage is None:
        return
    assert isinstance(usage, Usage)
    for count in (usage.prompt, usage.completion, usage.cached, usage.reasoning, usage.written, usage.written_1h):
        assert isinstance(count, int), usage
        assert not isinstance(count, bool), usage
        assert 0 <= count < 2**63, usage
    _PRICES.cost("openai", "gpt-4o", "gpt-4o", usage, TODAY)


def check_completion(body: bytes) -> None:
    answer = msgspec.json.decode(body)
    assert isinstance(answer["choices"], list)
    for choice in answer["choices"]:
        assert isinstance(choice["message"], dict)
        assert choice["message"].get("content") is None or isinstance(choice["message"]["content"], str)
        for call in choice["message"].get("tool_calls") or ():
            assert call["id"] is None or isinstance(call["id"], str)
            assert call["type"] in ("function", "custom")
    facts = read_metadata(body)
    check_facts(facts)
    check_facts(read_final_metadata(body))
    if facts.suspect:
        read_or_failed(lambda: check_response("p", body, None))


def codecs(wire: str) -> tuple[ChatCodec, ...]:
    """Return codecs for responses to requests in which nothing was replaced, or one thing."""
    plain = codec_for_model(wire, "some-model")
    return (
        plain,
        plain.restoring(ToolEmulation(custom_tools=frozenset({"f"}))),
        plain.restoring(ToolEmulation(schema_tool="f")),
        plain.restoring(NO_EMULATION, legacy_functions=True),
    )


def decoding(wire: str) -> Callable[[bytes], None]:
    plain, *others = codecs(wire)

    def check(body: bytes) -> None:
        for codec in (plain, *others):
            made = read_or_failed(lambda codec=codec: codec.response(body, CREATED))
            if made is not None:
                check_completion(made.body)
                check_facts(made.metadata)
                assert made.metadata.usage == read_metadata(made.body).usage
        response = read_or_failed(lambda: PROVIDER_PROTOCOLS[wire].parse(body, plain.source))
        if response is not None:
            check_legacy_completion(response)

    return check


def check_legacy_completion(response: ConversationResponse) -> None:
    completion = read_or_failed(lambda: write_completion(response, CREATED))
    if completion is not None:
        assert all(isinstance(choice["text"], str) for choice in msgspec.json.decode(completion)["choices"])


def passed_on(body: bytes) -> None:
    """Read a response in OpenAI's format, which is passed on unchanged."""
    check_facts(read_metadata(body))
    check_facts(read_final_metadata(body))
    read_or_failed(lambda: check_response("p", body, None))
    response = read_or_failed(lambda: parse(body))
    if response is not None:
        made = read_or_failed(lambda: write_response(response, CREATED, legacy_functions=True))
        assert made is not None
        check_completion(made)
        check_legacy_completion(response)


def vectors(wire: str) -> Callable[[tuple[bytes, bytes]], None]:
    def check(given: tuple[bytes, bytes]) -> None:
        body, count = given
        for encoding in ("float", "base64"):
            request = msgspec.json.encode({"model": "m", "input": ["a", "b"], "encoding_format": encoding})
            codec = EMBEDDINGS[wire]
            made = read_or_failed(lambda codec=codec, request=request: codec.decode(body, request, "m"))
            if made is not None and codec.token_count_header:
                made = codec.add_token_count(made, count)
                msgspec.json.decode(made)
            if made is not None:
                check_facts(read_metadata(made))

    return check


def errors(given: tuple[int, bytes, bytes, bytes]) -> None:
    status, body, kind, wait = given
    credential = CredentialMatcher(SECRET)
    has_embedded_error(body)
    status, decoded = ERROR_READERS["bedrock"](status, {b"x-amzn-errortype": kind}, body)
    for one in (body, decoded):
        for failure in (
            provider_failure("p", status, one, parse_retry_after_headers(wait, wait, 0.0), credential),
            embedded_failure("p", one, credential),
        ):
            failure = redact_failure(failure, credential)
            check_failure(failure)
            assert SECRET not in OPENAI_CLIENT.error_body(failure).decode()
            assert len(failure.message) <= 10_000


def waits(given: tuple[bytes, float]) -> None:
    value, now = given
    seconds = parse_retry_after(value, now)
    assert seconds is None or 0 < seconds < float("inf")


_WAITS = st.binary(max_size=12) | st.sampled_from(
    (b"5", b"1.5", b"-1", b"nan", b"inf", b"1e400", b"", b"Wed, 21 Oct 2026 07:28:00 GMT", b"Wed, 99 Oct 2026 07:28:00 GMT",
     b"Wed, 21 Oct 99999 07:28:00 GMT", b"21 Oct 2026", b"0 0 0 0 0", b"Wed, 21 Oct 2026 07:28:00 +9999", b"1_0", b"\xd9\xa1")
) | st.text("0123456789:,+- GMTWedOct", max_size=30).map(str.encode)  # fmt: skip
error_inputs = st.tuples(
    st.sampled_from((400, 401, 403, 404, 408, 413, 422, 424, 429, 499, 500, 503, 529, 302, 600)),
    mutated_json([*ERRORS, {"error": {"message": f"key {SECRET}", "code": SECRET, "param": SECRET}}]),
    st.sampled_from((b"", b"ThrottlingException:http://x", b"ValidationException", b"#", b":", b"\xff")),
    _WAITS,
)
TARGETS = (
    *(
        Target(f"a response of {wire}", mutated_json(ANSWERS[wire]), decoding(wire))
        for wire in ANSWERS
        if wire in CODECS
    ),
    Target("a response that is passed on", mutated_json([*OPENAI, *CHUNKS]), passed_on),
    *(
        Target(
            f"vectors of {wire}",
            st.tuples(mutated_json(VECTORS[wire]), st.binary(max_size=10) | st.integers(0).map(lambda n: b"%d" % n)),
            vectors(wire),
        )
        for wire in VECTORS
    ),
    Target("errors", error_inputs, errors),
    Target("retry-after", st.tuples(_WAITS, st.floats(0, 2e9)), waits),
)
