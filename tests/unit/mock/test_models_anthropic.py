"""Every ability in the mock's table of Claude models decides whether a request is rejected."""

import json
from datetime import date, timedelta

import pytest

from nulpoint.mock.anthropic import server as anthropic_server
from nulpoint.mock.anthropic.models import ALL_EFFORTS, ALL_HOSTS, TABLE, find_model
from nulpoint.mock.anthropic.rules import find_problem
from nulpoint.mock.bedrock import rules as bedrock_rules
from nulpoint.mock.bedrock import server as bedrock_server
from nulpoint.mock.gemini import vertexai
from nulpoint.mock.interface import MockRequest
from support.mock_requests import bedrock as bedrock_requests
from support.mock_requests.anthropic import CLOSED, TOOL, assistant, text, user

HEADERS = {"anthropic-version": "2023-06-01", "x-api-key": "k"}
NAMES = [row.names[0].replace("*", "-x").lstrip("-") if row.names != ("*",) else "claude-unheard-of-9" for row in TABLE]
ROWS = pytest.mark.parametrize("name", NAMES)
THINKING = {
    "adaptive": {"type": "adaptive"},
    "enabled": {"type": "enabled", "budget_tokens": 1024},
    "disabled": {"type": "disabled"},
    "between_tools": {"type": "between_tools"},
}
FORMAT = {"output_config": {"format": {"type": "json_schema", "schema": CLOSED}}}
STRICT = {"tools": [{**TOOL, "strict": True, "input_schema": CLOSED}]}


def problem(name, host="anthropic", **members):
    return find_problem({"model": name, "max_tokens": 4000, "messages": [user(text())], **members}, HEADERS, host=host)


@ROWS
def test_thinking_types(name):
    row = find_model(name)
    accepted = {kind for kind, thinking in THINKING.items() if problem(name, thinking=thinking) is None}
    assert accepted == ({*row.thinking} or {"disabled"})


@ROWS
@pytest.mark.parametrize("host", sorted(ALL_HOSTS))
def test_thinking_is_turned_off_by_host(name, host):
    row = find_model(name)
    may_be_off = ("disabled" in row.thinking and host not in row.no_disabled_at) or not row.thinking
    assert (problem(name, host, thinking=THINKING["disabled"]) is None) == may_be_off


@ROWS
def test_efforts(name):
    accepted = [effort for effort in ALL_EFFORTS if problem(name, output_config={"effort": effort}) is None]
    assert tuple(accepted) == find_model(name).efforts


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in NAMES for kind in ("disabled", "between_tools") if kind in find_model(name).thinking],
)
def test_efforts_while_not_thinking(name, kind):
    row = find_model(name)
    accepted = {
        effort
        for effort in ALL_EFFORTS
        if problem(name, thinking=THINKING[kind], output_config={"effort": effort}) is None
    }
    assert accepted == {*row.quiet_efforts} & {*row.efforts}


@ROWS
@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "f"}], ids=["any", "tool"])
@pytest.mark.parametrize("host", sorted(ALL_HOSTS))
def test_forced_tools(name, choice, host):
    row = find_model(name)
    assert (problem(name, host, tools=[TOOL], tool_choice=choice) is None) == row.forced_tools
    while_adaptive = row.forced_tools and "adaptive" in row.thinking and host in row.forced_tools_while_adaptive
    asked = problem(name, host, tools=[TOOL], tool_choice=choice, thinking=THINKING["adaptive"])
    assert (asked is None) == while_adaptive
    assert problem(name, host, tools=[TOOL], tool_choice=choice, thinking=THINKING["enabled"]) is not None


@ROWS
def test_sampling(name):
    row = find_model(name)
    for members in ({"temperature": 0.5}, {"top_p": 0.96}, {"top_k": 5}):
        assert (problem(name, **members) is None) == row.sampling
    assert problem(name, temperature=1) is None
    assert (problem(name, temperature=1, top_p=1) is None) == row.temperature_with_top_p


@ROWS
def test_last_and_later_messages(name):
    row = find_model(name)
    assert (problem(name, messages=[user(text()), assistant(text())]) is None) == row.prefill
    system = {"role": "system", "content": "be brief"}
    assert (problem(name, messages=[user(text()), system]) is None) == row.later_system_messages
    if row.later_system_messages:
        assert "right after a `user` message" in problem(name, messages=[system, user(text())])
        assert "before an `assistant` message" in problem(name, messages=[user(text()), system, user(text())])


