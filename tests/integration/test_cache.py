"""Tests the cache over sockets: a hit equals a miss, clients are separated, and bad responses are not stored."""

import asyncio
import json
import socket

import openai
import pytest
from openai.types.chat import ChatCompletion

from nulpoint.mock import MockSettings
from support.cache_client import MEMORY, PATHS, QUESTION, ask, outcome
from support.event_loop import run, until
from support.http_client import Caller, post
from support.running_gateway import SLOW, gateway
from support.sdk_conversation import ONE_A_PROVIDER, TOOLS
from support.sdk_responses import by_sdk, shown


def events(body):
    *found, done = [line.removeprefix("data: ") for line in body.decode().split("\n") if line.startswith("data: ")]
    assert done == "[DONE]"
    return [json.loads(one) for one in found]


def seen(body, streamed):
    """Return the response as the SDK shows it, without the number of calls to the provider."""
    if streamed:
        return shown(by_sdk(events(body)))
    return shown(ChatCompletion.construct(**json.loads(body)).to_dict())


# -- a hit equals a miss -----------------------------------------------------------------------------------------------


def test_a_hit_is_the_stored_response_byte_for_byte():
    async def main():
        async with gateway(MEMORY) as running:
            _, miss, first = await ask(running)
            _, hit, second = await ask(running)
            assert first == second
            assert running.mock.requests == 1
            assert (miss["x-cache"], hit["x-cache"]) == ("MISS", "HIT")
            assert "age" not in miss
            assert hit["age"] == "0"
            for name in ("content-type", "content-length", "x-nulpoint-provider", "x-nulpoint-model"):
                assert hit[name] == miss[name]
            assert hit["x-nulpoint-request-id"] == hit["x-request-id"] != miss["x-nulpoint-request-id"]
            assert not {"x-ratelimit-remaining-requests", "openai-processing-ms", "x-nulpoint-attempts"} & set(hit)

    run(main())


def test_a_stream_is_served_again():
    async def main():
        async with gateway(MEMORY) as running:
            for usage in (False, True):
                options = {"stream": True, "stream_options": {"include_usage": usage}}
                _, miss, first = await ask(running, {**QUESTION, **options, "seed": usage})
                _, hit, second = await ask(running, {**QUESTION, **options, "seed": usage})
                assert first == second
                assert hit["content-type"] == miss["content-type"]
                assert (hit["x-cache"], running.mock.requests) == ("HIT", 1 + usage)

    run(main())


def test_usage_is_stored_for_clients_that_ask_for_it():
    """The usage was hidden from the client whose request filled the cache."""

    async def main():
        async with gateway(MEMORY) as running:
            plain = events((await ask(running, {**QUESTION, "stream": True}))[2])
            asked = {**QUESTION, "stream": True, "stream_options": {"include_usage": True}}
            _, headers, body = await ask(running, asked)
            assert headers["x-cache"] == "HIT"
            assert events(body)[:-1] == plain
            assert events(body)[-1]["usage"]["total_tokens"] > 0
            assert events((await ask(running, {**QUESTION, "stream": True}))[2]) == plain

    run(main())


TALKS = {
    "words": {},
    "calls": {"tools": TOOLS, "messages": [{"role": "user", "content": "parallel"}]},
    "thoughts": {"reasoning_effort": "high"},
    "a refusal": {"messages": [{"role": "user", "content": "please refuse"}]},
}


# The models that think, of the providers whose usual model does not.
THINKERS = {"gpt-4o": "gpt-5.2", "mistral-large-latest": "mistral-small-latest"}


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("row", ONE_A_PROVIDER, ids=str)
@pytest.mark.parametrize("first", [False, True], ids=["kept whole", "kept as a stream"])
def test_body_and_stream_share_an_entry(row, talk, first):
    """A filtered response is not stored, so it is requested again."""

    async def main():
        async with gateway(MEMORY, names=(row.provider,)) as running:
            model = THINKERS.get(row.model, row.model) if talk == "thoughts" else row.model
            question = {**QUESTION, "model": model, **TALKS[talk]}
            streamed = {**question, "stream": True, "stream_options": {"include_usage": True}}
            _, miss, one = await ask(running, streamed if first else question)
            _, hit, other = await ask(running, question if first else streamed)
            kept = shown(json.loads(one))["choices"][0] if not first else seen(one, True)["choices"][0]
            if kept["finish_reason"] == "content_filter":
                assert hit["x-cache"] == "MISS"
                return
            assert (miss["x-cache"], hit["x-cache"]) == ("MISS", "HIT")
            assert running.mocks[row.provider].requests == 1
            assert seen(one, first) == seen(other, not first)
            assert hit["x-nulpoint-model"] == miss["x-nulpoint-model"]

    run(main())


