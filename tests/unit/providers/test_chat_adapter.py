"""Tests what hosts of OpenAI's chat format get, and what is named as dropped."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nulpoint.errors import Failure
from nulpoint.models.catalog import built_in_models
from nulpoint.models.facts import ModelFacts
from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.chat_adapter.adapter import ChatAdapter
from nulpoint.providers.dialect import Dialect
from nulpoint.providers.spec import ProviderSpec
from support.mutation import mutated_json

HOSTS = [name for name, spec in CATALOG.items() if spec.wire == "openai" and "chat" in spec.operations]
HELLO = {"role": "user", "content": "hi"}
FUNCTION = {"name": "f", "parameters": {"type": "object"}, "strict": True}
TOOL = {"type": "function", "function": FUNCTION}
LOOSE_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
OTHER_TOOL = {"type": "function", "function": {"name": "g"}}
NAMED = {"type": "function", "function": {"name": "f"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "4"}
OF_CLAUDE = {"provider_specific_fields": {"anthropic": {"content": [{"type": "thinking", "signature": "s"}]}}}


def adapter(name):
    host, _, model = name.partition("/")
    return ChatAdapter(CATALOG[host], model, built_in_models().of(host, model))


def own(rename=None, drop=(), dialect=None, **facts):
    """Return the adapter of a host of the user's own."""
    spec = ProviderSpec(
        name="own", base_url="http://x", key_env=None, rename=rename or {}, drop=frozenset(drop), dialect=dialect or Dialect()
    )  # fmt: skip
    return ChatAdapter(spec, "m", ModelFacts(**facts))


def sent(chosen, **members):
    """Return the members that the host gets, and the names of what was dropped."""
    body = json.dumps({"model": "m", "messages": [HELLO], **members}).encode()
    adapted = chosen.adapt(body, body)
    return json.loads(adapted.body), adapted.dropped


def differences(name, **members):
    """Return the members that the host gets in another form than the client sent, without those of the frame."""
    got, dropped = sent(adapter(name), **members)
    gone = {member: None for member in members if member not in got}
    return gone | {key: value for key, value in got.items() if members.get(key, HELLO) != value and key not in ("model", "messages")}, dropped  # fmt: skip


@pytest.mark.parametrize("name", HOSTS)
def test_an_ordinary_conversation_keeps_its_bytes(name):
    body = (
        b'{ "model":"m", "messages" : [{"role":"system","content":"s"},{"role":"user","content":"\\u00e9"}],"top_k":3}'
    )
    chosen = adapter(f"{name}/m")
    if CATALOG[name].dialect.defaults:
        return
    assert chosen.adapt(body, body).body is body


@pytest.mark.parametrize("model", ["gpt-4.1", "unknown", "ft:gpt-4o:x"])
def test_openai_needs_no_adapter_where_nothing_is_known_to_be_rejected(model):
    assert not adapter(f"openai/{model}").reads_messages(b'{"messages":[{"role":"user","content":"\\u00e9"}]}')
    assert sent(adapter(f"openai/{model}"), max_tokens=5, temperature=0, tools=[TOOL])[1] == []


