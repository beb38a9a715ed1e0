"""Requests through the whole gateway, over sockets, to mock providers."""

import asyncio
import base64
import itertools
import json

import openai
import pytest

from nulpoint.mock import MockSettings
from support.event_loop import run, until
from support.http_client import CHAT, STREAM, Caller, post
from support.running_gateway import gateway

ODD = b'{ "model" :"gpt-4o","messages":[{"role":"user","content":"h\\u00e9\xc3\xa9","x":1e300}],"unknown":{"model":1,"a":[1.0,0.10]},"n":1 }'


async def ask(running, body=CHAT, path="/v1/chat/completions", *fields):
    caller = await Caller.connect(running.port)
    caller.send(post(body, path, *fields))
    return await caller.answer()


def sent_body(server):
    return base64.b64decode(server.last["body"])


def sent_headers(server):
    return dict(server.last["headers"])


def test_the_body_goes_byte_for_byte_and_the_answer_comes_back_so():
    async def main():
        async with gateway() as running:
            _, headers, through = await ask(running, ODD)
            assert sent_body(running.mock) == ODD
            running.mock.requests = 0
            reader, writer = await asyncio.open_connection("127.0.0.1", running.mock.port)
            direct = Caller(reader, writer)
            Caller.opened.append(direct)
            direct.send(post(ODD, "/v1/chat/completions", "Authorization: Bearer x"))
            assert through == (await direct.answer())[2]
            assert headers["x-nulpoint-provider"] == "openai"

    run(main())


def test_a_mapped_model_changes_its_span_only():
    async def main():
        async with gateway() as running:
            await ask(running, ODD.replace(b"gpt-4o", b"openai/anything:at/all"))
            assert sent_body(running.mock) == ODD.replace(b"gpt-4o", b"anything:at/all")

    run(main())


def test_headers_both_ways_are_allow_lists():
    fields = (
        "Authorization: Bearer callers-own", "Cookie: a=b", "X-Forwarded-For: 1.2.3.4", "Forwarded: for=1", "TE: trailers",
        "Connection: x-secret", "X-Secret: 1", "Proxy-Authorization: Basic eA==", "OpenAI-Organization: org-caller",
        "OpenAI-Beta: assistants=v2", "X-Mock-Fault: stall",
    )  # fmt: skip

    async def main():
        async with gateway() as running:
            _, headers, _ = await ask(running, CHAT, "/v1/chat/completions", *fields)
            sent = sent_headers(running.mock)
            assert sent["authorization"] == "Bearer sk-configured-openai"
            assert set(sent) == {
                "host", "user-agent", "accept", "accept-encoding", "content-type", "authorization", "openai-beta", "content-length",
            }  # fmt: skip
            assert sent["accept-encoding"] == "identity"
            assert headers["x-request-id"].startswith("req_mock")
            assert headers["openai-processing-ms"] == "12"
            assert headers["x-ratelimit-remaining-requests"] == "9999"
            assert not {"set-cookie", "server", "openai-organization"} & set(headers)

    run(main())


def test_callers_keys_are_forwarded_only_when_allowed():
    async def main():
        async with gateway({"ALLOW_CLIENT_API_KEYS": "true"}) as running:
            await ask(running, CHAT, "/v1/chat/completions", "Authorization: Bearer callers-own")
            assert sent_headers(running.mock)["authorization"] == "Bearer callers-own"
            await ask(running, CHAT, "/v1/chat/completions", "X-Api-Key: another")
            assert sent_headers(running.mock)["authorization"] == "Bearer another"
            await ask(running)
            assert sent_headers(running.mock)["authorization"] == "Bearer sk-configured-openai"
            status, _, body = await ask(running, b'{"model":"groq/x","messages":[]}')
            assert status == 401
            assert "groq" in json.loads(body)["error"]["message"]

    run(main())


