"""Checks of requests to providers against the types of the providers' SDKs, and against rules beyond types.

The rules come from the providers' documentation and errors, not from the codecs. `judge_anthropic`, `judge_gemini` and
`judge_mistral` raise AssertionError that describes what the provider would reject.
"""

import functools
import re
from collections.abc import Iterator
from typing import Any

import pydantic
from pydantic import TypeAdapter
from pydantic_core import SchemaValidator

from support.bedrock_judge import judge_bedrock

# -- types -------------------------------------------------------------------------------------------------------------


def closed(schema: Any) -> Any:
    """Return the pydantic schema changed to forbid unknown members and to check every element of iterables."""
    if isinstance(schema, list | tuple):
        return type(schema)(closed(one) for one in schema)
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(value) for name, value in schema.items()}
    if made.get("type") in ("typed-dict", "model-fields") and "fields" in made:
        made.pop("extras_schema", None)
        made["extra_behavior"] = "forbid"
        # Two members of the mistralai SDK are named otherwise in Python than in JSON.
        for name, alias in (("schema_definition", "schema"), ("inputs", "input")):
            if name in made["fields"]:
                made["fields"] = {alias if field == name else field: kept for field, kept in made["fields"].items()}
    if made.get("type") == "generator":
        return {name: made[name] for name in ("items_schema", "min_length", "max_length") if name in made} | {
            "type": "list"
        }
    return made


def validator(typed: Any) -> Any:
    return SchemaValidator(closed(TypeAdapter(typed).core_schema))


def check(types: Any, body: Any) -> None:
    try:
        types.validate_json(pydantic.TypeAdapter(dict).dump_json(body), strict=True)
    except pydantic.ValidationError as error:
        first = min(error.errors(), key=lambda one: (one["type"] == "extra_forbidden", -len(one["loc"])))
        raise AssertionError(f"{[part for part in first['loc'] if len(str(part)) < 60]}: {first['msg']}") from None


@functools.cache
def anthropic_types() -> Any:
    from anthropic.types.message_create_params import MessageCreateParams

    return validator(MessageCreateParams)


@functools.cache
def anthropic_beta_types() -> Any:
    from anthropic.types.beta.message_create_params import MessageCreateParams

    return validator(MessageCreateParams)


@functools.cache
def mistral_types() -> Any:
    from mistralai.client.models import ChatCompletionRequestTypedDict

    return validator(ChatCompletionRequestTypedDict)


@functools.cache
def mistral_embedding_types() -> Any:
    from mistralai.client.models import EmbeddingRequestTypedDict

    return validator(EmbeddingRequestTypedDict)


@functools.cache
def gemini_types() -> Any:
    """Return a model of the REST body built from the SDK's models, which reject unknown members."""
    from google.genai import types

    class Body(types._common.BaseModel):  # type: ignore[name-defined, misc]
        contents: list[types.Content]
        system_instruction: types.Content | None = None
        tools: list[types.Tool] | None = None
        tool_config: types.ToolConfig | None = None
        generation_config: types.GenerationConfig | None = None
        safety_settings: list[types.SafetySetting] | None = None
        cached_content: str | None = None
        service_tier: types.ServiceTier | None = None

    return Body


# -- Anthropic ---------------------------------------------------------------------------------------------------------


def judge_anthropic(body: Any) -> None:
    # The SDK's types are those of a newer API version, which has no sampling; 2023-06-01 has it.
    sampling = {name: body[name] for name in ("temperature", "top_p", "top_k") if name in body}
    check(anthropic_types(), {name: value for name, value in body.items() if name not in sampling})
    assert 0 <= sampling.get("temperature", 1) <= 1
    anthropic_turns(body["messages"])
    anthropic_tools(body)
    thinking = body.get("thinking", {}).get("type")
    if thinking == "enabled":
        assert 1024 <= body["thinking"]["budget_tokens"] < body["max_tokens"]
        assert sampling.get("temperature", 1) == 1
        assert body.get("tool_choice", {}).get("type") not in ("any", "tool"), "thinking and a forced tool"
        last = body["messages"][-1]
        if any(block["type"] == "tool_result" for block in last["content"]):
            assert body["messages"][-2]["content"][0]["type"] in ("thinking", "redacted_thinking")
    for schema in strict_schemas(body):
        only_what_structured_outputs_know(schema)


