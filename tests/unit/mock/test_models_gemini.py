"""Every ability in the mock's table of Gemini models decides whether a request is rejected."""

import json
from datetime import date, timedelta

import pytest

from nulpoint.mock.gemini import server as gemini_server
from nulpoint.mock.gemini import vertexai
from nulpoint.mock.gemini.models import TABLE, find_model, serving_model
from nulpoint.mock.gemini.rules import find_problem, sign
from nulpoint.mock.interface import MockRequest
from support.mock_requests.gemini import RESPONSE, SIGNED, TEXT, TOOLS, config, model, request, thinking, user

NAMES = [row.names[0].replace("*", "-x").replace("--", "-") if row.names != ("*",) else "gemini-9" for row in TABLE]
CHAT = [name for name in NAMES if not find_model(name).embeds]
ROWS = pytest.mark.parametrize("name", CHAT)
HOSTS = pytest.mark.parametrize("host", ["gemini", "vertexai"])
KEY = {"x-goog-api-key": "k"}


def message(name, change, host="gemini"):
    rejection = find_problem(request(change), name, host=host)
    return rejection and rejection.message


@ROWS
def test_thinking_levels(name):
    levels = ("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH")
    accepted = [level for level in levels if message(name, thinking(thinkingLevel=level)) is None]
    assert tuple(accepted) == find_model(name).levels


@ROWS
def test_thinking_budgets(name):
    row = find_model(name)
    if row.budget is None:
        assert "not supported for this model" in message(name, thinking(thinkingBudget=1024))
        return
    least, largest = row.budget
    assert message(name, thinking(thinkingBudget=-1)) is None
    assert message(name, thinking(thinkingBudget=largest)) is None
    assert "choose a value between" in message(name, thinking(thinkingBudget=largest + 1))
    assert (message(name, thinking(thinkingBudget=0)) is None) == (row.zero_budget or least == 0)
    assert "only set only one" in message(name, thinking(thinkingBudget=1024, thinkingLevel="LOW"))


@ROWS
def test_thoughts_are_for_models_that_think(name):
    assert (message(name, thinking(includeThoughts=True)) is None) == find_model(name).thinks


@ROWS
@HOSTS
def test_sampling(name, host):
    row = find_model(name)
    assert (message(name, config(presencePenalty=0.5), host) is None) == (host in row.penalties)
    assert (message(name, config(frequencyPenalty=0.5), host) is None) == (host in row.penalties)
    assert (message(name, config(responseLogprobs=True, logprobs=2), host) is None) == (host in row.logprobs)
    assert (message(name, config(candidateCount=2), host) is None) == row.candidates
    assert message(name, config(temperature=0.5, topP=0.5, topK=5), host) is None


@ROWS
def test_the_last_turn(name):
    assert (message(name, {"contents": [user(TEXT), model(TEXT)]}) is None) == find_model(name).ends_with_model


@ROWS
@HOSTS
def test_functions_beside_other_tools_and_json(name, host):
    row = find_model(name)
    as_json = config(responseMimeType="application/json")
    assert (message(name, {**as_json, **TOOLS}, host) is None) == row.functions_with_json
    both = {"tools": [*TOOLS["tools"], {"googleSearch": {}}]}
    flag = {"toolConfig": {"includeServerSideToolInvocations": True}}
    expected = {"gemini": (False, row.functions_with_search), "vertexai": (row.functions_with_search, False)}[host]
    assert tuple(message(name, {**both, **more}, host) is None for more in ({}, flag)) == expected


@HOSTS
@pytest.mark.parametrize(
    ("change", "known_at"),
    [
        ({"toolConfig": {"includeServerSideToolInvocations": True}}, "gemini"),
        ({"store": True}, "gemini"),
        ({"tools": [{"fileSearch": {}}]}, "gemini"),
        ({"labels": {"a": "b"}}, "vertexai"),
    ],
    ids=["invocations", "store", "fileSearch", "labels"],
)
def test_members_of_one_host(host, change, known_at):
    problem = message("gemini-3.8-flash", change, host)
    assert (problem is None) if host == known_at else ("Unknown name" in problem)


def loop(row, *, signed=True, response_id=None, response=None):
    call = {"functionCall": {"name": "f", "args": {}, "id": "c1"}}
    if signed:
        call["thoughtSignature"] = sign(call)
    answer = {"name": "f", "response": response or {"output": 7}, **({"id": response_id} if response_id else {})}
    return {"contents": [user(TEXT), model(call), user({"functionResponse": answer})], **TOOLS}


@ROWS
def test_function_calls_and_responses(name):
    row = find_model(name)
    assert message(name, loop(row, response_id="c1")) is None
    assert (message(name, loop(row, response_id="c1", signed=False)) is None) == (not row.signs_calls)
    assert (message(name, loop(row)) is None) == (not row.needs_response_ids)
    nested = {"a": [{"b": {"$ref": "#/$defs/H"}}]}
    problem = message(name, loop(row, response_id="c1", response=nested))
    assert ("does not match to a display_name" in problem) if row.resolves_references else (problem is None)
    assert message(name, {"contents": [user(TEXT), model(SIGNED), user(RESPONSE)], **TOOLS}) is None