def test_completions_are_cached_also_through_chat():
    async def main():
        async with gateway(MEMORY, names=("openai", "anthropic")) as running:
            for model in ("gpt-oss-20b", "claude-haiku-4-5"):
                question = {"model": model, "prompt": "hi"}
                assert await outcome(running, question, route="completions") == "MISS"
                _, headers, whole = await ask(running, question, route="completions")
                assert headers["x-cache"] == "HIT"
                _, headers, stream = await ask(running, {**question, "stream": True}, route="completions")
                assert headers["x-cache"] == "HIT"
                text = "".join(event["choices"][0]["text"] for event in events(stream))
                assert text == json.loads(whole)["choices"][0]["text"]
                assert await outcome(running, {**QUESTION, "model": model}) == "MISS"  # another route

    run(main())


def test_dropped_members_are_reported_again():
    async def main():
        async with gateway(MEMORY, names=("mistral",)) as running:
            question = {**QUESTION, "model": "mistral-large-latest", "user": "u", "logit_bias": {"1": 1}}
            _, miss, _ = await ask(running, question)
            _, hit, _ = await ask(running, question)
            assert hit["x-cache"] == "HIT"
            assert hit["x-nulpoint-dropped"] == miss["x-nulpoint-dropped"] != ""
            status, _, _ = await ask(running, question, "x-nulpoint-strict: true")
            assert status == 400

    run(main())


def test_the_official_sdk_sees_no_difference():
    async def main():
        async with gateway(MEMORY) as running:
            async with openai.AsyncOpenAI(base_url=running.url, api_key="x") as client:
                whole = [await client.chat.completions.create(**QUESTION) for _ in range(2)]
                assert whole[0] == whole[1]
                streams = []
                for _ in range(2):
                    async with client.chat.completions.stream(**QUESTION, temperature=0.5) as stream:
                        seen = [event.type async for event in stream]
                        streams.append((seen, (await stream.get_final_completion()).to_dict()))
                assert streams[0] == streams[1]
            assert running.mock.requests == 2

    run(main())


def test_a_long_stream_waits_for_its_reader():
    """A cached response may be large, but only a part of it is buffered for one client."""

    async def main():
        mock = MockSettings(stream_words=4000)
        async with gateway({**MEMORY, "WRITE_TIMEOUT": "5s"}, mock=mock) as running:
            question = {**QUESTION, "stream": True}
            _, _, first = await ask(running, question)
            assert len(first) > 500_000
            before = set(running.app.server.connections)
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, ("127.0.0.1", running.port))
            slow = Caller(*await asyncio.open_connection(sock=sock, limit=4096))
            Caller.opened.append(slow)
            await until(lambda: len(running.app.server.connections) > len(before))
            (connection,) = running.app.server.connections - before
            connection._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            slow.send(post(json.dumps(question).encode()))
            await until(lambda: connection.paused)
            assert connection._transport.get_write_buffer_size() <= 128 * 1024
            assert (await slow.answer())[2] == first
            assert running.mock.requests == 1

    run(main())


@pytest.mark.parametrize("words", [4, 4000], ids=["short", "over 64 KiB"])
@pytest.mark.parametrize("streamed", [False, True], ids=["body", "stream"])
def test_each_request_asks_the_cache_once(streamed, words):
    async def main():
        async with gateway(MEMORY, mock=MockSettings(stream_words=words)) as running:
            question = {**QUESTION, "stream": streamed}
            for expected in ("MISS", "HIT", "HIT", "HIT"):
                assert await outcome(running, question) == expected
            running.app.runtime.status.update_gauges()
            page = running.app.metrics.page()
            assert b'gateway_cache_operations_total{op="get",result="miss"} 1.0' in page
            assert b'gateway_cache_operations_total{op="get",result="hit"} 3.0' in page

    run(main())


# -- cache control -----------------------------------------------------------------------------------------------------

STEERING = [  # the request after one that was stored, its result, and the result of a plain request after it
    ("Cache-Control: no-cache", "BYPASS", "HIT"), ("Cache-Control: No-Store", "BYPASS", "HIT"),
    ("Cache-Control: max-age=60", "HIT", "HIT"), ("Cache-Control: max-age=0, foo", "MISS", "HIT"),
    ("Cache-Control: max-age=soon", "MISS", "HIT"), ("Cache-Control: min-fresh=5", "HIT", "HIT"),
    ("x-nulpoint-cache-ttl: 9", "HIT", "HIT"), ("Pragma: no-cache", "HIT", "HIT"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "given", "then"), STEERING, ids=[row[0] for row in STEERING])
