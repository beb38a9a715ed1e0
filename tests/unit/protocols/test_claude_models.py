"""Requests to Claude at all its hosts follow what each model accepts at that host.

The bodies are checked with the types of the SDKs. What models accept is said here once more, from Anthropic's and AWS's
pages, so that a wrong row in the data is noticed too.
"""

import json

import pytest

from support.chat_codec import CODECS
from support.request_judges import judge_anthropic
from support.request_table import CUSTOM, HI, TURN, allowed, named

FUNCTION = {
    "name": "look",
    "parameters": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
}
LOOK = {"type": "function", "function": FUNCTION}
OTHER = {"type": "function", "function": {"name": "other", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
AT_ANTHROPIC = ("anthropic", "vertex-anthropic")
SHOWN = {"type": "adaptive", "display": "summarized"}


def sent(wire, model, **members):
    body, dropped, translation = CODECS[wire].encode(
        json.dumps({"model": "x", "messages": HI, **members}).encode(), model
    )
    request = json.loads(body)
    if wire == "anthropic":
        judge_anthropic({**request, "thinking": without_beta(request)} if "thinking" in request else request)
    return request, dropped, translation


def without_beta(request):
    """Return `thinking` without the members that only the beta types of the SDK have."""
    return {name: value for name, value in request["thinking"].items() if name != "block_binding"}


def at_hosts(model):
    """Return wire format and id of a model at each of its hosts."""
    return [("anthropic", model), ("vertex-anthropic", model), ("bedrock", f"us.anthropic.{model}")]


def choice_of(request):
    """Return the kind of tool choice: `auto` also where nothing is said."""
    if "messages" in request and "toolConfig" not in request:
        return request.get("tool_choice", {}).get("type", "auto")
    return next(iter(request["toolConfig"].get("toolChoice", {"auto": {}})))


def last_text(request):
    block = request["messages"][-1]["content"][-1]
    return block["text"]


def thinking_of(request):
    return request.get("thinking") or request.get("additionalModelRequestFields", {}).get("thinking")


def effort_of(request):
    return (request.get("output_config") or request.get("outputConfig") or {}).get("effort")


# -- tools that must be called -----------------------------------------------------------------------------------------

NEVER_FORCED = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5-1", "claude-fable-5-2", "claude-mythos-5-1")
FORCED = (
    "claude-sonnet-4-5",
    "claude-opus-4-6",
    "claude-opus-4-8",
    "claude-opus-5",
    "claude-sonnet-5",
    "claude-haiku-5-5",
)
FORCING = {
    "required": {"tools": [LOOK, OTHER], "tool_choice": "required"},
    "named": {"tools": [LOOK, OTHER], "tool_choice": named("look")},
    "custom": {"tools": [CUSTOM, LOOK], "tool_choice": named("shell", "custom")},
    "allowed": {"tools": [LOOK, OTHER], "tool_choice": allowed("required", "look")},
    "legacy": {"functions": [FUNCTION], "function_call": {"name": "look"}},
}


@pytest.mark.parametrize(("wire", "model"), [place for model in NEVER_FORCED for place in at_hosts(model)])
@pytest.mark.parametrize("form", FORCING)
def test_a_model_that_cannot_be_forced_is_told_in_words(wire, model, form):
    request, dropped, _ = sent(wire, model, **FORCING[form])
    assert choice_of(request) == "auto"
    assert "must call" in last_text(request)
    assert dropped == ["function_call" if form == "legacy" else "tool_choice"]
    if form != "required":
        assert f"`{'shell' if form == 'custom' else 'look'}`" in last_text(request)


@pytest.mark.parametrize(("wire", "model"), [place for model in FORCED for place in at_hosts(model)])
@pytest.mark.parametrize("form", FORCING)
def test_a_model_that_can_be_forced_is(wire, model, form):
    request, dropped, _ = sent(wire, model, **FORCING[form])
    assert choice_of(request) == ("any" if form == "required" else "tool")
    assert dropped == []


@pytest.mark.parametrize("wire_and_model", [*at_hosts("claude-opus-5-5"), *at_hosts("claude-fable-5-2")])
def test_a_schema_is_no_forced_tool_where_none_can_be_forced(wire_and_model):
    wire, model = wire_and_model
    request, dropped, translation = sent(wire, model, response_format=FORMAT)
    assert translation.emulation.schema_tool is None
    if wire == "bedrock":
        assert (dropped, "toolConfig" in request) == (["response_format"], False)
        assert '"n"' in request["system"][0]["text"]
    else:
        assert (request["output_config"]["format"]["schema"], dropped) == (SCHEMA, [])


@pytest.mark.parametrize("model", ["claude-opus-4-6", "claude-sonnet-4-6", "claude-opus-4-7"])
def test_adaptive_thinking_is_left_out_beside_a_forced_tool(model):
    for wire, host_model in at_hosts(model):
        for choice in ("required", named("look")):
            request, dropped, _ = sent(wire, host_model, tools=[LOOK], tool_choice=choice, reasoning_effort="high")
            assert (thinking_of(request), effort_of(request), dropped) == (None, None, ["reasoning_effort"])
            assert choice_of(request) != "auto"
        request, dropped, _ = sent(wire, host_model, tools=[LOOK], reasoning_effort="high")
        assert (thinking_of(request)["type"], dropped) == ("adaptive", [])


@pytest.mark.parametrize("model", ["claude-opus-4-8", "claude-opus-5", "claude-sonnet-5", "claude-haiku-5-5"])
def test_newer_models_think_before_a_forced_tool(model):
    for wire, host_model in at_hosts(model):
        request, dropped, _ = sent(wire, host_model, tools=[LOOK], tool_choice="required", reasoning_effort="high")
        assert (thinking_of(request), choice_of(request), dropped) == (SHOWN, "any", [])


# -- the list of tools -------------------------------------------------------------------------------------------------


def tool_names(request):
    tools = request.get("tools") or [tool["toolSpec"] for tool in request["toolConfig"]["tools"]]
    return [tool["name"] for tool in tools]


@pytest.mark.parametrize(("wire", "model"), at_hosts("claude-opus-5"))
def test_allowed_tools_leave_the_list_of_tools_as_it_is(wire, model):
    tools = [LOOK, OTHER, CUSTOM]
    free, dropped, _ = sent(wire, model, tools=tools, tool_choice=allowed("auto", "look"))
    assert (tool_names(free), choice_of(free), dropped) == (["look", "other", "shell"], "auto", ["tool_choice"])
    assert "may only call the tool `look`" in last_text(free)
    one, dropped, _ = sent(wire, model, tools=tools, tool_choice=allowed("required", "look"))
    assert (tool_names(one), choice_of(one), dropped) == (["look", "other", "shell"], "tool", [])
    two, dropped, _ = sent(wire, model, tools=tools, tool_choice=allowed("required", "look", "other"))
    assert (tool_names(two), choice_of(two), dropped) == (["look", "other", "shell"], "any", ["tool_choice"])
    assert "`look`, `other`" in last_text(two)
    every, dropped, _ = sent(wire, model, tools=tools, tool_choice=allowed("auto", "other", "shell", "look"))
    assert (choice_of(every), dropped, last_text(every)) == ("auto", [], "hi")


@pytest.mark.parametrize(("wire", "model"), at_hosts("claude-opus-5-5"))
def test_tools_that_are_only_known_by_their_calls_are_always_the_same(wire, model):
    more = [*TURN, {"role": "assistant", "content": "Rain."}, *HI]
    first, again = sent(wire, model, messages=TURN)[0], sent(wire, model, messages=more)[0]
    assert tool_names(first) == tool_names(again) == ["weather"]
    assert first.get("tools") == again.get("tools")
    assert first.get("toolConfig") == again.get("toolConfig")


@pytest.mark.parametrize("model", ["mistral.mistral-large-2402-v1:0", "us.meta.llama3-1-70b-instruct-v1:0"])
def test_other_models_of_bedrock_are_forced_as_far_as_they_can_be(model):
    request, dropped, _ = sent("bedrock", model, tools=[LOOK, OTHER], tool_choice=named("look"))
    if model.startswith("mistral"):  # it can be made to call any tool, so the others are left out
        assert (tool_names(request), choice_of(request), dropped) == (["look"], "any", [])
    else:
        assert (tool_names(request), choice_of(request), dropped) == (["look", "other"], "auto", ["tool_choice"])


def test_bedrock_says_in_words_that_no_tool_may_be_called():
    request, dropped, _ = sent("bedrock", "us.anthropic.claude-opus-5", messages=TURN, tools=[LOOK], tool_choice="none")
    assert (tool_names(request), dropped) == (["look"], ["tool_choice"])
    assert "must not call a tool" in last_text(request)
    request, dropped, _ = sent("bedrock", "us.anthropic.claude-opus-5", tools=[LOOK], tool_choice="none")
    assert ("toolConfig" in request, dropped) == (False, [])


# -- how much the model thinks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "effort", "level", "dropped"),
    [
        ("claude-opus-4-6", "xhigh", "max", ["reasoning_effort"]),
        ("claude-sonnet-4-6", "xhigh", "max", ["reasoning_effort"]),
        ("claude-opus-4-6", "max", "max", []),
        ("claude-opus-4-7", "xhigh", "xhigh", []),
        ("claude-fable-5-2", "max", "max", []),
        ("claude-opus-5-5", "minimal", "low", ["reasoning_effort"]),
        ("claude-haiku-5-5", "medium", "medium", []),
    ],
)
def test_levels_that_a_model_does_not_have_become_the_nearest(model, effort, level, dropped):
    for wire, host_model in at_hosts(model):
        request, lost, _ = sent(wire, host_model, reasoning_effort=effort)
        assert (effort_of(request), thinking_of(request)["type"], lost) == (level, "adaptive", dropped)


DISABLED, BETWEEN = {"type": "disabled"}, {"type": "between_tools"}


@pytest.mark.parametrize(
    ("model", "host", "thinking", "effort"),
    [
        ("claude-sonnet-4-5", "all", DISABLED, None),
        ("claude-opus-4-8", "all", DISABLED, None),
        ("claude-opus-5", "all", DISABLED, None),
        ("claude-sonnet-5", AT_ANTHROPIC, DISABLED, None),
        ("claude-sonnet-5", "bedrock", None, "low"),
        ("claude-haiku-5-5", "all", DISABLED, None),
        ("claude-sonnet-5-5", "all", BETWEEN, None),
        ("claude-opus-5-5", "all", None, "low"),
        ("claude-fable-5", "all", None, "low"),
        ("claude-fable-5-2", "all", None, "low"),
        ("claude-mythos-5-1", "all", None, "low"),
    ],
)
def test_thinking_is_turned_off_as_the_model_accepts_it_at_its_host(model, host, thinking, effort):
    for wire, host_model in at_hosts(model):
        if host == "all" or wire in host:
            request, dropped, _ = sent(wire, host_model, reasoning_effort="none")
            assert (thinking_of(request), effort_of(request)) == (thinking, effort), wire
            assert dropped == (["reasoning_effort"] if effort else [])


@pytest.mark.parametrize("model", ["claude-sonnet-5-5", "claude-haiku-5-5", "claude-opus-5"])
def test_an_effort_of_the_clients_own_is_at_most_high_without_thinking(model):
    request, dropped, _ = sent("anthropic", model, reasoning_effort="none", output_config={"effort": "max"})
    assert (request["output_config"], dropped) == ({"effort": "high"}, ["output_config.effort"])
    request, dropped, _ = sent("anthropic", model, reasoning_effort="none", output_config={"effort": "medium"})
    assert (request["output_config"], dropped) == ({"effort": "medium"}, [])


@pytest.mark.parametrize(
    ("model", "display"),
    [
        ("claude-opus-4-6", None),
        ("claude-opus-4-7", "summarized"),
        ("claude-sonnet-5", "summarized"),
        ("claude-x", "summarized"),
    ],
)
def test_reasoning_is_shown_where_it_was_asked_for(model, display):
    for wire, host_model in at_hosts(model):
        request, _, _ = sent(wire, host_model, reasoning_effort="low")
        assert thinking_of(request).get("display") == display
        request, _, _ = sent(wire, host_model)
        assert thinking_of(request) is None


# -- limits, sampling and formats --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_above_the_models_own_becomes_that(name):
    request, dropped, _ = sent("anthropic", "claude-haiku-4-5", **{name: 100_000})
    assert (request["max_tokens"], dropped) == (64_000, [name])
    request, dropped, _ = sent("bedrock", "us.anthropic.claude-haiku-4-5-20251001-v1:0", **{name: 100_000})
    assert (request["inferenceConfig"], dropped) == ({"maxTokens": 64_000}, [name])


@pytest.mark.parametrize("model", ["claude-opus-4-7", "claude-sonnet-5-5"])
def test_sampling_that_a_model_refuses_is_left_out(model):
    members = {"temperature": 1.5, "top_p": 0.5, "top_k": 3}
    for wire, host_model in at_hosts(model):
        request, dropped, _ = sent(wire, host_model, **members)
        assert dropped == ["temperature", "top_p", "top_k"]
        assert not {"temperature", "top_p", "top_k", "inferenceConfig", "additionalModelRequestFields"} & set(request)


@pytest.mark.parametrize(
    ("wire", "model", "kept"),
    [
        ("anthropic", "claude-opus-5-5", True),
        ("vertex-anthropic", "claude-opus-5-5", True),
        ("bedrock", "anthropic.claude-opus-4-6-v1", True),
        ("bedrock", "us.anthropic.claude-opus-5", False),
        ("bedrock", "us.anthropic.claude-opus-5-5", False),
    ],
)
def test_strict_tools_by_host(wire, model, kept):
    tool = {"type": "function", "function": {**FUNCTION, "strict": True}}
    request, dropped, _ = sent(wire, model, tools=[tool])
    definition = request.get("tools", [{}])[0] if wire != "bedrock" else request["toolConfig"]["tools"][0]["toolSpec"]
    assert definition.get("strict", False) == kept
    assert dropped == ([] if kept else ["tools.function.strict"])


def test_a_schema_at_bedrock_is_a_forced_tool_where_that_is_possible():
    request, dropped, translation = sent("bedrock", "us.anthropic.claude-opus-5", response_format=FORMAT)
    assert (choice_of(request), translation.emulation.schema_tool, dropped) == ("tool", "answer", [])


def test_web_search_by_host():
    for wire, model in at_hosts("claude-opus-5"):
        request, dropped, _ = sent(wire, model, web_search_options={})
        assert dropped == (["web_search_options"] if wire == "bedrock" else [])
        assert ("tools" in request) == (wire != "bedrock")


# -- unusual conversations ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("messages", [
    [{"role": "system", "content": "s"}],
    [{"role": "system", "content": "s"}, {"role": "user", "content": ""}],
    [{"role": "assistant", "content": "Hello."}, *HI],
    [{"role": "user", "content": []}],
])  # fmt: skip
def test_a_conversation_without_a_beginning_gets_a_short_one(messages):
    for wire, model in at_hosts("claude-opus-4-5"):
        request, dropped, _ = sent(wire, model, messages=messages)
        first = request["messages"][0]
        assert (first["role"], first["content"][0]["text"], dropped) == ("user", "Begin.", [])
        assert ("system" in request) == (messages[0]["role"] == "system")


@pytest.mark.parametrize("model", ["claude-opus-4-6", "claude-opus-5-5"])
def test_a_model_that_cannot_continue_a_response_is_asked_to(model):
    for wire, host_model in at_hosts(model):
        request, dropped, _ = sent(wire, host_model, messages=[*HI, {"role": "assistant", "content": "The answer is "}])
        assert [turn["role"] for turn in request["messages"]] == ["user", "assistant", "user"]
        assert (last_text(request)[:8], dropped) == ("Continue", ["messages"])


def test_an_unknown_model_at_an_inference_profile_gets_the_least():
    profile = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3"
    request, dropped, _ = sent("bedrock", profile, tools=[LOOK], tool_choice="required", response_format=FORMAT)
    assert choice_of(request) == "auto"
    assert dropped == ["tool_choice", "response_format"]