@ROWS
@pytest.mark.parametrize("host", sorted(ALL_HOSTS))
def test_structured_outputs_and_tools_by_host(name, host):
    row = find_model(name)
    assert (problem(name, host, **FORMAT) is None) == (host in row.output_format)
    assert (problem(name, host, **STRICT) is None) == (host in row.strict_tools)
    computer = [{"type": "computer_20251124", "name": "computer"}]
    assert (problem(name, host, tools=computer) is None) == (host in row.old_computer_tool)


@ROWS
def test_max_tokens(name):
    limit = find_model(name).max_tokens
    assert problem(name, max_tokens=limit) is None
    assert f"{limit + 1} > {limit}" in problem(name, max_tokens=limit + 1)


ENDS = [(name, host, end) for name, row in zip(NAMES, TABLE, strict=True) for host, end in row.retires.items()]


@pytest.mark.parametrize(("name", "host", "end"), ENDS)
def test_a_model_ends_on_its_day(name, host, end):
    day = date.fromisoformat(end)
    assert status(name, host, day - timedelta(days=1)) == 200
    assert status(name, host, day) == 404


def status(name, host, today):
    body = {"model": name, "max_tokens": 50, "messages": [user(text())]}
    if host == "anthropic":
        return anthropic_server.respond(MockRequest("POST", "/v1/messages", HEADERS, body, 1, 3, today=today)).status
    if host == "bedrock":
        path = f"/model/eu.anthropic.{name}-20250101-v1:0/converse"
        call = MockRequest("POST", path, {"authorization": "Bearer k"}, {"messages": [bedrock_requests.USER]}, 1, 3)
        call.today = today
        return bedrock_server.respond(call).status
    del body["model"]
    body["anthropic_version"] = "vertex-2023-10-16"
    call = MockRequest("POST", "", HEADERS, body, 1, 3, today=today)
    response = vertexai._anthropic(call, name, "rawPredict", "project")
    return 404 if response is None else response.status


def test_names_of_hosts_and_versions_find_their_row():
    haiku = find_model("claude-haiku-4-5")
    for name in (
        "claude-haiku-4-5-20251001",
        "claude-haiku-4-5@20251001",
        "anthropic.claude-haiku-4-5-20251001-v1:0",
        "us-gov.anthropic.claude-haiku-4-5-20251001-v1:0",
        "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-haiku-4-5-20251001-v1:0",
    ):
        assert find_model(name) is haiku
    assert find_model("anthropic.claude-opus-4-6-v1") is find_model("claude-opus-4-6")
    assert find_model("claude-opus-7") is TABLE[-1]


@pytest.mark.parametrize("kind", ["url", "file"])
@pytest.mark.parametrize("host", sorted(ALL_HOSTS))
def test_only_anthropic_itself_fetches_images(kind, host):
    source = {"type": "url", "url": "https://example.com/a.png"} if kind == "url" else {"type": "file", "file_id": "f"}
    rejection = problem("claude-haiku-4-5", host, messages=[user({"type": "image", "source": source})])
    assert rejection is None if host == "anthropic" else "does not match any of the expected tags" in rejection


@ROWS
def test_thoughts_are_shown_by_model(name):
    row = find_model(name)
    if "adaptive" not in row.thinking:
        return
    shown = []
    for display in ({}, {"display": "summarized"}, {"display": "omitted"}):
        body = {
            "model": name,
            "max_tokens": 4000,
            "messages": [user(text())],
            "thinking": {"type": "adaptive", **display},
        }
        response = anthropic_server.respond(MockRequest("POST", "/v1/messages", HEADERS, body, 1, 3))
        shown.append(bool(json.loads(response.body)["content"][0]["thinking"]))
    assert shown == [row.shows_thoughts, True, False]


def test_bedrock_allows_the_model_s_own_maximum_unless_told():
    fields = {"thinking": {"type": "enabled", "budget_tokens": 16_000}}
    body = bedrock_requests.request({"additionalModelRequestFields": fields})
    assert bedrock_rules.find_problem(body, bedrock_requests.MODEL) is None
    body["inferenceConfig"] = {"maxTokens": 16_000}
    assert "greater than `thinking.budget_tokens`" in bedrock_rules.find_problem(body, bedrock_requests.MODEL)
