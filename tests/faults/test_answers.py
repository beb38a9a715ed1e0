"""A status of 200 is believed only if an answer comes with it: whole and streamed, at every provider."""

import json

import pytest

from support.client_outcome import ask
from support.event_loop import run
from support.http_client import CHAT, STREAM
from support.provider_bytes import (
    CHAT_ANSWER,
    DONE,
    GOOD,
    LAST_CHUNK,
    ROLE,
    SERVER_ERROR,
    STREAM_HEAD,
    WORD,
    answer,
    chunk,
    delta,
    event,
    good_stream,
)
from support.running_gateway import gateway
from support.scripted_provider import send, serve

CHAIN = "fallbacks: {%s: [%s, groq/openai/gpt-oss-120b]}\n"
PRIMARIES = {
    "openai": "openai/gpt-4o", "minimax": "minimax/MiniMax-M3", "mistral": "mistral/mistral-large-latest",
    "anthropic": "anthropic/claude-sonnet-5", "gemini": "gemini/gemini-3.8-flash",
}  # fmt: skip
FINISH = delta(b"", b'"stop"')


def whole(message=None, finish="stop", **more):
    choice = {"index": 0, "message": {"role": "assistant", "content": "", **(message or {})}, "finish_reason": finish}
    return answer(json.dumps({"id": "c", "model": "m", "choices": [choice], **more}).encode())


def body(**members):
    return answer(json.dumps(members).encode())


def stream(*events):
    return STREAM_HEAD + b"".join(map(chunk, events)) + LAST_CHUNK


def anthropic_stream(*events):
    return stream(*(b"event: x\n" + event(json.dumps(content).encode()) for content in events))


async def through(directory, provider, data, *, request=CHAT, fallback=None, times=1, cache="none"):
    """Return what the client got each time, the requests at the provider and the fallback, and counted failures."""
    model = PRIMARIES[provider]
    (directory / "config.yaml").write_text(CHAIN % (model, model))
    request = request.replace(b"gpt-4o", model.encode())
    good = good_stream(b"from groq") if request.count(b'"stream":true') else GOOD
    providers = {
        provider: await serve([send(data)]),
        "groq": await serve([send(good if fallback is None else fallback)]),
    }
    settings = {"MAX_RETRIES": "2", "COALESCE": "false", "CACHE_MODE": cache}
    async with gateway(settings, providers=providers, directory=directory) as running:
        told = [await ask(running.port, request) for _ in range(times)]
        failures = len(running.app.runtime.provider_health[provider].breaker._failures)
        return told, [len(server.requests) for server in providers.values()], failures


