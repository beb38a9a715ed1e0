"""Providers' errors, retry times and envelopes."""

import pytest

from nulpoint.errors import Failure, Kind
from nulpoint.wire.completions import to_chat
from nulpoint.wire.envelope import read_envelope
from nulpoint.wire.provider_error import embedded_error, embedded_status, provider_failure, redact
from nulpoint.wire.retry_after import retry_after_value, seconds_to_wait, wait_of


@pytest.mark.parametrize(
    ("status", "seen", "kind"),
    [
        (400, 400, Kind.REJECTED), (401, 401, Kind.AUTH), (403, 401, Kind.AUTH), (404, 404, Kind.REJECTED),
        (413, 413, Kind.REJECTED), (422, 400, Kind.REJECTED), (429, 429, Kind.RATE_LIMIT), (500, 502, Kind.UPSTREAM),
        (503, 502, Kind.UPSTREAM), (504, 502, Kind.UPSTREAM), (529, 502, Kind.UPSTREAM),
    ],
)  # fmt: skip
def test_statuses_as_the_brief_has_them(status, seen, kind):
    failure = provider_failure("p", status, b"{}", None)
    assert (failure.status, failure.kind) == (seen, kind)
    assert failure.retry_after == (60.0 if status == 429 else None)


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (b'{"error":{"message":"m","type":"t","param":"p","code":"c"}}', "m", "c"),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}', "m", "provider_500"),
        (b'[{"error":{"code":500,"message":"m","status":"INTERNAL"}}]', "m", "INTERNAL"),
        (b'{"object":"error","message":"m","code":"3280"}', "m", "3280"),
        (b'{"detail":"m"}', "m", "provider_500"),
        (b'{"error":"m"}', "m", "provider_500"),
        (b"<html><style>x{}</style><h1>Bad</h1> gateway</html>", "Bad gateway", "provider_500"),
        (b"", "p answered 500 without saying why", "provider_500"),
        (b"\xff\xfe", "\ufffd\ufffd", "provider_500"),
    ],
)
def test_every_shape_of_error(body, message, code):
    failure = provider_failure("p", 500, body, None)
    assert (failure.message, failure.code) == (message, code)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ('{"code":429}', 429), ('{"code":503,"type":"rate_limit_error"}', 503), ('{"code":"502"}', 502),
        ('{"status_code":418}', 418), ('{"code":null,"status_code":401}', 401), ('{"code":200}', 500), ('{"code":600}', 500),
        ('{"code":true}', 500), ('{"code":4000}', 500), ('{"code":429.0}', 500), ('{"code":[429]}', 500), ('{"code":{}}', 500),
        ('{"code":"rate_limit_exceeded"}', 429), ('{"type":"rate_limit_error"}', 429),
        ('{"code":"insufficient_quota","type":"insufficient_quota"}', 429), ('{"type":"overloaded_error"}', 529),
        ('{"code":"context_length_exceeded","type":"invalid_request_error"}', 400), ('{"type":"authentication_error"}', 401),
        ('{"code":"model_not_found","type":"invalid_request_error"}', 404), ('{"type":"permission_error"}', 403),
        ('{"type":"server_error"}', 500), ('{"message":"429 rate limit"}', 500), ('"rate_limit_error"', 500), ('[1]', 500),
    ],
)  # fmt: skip
def test_the_status_of_an_error_that_came_with_a_good_one(error, status):
    body = f'{{"error":{error}}}'.encode()
    assert embedded_error(body)
    assert embedded_status(body) == status


def test_an_embedded_error_is_of_the_kind_it_says():
    body = b'{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}'
    assert provider_failure("p", embedded_status(body), body, None).kind is Kind.QUOTA
    body = b'{"error":{"message":"m","type":"invalid_request_error","code":null}}'
    assert provider_failure("p", embedded_status(body), body, None).kind is Kind.REJECTED


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"error":null}',
        b'{"error":{}}',
        b'{"error":""}',
        b'[{"error":1}]',
        b'{"error":',
        b'{"choices":[{}],"error":"x"}',
    ],
)
def test_what_is_no_embedded_error(body):
    assert not embedded_error(body)


