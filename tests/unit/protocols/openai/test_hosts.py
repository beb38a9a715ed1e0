"""What hosts of the OpenAI format do in their own way: made by hand where it was never recorded."""

import json

import openai
import pytest

from nulpoint.errors import Kind
from support.corpus.cuts import cuts
from support.corpus.gateway import show_stream, show_whole
from support.corpus.openai_client import events_of, read_completion
from support.corpus.records import HOSTS, Recording
from support.corpus.sockets import asked_for, caller_of
from support.event_loop import run

OPENAI, OPENROUTER, GROQ, PERPLEXITY = (HOSTS[name] for name in ("openai", "openrouter", "groq", "perplexity"))


def chunk(delta=None, finish=None, **more):
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return json.dumps(
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}
    )


def framed(*events, end="\n"):
    return "".join(f"data: {event}{end}{end}" for event in events).encode()


HELLO = chunk({"role": "assistant", "content": "hello"})
FINISH = chunk({}, "stop")
ERROR = {"message": "the model broke", "code": 502}
BROKEN = chunk({"content": ""}, "error", error=ERROR, provider="p")


def shown_at_every_cut(host, body, **asked):
    """The one result that all cuts of the network give."""
    shown = [show_stream(host, pieces, **{"usage": True, **asked}) for pieces in cuts(body)]
    assert len({(one.body, str(one.failure), one.began) for one in shown}) == 1
    return shown[0]


@pytest.mark.parametrize(
    ("body", "before", "status", "kind", "code"),
    [
        # Groq: an event of its own name, then the end.
        (framed(HELLO) + b'event: error\ndata: {"error":{"message":"bad call","code":"tool_use_failed","status_code":400}}\n\n',
         framed(HELLO), 400, Kind.UPSTREAM, "tool_use_failed"),
        # OpenRouter: beside choices, after a finish, and more comes.
        (framed(HELLO, FINISH, BROKEN, "[DONE]"), framed(HELLO, FINISH), 502, Kind.UPSTREAM, "provider_502"),
        (framed(HELLO, BROKEN, chunk(usage={"prompt_tokens": 1}), "[DONE]"), framed(HELLO), 502, Kind.UPSTREAM,
         "provider_502"),
        # OpenAI: by type or code alone.
        (framed(HELLO, '{"error":{"message":"slow","type":"tokens","code":"rate_limit_exceeded"}}'), framed(HELLO), 429,
         Kind.RATE_LIMIT, "rate_limit_exceeded"),
        (framed('{"error": "just text"}'), b"", 502, Kind.UPSTREAM, "provider_500"),
        (framed(HELLO, '{"error":{"message":"m","type":"server_error","param":null,"code":null}}', end="\r\n"),
         framed(HELLO, end="\r\n"), 502, Kind.UPSTREAM, "provider_500"),
        # The last event without its empty line.
        (framed(HELLO) + b'data: {"error":{"message":"m","code":429}}', framed(HELLO), 429, Kind.RATE_LIMIT,
         "rate_limit_exceeded"),
    ],
)  # fmt: skip
def test_an_error_inside_a_stream_ends_it(body, before, status, kind, code):
    shown = shown_at_every_cut(OPENROUTER, body)
    assert (shown.failure.status, shown.failure.kind, shown.failure.code) == (status, kind, code)
    assert shown.began == bool(before)  # else the caller gets the status itself
    if before:
        told = shown.body.removeprefix(before + b"\n\ndata: ")
        assert json.loads(told)["error"]["message"] == shown.failure.message
    assert b"[DONE]" not in shown.body


@pytest.mark.parametrize(
    "quiet",
    [
        chunk({"content": 'say "error": {"a":1}'}),
        chunk({"content": "x"}, error=None),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"error":"x"}'}}]}),
        chunk({"provider_metadata": {"attempts": [{"error": "tried elsewhere"}]}}),
    ],
)
def test_the_word_error_alone_is_none(quiet):
    body = framed(HELLO, quiet, FINISH, "[DONE]")
    assert shown_at_every_cut(OPENAI, body).body == body


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_stream_cut_inside_an_event_ends_between_two(end):
    body = framed(HELLO, FINISH, "[DONE]", end=end)
    whole = framed(HELLO, end=end)
    for length in range(len(whole) + 1, len(whole) + 60):
        shown = show_stream(OPENAI, [body[:length]], usage=True)
        assert shown.failure.code == "stream_cut"
        assert shown.body.startswith(whole + b'\n\ndata: {"error"')