def test_cache_control_by_the_client(field, given, then):
    async def main():
        async with gateway(MEMORY) as running:
            assert await outcome(running) == "MISS"
            await asyncio.sleep(0.11)  # the cached time of day changes ten times a second
            assert await outcome(running, QUESTION, field) == given
            assert await outcome(running) == then
            assert running.mock.requests == (1 if given == "HIT" else 2)

    run(main())


def test_no_cache_renews_the_entry_and_no_store_stores_nothing():
    async def main():
        async with gateway(MEMORY) as running:
            first = json.loads((await ask(running))[2])["id"]
            second = json.loads((await ask(running, QUESTION, "Cache-Control: no-cache"))[2])["id"]
            assert first != second
            assert json.loads((await ask(running))[2])["id"] == second
            await ask(running, QUESTION, "Cache-Control: no-store")
            assert json.loads((await ask(running))[2])["id"] == second
            other = {**QUESTION, "seed": 1}
            assert await outcome(running, other, "Cache-Control: no-store") == "BYPASS"
            assert await outcome(running, other) == "MISS"

    run(main())


def test_how_long_a_response_is_stored():
    async def main():
        async with gateway({**MEMORY, "CACHE_TTL": "200ms"}) as running:
            assert await outcome(running) == "MISS"
            assert await outcome(running) == "HIT"
            shorter, longer, none = ({**QUESTION, "seed": number} for number in range(3))
            await outcome(running, shorter, "x-nulpoint-cache-ttl: 0.05")
            await outcome(running, longer, "x-nulpoint-cache-ttl: 300")
            await outcome(running, none, "x-nulpoint-cache-ttl: 0")
            await asyncio.sleep(0.06)
            assert [await outcome(running, one) for one in (shorter, longer, none)] == ["MISS", "HIT", "MISS"]
            await asyncio.sleep(0.2)
            assert await outcome(running, longer) == "MISS"
            for wrong in ("soon", "-1", "nan", ""):
                status, _, body = await ask(running, QUESTION, f"x-nulpoint-cache-ttl: {wrong}")
                assert (status, json.loads(body)["error"]["param"]) == (400, "x-nulpoint-cache-ttl")

    run(main())


EXCLUDED = {
    "by name": ({"CACHE_EXCLUDE_EXACT": "gpt-4o"}, "gpt-4o"),
    "by name, asked by prefix": ({"CACHE_EXCLUDE_EXACT": "gpt-4o"}, "openai/gpt-4o"),
    "by target": ({"CACHE_EXCLUDE_EXACT": "openai/gpt-4o"}, "gpt-4o"),
    "by pattern": ({"CACHE_EXCLUDE_PATTERNS": "^x$,4o"}, "gpt-4o-mini"),
}


@pytest.mark.parametrize("case", EXCLUDED)
def test_excluded_models(case):
    settings, model = EXCLUDED[case]

    async def main():
        async with gateway({**MEMORY, **settings}) as running:
            question = {**QUESTION, "model": model}
            assert [await outcome(running, question) for _ in range(2)] == ["BYPASS"] * 2
            other = {**QUESTION, "model": "gpt-4.1-mini"}
            assert [await outcome(running, other) for _ in range(2)] == ["MISS", "HIT"]

    run(main())


def test_without_a_cache_nothing_is_cached():
    async def main():
        async with gateway() as running:
            assert [await outcome(running) for _ in range(2)] == ["BYPASS"] * 2
            assert b'"cache"' not in running.log()

    run(main())


# -- separating clients ------------------------------------------------------------------------------------------------

FIELDS = {
    "messages": [{"role": "user", "content": "ho"}], "model": "gpt-4o-mini", "temperature": 0.30001, "top_p": 0.9,
    "max_tokens": 5, "max_completion_tokens": 5, "n": 2, "seed": 1, "stop": "x", "presence_penalty": 0.1,
    "frequency_penalty": 0.1, "logit_bias": {"1": 2}, "logprobs": True, "top_logprobs": 2, "user": "somebody",
    "safety_identifier": "s", "prompt_cache_key": "k", "tools": TOOLS, "tool_choice": "none", "parallel_tool_calls": False,
    "response_format": {"type": "json_object"}, "reasoning_effort": "low", "verbosity": "low", "service_tier": "flex",
    "metadata": {"a": "b"}, "store": True, "modalities": ["text"], "prediction": {"type": "content", "content": "x"},
    "web_search_options": {}, "functions": [{"name": "f"}], "function_call": "none", "audio": None, "unheard_of": 1,
}  # fmt: skip
HEADERS = ["openai-beta: a=b", "anthropic-beta: x", "idempotency-key: 1", "http-referer: https://x", "x-title: y"]


