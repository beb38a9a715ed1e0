"""Tests of the mock providers over a socket: the framing and errors of each API, and injected faults."""

import asyncio
import json
import urllib.error
import urllib.request
from datetime import date

import pytest
from click.testing import CliRunner

from nulpoint.cli.main import main as main_command
from nulpoint.mock import MockSettings, SettingsError, faults, start
from nulpoint.mock.gemini import server as gemini_server
from nulpoint.mock.interface import MockRequest
from nulpoint.mock.server import parse_provider_fault, start_all
from support.event_loop import run

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
KEYS = {
    "openai": {"Authorization": "Bearer k"},
    "anthropic": {"x-api-key": "k", "anthropic-version": "2023-06-01"},
    "gemini": {"x-goog-api-key": "k"},
    "mistral": {"Authorization": "Bearer k"},
}
PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/gemini-2.5-flash:generateContent",
    "mistral": "/v1/chat/completions",
}
BODIES = {
    "openai": {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]},
    "anthropic": {"model": "claude-haiku-4-5", "max_tokens": 99, "messages": [{"role": "user", "content": "x"}]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "x"}]}]},
    "mistral": {"model": "mistral-large-latest", "messages": [{"role": "user", "content": "x"}]},
}
PROVIDERS = tuple(PATHS)


def test_the_date_decides_which_models_have_ended():
    assert ask("openai")[0] == 200
    status, _, raw = ask("openai", settings=MockSettings(today=date(2027, 1, 14)))
    assert (status, json.loads(raw)["error"]["code"]) == (404, "model_not_found")


def test_faults_of_a_host_have_its_shape():
    path = "/minimax/v1/chat/completions"
    status, _, raw = ask("openai", path=path, fault=("status", 402))
    assert (status, json.loads(raw)["base_resp"]["status_code"]) == (200, 1008)


def fetch(url, body, headers):
    request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else None, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def ask(name, *, path=None, body=None, settings=None, key=None, fault=None, stream=False, **members):
    """Send one request to a mock. Returns the status, headers and body of the response."""
    path = path or PATHS[name]
    body = {**(BODIES[name] if body is None else body), **members}
    if stream and name == "gemini":
        path = path.replace(":generateContent", ":streamGenerateContent") + "?alt=sse"
    elif stream:
        body["stream"] = True

    async def main():
        server = await start(name, settings=settings)
        if fault:
            server.set_fault(*fault[:1], arg=fault[1] if len(fault) > 1 else None)
        try:
            return await asyncio.to_thread(fetch, server.url + path, body, KEYS[name] if key is None else key)
        finally:
            await server.close()

    return run(main())


def response_body(name, **options):
    status, _, raw = ask(name, **options)
    assert status == 200, raw
    return json.loads(raw)


def events(name, **options):
    status, headers, raw = ask(name, stream=True, **options)
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    return [json.loads(line[6:]) for line in raw.decode().splitlines() if line.startswith("data: {")]


# -- framing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "end", "done"),
    [
        ("openai", b"\n\n", True),
        ("anthropic", b"\n\n", False),
        ("gemini", b"\r\n\r\n", False),
        ("mistral", b"\n\n", True),
    ],
)
def test_framing(name, end, done):
    _, _, raw = ask(name, stream=True)
    assert raw.endswith(b"data: [DONE]\n\n") == done
    assert raw.count(b"\r\n\r\n" if end == b"\n\n" else b"[DONE]") == 0
    blocks = raw.removesuffix(end).split(end)
    assert all(block.removeprefix(b"event: ").partition(b"data: ")[2] for block in blocks)


