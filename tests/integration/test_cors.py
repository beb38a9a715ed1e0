"""Tests cross-origin requests as defined in the Fetch standard, section "CORS protocol"."""

import pytest

from nulpoint.api.cors import CorsPolicy
from support.event_loop import run
from support.http_client import CHAT, STREAM, Caller, post
from support.running_gateway import gateway

HERE, EVIL = b"https://app.example.com", b"https://evil.example"
ALL, LIST = CorsPolicy(("*",)), CorsPolicy((HERE.decode(), "http://localhost:3000"))


def fields(block):
    return dict(line.split(b": ", 1) for line in block.split(b"\r\n") if line)


@pytest.mark.parametrize("headers", [{}, {b"origin": HERE}, {b"origin": b"null"}], ids=["none", "some", "null"])
def test_with_all_origins_allowed_every_response_has_the_same_headers(headers):
    assert fields(ALL.response_headers(headers)) == {
        b"access-control-allow-origin": b"*",
        b"access-control-expose-headers": b"*",
    }


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (HERE, True), (b"http://localhost:3000", True), (EVIL, False), (b"null", False), (b"*", False), (b"", False),
        (None, False), (HERE + b".evil.example", False), (b"http://app.example.com", False), (HERE + b":8443", False),
        (b"https://App.Example.com", False), (HERE + b", " + EVIL, False), (b"https://evil.example#" + HERE, False),
    ],
)  # fmt: skip
def test_with_a_list_only_an_allowed_origin_is_named(origin, allowed):
    headers = {} if origin is None else {b"origin": origin}
    answer = fields(LIST.response_headers(headers))
    assert answer[b"vary"] == b"Origin"
    assert answer.get(b"access-control-allow-origin") == (origin if allowed else None)
    assert (b"access-control-expose-headers" in answer) == allowed
    preflight = fields(LIST.preflight_headers({**headers, b"access-control-request-method": b"POST"}))
    assert preflight.get(b"access-control-allow-origin") == (origin if allowed else None)
    assert (b"access-control-allow-methods" in preflight) == allowed


def preflight(cors, asked=None):
    headers = {b"origin": HERE, b"access-control-request-method": b"POST"}
    return fields(cors.preflight_headers({**headers, **({b"access-control-request-headers": asked} if asked else {})}))


@pytest.mark.parametrize(("cors", "origin"), [(ALL, b"*"), (LIST, HERE)], ids=["all", "list"])
def test_a_preflight_names_the_headers_one_by_one(cors, origin):
    asked = b"authorization,content-type,x-stainless-lang"  # `*` would not cover Authorization
    answer = preflight(cors, asked)
    assert answer[b"access-control-allow-headers"] == asked
    assert answer[b"vary"] == b"Origin, Access-Control-Request-Headers"
    assert answer[b"access-control-allow-origin"] == origin
    assert b"POST" in answer[b"access-control-allow-methods"].split(b", ")
    assert int(answer[b"access-control-max-age"]) > 0


@pytest.mark.parametrize("asked", [None, b"a\tb", b"x: y", b"<script>", b"\xfc", b"x" * 5000])
def test_only_valid_header_names_are_repeated(asked):
    assert b"access-control-allow-headers" not in preflight(ALL, asked)


@pytest.mark.parametrize("cors", [ALL, LIST], ids=["all", "list"])
def test_credentials_are_never_allowed(cors):
    asked = {b"origin": HERE, b"access-control-request-method": b"POST", b"cookie": b"a=b"}
    assert b"credentials" not in cors.response_headers(asked) + cors.preflight_headers(asked)


def test_options_without_a_requested_method_is_no_preflight():
    assert LIST.preflight_headers({b"origin": HERE}) == LIST.response_headers({b"origin": HERE})


ORIGIN = f"Origin: {HERE.decode()}"
WAYS = [
    ("a page", f"GET /v1/models HTTP/1.1\r\nHost: x\r\n{ORIGIN}\r\n\r\n".encode(), 200),
    ("an answer", post(CHAT, "/v1/chat/completions", ORIGIN), 200),
    ("a stream", post(STREAM, "/v1/chat/completions", ORIGIN), 200),
    ("an error", post(b"{}", "/v1/chat/completions", ORIGIN), 400),
    ("no such path", f"GET /nowhere HTTP/1.1\r\nHost: x\r\n{ORIGIN}\r\n\r\n".encode(), 404),
    ("a body too large", post(b"x" * 2000, "/v1/chat/completions", ORIGIN), 413),
    ("plain text", post(CHAT, "/v1/chat/completions", ORIGIN).replace(b"application/json", b"text/plain"), 415),
    (
        "a preflight",
        f"OPTIONS /v1/embeddings HTTP/1.1\r\nHost: x\r\n{ORIGIN}\r\nAccess-Control-Request-Method: POST\r\n\r\n".encode(),
        204,
    ),
]


@pytest.mark.parametrize("origins", ["*", f"https://other.example,{HERE.decode()}", "https://other.example"])
@pytest.mark.parametrize(("request_bytes", "status"), [way[1:] for way in WAYS], ids=[way[0] for way in WAYS])
def test_every_response_has_cors_headers(request_bytes, status, origins):
    async def main():
        async with gateway({"CORS_ORIGINS": origins, "MAX_BODY_BYTES": "1000"}) as running:
            caller = await Caller.connect(running.port)
            caller.send(request_bytes)
            seen, headers, _ = await caller.answer()
            assert seen == status
            wanted = "*" if origins == "*" else HERE.decode() if HERE.decode() in origins else None
            assert headers.get("access-control-allow-origin") == wanted
            assert origins == "*" or headers["vary"].startswith("Origin")
            assert "access-control-allow-credentials" not in headers

    run(main())