def test_every_member_counts():
    async def main():
        async with gateway(MEMORY) as running:
            base = {**QUESTION, "model": "gpt-4o"}
            assert await outcome(running, base) == "MISS"
            for name, value in FIELDS.items():
                status, headers, _ = await ask(running, {**base, name: value})
                assert headers.get("x-cache") == "MISS", (name, status)
            for field in HEADERS:
                assert await outcome(running, base, field) == "MISS", field
                assert await outcome(running, base, field) == "HIT", field
            assert running.mock.requests == 1 + len(FIELDS) + len(HEADERS)
            assert await outcome(running, base) == "HIT"

    assert len(FIELDS) >= 30
    run(main())


def test_spelling_does_not_count():
    async def main():
        async with gateway(MEMORY) as running:
            one = b'{"model":"gpt-4o","temperature":1,"messages":[{"role":"user","content":"\\u00e9"}]}'
            other = b'{ "messages":[{"content":"\xc3\xa9", "role":"user"}],"temperature":1.0e0, "model":"gpt-4o"}'
            assert [await outcome(running, body) for body in (one, other)] == ["MISS", "HIT"]
            twice = b'{"model":"gpt-4o","seed":1,"seed":2,"messages":[{"role":"user","content":"x"}]}'
            assert [await outcome(running, twice) for _ in range(2)] == ["BYPASS"] * 2

    run(main())


@pytest.mark.parametrize(
    "settings", [{"ALLOW_CLIENT_API_KEYS": "true"}, {"GATEWAY_API_KEYS": "gk-one,gk-two"}], ids=str
)
def test_two_keys_never_share(settings):
    async def main():
        async with gateway({**MEMORY, **settings}) as running:
            keys = ["Authorization: Bearer gk-one", "x-api-key: gk-two"]
            for question in (QUESTION, {**QUESTION, "stream": True, "seed": 1}):
                assert [await outcome(running, question, key) for key in keys] == ["MISS"] * 2
                assert [await outcome(running, question, key) for key in keys] == ["HIT"] * 2
            vectors = {"model": "text-embedding-3-small", "input": ["a", "b"]}
            assert [await outcome(running, vectors, key, route="embeddings") for key in keys] == ["MISS"] * 2
            assert [await outcome(running, vectors, key, route="embeddings") for key in keys] == ["HIT"] * 2

    run(main())


def test_clients_without_keys_share():
    async def main():
        async with gateway({**MEMORY, "RPM_LIMIT_PER_KEY": "100"}) as running:
            assert await outcome(running, QUESTION, "Authorization: Bearer a") == "MISS"
            assert await outcome(running, QUESTION, "Authorization: Bearer b") == "HIT"

    run(main())


# -- responses not stored ----------------------------------------------------------------------------------------------

POISON = [
    ("malformed_json", None), ("error_in_200", None), ("reset_after_head", None), ("wrong_length", None), ("status", 500),
    ("rate_limit", 1), ("html_error", 502),
]  # fmt: skip
CUT = [
    ("cut_mid_stream", 3),
    ("reset_mid_stream", 3),
    ("end_mid_stream", 3),
    ("error_mid_stream", 3),
    ("error_first", 500),
]


@pytest.mark.parametrize(("fault", "arg"), POISON + CUT, ids=str)
def test_bad_responses_are_not_stored(fault, arg):
    async def main():
        async with gateway({**MEMORY, "MAX_RETRIES": "1"}) as running:
            question = {**QUESTION, "stream": True} if (fault, arg) in CUT else QUESTION
            running.mock.set_fault(fault, 1, arg=arg)
            caller = await Caller.connect(running.port)
            caller.send(post(json.dumps(question).encode(), PATHS["chat"], "Connection: close"))
            assert b"HIT" not in await caller.rest()
            assert await outcome(running, question) == "MISS"
            assert await outcome(running, question) == "HIT"

    run(main())


def test_a_response_whose_client_left_is_not_stored():
    async def main():
        async with gateway(MEMORY, mock=MockSettings(chunk_ms=20)) as running:
            caller = await Caller.connect(running.port)
            caller.send(post(json.dumps({**QUESTION, "stream": True}).encode()))
            await caller.reader.readuntil(b"data: ")
            await caller.close()
            await until(lambda: running.app.runtime.recorder.inflight == 0)
            assert await outcome(running) == "MISS"

    run(main())