@pytest.mark.parametrize(
    ("host", "body", "shown"),
    [
        # Never a [DONE]: the caller gets one, after a finish reason only.
        (PERPLEXITY, framed(HELLO, FINISH, end="\r\n"), framed(HELLO, FINISH, end="\r\n") + framed("[DONE]")),
        (PERPLEXITY, framed(HELLO, FINISH, "[DONE]"), framed(HELLO, FINISH, "[DONE]")),
        (PERPLEXITY, framed(HELLO) + b"data: " + FINISH.encode(), framed(HELLO, FINISH, "[DONE]")),
        (PERPLEXITY, framed(HELLO), None),
        (PERPLEXITY, framed(HELLO, chunk({}, "")), None),
        (OPENAI, framed(HELLO, FINISH), framed(HELLO, FINISH, "[DONE]")),
        (OPENAI, framed(HELLO, FINISH)[:-2], framed(HELLO, FINISH, "[DONE]")),
        (OPENAI, framed(HELLO, FINISH) + b'data: {"id"', None),
        (OPENAI, framed(HELLO), None),
        (OPENAI, framed(HELLO, FINISH) + b"data: [DONE]", framed(HELLO, FINISH, "[DONE]")),
        (OPENROUTER, b": OPENROUTER PROCESSING\n\n" + framed(HELLO, FINISH, "[DONE]"),
         b": OPENROUTER PROCESSING\n\n" + framed(HELLO, FINISH, "[DONE]")),
        (GROQ, framed(HELLO, chunk({}, "stop", x_groq={"usage": {"prompt_tokens": 1, "completion_tokens": 2}}), "[DONE]"),
         framed(HELLO, chunk({}, "stop", x_groq={"usage": {"prompt_tokens": 1, "completion_tokens": 2}}), "[DONE]")),
    ],
)  # fmt: skip
def test_ends(host, body, shown):
    seen = shown_at_every_cut(host, body)
    if shown is None:
        assert seen.failure.code == "stream_cut"
        assert b"[DONE]" not in seen.body
    else:
        assert (seen.failure, seen.body) == (None, shown)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"error":{"message":"no","code":429}}', 429, "rate_limit_exceeded"),
        (
            b"\n" * 4096 + b'{"error":{"message":"no","code":402}}',
            402,
            "insufficient_quota",
        ),  # kept alive by white space
        (b'{"error":{"message":"no","type":"overloaded_error"}}', 502, "server_is_overloaded"),
        (
            b'{"id":"x","error":{"message":"no","code":502},"choices":[{"index":0,"finish_reason":"error"}]}',
            502,
            "provider_502",
        ),
        (b"<html>oops</html>", 502, "provider_malformed"),
    ],
)
def test_an_error_with_a_good_status(body, status, code):
    shown = show_whole(OPENROUTER, "chat", body)
    assert (shown.failure.status, shown.failure.code) == (status, code)


def test_a_whole_answer_may_mention_an_error():
    body = b'{"model":"m","error":{"message":"fell back"},"choices":[{"index":0,"finish_reason":"stop","message":{}}]}'
    assert show_whole(OPENROUTER, "chat", body).body == body


def test_completions_through_chat():
    used = json.dumps({**json.loads(FINISH), "choices": [], "usage": {"prompt_tokens": 1}})
    stream = framed(HELLO, ": keepalive", "", FINISH, used, "[DONE]")
    shown = shown_at_every_cut(GROQ, stream, usage=False, route="completions")
    assert (shown.failure, b"usage" in shown.body, shown.body.count(b"[DONE]")) == (None, False, 1)
    chunks = [json.loads(event) for event in events_of(shown.body)[:-1]]
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["", "hello", ""]
    broken = shown_at_every_cut(GROQ, framed(HELLO, "{oops", FINISH, "[DONE]"), route="completions")
    assert broken.failure.code == "provider_malformed"
    assert b"[DONE]" not in broken.body
    cut = shown_at_every_cut(GROQ, framed(HELLO, BROKEN, "[DONE]"), route="completions")
    assert cut.failure.message == "the model broke"


def test_what_a_completion_has_beside_its_text_stands_in_the_choice():
    message = {"role": "assistant", "content": "a", "reasoning_content": "hm", "refusal": None}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls", "logprobs": {}}]}  # fmt: skip
    shown = show_whole(GROQ, "completions", json.dumps(body).encode())
    assert read_completion(shown.body) == ["a"]
    choice = json.loads(shown.body)["choices"][0]
    assert choice == {"index": 0, "text": "a", "reasoning_content": "hm", "finish_reason": "stop", "logprobs": None}


def made(wire, body, *, stream):
    """An answer as if it had been recorded."""
    kind = {"anthropic": "messages", "mistral": "chat"}[wire]
    record = {"kind": kind, "status": 200, "is_stream": stream, "response_body": body, "response_headers": {}}
    return Recording("made", HOSTS[wire], record)


def test_an_error_inside_a_good_answer_shows_no_key():
    key = "QWERTYuiop1234567890"  # of no known form
    error = json.dumps(
        {"object": "error", "type": "error", "message": f"bad {key}", "error": {"message": f"bad {key}"}}
    )
    recordings = [made("mistral", error, stream=False), made("anthropic", f"data: {error}\n\n", stream=True)]

    async def main():
        async with caller_of(dict(enumerate(recordings)), key) as client:
            for number, recording in enumerate(recordings):
                with pytest.raises(openai.InternalServerError) as caught:
                    await client.chat.completions.create(
                        messages=[{"role": "user", "content": "hi"}], stream=recording.is_stream,
                        **asked_for(number, recording),
                    )  # fmt: skip
                assert "bad [redacted]" in caught.value.message

    run(main())
