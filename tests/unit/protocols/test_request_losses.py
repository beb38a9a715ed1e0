"""No member of a request is lost silently: it is sent or reported as dropped, or the request is rejected."""

import copy
import json

import pytest

from nulpoint.errors import Failure
from nulpoint.protocols.gemini import embeddings as gemini_embeddings
from nulpoint.protocols.openai.chat import OPENAI_MEMBERS
from support.chat_codec import CODECS
from support.request_table import CUSTOM, FORMAT, GRAMMAR, HI, IMAGE, PDF, REPRESENTATIVES, TEXT, TOOL, TURN, user

VALUES = {
    "audio": {"voice": "Kore", "format": "pcm16"},
    "frequency_penalty": 0.5,
    "function_call": "none",
    "functions": [TOOL["function"]],
    "logit_bias": {"1": 1},
    "logprobs": True,
    "max_completion_tokens": 4321,
    "max_tokens": 4321,
    "metadata": {"a": "b"},
    "modalities": ["audio"],
    "moderation": {"model": "m"},
    "n": 2,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "so"},
    "presence_penalty": 0.5,
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "explicit"},
    "prompt_cache_retention": "24h",
    "reasoning_effort": "high",
    "response_format": {"type": "json_object"},
    "safety_identifier": "u",
    "seed": 1,
    "service_tier": "flex",
    "stop": ["END"],
    "store": True,
    "stream": True,
    "temperature": 0.5,
    "tool_choice": "required",
    "tools": [TOOL],
    "top_logprobs": 2,
    "top_p": 0.5,
    "user": "u",
    "verbosity": "low",
    "web_search_options": {},
}
# These need another member, or only say what the path or the provider's default says.
NEEDS = {
    "function_call": {"functions": [TOOL["function"]]},
    "tool_choice": {"tools": [TOOL]},
    "parallel_tool_calls": {"tools": [TOOL]},
}
ELSEWHERE = {("bedrock", "stream"), ("gemini", "stream")}
TARGETS = [(provider, model) for provider, models in REPRESENTATIVES.items() for model in models]


def encoded(provider, model, request):
    """Return the translated request and the dropped members, or None if the request is rejected."""
    try:
        body, dropped, _ = CODECS[provider].encode(json.dumps(request).encode(), model)
    except Failure as failure:
        return None if failure.status == 400 and failure.param else pytest.fail(str(failure))
    return body, dropped


@pytest.mark.parametrize(("provider", "model"), TARGETS)
@pytest.mark.parametrize("name", sorted(OPENAI_MEMBERS - {"model", "messages", "stream_options"}))
def test_every_member_is_sent_reported_or_refused(provider, model, name):
    base = {"model": model, "messages": HI, **NEEDS.get(name, {})}
    plain = encoded(provider, model, base)
    told = encoded(provider, model, {**base, name: VALUES[name]})
    assert plain[1] == []
    if told is not None and (provider, name) not in ELSEWHERE:
        assert told[0] != plain[0] or name in told[1]


LEVELS = {
    "user": {"messages": HI, "at": ("messages", 0)},
    "system": {"messages": [{"role": "system", "content": "a"}, *HI], "at": ("messages", 0)},
    "assistant": {"messages": [*HI, {"role": "assistant", "content": "a"}, *HI], "at": ("messages", 1)},
    "result": {"messages": TURN, "tools": [TOOL], "at": ("messages", 2)},
    "call": {"messages": TURN, "tools": [TOOL], "at": ("messages", 1, "tool_calls", 0)},
    "function of a call": {"messages": TURN, "tools": [TOOL], "at": ("messages", 1, "tool_calls", 0, "function")},
    "text": {"messages": user(TEXT), "at": ("messages", 0, "content", 0)},
    "image": {"messages": user(IMAGE), "at": ("messages", 0, "content", 0)},
    "image URL": {"messages": user(IMAGE), "at": ("messages", 0, "content", 0, "image_url")},
    "file": {
        "messages": user({"type": "file", "file": {"file_data": PDF}}),
        "at": ("messages", 0, "content", 0, "file"),
    },
    "audio": {
        "messages": user({"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}}),
        "at": ("messages", 0, "content", 0, "input_audio"),
    },
    "tool": {"tools": [TOOL], "at": ("tools", 0)},
    "function": {"tools": [TOOL], "at": ("tools", 0, "function")},
    "custom": {"tools": [CUSTOM], "at": ("tools", 0, "custom")},
    "grammar": {
        "tools": [{"type": "custom", "custom": {"name": "a", "format": GRAMMAR}}],
        "at": ("tools", 0, "custom", "format"),
    },
    "response format": {"response_format": FORMAT, "at": ("response_format",)},
    "JSON schema": {"response_format": FORMAT, "at": ("response_format", "json_schema")},
    "schema": {"response_format": FORMAT, "at": ("response_format", "json_schema", "schema")},
    "parameters": {"tools": [TOOL], "at": ("tools", 0, "function", "parameters")},
    "search": {"web_search_options": {"search_context_size": "low"}, "at": ("web_search_options",)},
    "speech": {"audio": VALUES["audio"], "modalities": ["audio"], "at": ("audio",)},
    "prediction": {"prediction": VALUES["prediction"], "at": ("prediction",)},
}


@pytest.mark.parametrize(("provider", "model"), TARGETS)
@pytest.mark.parametrize("level", LEVELS)
def test_a_member_nobody_knows_is_not_lost_at_any_level(provider, model, level):
    request = copy.deepcopy({"model": model, "messages": HI, **LEVELS[level]})
    place = request
    steps = request.pop("at")
    for step in steps:
        place = place[step]
    place["x_unheard_of"] = "wxyz"
    told = encoded(provider, model, request)
    if told is not None:
        path = ".".join([*(step for step in steps if isinstance(step, str)), "x_unheard_of"])
        named = [name for name in told[1] if path == name or path.startswith(f"{name}.")]
        assert b"wxyz" in told[0] or named, told[1]


def test_members_of_the_providers_own_pass():
    for provider, model in TARGETS:
        body, dropped = encoded(provider, model, {"model": model, "messages": HI, "x_own": {"a": [1]}})
        sent = json.loads(body)
        assert sent.get("additionalModelRequestFields", sent)["x_own"] == {"a": [1]}
        assert dropped == []


def test_names_of_losses_are_fit_for_a_header_field():
    odd = {"a\r\nset-cookie: x": 1, "é,b": 1, "c" * 500: 1} | {f"m{number}": 1 for number in range(100)}
    for provider, model in TARGETS:
        _, dropped = encoded(provider, model, {"model": model, "messages": [{**HI[0], **odd}]})
        assert dropped[:2] == ["messages.a??set-cookie??x", "messages.??b"]
        assert (len(dropped), dropped[-1]) == (33, "and more")
        assert all(len(name) <= 120 and name.isascii() and name.isprintable() for name in dropped)
    body = json.dumps({"model": "m", "input": "x", **odd}).encode()
    assert gemini_embeddings.encode(body, "m").dropped[0] == "a??set-cookie??x"
