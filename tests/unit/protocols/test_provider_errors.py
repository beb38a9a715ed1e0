"""Tests the conversion of provider errors, waits before a retry, and the checks of request envelopes."""

import json

import pytest

from nulpoint.api.admin import AdminError
from nulpoint.errors import Failure, Kind
from nulpoint.formats.retry_after import format_retry_after, parse_retry_after, parse_retry_after_headers
from nulpoint.formats.sse import EventTooLargeError
from nulpoint.protocols.openai.client import OPENAI_CLIENT
from nulpoint.protocols.openai.envelope import read_envelope
from nulpoint.protocols.provider_errors import embedded_failure, provider_failure
from nulpoint.redaction.credential_matcher import CredentialMatcher
from nulpoint.redaction.text import redact
from nulpoint.request.headers import failure_headers


@pytest.mark.parametrize(
    ("status", "seen", "kind"),
    [
        (400, 400, Kind.REJECTED), (401, 401, Kind.AUTH), (403, 401, Kind.AUTH), (404, 404, Kind.NOT_FOUND),
        (410, 404, Kind.NOT_FOUND), (413, 413, Kind.TOO_LONG), (422, 400, Kind.REJECTED), (429, 429, Kind.RATE_LIMIT), (500, 502, Kind.UPSTREAM),
        (499, 502, Kind.UPSTREAM), (503, 502, Kind.UPSTREAM), (504, 502, Kind.UPSTREAM), (529, 502, Kind.UPSTREAM),
    ],
)  # fmt: skip
def test_status_shown_for_each_provider_status(status, seen, kind):
    failure = provider_failure("p", status, b"{}", None)
    assert (failure.status, failure.kind) == (seen, kind)
    assert failure.retry_after == (60.0 if status == 429 else None)


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (b'{"error":{"message":"m","type":"t","param":"p","code":"c"}}', "m", "c"),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}', "m", "server_is_overloaded"),
        (b'[{"error":{"code":500,"message":"m","status":"INTERNAL"}}]', "m", "INTERNAL"),
        (b'{"object":"error","message":"m","code":"3280"}', "m", "3280"),
        (b'{"detail":"m"}', "m", "provider_500"),
        (b'{"error":"m"}', "m", "provider_500"),
        (b'{"error":"m","code":"invalid-argument"}', "m", "invalid-argument"),
        (b'{"error":{"message":"m","code":520}}', "m", "provider_500"),
        (b'{"error":{"message":null},"message":"x"}', "p answered 500 without saying why", "provider_500"),
        (b'{"error":null,"message":"m"}', "m", "provider_500"),
        (b'{"error":{}}', "p answered 500 without saying why", "provider_500"),
        (b'{"error":5}', '{"error":5}', "provider_500"),
        (b'{"message":{"detail":[{"loc":["x"]}]}}', '{"detail":[{"loc":["x"]}]}', "provider_500"),
        (b"<html><style>x{}</style><h1>Bad</h1> gateway</html>", "Bad gateway", "provider_500"),
        (b"<!DOCTYPE html><!--[if lt IE 7]> <b> <![endif]--><title>Oops</title><script>x", "Oops", "provider_500"),
        (b"<p>" + b"x " * 5000 + b"<a href=", ("x " * 100), "provider_500"),
        (b"upstream: 1 < 2 failed", "upstream: 1 < 2 failed", "provider_500"),
        (b"", "p answered 500 without saying why", "provider_500"),
        (b"\xff\xfe", "\ufffd\ufffd", "provider_500"),
    ],
)
def test_every_format_of_error_body(body, message, code):
    failure = provider_failure("p", 500, body, None)
    assert (failure.message, failure.code) == (message, code)


@pytest.mark.parametrize(
    ("status", "error", "seen", "code", "type_"),
    [
        # OpenAI's own error types are kept, and those of other providers become OpenAI's.
        (401, {"type": "invalid_request_error", "code": "invalid_api_key"}, 401, "invalid_api_key",
         "invalid_request_error"),
        (401, {"type": "authentication_error"}, 401, "invalid_api_key", "authentication_error"),
        (401, {"code": 401}, 401, "invalid_api_key", "authentication_error"),
        (402, {"type": "billing_error"}, 402, "insufficient_quota", "insufficient_quota"),
        (403, {"type": "permission_error"}, 401, "provider_403", "permission_error"),
        (403, {"status": "PERMISSION_DENIED"}, 401, "PERMISSION_DENIED", "permission_error"),
        (404, {"type": "not_found_error"}, 404, "model_not_found", "invalid_request_error"),
        (404, {"code": 404, "status": "NOT_FOUND"}, 404, "model_not_found", "invalid_request_error"),
        (413, {"type": "request_too_large"}, 413, "request_too_large", "invalid_request_error"),
        (422, {"code": "3280", "type": "invalid_request_message_order"}, 400, "3280", "invalid_request_message_order"),
        (429, {"code": "1300", "type": "rate_limited"}, 429, "rate_limit_exceeded", "rate_limit_error"),
        (429, {"code": "insufficient_quota", "type": "insufficient_quota"}, 429, "insufficient_quota",
         "insufficient_quota"),
        (503, {"status": "UNAVAILABLE", "code": 503}, 502, "server_is_overloaded", "service_unavailable_error"),
        (503, {"type": "service_tier_capacity_exceeded"}, 502, "server_is_overloaded", "service_unavailable_error"),
        (529, {"type": "overloaded_error"}, 502, "server_is_overloaded", "service_unavailable_error"),
        (504, {"type": "timeout_error"}, 502, "provider_timeout", "timeout_error"),
        (408, {}, 504, "provider_timeout", "timeout_error"),
        (500, {"type": "api_error"}, 502, "provider_500", "api_error"),
    ],
)  # fmt: skip
def test_codes_and_types(status, error, seen, code, type_):
    failure = provider_failure("p", status, json.dumps({"error": {"message": "m", **error}}).encode(), None)
    assert (failure.status, failure.code, failure.type) == (seen, code, type_)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        ({"code": 429}, 429, Kind.RATE_LIMIT), ({"status_code": 400}, 400, Kind.REJECTED), ({"code": 7}, 502, Kind.UPSTREAM),
        ({"code": 403}, 401, Kind.AUTH), ({"code": "408"}, 502, Kind.UPSTREAM), ({"code": 408}, 504, Kind.TIMEOUT),
        ({"type": "rate_limit_error"}, 429, Kind.RATE_LIMIT), ({"type": "timeout_error"}, 502, Kind.UPSTREAM),
        ({"type": "server_error", "code": "rate_limit_exceeded"}, 429, Kind.RATE_LIMIT), ({}, 502, Kind.UPSTREAM),
    ],
)  # fmt: skip
def test_the_body_of_an_embedded_error_determines_the_status(error, status, kind):
    failure = embedded_failure("p", json.dumps({"error": {"message": "m", **error}}).encode())
    assert (failure.status, failure.kind, failure.message) == (status, kind, "m")


