"""Providers' errors, retry times and envelopes."""

import pytest

from nulpoint.errors import Failure, Kind
from nulpoint.wire.completions import to_chat
from nulpoint.wire.envelope import read_envelope
from nulpoint.wire.provider_error import provider_failure, redact
from nulpoint.wire.retry_after import retry_after_value, seconds_to_wait


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