@pytest.mark.parametrize(
    ("name", "members", "changed", "dropped"),
    [
        # the limit of the output
        ("deepseek/deepseek-flash", {"max_completion_tokens": 5}, {"max_completion_tokens": None, "max_tokens": 5}, []),
        ("ollama/m", {"max_completion_tokens": 5}, {"max_completion_tokens": None, "max_tokens": 5}, []),
        ("minimax/MiniMax-M3", {"max_tokens": 5}, {"max_tokens": None, "max_completion_tokens": 5}, []),
        ("openai/gpt-5", {"max_tokens": 5}, {"max_tokens": None, "max_completion_tokens": 5}, []),
        ("openai/gpt-5.4", {"max_tokens": 7, "max_completion_tokens": 5}, {"max_tokens": None}, ["max_tokens"]),
        ("zai/glm-5.3", {"max_tokens": 7, "max_completion_tokens": 5}, {"max_completion_tokens": None, "max_tokens": 5}, ["max_tokens"]),
        ("groq/m", {"max_completion_tokens": 5}, {}, []),
        # levels of reasoning
        ("openai/gpt-5.2", {"reasoning_effort": "minimal"}, {"reasoning_effort": "low"}, ["reasoning_effort"]),
        ("moonshot/kimi-k3", {"reasoning_effort": "medium"}, {"reasoning_effort": "high"}, ["reasoning_effort"]),
        ("moonshot/kimi-k3", {"reasoning_effort": "none"}, {"reasoning_effort": "low"}, ["reasoning_effort"]),
        ("deepseek/deepseek-flash", {"reasoning_effort": "none"}, {"reasoning_effort": None, "thinking": {"type": "disabled"}}, []),
        ("zai/glm-4.7", {"reasoning_effort": "high"}, {"reasoning_effort": None}, ["reasoning_effort"]),
        ("qwen/qwen-plus", {"reasoning_effort": "high"}, {"reasoning_effort": None, "enable_thinking": True}, ["reasoning_effort"]),
        ("xai/grok-4.20-0309-non-reasoning", {"reasoning_effort": "none"}, {"reasoning_effort": None}, []),
        ("groq/openai/gpt-oss-120b", {"reasoning_effort": "default"}, {}, []),
        ("groq/unknown", {"reasoning_effort": "max"}, {}, []),
        # parameters that are rejected
        ("xai/grok-4.7", {"presence_penalty": 0, "stop": "x"}, {"presence_penalty": None, "stop": None}, ["stop"]),
        ("openai/gpt-5.4", {"stop": "x", "temperature": 0}, {"stop": None}, ["stop"]),
        ("openai/gpt-5.4", {"temperature": 0, "reasoning_effort": "low"}, {"temperature": None}, ["temperature"]),
        ("openai/gpt-5", {"temperature": 1}, {"temperature": None}, []),
        ("deepseek/deepseek-flash", {"temperature": 0}, {"temperature": None}, ["temperature"]),
        ("deepseek/deepseek-flash", {"temperature": 0, "thinking": {"type": "disabled"}}, {}, []),
        ("groq/m", {"store": True, "n": 1, "logit_bias": {"1": 2}}, {"store": None, "n": None, "logit_bias": None}, ["store", "logit_bias"]),
        ("groq/m", {"service_tier": "default"}, {"service_tier": "on_demand"}, []),
        ("groq/m", {"service_tier": "priority"}, {"service_tier": None}, ["service_tier"]),
        ("together/m", {"stop": "x"}, {"stop": ["x"]}, []),
        ("fireworks/m", {}, {"context_length_exceeded_behavior": "error"}, []),
        ("fireworks/m", {"context_length_exceeded_behavior": "truncate"}, {}, []),
        # tools
        ("deepseek/deepseek-flash", {"tools": [TOOL]}, {"tools": [LOOSE_TOOL]}, ["tools.function.strict"]),
        ("deepseek/deepseek-flash", {"tools": [LOOSE_TOOL], "tool_choice": "required"}, {"thinking": {"type": "disabled"}}, []),
        (
            "deepseek/deepseek-flash", {"tools": [LOOSE_TOOL], "tool_choice": NAMED, "reasoning_effort": "low"},
            {"reasoning_effort": None, "thinking": {"type": "disabled"}}, ["reasoning_effort"],
        ),
        ("moonshot/kimi-k2.7-code", {"tools": [LOOSE_TOOL], "tool_choice": "required"}, {"tool_choice": "auto"}, ["tool_choice"]),
        ("moonshot/kimi-k3", {"tools": [LOOSE_TOOL, OTHER_TOOL], "tool_choice": NAMED}, {"tools": [LOOSE_TOOL], "tool_choice": "required"}, []),
        ("ollama/m", {"tools": [TOOL], "tool_choice": "none"}, {"tools": None, "tool_choice": None}, []),
        ("lmstudio/m", {"tools": [TOOL, OTHER_TOOL], "tool_choice": NAMED}, {"tools": [TOOL], "tool_choice": "required"}, []),
        (
            "cerebras/m",
            {"tools": [TOOL, OTHER_TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}}},
            {"tools": [TOOL], "tool_choice": "required"}, [],
        ),
        ("openai/gpt-5.4", {"tools": [TOOL]}, {}, []),
        ("openai/gpt-6-sol", {"tools": [TOOL], "reasoning_effort": "none"}, {}, []),
        # output formats
        ("lmstudio/m", {"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}}, []),
        ("qwen/qwen3.8-max", {"response_format": SCHEMA}, {"enable_thinking": False}, []),
        ("groq/openai/gpt-oss-20b", {"response_format": SCHEMA}, {}, []),
        ("groq/openai/gpt-oss-20b", {"response_format": SCHEMA, "stream": True}, {"response_format": None}, ["response_format"]),
        ("deepseek/deepseek-flash", {"response_format": SCHEMA}, {"response_format": {"type": "json_object"}}, ["response_format"]),
    ],
)  # fmt: skip
def test_what_a_host_gets_in_place_of_what_it_rejects(name, members, changed, dropped):
    assert differences(name, **members) == (changed, dropped)


def test_a_format_that_nothing_enforces_is_said_in_words():
    got, _ = sent(adapter("deepseek/deepseek-flash"), response_format=SCHEMA)
    assert got["messages"][1:] == [HELLO]
    assert '{"type":"object"}' in got["messages"][0]["content"]
    system = {"role": "system", "content": "Be kind."}
    got, _ = sent(adapter("deepseek/deepseek-flash"), response_format=SCHEMA, messages=[system, HELLO])
    assert [message["role"] for message in got["messages"]] == ["system", "user"]
    assert got["messages"][0]["content"].startswith("Be kind.\n\n")


@pytest.mark.parametrize(
    ("name", "members", "param"),
    [
        ("openai/gpt-6.2-sol", {"tools": [TOOL]}, "tools"),
        ("openai/gpt-6-sol", {"tools": [TOOL]}, "reasoning_effort"),
        ("openai/gpt-5.4", {"tools": [TOOL], "reasoning_effort": "low"}, "reasoning_effort"),
        ("groq/m", {"tools": [TOOL, {"type": "custom", "custom": {"name": "c"}}]}, "tools[1].type"),
    ],
)
def test_what_no_host_can_express_is_an_error_with_a_remedy(name, members, param):
    with pytest.raises(Failure, match=f"{name}.*(choose another model|make it a function)") as caught:
        sent(adapter(name), **members)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("name", "message", "expected", "dropped"),
    [
        ("groq/m", {"content": "a", "reasoning_content": "r"}, {"content": "a", "reasoning": "r"}, []),
        ("cerebras/m", {"content": "a", "reasoning_content": "r"}, {"content": "a", "reasoning": "r"}, []),
        ("deepseek/m", {"content": "a", "reasoning": "r"}, {"content": "a", "reasoning_content": "r"}, []),
        ("groq/m", {"content": "a", "reasoning_content": "r", **OF_CLAUDE}, {"content": "a"}, ["messages.reasoning_content"]),
        ("vllm/m", {"content": "a", "reasoning_content": "r", **OF_CLAUDE}, {"content": "a"}, ["messages.reasoning_content"]),
        ("vllm/m", {"content": "a", "reasoning_content": "r"}, {"content": "a", "reasoning_content": "r"}, []),
        ("deepseek/m", {"content": "a", "reasoning_content": "r", **OF_CLAUDE}, {"content": "a", "reasoning_content": "r"}, []),
        ("deepseek/m", {"content": "a", "tool_calls": [CALL]}, {"content": "a", "tool_calls": [CALL], "reasoning_content": " "}, []),
        ("moonshot/kimi-k3", {"tool_calls": [CALL], "reasoning_content": ""}, {"tool_calls": [CALL], "reasoning_content": " "}, []),
        ("deepseek/m", {"content": "a"}, {"content": "a"}, []),
        ("fireworks/m", {"tool_calls": [{**CALL, "extra_content": {"google": {"thought_signature": "x"}}}]}, {"tool_calls": [CALL]}, []),
        ("together/m", {"tool_calls": [{**CALL, "extra_content": {"google": 1}}]}, {"tool_calls": [CALL]}, []),
        ("groq/m", {"content": "a", "refusal": None, "annotations": [], "audio": None}, {"content": "a"}, []),
        ("groq/m", {"content": "a", "name": "n"}, {"content": "a"}, ["messages.name"]),
        ("groq/m", {"content": [{"type": "text", "text": "a", "cache_control": {"type": "x"}}]}, {"content": [{"type": "text", "text": "a"}]}, ["messages.content.cache_control"]),
        ("openrouter/m", {"content": "a", "reasoning_details": [{"x": 1}]}, {"content": "a", "reasoning_details": [{"x": 1}]}, []),
        ("openai/gpt-5.4", {"content": "a", **OF_CLAUDE}, {"content": "a", **OF_CLAUDE}, []),
    ],
)  # fmt: skip
def test_what_a_host_gets_of_an_earlier_response(name, message, expected, dropped):
    got, named = sent(adapter(name), messages=[HELLO, {"role": "assistant", **message}, RESULT])
    assert got["messages"] == [HELLO, {"role": "assistant", **expected}, RESULT]
    assert named == dropped


