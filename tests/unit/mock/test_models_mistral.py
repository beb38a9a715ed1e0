"""Every ability in the mock's table of Mistral models decides whether a request is rejected."""

from datetime import date, timedelta

import pytest

from nulpoint.mock.interface import MockRequest
from nulpoint.mock.mistral import server as mistral_server
from nulpoint.mock.mistral.models import TABLE, find_model
from nulpoint.mock.mistral.rules import find_problem
from support.mock_requests.mistral import LOOP, USER, assistant, request

NAMES = [row.names[0].replace("*", "x") if row.names != ("*",) else "mistral-large-latest" for row in TABLE]
ROWS = pytest.mark.parametrize("name", NAMES)
THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "closed": True}


def problem(name, **members):
    return find_problem(request({"model": name, **members}))


def test_every_row_is_found_by_its_name():
    assert [find_model(name) for name in NAMES] == list(TABLE)


@ROWS
def test_reasoning(name):
    row = find_model(name)
    thought = problem(name, messages=[USER, assistant(content=[THOUGHT]), USER])
    assert thought is None if row.reasons else "Reasoning input is not enabled for this model" in thought.message
    levels = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
    assert {level for level in levels if problem(name, reasoning_effort=level) is None} == {*row.efforts}
    assert (problem(name, prompt_mode="reasoning") is None) == row.prompt_mode
    assert (problem(name, messages=[*LOOP, USER]) is None) == row.user_after_tool


@ROWS
def test_thinking_without_being_asked(name):
    row = find_model(name)
    call = MockRequest("POST", "/v1/chat/completions", {"authorization": "Bearer k"}, request({"model": name}), 1, 3)
    call.today = date(2026, 1, 1)
    assert (b'"thinking"' in mistral_server.respond(call).body) == row.thinks_unasked


@pytest.mark.parametrize(
    ("name", "end"), [(name, find_model(name).retires["mistral"]) for name in NAMES if find_model(name).retires]
)
def test_a_model_ends_on_its_day(name, end):
    day = date.fromisoformat(end)
    statuses = []
    for today in (day - timedelta(days=1), day):
        headers = {"authorization": "Bearer k"}
        call = MockRequest("POST", "/v1/chat/completions", headers, request({"model": name}), 1, 3, today=today)
        statuses.append(mistral_server.respond(call).status)
    assert statuses == [200, 404]