MINIMAX = body(id="x", choices=None, model="m", object="", base_resp={"status_code": 1002, "status_msg": "rate limit"})
NO_ANSWER = {
    # name: (provider, response, whether it counts for the breaker)
    "choices null": ("openai", body(id="c", model="m", choices=None), 1),
    "choices empty": ("openai", body(id="c", model="m", choices=[]), 1),
    "no choices": ("openai", body(id="c", model="m", usage={"prompt_tokens": 1}), 1),
    "every member empty": ("openai", body(id="", model="", object="", created=0, choices=None, usage=None), 1),
    "an error in a form of its own": ("openai", body(status=439, msg="Your token has expired."), 1),
    "an error in a list": ("openai", body(success=False, errors=[{"code": 7003, "message": "no route"}], result=None), 1),
    "nothing, and no reason": ("openai", whole(), 0),
    "null, and no reason": ("openai", whole({"content": None, "refusal": None, "annotations": []}), 0),
    "calls, but none": ("openai", whole({"tool_calls": []}, "tool_calls"), 0),
    "no end": ("openai", whole(finish=None), 0),
    "an error as the end": ("openai", whole({"content": "half of"}, "error"), 0),
    "the network as the end": ("openai", whole(finish="network_error"), 1),
    "aborted": ("openai", whole(finish="abort"), 0),
    "no resources": ("openai", whole(finish="insufficient_system_resource"), 1),
    "MiniMax": ("minimax", MINIMAX, 0),
    "Mistral without a choice": ("mistral", body(id="c", object="chat.completion", model="m", choices=[]), 1),
    "Mistral without content": ("mistral", whole(object="chat.completion"), 0),
    "Anthropic without content": (
        "anthropic",
        body(id="m", type="message", role="assistant", model="c", content=[], stop_reason="end_turn", usage={"input_tokens": 1, "output_tokens": 1}),
        0,
    ),
    "Anthropic with an empty text": (
        "anthropic",
        body(id="m", type="message", role="assistant", model="c", content=[{"type": "text", "text": ""}], stop_reason="end_turn", usage={"input_tokens": 1, "output_tokens": 1}),
        0,
    ),
    "Gemini without parts": ("gemini", body(candidates=[{"content": {"role": "model"}, "finishReason": "STOP", "index": 0}]), 0),
    "Gemini with a signature alone": (
        "gemini",
        body(candidates=[{"content": {"role": "model", "parts": [{"text": "", "thoughtSignature": "c2ln"}]}, "finishReason": "STOP"}]),
        0,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("provider", "data", "counted"), NO_ANSWER.values(), ids=NO_ANSWER)
def test_a_response_without_an_answer_fails_over_and_is_not_cached(tmp_path, provider, data, counted):
    async def main():
        (outcome,), requests, failures = await through(tmp_path, provider, data)
        assert (outcome.headers["x-nulpoint-provider"], requests, failures) == ("groq", [1, 1], counted)
        told, requests, _ = await through(tmp_path, provider, data, fallback=SERVER_ERROR, times=2, cache="memory")
        assert [outcome.verdict for outcome in told] == ["error", "error"]
        assert told[0].status == (429 if data is MINIMAX else 502)
        assert requests[0] > 1  # nothing was cached

    run(main())


EXPLAINED = {
    "a limit": ("openai", whole(finish="length")),
    "a filter": ("openai", whole(finish="content_filter")),
    "a reason of the host's own": ("openai", whole(finish="sensitive")),
    "a call": ("openai", whole({"content": None, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}, "tool_calls")),
    "a refusal": ("openai", whole({"content": None, "refusal": "no"})),
    "reasoning": ("openai", whole({"reasoning_content": "hm"})),
    "audio": ("openai", whole({"content": None, "audio": {"id": "a", "data": ""}})),
    "an image": ("openai", whole({"images": [{"type": "image_url"}]})),
    "the second choice": ("openai", body(id="c", model="m", choices=[{"message": {"content": ""}, "finish_reason": "stop"}, {"message": {"content": "x"}, "finish_reason": "stop"}])),
    "an error that is null": ("openai", answer(CHAT_ANSWER[:-1] + b',"error":null,"base_resp":{"status_code":0}}')),
    "Anthropic at the limit": ("anthropic", body(id="m", type="message", role="assistant", model="c", content=[], stop_reason="max_tokens", usage={"input_tokens": 1, "output_tokens": 1})),
    "Gemini at the limit": ("gemini", body(candidates=[{"content": {"role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}])),
    "Gemini's thoughts": ("gemini", body(candidates=[{"content": {"parts": [{"text": "hm", "thought": True}]}, "finishReason": "STOP"}])),
    "Gemini's image": ("gemini", body(candidates=[{"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}]}, "finishReason": "STOP"}])),
}  # fmt: skip


@pytest.mark.parametrize(("provider", "data"), EXPLAINED.values(), ids=EXPLAINED)
def test_an_answer_needs_no_text(tmp_path, provider, data):
    async def main():
        (outcome,), requests, _ = await through(tmp_path, provider, data)
        assert (outcome.status, outcome.headers["x-nulpoint-provider"], requests) == (200, provider, [1, 0])
        if provider == "openai":
            assert outcome.body == data.partition(b"\r\n\r\n")[2]

    run(main())


@pytest.mark.parametrize("member", [b'"stop":["x"]', b'"stop":"x"'])
@pytest.mark.parametrize(("provider", "data"), [("openai", whole()), ("mistral", whole(object="chat.completion"))])
def test_an_empty_answer_may_be_right_if_stop_sequences_were_asked_for(tmp_path, provider, data, member):
    async def main():
        request = CHAT.replace(b"{", b"{%b," % member, 1)
        (outcome,), requests, _ = await through(tmp_path, provider, data, request=request)
        assert (outcome.status, requests) == (200, [1, 0])
        request = STREAM.replace(b"{", b"{%b," % member, 1)
        (outcome,), requests, _ = await through(tmp_path, provider, stream(ROLE, FINISH, DONE), request=request)
        assert (outcome.verdict, requests) == ("answer", [1, 0])

    run(main())


EMPTY_STREAMS = {
    # name: (provider, response, status if no target is left)
    "only the end": ("openai", stream(DONE), 502),
    "nothing and the end": ("openai", stream(ROLE, FINISH, DONE), 200),
    "nothing, usage and the end": ("openai", stream(ROLE, FINISH, event(b'{"choices":[],"usage":{"prompt_tokens":1}}'), DONE), 200),
    "only usage": ("openai", stream(event(b'{"choices":[],"usage":{"prompt_tokens":1}}'), DONE), 502),
    "choices null": ("openai", stream(event(b'{"id":"c","choices":null}'), DONE), 200),
    "an error as the end": ("openai", stream(delta(b"", b'"error"'), DONE), 502),
    "the network as the end": ("openai", stream(delta(b"", b'"network_error"'), DONE), 200),
    "aborted": ("openai", stream(ROLE, delta(b"", b'"abort"'), DONE), 200),
    "MiniMax": ("minimax", stream(event(b'{"id":"x","choices":null,"base_resp":{"status_code":1002,"status_msg":"rate limit"}}')), 429),
    "MiniMax with an end": ("minimax", stream(event(b'{"id":"x","choices":null,"base_resp":{"status_code":1004,"status_msg":"login fail"}}'), DONE), 401),
    "Mistral": ("mistral", stream(delta(b"", b'"stop"'), DONE), 200),
    "Mistral without a choice": ("mistral", stream(DONE), 502),
    "Anthropic": (
        "anthropic",
        anthropic_stream(
            {"type": "message_start", "message": {"id": "m", "model": "c", "role": "assistant", "content": [], "usage": {"input_tokens": 1}}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
            {"type": "message_stop"},
        ),
        200,
    ),
    "Gemini": ("gemini", stream(event(b'{"candidates":[{"content":{"role":"model"},"finishReason":"STOP"}]}')), 200),
}  # fmt: skip


@pytest.mark.parametrize(("provider", "data", "status"), EMPTY_STREAMS.values(), ids=EMPTY_STREAMS)
def test_a_stream_without_an_answer_fails_over(tmp_path, provider, data, status):
    async def main():
        (outcome,), requests, _ = await through(tmp_path, provider, data, request=STREAM)
        assert (outcome.verdict, outcome.text, requests) == ("answer", "from groq", [1, 1])
        if status != 502:
            (outcome,), _, _ = await through(tmp_path, provider, data, request=STREAM, fallback=data)
            assert outcome.verdict == "error"
            assert outcome.status in (status, 502)  # 200 if the head had been sent when the stream turned out empty

    run(main())


@pytest.mark.parametrize("end", [b'"length"', b'"content_filter"'])
def test_an_empty_stream_with_a_reason_is_an_answer(tmp_path, end):
    async def main():
        data = stream(ROLE, delta(b"", end), DONE)
        (outcome,), requests, _ = await through(tmp_path, "openai", data, request=STREAM)
        assert (outcome.verdict, outcome.text, requests) == ("answer", "", [1, 0])
        assert outcome.body == ROLE + delta(b"", end) + DONE

    run(main())


@pytest.mark.parametrize("reason", [b'"error"', b'"network_error"', b'"abort"', b'"insufficient_system_resource"'])
def test_a_failure_after_content_is_an_error_event(tmp_path, reason):
    async def main():
        data = stream(ROLE, WORD, delta(b"", reason), DONE)
        (outcome,), requests, _ = await through(tmp_path, "openai", data, request=STREAM)
        assert (outcome.verdict, outcome.text, requests) == ("error", "word ", [1, 0])
        assert outcome.error["code"] == "provider_error"

    run(main())


def test_minimax_s_error_after_content_is_an_error_event(tmp_path):
    async def main():
        failed = event(b'{"id":"x","choices":null,"base_resp":{"status_code":1002,"status_msg":"rate limit"}}')
        (outcome,), _, _ = await through(tmp_path, "minimax", stream(ROLE, WORD, failed, DONE), request=STREAM)
        assert (outcome.error["code"], outcome.error["message"], outcome.done) == (
            "rate_limit_exceeded",
            "rate limit",
            False,
        )

    run(main())


# -- the end of a stream -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("provider", "form"), [("openai", b""), ("mistral", b"")])
@pytest.mark.parametrize("last", [FINISH, FINISH[:-2]], ids=["", "without its empty line"])
def test_a_finish_reason_and_a_clean_end_are_an_end_without_done(tmp_path, provider, form, last):
    async def main():
        told, requests, failures = await through(
            tmp_path, provider, stream(ROLE, WORD, last), request=STREAM, times=2, cache="memory"
        )
        assert [(outcome.verdict, outcome.text) for outcome in told] == [("answer", "word ")] * 2
        assert (requests, failures) == ([1, 0], 0)

    run(main())


@pytest.mark.parametrize("provider", ["openai", "mistral"])
@pytest.mark.parametrize("events", [(ROLE, WORD), (ROLE, WORD, FINISH, WORD[:20])], ids=["no finish", "cut"])
def test_a_clean_end_without_a_finish_reason_or_within_an_event_is_an_error(tmp_path, provider, events):
    async def main():
        (outcome,), _, _ = await through(tmp_path, provider, stream(*events), request=STREAM)
        assert (outcome.verdict, outcome.text) == ("error", "word ")

    run(main())


# -- usage that nobody asked for ---------------------------------------------------------------------------------------

USAGE = b'"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}'
USAGE_CHUNKS = {
    "no choices": b'{"id":"c","model":"m",%b}' % USAGE,
    "choices null": b'{"id":"c","model":"m","choices":null,%b}' % USAGE,
    "choices empty": b'{"id":"c","model":"m","choices":[],%b}' % USAGE,
    "an empty delta": b'{"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":null}],%b}' % USAGE,
    "an empty text": b'{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":""}}],%b}' % USAGE,
    "no delta": b'{"id":"c","model":"m","choices":[{"index":0,"finish_reason":""}],%b}' % USAGE,
}
WITH_USAGE = STREAM.replace(b"{", b'{"stream_options":{"include_usage":true},', 1)


@pytest.mark.parametrize("usage", USAGE_CHUNKS.values(), ids=USAGE_CHUNKS)
def test_a_usage_chunk_of_any_shape_is_for_those_who_ask_for_it(tmp_path, usage):
    async def main():
        data = stream(ROLE, WORD, FINISH, event(usage), DONE)
        told, requests, _ = await through(tmp_path, "openai", data, request=STREAM, times=2, cache="memory")
        assert [outcome.body.count(b"usage") for outcome in told] == [0, 0]
        assert [outcome.verdict for outcome in told] == ["answer", "answer"]
        assert requests == [1, 0]
        (outcome,), _, _ = await through(tmp_path, "openai", data, request=WITH_USAGE)
        assert outcome.body == ROLE + WORD + FINISH + event(usage) + DONE

    run(main())


@pytest.mark.parametrize("request_", [STREAM, WITH_USAGE], ids=["not asked", "asked"])
def test_usage_in_the_finishing_chunk_passes_as_it_came(tmp_path, request_):
    async def main():
        finish = FINISH.replace(b"]}", b"],%b}" % USAGE)
        (outcome,), _, _ = await through(tmp_path, "openai", stream(ROLE, WORD, finish, DONE), request=request_)
        assert outcome.body == ROLE + WORD + finish + DONE

    run(main())


# -- an error after the beginning --------------------------------------------------------------------------------------


def test_an_error_of_anthropic_s_after_its_first_event(tmp_path):
    start = {
        "type": "message_start",
        "message": {"id": "m", "model": "c", "role": "assistant", "content": [], "usage": {}},
    }
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}

    async def main():
        data = anthropic_stream(start, overloaded)
        (outcome,), requests, _ = await through(tmp_path, "anthropic", data, request=STREAM)
        assert (outcome.verdict, outcome.text, requests) == ("answer", "from groq", [1, 1])
        (outcome,), _, _ = await through(tmp_path, "anthropic", data, request=STREAM, fallback=stream())
        assert (outcome.verdict, outcome.error["code"]) == ("error", "server_is_overloaded")
        (outcome,), _, _ = await through(
            tmp_path, "anthropic", anthropic_stream(overloaded), request=STREAM, fallback=stream()
        )
        assert (outcome.status, outcome.error["code"]) == (502, "server_is_overloaded")

    run(main())