@pytest.mark.parametrize("name", [name for name in HOSTS if name not in ("openai", "azure", "openrouter")])
def test_the_role_developer_is_sent_as_system(name):
    got, dropped = sent(adapter(f"{name}/m"), messages=[{"role": "developer", "content": "d"}, HELLO])
    assert got["messages"] == [{"role": "system", "content": "d"}, HELLO]
    assert dropped == []


def test_a_name_with_escapes_is_found_too():
    body = b'{"model":"m","messages":[{"role":"assistant","content":"a","provider_specific\\u005ffields":{"x":{}}}]}'
    assert json.loads(own().adapt(body, body).body)["messages"] == [{"role": "assistant", "content": "a"}]


def test_messages_that_need_no_change_keep_their_bytes():
    first, second = b'{"role":"user",  "content":"\\u00e9"}', b'{"role":"developer","content":"d"}'
    body = b'{"model":"m","messages":[%b,%b],"x":1e400}' % (first, second)
    changed = adapter("nebius/m").adapt(body, body).body
    assert changed == b'{"model":"m","messages":[%b,{"role":"system","content":"d"}],"x":1e400}' % first


@pytest.mark.parametrize(
    ("rename", "expected", "dropped"),
    [
        ({"max_completion_tokens": "max_tokens"}, {"max_tokens": 5}, ["max_tokens"]),
        ({"max_tokens": "max_completion_tokens"}, {"max_completion_tokens": 5}, ["max_tokens"]),
    ],
)
def test_the_newer_limit_counts_whatever_the_record_renames(rename, expected, dropped):
    got, named = sent(own(rename), max_tokens=7, max_completion_tokens=5)
    assert (got, named) == ({"model": "m", "messages": [HELLO], **expected}, dropped)