@pytest.mark.parametrize(
    ("body", "hidden"),
    [
        (STREAM, True),
        (STREAM.replace(b'"stream":true', b'"stream":true,"stream_options":{"include_usage":true}'), False),
        (STREAM.replace(b'"stream":true', b'"stream":true,"stream_options":{"include_obfuscation":false}'), True),
        (STREAM.replace(b'"stream":true', b'"stream_options":null,"stream":true'), True),
    ],
)
def test_usage_is_learnt_from_streams_and_shown_only_to_who_asked(body, hidden):
    async def main():
        async with gateway() as running:
            _, headers, events = await ask(running, body)
            assert headers["content-type"].startswith("text/event-stream")
            assert events.endswith(b"data: [DONE]\n\n")
            assert (b'"prompt_tokens"' in events) is not hidden
            sent = json.loads(sent_body(running.mock))
            assert sent["stream_options"]["include_usage"] is True
            assert sent["stream_options"].get("include_obfuscation") in (None, False)
            record = json.loads(running.log())
            assert record["usage"]["prompt"] > 0
            assert record["stream"] is True

    run(main())


def test_each_read_is_passed_on_at_once():
    async def main():
        async with gateway(mock=MockSettings(chunk_ms=30)) as running:
            caller = await Caller.connect(running.port)
            caller.send(post(STREAM))
            await caller.reader.readuntil(b"data: ")
            assert running.mock.stats()["open_connections"] == 1
            times = []
            while b"[DONE]" not in await caller.reader.readuntil(b"\n\n"):
                times.append(asyncio.get_running_loop().time())
            gaps = [b - a for a, b in itertools.pairwise(times)]
            assert sum(gap > 0.015 for gap in gaps) >= len(gaps) * 0.7

    run(main())


FAULTS = [
    ("refuse", False, 502, "provider_disconnected"), ("reset_before_head", False, 502, "provider_disconnected"),
    ("close_before_head", False, 502, "provider_disconnected"), ("reset_after_head", False, 502, "provider_disconnected"),
    ("stall", False, 504, "provider_timeout"), ("malformed_json", False, 502, "provider_malformed"),
    ("wrong_length", False, 502, "provider_disconnected"), ("rate_limit", False, 429, "rate_limit_exceeded"),
    ("html_error", False, 502, "provider_502"), ("error_in_200", False, 502, "provider_500"),
    ("huge_head", False, 502, "provider_malformed"), ("short_length", False, 200, None), ("gzip", False, 200, None),
    ("close_delimited", False, 200, None), ("informational", False, 200, None), ("slow_drip", False, 200, None),
    ("reset_before_head", True, 502, "provider_disconnected"), ("stall", True, 504, "provider_timeout"),
    ("reset_after_head", True, 502, "provider_disconnected"), ("malformed_json", True, 502, "provider_malformed"),
    ("rate_limit", True, 429, "rate_limit_exceeded"), ("html_error", True, 502, "provider_502"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "stream", "status", "code"), FAULTS, ids=[f"{f[0]}-{'stream' if f[1] else 'whole'}" for f in FAULTS]
)
def test_faults_before_the_answer_has_begun(fault, stream, status, code):
    async def main():
        async with gateway({"PROVIDER_TIMEOUT": "300ms", "MAX_RETRIES": "1"}) as running:
            running.mock.set_fault(fault, 1, arg=1 if fault == "slow_drip" else None)
            got, headers, body = await ask(running, STREAM if stream else CHAT)
            assert got == status
            if code is None:
                assert json.loads(body)["object"] == "chat.completion"
            else:
                error = json.loads(body)["error"]
                assert error["code"] == code
                assert error["message"]
                assert "<" not in error["message"]
            assert ("retry-after" in headers) == (status == 429)
            assert (await ask(running))[0] == 200  # and the next one is well
            assert running.app.runtime.recorder.inflight == 0

    run(main())


def test_the_provider_s_retry_after_is_kept():
    async def main():
        async with gateway({"MAX_RETRIES": "1"}) as running:
            running.mock.set_fault("rate_limit", 1, arg=7)
            assert (await ask(running))[1]["retry-after"] == "7"
            running.mock.set_fault("rate_limit", 1)
            assert (await ask(running))[1]["retry-after"] == "60"

    run(main())