@ROWS
def test_limits_of_the_response(name):
    row = find_model(name)
    assert message(name, config(maxOutputTokens=row.max_output)) is None
    assert "supported range" in message(name, config(maxOutputTokens=row.max_output + 1))
    assert (message(name, {"cachedContent": "cachedContents/x"}) is None) == row.caches
    assert (message(name, {"continuationToken": "x"}) is None) == row.continues


ENDS = [(name, host, end) for name, row in zip(NAMES, TABLE, strict=True) for host, end in row.retires.items()]


@pytest.mark.parametrize(("name", "host", "end"), ENDS)
def test_a_model_ends_on_its_day(name, host, end):
    day = date.fromisoformat(end)
    assert status(name, host, day - timedelta(days=1)) == 200
    assert status(name, host, day) == 404


def status(name, host, today, method=None, **members):
    methods = find_model(name).embeds.get(host)
    method = method or (methods[0] if methods else "generateContent")
    content = {"role": "user", "parts": [TEXT]}
    body = {
        "generateContent": {"contents": [content]},
        "embedContent": {"content": content},
        "batchEmbedContents": {"requests": [{"content": content}]},
        "predict": {"instances": [{"content": "hi"}]},
    }[method]
    call = MockRequest("POST", f"/v1beta/models/{name}:{method}", KEY, {**body, **members}, 1, 3, today=today)
    if host == "gemini":
        return gemini_server.respond(call).status
    response = vertexai._google(call, name, method)
    return 404 if response is None else response.status


SERVED = [(name, day, other) for name in NAMES for day, other in find_model(name).served_by.items()]


@pytest.mark.parametrize(("name", "day", "other"), SERVED)
def test_another_model_answers_from_a_day_on(name, day, other):
    day = date.fromisoformat(day)
    assert serving_model(name, "gemini", day - timedelta(days=1)) == name
    assert serving_model(name, "gemini", day) == other
    assert serving_model(name, "vertexai", day) == name
    body = {"contents": [user(TEXT)]}
    call = MockRequest("POST", f"/v1beta/models/{name}:generateContent", KEY, body, 1, 3, today=day)
    assert json.loads(gemini_server.respond(call).body)["modelVersion"] == other


@HOSTS
@pytest.mark.parametrize("name", [name for name in NAMES if find_model(name).embeds])
@pytest.mark.parametrize("method", ["embedContent", "batchEmbedContents", "predict"])
def test_embedding_methods(host, name, method):
    accepted = status(name, host, date(2025, 1, 1), method) == 200
    assert accepted == (method in find_model(name).embeds.get(host, ()))


def test_vertex_names_the_method_of_gemini_embedding_2():
    call = MockRequest("POST", "", {}, {"instances": [{"content": "x"}]}, 1, 3)
    error = json.loads(vertexai._google(call, "gemini-embedding-2", "predict").body)["error"]
    assert (error["code"], error["status"]) == (400, "FAILED_PRECONDITION")
    assert "embedContent" in error["message"]


def test_a_batch_of_embeddings_is_limited():
    requests = [{"content": {"parts": [TEXT]}}] * 101
    assert status("gemini-embedding-001", "gemini", date(2026, 11, 30), "batchEmbedContents", requests=requests) == 400


@pytest.mark.parametrize("stream", [False, True])
def test_a_long_response_goes_on_with_its_token(stream):
    plain, first = ask_in_parts("hi", stream), ask_in_parts("tell it in two parts", stream)
    assert plain[1:] == ("STOP", None)
    assert first[1] == "CONTINUATION"
    second = ask_in_parts("tell it in two parts", stream, continuationToken=first[2])
    assert second[1:] == ("STOP", None)
    assert first[0] + second[0] == plain[0]
    assert first[0]
    assert second[0]


def ask_in_parts(words, stream, **members):
    body = {"contents": [user({"text": words})], **members}
    call = MockRequest("POST", "", KEY, body, 1, 9)
    if stream:
        events = [json.loads(event[6:]) for event in gemini_server.stream_content(call, "gemini-4-argon").events]
    else:
        events = [json.loads(gemini_server.generate_content(call, "gemini-4-argon").body)]
    candidates = [event["candidates"][0] for event in events]
    parts = [part for candidate in candidates for part in candidate.get("content", {}).get("parts", [])]
    last = candidates[-1]
    return "".join(part["text"] for part in parts), last["finishReason"], last.get("continuationToken")


def test_another_token_is_rejected():
    body = {"contents": [user({"text": "in two parts"})], "continuationToken": "eA=="}
    response = gemini_server.generate_content(MockRequest("POST", "", KEY, body, 1, 9), "gemini-4-argon")
    assert response.status == 400
    path = "/v1/projects/p/locations/l/publishers/google/models/gemini-4-argon:generateContent"
    assert (
        b"Unknown name"
        in vertexai._google(MockRequest("POST", path, {}, body, 1, 9), "gemini-4-argon", "generateContent").body
    )