def test_responses_of_a_built_in_equivalent_are_not_stored():
    """A built-in equivalent serves requests only while the primary fails."""

    async def main():
        async with gateway(MEMORY, names=("openai", "anthropic")) as running:
            for streamed in (False, True):
                running.mock.set_fault("status", 1, arg=500)
                question = {**QUESTION, "stream": streamed, "seed": int(streamed)}
                for expected in (("MISS", "anthropic"), ("MISS", "openai"), ("HIT", "openai")):
                    _, headers, _ = await ask(running, question)
                    assert (headers["x-cache"], headers["x-nulpoint-provider"]) == expected

    run(main())


def test_responses_of_all_targets_of_a_configured_chain_are_stored(tmp_path):
    (tmp_path / "config.yaml").write_text("fallbacks:\n  gpt-4o: [anthropic/claude-haiku-4-5]\n")

    async def main():
        async with gateway(MEMORY, names=("openai", "anthropic"), directory=tmp_path) as running:
            running.mock.set_fault("status", 1, arg=500)
            _, miss, body = await ask(running)
            _, hit, again = await ask(running)
            assert (miss["x-cache"], hit["x-cache"]) == ("MISS", "HIT")
            assert hit["x-nulpoint-provider"] == miss["x-nulpoint-provider"] == "anthropic"
            assert body == again

    run(main())


def test_headers_are_not_stored():
    async def main():
        async with gateway(MEMORY) as running:
            poison = (
                "X-Forwarded-Host: evil",
                "X-Forwarded-For: 6.6.6.6",
                "Origin: https://evil",
                "X-Request-ID: mine",
            )
            await ask(running, QUESTION, *poison)
            _, headers, body = await ask(running)
            assert headers["x-cache"] == "HIT"
            assert "evil" not in str(headers) + body.decode()
            assert headers["x-request-id"] != "mine"
            assert "set-cookie" not in headers

    run(main())


def test_large_responses_are_not_stored():
    async def main():
        async with gateway(MEMORY, mock=MockSettings(stream_words=9000)) as running:
            for question in ({**QUESTION, "stream": True}, {**QUESTION, "n": 9, "max_tokens": 100_000}):
                assert [await outcome(running, question) for _ in range(2)] in (["MISS"] * 2, ["MISS", "HIT"])
            assert all(entry.value.size <= 1 << 20 for entry in cache_of(running)._entries.values())

    run(main())


def cache_of(running):
    return running.app.runtime.backends.cache.memory


# -- many at once ------------------------------------------------------------------------------------------------------


@pytest.mark.race
@pytest.mark.parametrize("streamed", [False, True])
def test_a_hundred_misses_are_one_call_that_is_stored_once(streamed):
    async def main():
        async with gateway(MEMORY, mock=SLOW) as running:
            question = {**QUESTION, "stream": streamed}
            callers = [await Caller.connect(running.port) for _ in range(100)]
            for caller in callers:
                caller.send(post(json.dumps(question).encode()))
            answers = [await caller.answer() for caller in callers]
            assert {status for status, _, _ in answers} == {200}
            assert len({body for _, _, body in answers}) == 1
            assert {headers["x-cache"] for _, headers, _ in answers} == {"MISS"}
            assert sum("x-nulpoint-coalesced" in headers for _, headers, _ in answers) == 99
            assert running.mock.requests == 1
            assert cache_of(running).counts.puts == 1
            assert await outcome(running, question) == "HIT"

    run(main())


def test_a_failure_goes_to_all_clients_and_is_not_stored():
    async def main():
        async with gateway({**MEMORY, "MAX_RETRIES": "1"}, mock=SLOW) as running:
            running.mock.set_fault("status", 1, arg=500)
            answers = await asyncio.gather(*(ask(running) for _ in range(20)))
            assert {status for status, _, _ in answers} == {502}
            assert running.mock.requests == 1
            assert await outcome(running) == "MISS"

    run(main())


def test_a_first_client_that_leaves_still_fills_the_cache():
    async def main():
        async with gateway(MEMORY, mock=SLOW) as running:
            leader = await Caller.connect(running.port)
            leader.send(post(json.dumps(QUESTION).encode()))
            await until(lambda: running.mock.requests == 1)
            other = asyncio.create_task(ask(running))
            await until(lambda: running.app.runtime.recorder.inflight == 2)
            await leader.close()
            assert (await other)[0] == 200
            assert await outcome(running) == "HIT"
            assert running.mock.requests == 1

    run(main())