def google(quota, delay):
    details = [{"@type": "google.rpc.QuotaFailure", "violations": [{"quotaId": quota}]}]
    details += [{"@type": "google.rpc.RetryInfo", "retryDelay": delay}] if delay else []
    return json.dumps(
        {"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED", "details": details}}
    ).encode()


@pytest.mark.parametrize(
    ("quota", "delay", "header", "code", "wait"),
    [
        ("GenerateRequestsPerMinutePerProject", "45.837906927s", None, "rate_limit_exceeded", 45.837906927),
        ("GenerateRequestsPerMinutePerProject", "48s", 7.0, "rate_limit_exceeded", 7.0),
        ("GenerateRequestsPerMinutePerProject", "soon", None, "rate_limit_exceeded", 60.0),
        ("GenerateRequestsPerDayPerProject", None, None, "insufficient_quota", 60.0),
    ],
)
def test_quotas_of_google(quota, delay, header, code, wait):
    failure = provider_failure("gemini", 429, google(quota, delay), header)
    assert (failure.status, failure.code, failure.retry_after) == (429, code, wait)


def test_exhausted_quotas_tell_the_client_not_to_retry():
    fields = failure_headers(provider_failure("gemini", 429, google("GenerateRequestsPerDay", "5s"), None), b"id")
    assert b"retry-after: 5\r\nx-should-retry: false\r\n" in fields
    fields = failure_headers(provider_failure("gemini", 429, google("GenerateRequestsPerMinute", "5s"), None), b"id")
    assert b"x-should-retry" not in fields


@pytest.mark.parametrize(
    "text",
    ["skeleton_count is unknown", "keyboard_layout must be one of a, b", "hf-transformers is no model", "pkginfo.missing_field",
     "use key_frames_per_second"],
)  # fmt: skip
def test_ordinary_words_are_not_redacted(text):
    assert redact(text) == text


def test_keys_are_redacted():
    text = "Incorrect API key provided: sk-proj-****abcd. Yours is hunter2 and Bearer abc.def"
    shown = redact(text, CredentialMatcher("hunter2"))
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
    assert parse_retry_after(value, now=0.0) == seconds


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
    assert parse_retry_after_headers(milliseconds, seconds, now=0.0) == wait


@pytest.mark.parametrize(
    ("delay", "wait", "guessed"), [("45.8s", 45.8, False), ("0s", 60.0, True), ("-3s", 60.0, True)]
)
def test_the_wait_in_the_body_of_a_google_error(delay, wait, guessed):
    body = f'{{"error":{{"code":429,"message":"m","details":[{{"@type":"x"}},{{"retryDelay":"{delay}"}}]}}}}'.encode()
    failure = provider_failure("gemini", 429, body, None)
    assert (failure.retry_after, failure.retry_after_guessed) == (wait, guessed)
    assert failure.provider_retry_after == (None if guessed else wait)
    assert provider_failure("gemini", 429, body, 3.0).retry_after == 3.0  # the header overrides the body


def test_retry_after_is_rounded_up():
    assert (format_retry_after(0.2), format_retry_after(45.8)) == (b"1", b"46")


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


def test_a_failure_does_not_change():
    failure = Failure(Kind.RATE_LIMIT, 429, "text", code="c", retry_after=3.0)
    with pytest.raises(AttributeError):
        failure.retry_after = 5.0
    later = failure.with_retry_after(5.0).with_headers(b"a: b\r\n").with_attempts([{"provider": "p"}])
    assert (failure.retry_after, failure.headers, failure.attempts) == (3.0, b"", ())
    assert (later.retry_after, later.headers, later.kind, later.code) == (5.0, b"a: b\r\n", Kind.RATE_LIMIT, "c")
    assert b'"attempts":[{"provider":"p"}]' in OPENAI_CLIENT.error_body(later)
    assert str(later.with_texts("other", None, None, "t", None)) == "other"


@pytest.mark.parametrize(
    "failure", [EventTooLargeError(), AdminError(["a problem"])], ids=lambda one: type(one).__name__
)
def test_a_changed_copy_is_of_the_same_class(failure):
    changed = failure.with_retry_after(2.0)
    assert type(changed) is type(failure)
    assert OPENAI_CLIENT.error_body(changed) == OPENAI_CLIENT.error_body(failure)