def test_anthropic_names_events_and_sends_a_ping():
    _, _, raw = ask("anthropic", stream=True, tools=[{"name": "weather", "input_schema": SCHEMA}])
    named = [line.removeprefix("event: ") for line in raw.decode().splitlines() if line.startswith("event: ")]
    kinds = [json.loads(line[6:])["type"] for line in raw.decode().splitlines() if line.startswith("data: ")]
    assert named == kinds
    assert kinds[:3] == ["message_start", "content_block_start", "ping"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    deltas = [
        event["delta"]
        for event in events("anthropic", tools=[{"name": "weather", "input_schema": SCHEMA}])
        if event["type"] == "content_block_delta"
    ]
    assert deltas[0]["partial_json"] == ""
    assert json.loads("".join(delta["partial_json"] for delta in deltas)) == {"city": "text"}


def test_gemini_sends_usage_with_every_event_and_the_finish_reason_last():
    seen = events("gemini")
    assert "candidatesTokenCount" not in seen[0]["usageMetadata"]
    assert seen[-1]["usageMetadata"]["totalTokenCount"] > seen[-1]["usageMetadata"]["promptTokenCount"]
    assert [one["candidates"][0].get("finishReason") for one in seen] == [None] * 10 + ["STOP"]
    assert "content" not in seen[-1]["candidates"][0]


def test_mistral_sends_complete_calls_and_usage_with_the_finish_reason():
    tool = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
    *_, last = events("mistral", tools=[tool])
    assert last["choices"][0]["finish_reason"] == "tool_calls"
    assert json.loads(last["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"]) == {"city": "text"}
    assert last["usage"]["total_tokens"] > 0


def test_openai_sends_usage_only_on_request():
    assert all("usage" not in chunk for chunk in events("openai"))
    *chunks, last = events("openai", stream_options={"include_usage": True})
    assert (last["choices"], {chunk["usage"] for chunk in chunks}) == ([], {None})


# -- features of single providers --------------------------------------------------------------------------------------


def test_anthropic_omits_its_thought_on_request():
    thinking = {"type": "adaptive", "display": "summarized"}
    shown = response_body("anthropic", model="claude-opus-4-8", thinking=thinking)["content"][0]
    hidden = response_body("anthropic", model="claude-opus-4-8", thinking={**thinking, "display": "omitted"})[
        "content"
    ][0]
    assert shown["type"] == hidden["type"] == "thinking"
    assert shown["thinking"]
    assert hidden["thinking"] == ""
    assert hidden["signature"]


def test_anthropic_runs_web_searches():
    said = response_body("anthropic", tools=[{"type": "web_search_20250305", "name": "web_search"}])
    assert [block["type"] for block in said["content"]] == ["server_tool_use", "web_search_tool_result", "text"]
    assert said["content"][2]["citations"][0]["url"] == "https://example.com/mock"
    assert said["stop_reason"] == "end_turn"
    assert said["usage"]["server_tool_use"] == {"web_search_requests": 1}


def test_anthropic_reports_cache_usage():
    marked = [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]
    first = response_body("anthropic", messages=[{"role": "user", "content": marked}])["usage"]
    talk = [
        {"role": "user", "content": marked},
        {"role": "assistant", "content": "y"},
        {"role": "user", "content": "z"},
    ]
    second = response_body("anthropic", messages=talk)["usage"]
    assert (first["cache_read_input_tokens"], second["cache_creation_input_tokens"]) == (0, 0)
    assert first["cache_creation_input_tokens"] > 0
    assert second["cache_read_input_tokens"] > 0


def test_gemini_signatures_and_call_ids_depend_on_the_version():
    tools = [{"functionDeclarations": [{"name": "a"}, {"name": "b"}]}]
    contents = [{"role": "user", "parts": [{"text": "in parallel"}]}]

    def parts(model):
        said = response_body("gemini", path=f"/v1beta/models/{model}:generateContent", tools=tools, contents=contents)
        return [part for part in said["candidates"][0]["content"]["parts"] if "functionCall" in part]

    assert [("id" in part["functionCall"], "thoughtSignature" in part) for part in parts("gemini-2.5-flash")] == [
        (False, False)
    ] * 2
    assert [("id" in part["functionCall"], "thoughtSignature" in part) for part in parts("gemini-3-flash")] == [
        (True, True),
        (True, False),
    ]


def test_gemini_blocks_prompts_and_cites_sources():
    blocked = response_body("gemini", contents=[{"parts": [{"text": "please refuse"}]}])
    assert "candidates" not in blocked
    assert blocked["promptFeedback"]["blockReason"] == "PROHIBITED_CONTENT"
    grounded = response_body("gemini", tools=[{"googleSearch": {}}])["candidates"][0]["groundingMetadata"]
    assert grounded["groundingChunks"][0]["web"]["uri"] == "https://example.com/mock"


def test_gemini_sends_log_probabilities_on_vertex_ai():
    config = {"responseLogprobs": True, "logprobs": 1}
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": config}
    call = MockRequest("POST", "", {}, body, 1, 10)
    whole = json.loads(gemini_server.generate_content(call, "gemini-2.5-flash", "vertexai").body)["candidates"][0]
    tokens = [one["token"] for one in whole["logprobsResult"]["chosenCandidates"]]
    assert "".join(tokens) == whole["content"]["parts"][0]["text"]
    stream = gemini_server.stream_content(call, "gemini-2.5-flash", "vertexai").events
    seen = [json.loads(event.removeprefix(b"data: "))["candidates"][0].get("logprobsResult", {}) for event in stream]
    assert [token["token"] for one in seen for token in one.get("chosenCandidates", [])] == tokens


def test_mistral_sends_the_end_of_a_thought_with_the_start_of_the_text():
    content = response_body("mistral", model="mistral-large-4", reasoning_effort="high")["choices"][0]["message"][
        "content"
    ]
    assert [part["type"] for part in content] == ["thinking", "text"]
    lists = [
        chunk["choices"][0]["delta"]["content"]
        for chunk in events("mistral", model="mistral-large-4", reasoning_effort="high")
    ]
    both = [content for content in lists if isinstance(content, list) and len(content) == 2]
    assert [part["type"] for part in both[0]] == ["thinking", "text"]


def test_mistral_sends_log_probabilities():
    whole = response_body("mistral", logprobs=True)["choices"][0]
    tokens = [token["token"] for token in whole["logprobs"]["content"]]
    assert "".join(tokens) == whole["message"]["content"]
    seen = [chunk["choices"][0].get("logprobs", {}) for chunk in events("mistral", logprobs=True)]
    assert [token["token"] for one in seen for token in one.get("content", [])] == tokens


def test_openai_sends_log_probabilities_and_refusals():
    choice = response_body("openai", logprobs=True, top_logprobs=1)["choices"][0]
    assert "".join(token["token"] for token in choice["logprobs"]["content"]) == choice["message"]["content"]
    refused = response_body("openai", messages=[{"role": "user", "content": "please refuse"}])["choices"][0]
    assert (refused["finish_reason"], refused["message"]["content"]) == ("stop", None)
    assert refused["message"]["refusal"]


def test_the_compatible_endpoints_of_anthropic_and_google():
    for name, path in (("anthropic", "/v1/chat/completions"), ("gemini", "/v1beta/openai/chat/completions")):
        said = response_body(name, path=path, body=BODIES["openai"], key=KEYS["openai"])
        assert said["choices"][0]["finish_reason"] == "stop"


def test_gemini_embeddings():
    batch = {"requests": [{"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 4}] * 2}
    found = response_body("gemini", path="/v1beta/models/gemini-embedding-001:batchEmbedContents", body=batch)
    assert [len(one["values"]) for one in found["embeddings"]] == [4, 4]


# -- errors ------------------------------------------------------------------------------------------------------------


def error(name, **options):
    status, headers, raw = ask(name, **options)
    return status, headers, json.loads(raw)


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_bad_key(name):
    status, _, body = error(
        name, key={**KEYS[name], "Authorization": "Bearer bad-key", "x-api-key": "bad-key", "x-goog-api-key": "bad-key"}
    )
    assert status == (400 if name == "gemini" else 401)
    kinds = {
        "openai": lambda: body["error"]["code"] == "invalid_api_key",
        "anthropic": lambda: body["error"]["type"] == "authentication_error",
        "gemini": lambda: body["error"]["details"][0]["reason"] == "API_KEY_INVALID",
        "mistral": lambda: body == {"detail": "Invalid API Key"},
    }
    assert kinds[name]()


@pytest.mark.parametrize("name", PROVIDERS)
def test_an_unknown_model(name):
    path = "/v1beta/models/no-such-model:generateContent" if name == "gemini" else None
    body = BODIES[name] if name == "gemini" else {**BODIES[name], "model": "no-such-model"}
    status, _, body = error(name, path=path, body=body)
    assert status == (400 if name == "mistral" else 404)
    assert "no-such-model" in json.dumps(body)


def test_rejections_have_the_format_of_the_provider():
    status, _, body = error("anthropic", seed=1)
    assert (status, body["type"], body["error"]["type"]) == (400, "error", "invalid_request_error")
    status, _, body = error("gemini", seed=1)
    violation = body["error"]["details"][0]["fieldViolations"][0]
    assert (status, body["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert violation["description"] == 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'
    status, _, body = error("mistral", seed=1)
    assert (status, body["detail"][0]["loc"]) == (422, ["body", "seed"])
    status, _, body = error("mistral", messages=[])
    assert (status, body["type"], body["code"]) == (400, "invalid_request_message_order", "3230")
    status, _, body = error("openai", temperature=9)
    assert (status, body["error"]["param"]) == (400, "temperature")
    assert error("anthropic", key={"x-api-key": "k"})[0] == 400


@pytest.mark.parametrize("name", PROVIDERS)
def test_rate_limits_say_how_long_to_wait(name):
    status, headers, body = error(name, fault=("rate_limit", 7))
    assert status == 429
    if name == "gemini":  # Gemini sends no such header
        assert headers["retry-after"] is None
        assert [one["retryDelay"] for one in body["error"]["details"] if "retryDelay" in one] == ["7s"]
    else:
        assert headers["retry-after"] == "7"


# -- faults ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("status", [400, 403, 500, 503, 529])
def test_any_status(name, status):
    seen, _, body = error(name, fault=("status", status))
    assert seen == status
    assert str(status) in json.dumps(body)


@pytest.mark.parametrize("name", PROVIDERS)
def test_an_error_inside_a_stream(name):
    status, _, raw = ask(name, stream=True, fault=("error_mid_stream", 3))
    assert status == 200
    wrong = b"\n\n".join(raw.replace(b"\r\n", b"\n").split(b"\n\n")[3:])
    if name == "gemini":  # not an event, but JSON over several lines
        assert json.loads(wrong)["error"]["status"] == "INTERNAL"
    elif name == "anthropic":
        assert wrong.startswith(b"event: error\ndata: ")
    else:
        assert json.loads(wrong.removeprefix(b"data: "))
    assert b"[DONE]" not in raw


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_stream_that_begins_with_an_error(name):
    status, _, raw = ask(name, stream=True, fault=("error_first", 503))
    assert status == 200
    assert b"Overloaded" in raw
    assert b"mock answer" not in raw
    assert ask(name, fault=("error_first", 503))[0] == 200


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize(
    ("fault", "stream", "status"),
    [
        ("repeat", False, 401),
        ("repeat_in_200", False, 200),
        ("repeat_first", True, 200),
        ("repeat_mid_stream", True, 200),
    ],
)
def test_a_careless_provider_repeats_the_credential_and_the_request(name, fault, stream, status):
    key = {
        field: value.replace("k", "the-key") if value.endswith("k") else value for field, value in KEYS[name].items()
    }
    seen, _, raw = ask(name, stream=stream, key=key, fault=(fault,))
    assert seen == status
    assert b"provided: the-key." in raw
    assert rb"\"x\"" in raw  # the prompt


def test_faults_by_admin_call_and_header():
    async def main():
        server = await start("openai")

        async def call(path, body, **headers):
            status, _, raw = await asyncio.to_thread(fetch, server.url + path, body, {**KEYS["openai"], **headers})
            return status, raw

        body = BODIES["openai"]
        assert (await call("/mock/fault", {"fault": "status", "arg": 503, "count": 1}))[0] == 200
        assert (await call("/v1/chat/completions", body))[0] == 503
        assert (await call("/v1/chat/completions", body))[0] == 200
        assert (await call("/v1/chat/completions", body, **{"x-mock-fault": "rate_limit=3"}))[0] == 429
        assert (await call("/v1/chat/completions", body, **{"x-mock-fault": "nonsense"}))[0] == 400
        assert (await call("/mock/fault", {"fault": "nonsense"}))[0] == 400
        stats = json.loads((await call("/mock/stats", None))[1])
        assert stats["requests"] == 4
        assert stats["last_request"]["path"] == "/v1/chat/completions"
        await server.close()

    run(main())


@pytest.mark.parametrize(
    ("text", "provider", "arg", "count"),
    [
        ("status", None, 500, None),
        ("status=503", None, 503, None),
        ("gemini:rate_limit=0.5", "gemini", 0.5, None),
        ("mistral:end_mid_stream*2", "mistral", 3, 2),
        ("status=529*1", None, 529, 1),
    ],
)
def test_parsing_faults(text, provider, arg, count):
    assert faults.parse_with_provider(text) == (
        provider,
        faults.Fault(text.split(":")[-1].split("=")[0].split("*")[0], arg, count),
    )


@pytest.mark.parametrize("text", ["nonsense", "status=", "a:b:c", ""])
def test_faults_that_cannot_be_parsed(text):
    with pytest.raises(ValueError):
        faults.parse_with_provider(text)


def test_faults_by_command_line():
    async def main():
        provider_faults = [
            parse_provider_fault("gemini:status=503*1"),
            parse_provider_fault("stall"),
            parse_provider_fault("mistral:status=400"),
        ]
        servers = await start_all(MockSettings(), "127.0.0.1", dict.fromkeys(PROVIDERS, 0), provider_faults)
        assert [(server.fault.name, server.fault.arg) for server in servers] == [
            ("stall", 0),
            ("stall", 0),
            ("stall", 0),
            ("status", 400),
        ]
        for server in servers:
            await server.close()

    run(main())
    refused = CliRunner().invoke(main_command, ["mock", "--fault", "nobody:stall"])
    assert refused.exit_code == 2
    assert "unknown provider 'nobody'; known: openai, anthropic, gemini, mistral" in refused.output


@pytest.mark.parametrize("name", faults.FAULTS)
def test_every_fault_can_be_made(name):
    assert faults.parse(name).name == name


# -- settings ----------------------------------------------------------------------------------------------------------


def test_the_same_requests_get_the_same_responses():
    settings = MockSettings(error_rate=0.5, seed=7, stream_words=3)
    for name in PROVIDERS:
        assert ask(name, settings=settings)[::2] == ask(name, settings=settings)[::2]


def test_settings():
    assert MockSettings.from_environment({"MOCK_LATENCY_MS": "5", "MOCK_SEED": "9"}).seed == 9
    assert MockSettings.from_environment({"MOCK_TODAY": "2027-01-14"}).today == date(2027, 1, 14)
    with pytest.raises(SettingsError, match=r"MOCK_TODAY = 'soon': use a date such as 2026-12-31"):
        MockSettings.from_environment({"MOCK_TODAY": "soon"})
    with pytest.raises(SettingsError, match=r"MOCK_ERROR_RATE(.|\n)*MOCK_STREAM_WORDS"):
        MockSettings.from_environment({"MOCK_ERROR_RATE": "2", "MOCK_STREAM_WORDS": "x"})
