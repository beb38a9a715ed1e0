"""What a caller asks for by header: the deadline, strictness, and whose key it is."""

import asyncio
import hashlib

import pytest

from nulpoint.errors import Failure
from nulpoint.request.client_auth import key_digest
from support.event_loop import run
from support.http_client import Caller, post
from support.proxy_requests import parsed_request
from support.running_gateway import gateway


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 600), (b"30", 30), (b"0.5", 0.5), (b" 7 ", 7), (b"1e2", 100), (b"600", 600), (b"601", 600), (b"1e300", 600),
        (b"1e-9", 1e-9), (b".5", 0.5),
    ],
)  # fmt: skip
def test_a_caller_may_ask_for_less_time_and_never_for_more(value, seconds):
    headers = {} if value is None else {b"x-nulpoint-timeout": value}
    assert parsed_request(headers).deadline == 1000 + seconds


@pytest.mark.parametrize(
    "value", [b"", b"0", b"-1", b"-0", b"nan", b"inf", b"-inf", b"1e999", b"soon", b"30s", b"1,5", b"\xb2"]
)
def test_no_number_of_seconds(value):
    with pytest.raises(Failure, match="number of seconds over 0") as caught:
        parsed_request({b"x-nulpoint-timeout": value})
    failure = caught.value
    assert (failure.status, failure.param, failure.code) == (400, "x-nulpoint-timeout", "invalid_header")


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, None), ({b"authorization": b"Bearer abc"}, "abc"), ({b"authorization": b"bearer  abc "}, "abc"),
        ({b"authorization": b"Basic abc"}, None), ({b"authorization": b"Bearer"}, None), ({b"authorization": b"Bearer  "}, None),
        ({b"x-api-key": b"xyz"}, "xyz"), ({b"authorization": b"Bearer abc", b"x-api-key": b"xyz"}, "abc"),
        ({b"authorization": b"Basic abc", b"x-api-key": b"xyz"}, "xyz"), ({b"x-api-key": b""}, None),
    ],
)  # fmt: skip
def test_whose_key_it_is(headers, key):
    one = parsed_request(headers, forward_keys=True)
    assert one.client_api_key == key
    assert one.client_key_digest == (hashlib.sha256(key.encode()).digest() if key else None)
    unforwarded = parsed_request(headers)
    assert (unforwarded.client_api_key, unforwarded.client_key_digest) == (None, None)


@pytest.mark.parametrize(
    ("value", "always", "strict"), [(None, False, False), (b"true", False, True), (b"TRUE", False, True), (b"1", False, False), (None, True, True), (b"false", True, True)]
)  # fmt: skip
def test_strictness(value, always, strict):
    headers = {} if value is None else {b"x-nulpoint-strict": value}
    assert parsed_request(headers, strict=always).strict == strict


def test_a_stream_is_one_only_when_it_says_true():
    assert parsed_request(body=b'{"model":"m","stream":true}').stream is True
    for spelling in (b'{"model":"m"}', b'{"model":"m","stream":false}', b'{"model":"m","stream":null}'):
        assert parsed_request(body=spelling).stream is False


def test_a_stream_that_is_refused_before_it_is_sent_leaves_nothing_behind():
    body = b'{"model":"claude-sonnet-4-5","stream":true,"n":2,"messages":[{"role":"user","content":"hi"}]}'

    async def main():
        async with gateway({"STREAM_KEEPALIVE": "50ms"}, names=("openai", "anthropic")) as running:
            caller = await Caller.connect(running.port)
            watched = len(running.app.deadlines._watched)
            caller.send(post(body))
            status, _, _ = await caller.answer()
            assert status == 400
            assert len(running.app.deadlines._watched) == watched
            with pytest.raises(asyncio.TimeoutError):  # nothing comes after the answer
                await asyncio.wait_for(caller.reader.read(1), 0.3)

    run(main())


# -- the conversation of a request -------------------------------------------------------------------------------------

TALK = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
SESSIONS = [
    b"x-claude-code-session-id", b"session-id", b"session_id", b"x-session-affinity", b"x-session-id", b"x-grok-conv-id",
]  # fmt: skip


@pytest.mark.parametrize("name", SESSIONS)
def test_the_session_that_a_client_names_is_its_conversation(name):
    named = parsed_request({name: b"one"}, body=TALK).conversation_key()
    assert named == parsed_request({name: b"one"}, body=TALK.replace(b"hi", b"ho")).conversation_key()
    assert named != parsed_request({name: b"two"}, body=TALK).conversation_key()
    assert parsed_request({name: b""}, body=TALK).conversation_key() == parsed_request(body=TALK).conversation_key()


def test_the_most_specific_header_counts():
    every = dict.fromkeys(SESSIONS, b"other")
    for position, name in enumerate(SESSIONS):
        others = dict(list(every.items())[position + 1 :])
        alone = parsed_request({name: b"one"}, body=TALK).conversation_key()
        assert parsed_request({**others, name: b"one"}, body=TALK).conversation_key() == alone


def test_clients_with_keys_of_their_own_have_conversations_of_their_own():
    keys = [key_digest("a"), key_digest("b")]
    bearers = [parsed_request({b"authorization": b"Bearer " + key}, keys=keys, body=TALK) for key in (b"a", b"b")]
    one, other = (request.conversation_key() for request in bearers)
    assert one != other


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("embeddings", b'{"model":"m","input":"hi"}'),
        ("rerank", b'{"model":"m","query":"hi","documents":[]}'),
        ("completions", b'{"model":"m","prompt":"hi"}'),
        ("chat", b'{"model":"m","messages":[]}'),
    ],
)
def test_what_is_no_conversation(route, body):
    assert parsed_request(body=body, route=route).conversation_key() is None


def test_a_session_of_other_operations_is_no_conversation():
    embeddings = parsed_request({b"session-id": b"x"}, body=b'{"model":"m","input":"hi"}', route="embeddings")
    assert embeddings.conversation_key() is None