@pytest.mark.race
@pytest.mark.parametrize("fault", ["cut_mid_stream", "reset_mid_stream", "end_mid_stream", "stall_mid_stream"])
@pytest.mark.parametrize("after", [1, 2, 3, 5, 11])
def test_a_cut_stream_is_never_shown_as_whole(fault, after):
    async def main():
        async with gateway({"STREAM_IDLE_TIMEOUT": "200ms", "MAX_RETRIES": "1"}) as running:
            running.mock.set_fault(fault, 1, arg=after)
            caller = await Caller.connect(running.port)
            caller.send(post(STREAM, "/v1/chat/completions", "Connection: close"))
            received = await caller.rest()
            assert b"[DONE]" not in received
            assert not received.endswith(b"0\r\n\r\n")
            if after > 1 or b"200 OK" in received:
                assert b'data: {"error":' in received
            record = json.loads(running.log())
            assert record["error"] in ("upstream", "timeout")

    run(main())


@pytest.mark.parametrize("fault", ["cut_mid_stream", "end_mid_stream", "error_mid_stream"])
def test_the_official_sdk_raises_on_a_cut_stream(fault):
    async def main():
        async with gateway() as running:
            running.mock.set_fault(fault, 1, arg=4)
            async with openai.AsyncOpenAI(base_url=running.url, api_key="x", max_retries=0) as client:
                stream = await client.chat.completions.create(
                    model="gpt-4o", messages=[{"role": "user", "content": "x"}], stream=True
                )
                seen = []
                with pytest.raises(openai.APIError):
                    async for chunk in stream:
                        seen.append(chunk)
                assert 1 <= len(seen) <= 4
                assert all(chunk.choices[0].finish_reason is None for chunk in seen)

    run(main())


BAD = [
    (post(b"{"), 400, None, "invalid_json"),
    (post(b"[]"), 400, None, "invalid_type"),
    (post(b"{}"), 400, "model", "missing_required_parameter"),
    (post(b'{"model":5}'), 400, "model", "invalid_type"),
    (post(b'{"model":"claude-3-opus"}'), 400, "model", "provider_not_configured"),
    (post(b'{"model":"a/b","model":"openai/c"}'), 400, "model", "duplicate_field"),
    (post(CHAT).replace(b"application/json", b"text/plain"), 415, None, "unsupported_media_type"),
    (post(CHAT, "/v1/chat/completions", "Content-Encoding: lz4"), 415, None, "unsupported_media_type"),
    (post(CHAT, "/v1/chat/completions", "Content-Encoding: gzip"), 400, None, "invalid_content_encoding"),
    (post(CHAT, "/v1/nowhere"), 404, None, "unknown_path"),
    (b"GET /v1/chat/completions HTTP/1.1\r\nHost: x\r\n\r\n", 405, None, "method_not_allowed"),
    (post(CHAT, "/health"), 405, None, "method_not_allowed"),
    (b"DELETE /v1/models/gpt-4o HTTP/1.1\r\nHost: x\r\n\r\n", 405, None, "method_not_allowed"),
    (b"GET /v1/models/who-knows HTTP/1.1\r\nHost: x\r\n\r\n", 404, "model", "model_not_found"),
]


@pytest.mark.parametrize(("request_bytes", "status", "param", "code"), BAD)
def test_bad_input_is_told_in_the_envelope(request_bytes, status, param, code):
    async def main():
        async with gateway() as running:
            caller = await Caller.connect(running.port)
            caller.send(request_bytes)
            got, headers, body = await caller.answer()
            error = json.loads(body)["error"]
            assert (got, error["param"], error["code"]) == (status, param, code)
            assert error["type"] == "invalid_request_error"
            assert ("allow" in headers) == (status == 405)
            assert running.mock.requests == 0

    run(main())


def test_a_post_without_a_content_type_is_fine_unless_a_browser_sent_it():
    async def main():
        async with gateway() as running:
            bare = post(CHAT).replace(b"Content-Type: application/json\r\n", b"")
            caller = await Caller.connect(running.port)
            caller.send(bare + bare.replace(b"Host: ", b"Origin: http://evil\r\nHost: "))
            assert (await caller.answer())[0] == 200
            assert (await caller.answer())[0] == 415

    run(main())


def test_dropped_fields_are_reported():
    async def main():
        async with gateway(names=("mistral",)) as running:
            body = b'{"model":"mistral-large","seed":7,"verbosity":"low","store":null,"messages":[{"role":"user","content":"x"}]}'
            status, headers, _ = await ask(running, body)
            assert (status, headers["x-nulpoint-dropped"]) == (200, "verbosity")
            sent = json.loads(sent_body(running.mocks["mistral"]))
            assert sent["random_seed"] == 7
            assert not {"seed", "verbosity", "store"} & set(sent)

    run(main())


