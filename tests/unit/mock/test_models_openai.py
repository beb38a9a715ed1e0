"""Every ability in the mock's table of OpenAI's models decides whether a request is rejected."""

import json
from datetime import date, timedelta

import pytest

from nulpoint.mock.interface import MockRequest
from nulpoint.mock.openai import server as openai_server
from nulpoint.mock.openai.models import TABLE, find_model
from nulpoint.mock.openai.rules import find_embedding_problem, find_problem
from support.mock_requests.openai import TOOL, USER

OTHERS = {("*",): "llama-3", ("gpt-*", "o[1-9]*"): "gpt-99"}
NAMES = [OTHERS.get(row.names) or row.names[0].replace("*", "x") for row in TABLE]
CHAT = pytest.mark.parametrize("name", [name for name in NAMES if find_model(name).chat])
LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
VALUES = {
    "max_tokens": 5,
    "stop": "END",
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "logit_bias": {"1": 1},
    "prediction": {"type": "content", "content": "x"},
    "modalities": ["text"],
    "audio": {"voice": "x", "format": "wav"},
    "web_search_options": {},
    "top_p": 0.5,
    "logprobs": True,
}


def problem(name, **members):
    return find_problem({"model": name, "messages": [USER], **members})


def test_every_row_is_found_by_its_name():
    assert [find_model(name) for name in NAMES] == list(TABLE)


@pytest.mark.parametrize("name", [name for name in NAMES if not find_model(name).chat])
def test_models_of_the_responses_api(name):
    assert (problem(name).status, problem(name).message[:41]) == (404, "This model is only supported in v1/respon")


@CHAT
def test_efforts(name):
    row = find_model(name)
    accepted = [level for level in LEVELS if problem(name, reasoning_effort=level) is None]
    assert set(accepted) == set(row.efforts or ())
    assert (problem(name, reasoning_effort=None) is None) == (row.efforts is None or row.effort_null)


@CHAT
@pytest.mark.parametrize("member", VALUES)
def test_refused_members(name, member):
    row = find_model(name)
    while_reasoning = row.default_effort != "none" and member in row.refused_while_reasoning
    assert (problem(name, **{member: VALUES[member]}) is None) == (member not in row.refused and not while_reasoning)


@CHAT
def test_sampling_depends_on_the_effort(name):
    row = find_model(name)
    for effort in row.efforts or ():
        accepted = problem(name, reasoning_effort=effort, temperature=0.2) is None
        assert accepted == (effort == "none" or not row.refused_while_reasoning)
        assert (problem(name, reasoning_effort=effort, top_p=0.2) is None) == accepted
        assert problem(name, reasoning_effort=effort, temperature=1, top_p=1) is None


@CHAT
def test_functions_depend_on_the_effort(name):
    row = find_model(name)
    for effort in (None, *(row.efforts or ())):
        members = {"tools": [TOOL], **({"reasoning_effort": effort} if effort else {})}
        quiet = (effort or row.default_effort) == "none"
        accepted = {"always": True, "never": False, "without_reasoning": quiet}[row.functions]
        assert (problem(name, **members) is None) == accepted


@CHAT
def test_cache_marks(name):
    mark = {"cache_control": {"type": "ephemeral"}}
    accepted = find_model(name).cache_control
    assert (problem(name, messages=[{**USER, **mark}]) is None) == accepted
    parts = [{"type": "text", "text": "x", **mark}]
    assert (problem(name, messages=[{"role": "user", "content": parts}]) is None) == accepted
    assert (problem(name, **mark) is None) == accepted
    if find_model(name).functions == "always":
        assert (problem(name, tools=[{**TOOL, **mark}]) is None) == accepted


ENDS = [(name, row.retires["openai"]) for name, row in zip(NAMES, TABLE, strict=True) if row.retires]


@pytest.mark.parametrize(("name", "end"), ENDS)
def test_a_model_ends_on_its_day(name, end):
    def ask(today):
        body = {"model": name, "messages": [USER]}
        headers = {"authorization": "Bearer k"}
        call = MockRequest("POST", "/v1/chat/completions", headers, body, 1, 3, today=today)
        return openai_server.respond(call)

    day = date.fromisoformat(end)
    before, after = ask(day - timedelta(days=1)), ask(day)
    assert before.status == (200 if find_model(name).chat else 404)
    assert after.status == 404
    assert json.loads(after.body)["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "a", "dimensions": 256, "model": "text-embedding-ada-002"}, "dimensions"),
    ],
)
def test_embeddings_are_rejected(members, param):
    assert find_embedding_problem({"model": "text-embedding-3-small", **members}).param == param


@pytest.mark.parametrize("given", ["a", ["a"] * 2048, [1] * 3000, [[1], [2]]])
def test_embeddings_are_accepted(given):
    assert find_embedding_problem({"model": "text-embedding-3-small", "input": given, "dimensions": 256}) is None