def test_no_key_is_repeated():
    text = "Incorrect API key provided: sk-proj-****abcd. Yours is hunter2 and Bearer abc.def"
    shown = redact(text, "hunter2")
    assert "sk-proj" not in shown
    assert "hunter2" not in shown
    assert "abc.def" not in shown


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), (b"7", 7.0), (b"1.5", 1.5), (b"-1", None), (b"0", None), (b"soon", None), (b"nan", None),
        (b"Thu, 01 Jan 1970 00:01:40 GMT", 100.0), (b"Thu, 01 Jan 1970 00:00:00 GMT", None),
    ],
)  # fmt: skip
def test_retry_after(value, seconds):
    assert seconds_to_wait(value, now=0.0) == seconds


@pytest.mark.parametrize(
    ("milliseconds", "seconds", "wait"),
    [
        (b"1500", None, 1.5), (b"1500", b"7", 1.5), (b"1", b"7", 0.001), (None, b"7", 7.0), (None, None, None),
        (b"0", b"7", 7.0), (b"-1", b"7", 7.0), (b"soon", b"7", 7.0), (b"", b"7", 7.0), (b"1e3", b"7", 7.0),
        (b"9" * 400, b"7", 7.0), (b"Thu, 01 Jan 1970 00:01:40 GMT", b"7", 7.0), (b"soon", None, None),
        (None, b"Thu, 01 Jan 1970 00:01:40 GMT", 100.0), (None, b"Thu, 99 Jan 1970", None), (None, b"inf", None),
        (None, b"Thu, 01 Jan 99999 00:01:40 GMT", None), (None, b"\xff", None), (None, b"1000000000", 1e9),
    ],
)  # fmt: skip
def test_milliseconds_before_seconds(milliseconds, seconds, wait):
    assert wait_of(milliseconds, seconds, now=0.0) == wait


@pytest.mark.parametrize(
    ("delay", "wait", "guessed"), [("45.8s", 45.8, False), ("0s", 60.0, True), ("-3s", 60.0, True)]
)
def test_the_wait_google_names_in_the_body(delay, wait, guessed):
    body = f'{{"error":{{"code":429,"message":"m","details":[{{"@type":"x"}},{{"retryDelay":"{delay}"}}]}}}}'.encode()
    failure = provider_failure("gemini", 429, body, None)
    assert (failure.retry_after, failure.wait_guessed) == (wait, guessed)
    assert failure.named_wait == (None if guessed else wait)
    assert provider_failure("gemini", 429, body, 3.0).retry_after == 3.0  # the header counts first


def test_retry_after_is_rounded_up():
    assert (retry_after_value(0.2), retry_after_value(45.8)) == (b"1", b"46")


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (b"", None, "invalid_json"), (b"{", None, "invalid_json"), (b'{"model":"m"} x', None, "invalid_json"),
        (b'{"model":"m","x":NaN}', None, "invalid_json"), (b"\xef\xbb\xbf{}", None, "invalid_json"),
        (b"[]", None, "invalid_type"), (b'"x"', None, "invalid_type"), (b"null", None, "invalid_type"),
        (b"{}", "model", "missing_required_parameter"), (b'{"model":null}', "model", "invalid_type"),
        (b'{"model":7}', "model", "invalid_type"), (b'{"model":""}', "model", "invalid_value"),
        (b'{"model":"m","stream":"yes"}', "stream", "invalid_type"),
        (b'{"model":"m","a":' + b"[" * 100_000, None, "invalid_json"),
    ],
)  # fmt: skip
def test_bad_envelopes_name_the_field(body, param, code):
    with pytest.raises(Failure) as caught:
        read_envelope(body)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"model":"m"}', "prompt"), (b'{"model":"m","prompt":["a","b"]}', "prompt"),
        (b'{"model":"m","prompt":[1,2]}', "prompt"), (b'{"model":"m","prompt":"a","suffix":"b"}', "suffix"),
        (b'{"model":"m","prompt":"a","echo":true}', "echo"), (b'{"model":"m","prompt":"a","best_of":3}', "best_of"),
    ],
)  # fmt: skip
def test_what_chat_cannot_complete_is_refused(body, param):
    with pytest.raises(Failure) as caught:
        to_chat(body)
    assert caught.value.param == param