def anthropic_turns(turns: Any) -> None:
    assert turns[0]["role"] == "user"
    for before, turn in zip([None, *turns], turns, strict=False):
        assert turn["content"], "content must not be empty"
        assert before is None or before["role"] != turn["role"] or turn["role"] == "user"
        if turn["role"] == "system":
            assert before["role"] == "user"
        for block in turn["content"]:
            assert block["type"] != "text" or block["text"].strip(), "text must contain non-whitespace text"
        called = [block["id"] for block in (before or turn)["content"] if before and block["type"] == "tool_use"]
        results = [block.get("type") == "tool_result" for block in turn["content"]]
        answered = [block["tool_use_id"] for block in turn["content"] if block.get("type") == "tool_result"]
        assert sorted(called) == sorted(answered), "every call needs one result in the turn after it"
        assert results == sorted(results, reverse=True), "results must come first"
    ids = [block["id"] for turn in turns for block in turn["content"] if block["type"] == "tool_use"]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", one) for one in ids)
    if turns[-1]["role"] == "assistant" and turns[-1]["content"][-1]["type"] == "text":
        text = turns[-1]["content"][-1]["text"]
        assert text == text.rstrip(), "final assistant content cannot end with trailing whitespace"


def anthropic_tools(body: Any) -> None:
    blocks = [block["type"] for turn in body["messages"] for block in turn["content"]]
    assert "tools" in body or not {"tool_use", "tool_result"} & set(blocks), "tools are required"
    assert "tool_choice" not in body or body.get("tools")
    for tool in body.get("tools", []):
        if "input_schema" in tool:
            assert re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", tool["name"])
            assert tool["input_schema"]["type"] == "object"
            assert not {"anyOf", "oneOf", "allOf"} & set(tool["input_schema"]), "alternatives at the top"
    marks = str(body).count("cache_control")
    assert marks <= 4


def strict_schemas(body: Any) -> Iterator[Any]:
    yield from (tool["input_schema"] for tool in body.get("tools", []) if tool.get("strict"))
    wanted = body.get("output_config", {}).get("format")
    if wanted:
        yield wanted["schema"]


def only_what_structured_outputs_know(schema: Any) -> None:
    """Check that the SDK's own rewriting leaves the schema unchanged except for texts."""
    from anthropic.lib._parse._transform import transform_schema

    def bare(value: Any) -> Any:
        if isinstance(value, list):
            return [bare(one) for one in value]
        if isinstance(value, dict):
            return {name: bare(one) for name, one in value.items() if name not in ("description", "default")}
        return value

    assert bare(transform_schema(schema)) == bare(schema)


# -- Gemini ------------------------------------------------------------------------------------------------------------


def judge_gemini(body: Any) -> None:
    try:
        gemini_types().model_validate(body)
    except pydantic.ValidationError as error:
        raise AssertionError(str(error)) from None
    before: dict[str, Any] | None = None
    assert body["contents"]
    for content in body["contents"]:
        parts = content["parts"]
        assert parts
        for part in parts:
            payload = set(part) - {"thought", "thoughtSignature", "videoMetadata"}
            assert len(payload) == 1, f"a part holds one thing: {payload}"
        calls = [part["functionCall"] for part in (before or {"parts": []})["parts"] if "functionCall" in part]
        results = [part["functionResponse"] for part in parts if "functionResponse" in part]
        assert sorted(one["name"] for one in calls) == sorted(one["name"] for one in results)
        assert sorted(one.get("id") or "" for one in calls) == sorted(one.get("id") or "" for one in results)
        assert len(results) in (0, len(parts)), "responses stand by themselves"
        assert content["role"] == ("user" if results else content["role"])
        before = content
    assert body["contents"][0]["role"] == "user"
    for tool in body.get("tools", []):
        for declared in tool.get("functionDeclarations", []):
            assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}", declared["name"])
    allowed = body.get("toolConfig", {}).get("functionCallingConfig", {})
    assert "allowedFunctionNames" not in allowed or allowed["mode"].upper() in ("ANY", "VALIDATED")
    thinking = body.get("generationConfig", {}).get("thinkingConfig", {})
    assert not {"thinkingBudget", "thinkingLevel"} <= set(thinking)


# -- Mistral -----------------------------------------------------------------------------------------------------------


def judge_mistral(body: Any) -> None:
    check(mistral_types(), body)
    before = None
    calls: list[Any] = []
    for message in body["messages"]:
        role = message["role"]
        assert before != "tool" or role in ("tool", "assistant"), f"Unexpected role '{role}' after role 'tool'"
        if role == "assistant":
            assert not calls, "Not the same number of function calls and responses"
            calls = [call["id"] for call in message.get("tool_calls") or []]
            assert message.get("content") or calls, "Assistant message must have either content or tool_calls"
            assert all(re.fullmatch("[A-Za-z0-9]{9}", one) for one in calls)
        if role == "tool":
            calls.remove(message["tool_call_id"])
        before = role
    assert not calls
    last = body["messages"][-1]
    assert last["role"] in ("user", "tool") or last.get("prefix"), "Expected last role User or Tool"


JUDGES = {"anthropic": judge_anthropic, "bedrock": judge_bedrock, "gemini": judge_gemini, "mistral": judge_mistral}
