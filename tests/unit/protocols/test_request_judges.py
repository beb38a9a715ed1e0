"""The judges of requests accept bodies that the real APIs have accepted."""

import gzip
import json

import pytest

from support.paths import CORPUS
from support.request_judges import (
    JUDGES,
    anthropic_beta_types,
    anthropic_turns,
    check,
    judge_anthropic,
    judge_gemini,
    judge_mistral,
    mistral_embedding_types,
)

# The APIs accepted these although the judges reject them. Each has a reason, by a part of the recording's source.
LENIENT = {
    "anthropic": {
        "chat_web_search_w": "blank text beside the results of a tool Anthropic ran",
        "cassettes/test_tool_search/": "calls loaded by tool search have no results",
    },
    "gemini": {
        "tidyverse/ellmer": "one part instead of a list of them, as protobuf's JSON allows",
        "cassettes/test_openai/": "one tool instead of a list of them",
        "tmc/langchaingo": "enumerations by number",
        "chat_with_schema_": "a part that holds nothing",
        "crewAIInc/crewAI": "one response to three calls, on gemini-2.5-flash",
        "cassettes/test_tool_search/": "calls and responses of tool search",
    },
    "mistral": {
        "pydantic/pydantic-ai": "a tool without its type",
        "chat_tool_attachm": "user right after tool: mistral-small takes it, other models do not",
    },
}


def accepted(provider, kinds):
    """Yield the requests that were accepted, as (source, body)."""
    with gzip.open(CORPUS / f"{provider}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            body = record["request_body"]
            sound = record["status"] == 200 and not record["suspect"] and not record["request_elided"]
            if record["kind"] in kinds and sound and isinstance(body, dict):
                yield record["source"], body


def as_sent(body):
    """Return the request with the content of every message as a list, which the judge requires."""
    for message in body["messages"]:
        if isinstance(message["content"], str):
            message["content"] = [{"type": "text", "text": message["content"]}]
    return body


def anthropic_or_beta(body):
    """Judge by the beta types, because recordings use beta members; `output_format` is no longer in the SDK."""
    body = as_sent({name: value for name, value in body.items() if name != "output_format"})
    try:
        judge_anthropic(body)
    except AssertionError:
        sampling = ("temperature", "top_p", "top_k")
        check(anthropic_beta_types(), {name: value for name, value in body.items() if name not in sampling})
        anthropic_turns(body["messages"])


@pytest.mark.skipif(not CORPUS.exists(), reason="the recordings are not here")
@pytest.mark.parametrize(
    ("provider", "kinds", "judge", "at_least"),
    [
        ("anthropic", ("messages",), anthropic_or_beta, 490),
        ("gemini", ("generateContent", "streamGenerateContent"), judge_gemini, 350),
        ("mistral", ("chat",), judge_mistral, 50),
        ("mistral", ("embeddings",), lambda body: check(mistral_embedding_types(), body), 7),
    ],
)
def test_requests_the_providers_answered_pass_the_judges(provider, kinds, judge, at_least):
    passed = 0
    for source, body in accepted(provider, kinds):
        try:
            judge(body)
            passed += 1
        except Exception as error:
            if not any(part in source for part in LENIENT[provider]):
                pytest.fail(f"{source}: {type(error).__name__}: {error}")
    assert passed >= at_least


USER = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
USES = {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]}
CLAUDE = {"model": "claude-sonnet-4-5", "max_tokens": 5, "messages": [USER]}
TEXT = {"role": "user", "parts": [{"text": "hi"}]}
CALLS = {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        ("anthropic", CLAUDE | {"seed": 1}),
        ("anthropic", CLAUDE | {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "name": "y"}]}]}),
        ("anthropic", CLAUDE | {"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]}),
        ("anthropic", CLAUDE | {"messages": [USER, USES, USER], "tools": [{"name": "f", "input_schema": {"type": "object"}}]}),
        ("anthropic", CLAUDE | {"tools": [{"name": "f", "input_schema": {"type": "object", "anyOf": []}}]}),
        ("anthropic", CLAUDE | {"output_config": {"format": {"type": "json_schema", "schema": {"type": "integer", "minimum": 1}}}}),
        ("anthropic", CLAUDE | {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("gemini", {"contents": [TEXT], "seed": 1}),
        ("gemini", {"contents": [{"role": "user", "parts": [{"text": "a", "inlineData": {"mimeType": "a/b", "data": ""}}]}]}),
        ("gemini", {"contents": [TEXT, CALLS, TEXT]}),
        ("gemini", {"contents": [TEXT], "tools": [{"functionDeclarations": [{"name": "f", "strict": True}]}]}),
        ("mistral", {"model": "m", "messages": [{"role": "user", "content": "x", "name": "y"}]}),
        ("mistral", {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "x", "a": 1}]}]}),
        ("mistral", {"model": "m", "messages": [{"role": "user", "content": "x"}], "store": True}),
        ("mistral", {"model": "m", "messages": [{"role": "assistant", "content": "x"}]}),
    ],
)  # fmt: skip
def test_the_judges_refuse_what_the_providers_refuse(provider, body):
    with pytest.raises(AssertionError):
        JUDGES[provider](body)