def test_own_pages():
    async def main():
        async with gateway(names=("openai", "gemini")) as running:
            await ask(running)

            async def get(path):
                caller = await Caller.connect(running.port)
                caller.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                status, _, body = await caller.answer()
                return status, body

            health = json.loads((await get("/health"))[1])
            assert health["status"] == "ok"
            assert set(health["providers"]) == {"openai", "gemini"}
            assert (await get("/readiness"))[0] == 200
            running.app.process_state.ready = False
            assert (await get("/readiness"))[0] == 503
            models = {m["id"]: m["owned_by"] for m in json.loads((await get("/v1/models"))[1])["data"]}
            assert models["gpt-5.4"] == "openai"
            assert models["gemini-3.8-flash"] == "gemini"
            assert "gemini-1.5-pro" not in models  # the alias is routed, but its model has retired
            assert "claude-3-opus" not in models
            assert json.loads((await get("/v1/models/openai%2Fft:x"))[1])["owned_by"] == "openai"
            page = (await get("/metrics"))[1].decode()
            assert 'gateway_http_requests_total{route="chat",status="200"} 1.0' in page
            assert 'gateway_requests_total{provider="openai",status="200"} 1.0' in page
            assert 'gateway_http_request_duration_seconds_count{route="chat"} 1.0' in page
            assert 'direction="output"' in page

    run(main())


def test_metric_labels_are_bounded_and_every_request_is_counted_once():
    async def main():
        async with gateway() as running:
            caller = await Caller.connect(running.port)
            for number in range(300):
                caller.send(
                    post(
                        b'{"model":"openai/m%d","messages":[{}]}' % number,
                        f"/p{number}" if number % 2 else "/v1/chat/completions",
                    )
                )
                await caller.answer()
            page = running.app.metrics.page().decode()
            counted = [line for line in page.splitlines() if line.startswith("gateway_http_requests_total")]
            assert sum(float(line.split()[-1]) for line in counted) == 300
            assert len(counted) == 2
            assert len(running.log().splitlines()) == 300
            assert running.app.runtime.recorder.inflight == 0

    run(main())


def test_request_ids_are_taken_only_when_sane():
    async def main():
        async with gateway() as running:
            for given, taken in (("abc-1_2", True), ("a b", False), ("x" * 65, False), ("a;b", False)):
                _, headers, _ = await ask(running, CHAT, "/v1/chat/completions", f"X-Request-ID: {given}")
                assert (headers["x-nulpoint-request-id"] == given) is taken

    run(main())


def test_no_secret_shows_anywhere():
    canary = "CANARY-key-4711"

    async def main():
        async with gateway({"OPENAI_API_KEY": canary, "LOG_LEVEL": "debug"}) as running:
            seen = b""
            for fault in ("status", "html_error", "error_in_200", "reset_before_head", "malformed_json"):
                running.mock.set_fault(fault, 1, arg=401 if fault == "status" else None)
                _, headers, body = await ask(running)
                seen += body + str(headers).encode()
            seen += running.app.metrics.page() + running.log()
            assert canary.encode() not in seen
            assert canary not in repr(running.app.runtime.config)

    run(main())


@pytest.mark.race
def test_streams_are_never_mixed():
    async def main():
        async with gateway(mock=MockSettings(chunk_ms=1, stream_words=20)) as running:

            async def one(number):
                marker = b"m%05d" % number
                body = b'{"model":"openai/%b","stream":true,"messages":[{"role":"user","content":"x"}]}' % marker
                caller = await Caller.connect(running.port)
                caller.send(post(body))
                if number % 3 == 0:
                    await caller.reader.readuntil(b"data: ")
                    caller.writer.transport.abort()
                    return
                events = (await caller.answer())[2]
                chunks = [json.loads(line[6:]) for line in events.split(b"\n\n") if line.startswith(b"data: {")]
                assert {chunk["model"].encode() for chunk in chunks} == {marker}
                assert events.endswith(b"[DONE]\n\n")

            await asyncio.gather(*(one(number) for number in range(150)))
            await until(lambda: running.app.runtime.recorder.inflight == 0)

    run(main())