def test_a_record_renames_and_drops():
    got, named = sent(own({"top_n": "top_k"}, ["user", "seed"]), top_n=1, user="u", seed=None)
    assert (got, named) == ({"model": "m", "messages": [HELLO], "top_k": 1}, ["user"])


def test_facts_and_dialect_of_a_users_own_host():
    dialect = Dialect(roles={"tool": "user"}, values={"tool_choice": {"required": "any"}}, text_content="joined")
    chosen = own(dialect=dialect, json_schema=False, reasoning_history="never")
    got, named = sent(
        chosen, messages=[{"role": "assistant", "content": "a", "reasoning": "r"}, RESULT], tool_choice="required"
    )
    assert got["messages"] == [{"role": "assistant", "content": "a"}, {**RESULT, "role": "user"}]
    assert got["tool_choice"] == "any"
    assert named == ["messages.reasoning"]
    texts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    got, _ = sent(chosen, messages=[{"role": "user", "content": texts}])
    assert got["messages"] == [{"role": "user", "content": "ab"}]
    with_image = [*texts, {"type": "image_url", "image_url": {"url": "x"}}]
    got, _ = sent(chosen, messages=[{"role": "user", "content": with_image}])
    assert got["messages"][0]["content"] == with_image


DOCUMENTS = [
    {
        "model": "m", "messages": [{"role": "developer", "content": "d"}, {"role": "assistant", "content": [{"type": "text", "text": "a"}], "reasoning": "r", "tool_calls": [CALL], **OF_CLAUDE}, RESULT],
        "tools": [TOOL], "tool_choice": NAMED, "response_format": SCHEMA, "reasoning_effort": "low", "max_tokens": 5, "stop": "x", "thinking": {"type": "enabled"}, "service_tier": "default",
    },
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(mutated_json(DOCUMENTS), st.sampled_from(["groq/m", "deepseek/m", "openai/gpt-5.4", "qwen/qwen-plus", "zai/glm-5.3", "lmstudio/m"]))  # fmt: skip
def test_whatever_a_client_sends_the_host_gets_json_and_adapting_twice_changes_nothing(body, name):
    try:
        if not isinstance(msgspec.json.decode(body), dict):
            return
        chosen = adapter(name)
        once = chosen.adapt(body, body).body
    except (Failure, msgspec.DecodeError, UnicodeDecodeError):
        return
    if name != "deepseek/m":  # a conversation that is told to answer with JSON is told so again
        assert chosen.adapt(once, once).body == once
    msgspec.json.decode(once)


@pytest.mark.parametrize("host", ["groq/openai/gpt-oss-120b", "fireworks/m", "cerebras/gpt-oss-120b", "zai/glm-5", "xai/grok-4"])  # fmt: skip
def test_the_result_of_a_function_keeps_the_function_s_name(host):
    call = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    result = {"role": "function", "name": "f", "content": "4"}
    got, dropped = sent(adapter(host), messages=[HELLO, call, result], functions=[{"name": "f"}])
    assert got["messages"][2] == result
    assert "messages.name" not in dropped
    if host.startswith("groq"):
        assert (got["messages"][1], dropped) == (call, [])


MARK = {"cache_control": {"type": "ephemeral"}}
TEXT = {"type": "text", "text": "hi"}


@pytest.mark.parametrize("model", ["gpt-4.1", "gpt-5.4", "unknown"])
@pytest.mark.parametrize(
    ("members", "dropped"),
    [
        ({"messages": [{**HELLO, **MARK}]}, "messages.cache_control"),
        ({"messages": [{"role": "user", "content": [{**TEXT, **MARK}]}]}, "messages.content.cache_control"),
        ({"tools": [{**LOOSE_TOOL, **MARK}]}, "tools.cache_control"),
        ({"tools": [{"type": "function", "function": {**FUNCTION, **MARK}}]}, "tools.function.cache_control"),
        (MARK, "cache_control"),
    ],
)
def test_openai_gets_no_cache_marks(model, members, dropped):
    got, names = sent(adapter(f"openai/{model}"), **members)
    assert "cache_control" not in json.dumps(got)
    assert names == [dropped]


@pytest.mark.parametrize(
    ("messages", "added"),
    [
        ([{"role": "system", "content": "s"}], [{"role": "user", "content": "Begin."}]),
        ([{"role": "developer", "content": "s"}, {"role": "assistant", "content": "a"}], [{"role": "user", "content": "Begin."}]),
        ([{"role": "system", "content": "s"}, HELLO], []),
        ([], []),
    ],
)  # fmt: skip
def test_a_host_that_needs_the_user_gets_a_message(messages, added):
    got, dropped = sent(adapter("zai/glm-5.3"), messages=messages)
    assert [message["role"] for message in got["messages"][len(messages) :]] == ["user"] * len(added)
    assert got["messages"][len(messages) :] == added
    assert dropped == []


def test_a_pretty_printed_message_of_the_user_is_found():
    body = json.dumps({"model": "m", "user": "u", "messages": [HELLO]}, indent=2).encode()
    assert adapter("zai/glm-5.3").adapt(body, body).body is body
