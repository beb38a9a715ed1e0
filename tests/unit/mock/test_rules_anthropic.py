"""The mock of Anthropic rejects invalid requests, and accepts the same requests without the mistake."""

import pytest

from nulpoint.mock.anthropic.rules import find_problem
from support.mock_requests.anthropic import (
    ACCEPTED,
    ADAPTIVE,
    CLOSED,
    LOOP,
    OLD,
    OPUS_47,
    OPUS_48,
    PNG,
    SONNET_4,
    SONNET_46,
    THINKS,
    TOOL,
    assistant,
    request,
    result,
    text,
    thought,
    use,
    user,
)

HEADERS = {"anthropic-version": "2023-06-01"}


REJECTED = [
    ({"seed": 1}, "seed: Extra inputs are not permitted"),
    ({"messages": [user({**text(), "index": 0})]}, "messages.0.content.0.text.index: Extra inputs are not permitted"),
    (
        {"messages": [user(text()), assistant({**use(), "index": 0}), user(result())], "tools": [TOOL]},
        "messages.1.content.0.tool_use.index: Extra inputs are not permitted",
    ),
    ({"tools": [{**TOOL, "parameters": {}}]}, "tools.0.custom.parameters: Extra inputs are not permitted"),
    ({"context_management": {}}, "context_management: Extra inputs are not permitted"),
    ({"max_tokens": None}, "max_tokens: Field required"),
    ({"messages": None}, "messages: Field required"),
    ({"messages": []}, "messages: at least one message is required"),
    ({"max_tokens": "many"}, "max_tokens: Input should be a valid integer"),
    ({"max_tokens": 64_001}, "max_tokens: 64001 > 64000, which is the maximum allowed number of output tokens for"),
    ({"model": "claude-opus-4-1-20250805", "max_tokens": 40_000}, "max_tokens: 40000 > 32000"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: Input should be 'assistant', 'system', 'user'"),
    ({"messages": [user({"type": "image_url", "image_url": {}})]}, "Input tag 'image_url' does not match any"),
    ({"messages": [{"role": "system", "content": "x"}]}, "role 'system' is not supported on this model"),
    (
        {"model": OPUS_48, "messages": [user(text()), assistant(text()), {"role": "system", "content": "x"}]},
        "right after a `user` message",
    ),
    ({"messages": [assistant(text()), user(text())]}, 'first message must use the "user" role'),
    ({"messages": [user(text(""))]}, "messages: text content blocks must be non-empty"),
    ({"messages": [user(text(" \n"))]}, "messages: text content blocks must contain non-whitespace text"),
    ({"messages": [user(text()), assistant(text("")), user(text())]}, "messages: text content blocks must be non-empty"),
    ({"system": [text("")]}, "system: text content blocks must be non-empty"),
    ({"messages": [user()]}, "messages.0: all messages must have non-empty content"),
    ({"messages": [{"role": "user", "content": ""}]}, "messages.0: all messages must have non-empty content"),
    ({"model": SONNET_46, "messages": [user(text()), assistant(text())]}, "does not support assistant message prefill"),
    ({"messages": [user(text()), assistant(text("so "))]}, "cannot end with trailing whitespace"),
    ({"messages": [user({"type": "image", "source": {**PNG, "media_type": "image/bmp"}})]}, "media_type: Input should be"),
    ({"messages": [user({"type": "image", "source": {**PNG, "data": "no!"}})]}, "invalid base64 data"),
    ({"messages": [user(text()), assistant(use()), user(text())], "tools": [TOOL]}, "were found without `tool_result` blocks immediately after: a."),
    (
        {"messages": [user(text()), assistant(use()), user(text(), result())], "tools": [TOOL]},
        "were found without `tool_result` blocks immediately after: a.",
    ),
    (
        {"messages": [user(text()), assistant(use("a"), use("b")), user(result("a"))], "tools": [TOOL]},
        "were found without `tool_result` blocks immediately after: b.",
    ),
    ({"messages": [user(result())], "tools": [TOOL]}, "unexpected `tool_use_id` found in `tool_result` blocks: a."),
    ({"messages": [*LOOP[:2], user(result(), result())], "tools": [TOOL]}, "Found multiple `tool_result` blocks with id: a"),
    ({"messages": [user(text()), assistant(use(), use()), user(result())], "tools": [TOOL]}, "`tool_use` ids must be unique"),
    ({"messages": LOOP}, "must define tools"),
    ({"tools": [TOOL, TOOL]}, "Tool names must be unique"),
    ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
    ({"tools": [{**TOOL, "name": "f.g"}]}, "tools.0.custom.name: String should match pattern"),
    ({"tools": [{**TOOL, "input_schema": {"anyOf": []}}]}, "does not support oneOf, allOf, or anyOf at the top level"),
    ({"tools": [{**TOOL, "input_schema": {"type": "string"}}]}, "input_schema.type: Input should be 'object'"),
    ({"tools": [{**TOOL, "input_schema": {"type": "object", "properties": {"a b": {}}}}]}, "Property keys should match pattern"),
    (
        {"tools": [{**TOOL, "input_schema": {"type": "object", "properties": {"a": {"items": {"properties": {"$b": {}}}}}}}]},
        "Property keys should match pattern",
    ),
    (
        {
            "messages": [
                user(text()),
                assistant(use()),
                user(result(content=[{"type": "image", "source": {**PNG, "media_type": "image/jpg"}}])),
            ],
            "tools": [TOOL],
        },
        "messages.2.content.0.tool_result.content.0.image.source.base64.media_type: Input should be",
    ),
    (
        {
            "system": [{**text(), "cache_control": {"type": "ephemeral"}}],
            "messages": [user({**text(), "cache_control": {"type": "ephemeral", "ttl": "1h"}})],
        },
        "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block",
    ),
    ({"tools": [{"type": "teleport_20260101", "name": "t"}]}, "tools.0: Input tag 'teleport_20260101' found using 'type'"),
    ({"tool_choice": {"type": "auto"}}, "tool_choice: may only be specified while providing tools"),
    ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "Tool 'g' not found in provided tools"),
    ({"tools": [TOOL], "tool_choice": {"type": "none", "disable_parallel_tool_use": True}}, "Extra inputs are not permitted"),
    ({"thinking": {"type": "adaptive"}}, "adaptive thinking is not supported on this model"),
    ({**THINKS, "model": OPUS_47}, '"thinking.type.enabled" is not supported for this model'),
    ({**THINKS, "model": OLD}, "does not support thinking"),
    ({**THINKS, "thinking": {"type": "enabled", "budget_tokens": 1000}}, "greater than or equal to 1024"),
    ({**THINKS, "max_tokens": 1024}, "`max_tokens` must be greater than `thinking.budget_tokens`"),
    ({**THINKS, "tools": [TOOL], "tool_choice": {"type": "any"}}, "Thinking may not be enabled when tool_choice forces tool use."),
    ({**THINKS, "temperature": 0.5}, "`temperature` may only be set to 1 when thinking is enabled"),
    ({**THINKS, "top_p": 0.5}, "`top_p` must be greater than or equal to 0.95"),
    ({**THINKS, "top_k": 5}, "`top_k` must be unset when thinking is enabled"),
    ({**THINKS, "messages": LOOP, "tools": [TOOL]}, "Expected `thinking` or `redacted_thinking`, but found `tool_use`"),
    (
        {**THINKS, "messages": [user(text()), assistant(thought("hm", "other"), use()), user(result())], "tools": [TOOL]},
        "messages.1.content.0: Invalid `signature` in `thinking` block",
    ),
    (
        {**ADAPTIVE, "messages": [user(text()), assistant({**thought(), "thinking": "changed"}, text()), user(text())]},
        "messages.1.content.0: Invalid `signature` in `thinking` block",
    ),
    (
        {"messages": [user(text()), assistant({"type": "thinking", "thinking": "hm"}), user(text())]},
        "messages.1.content.0.thinking.signature: Field required",
    ),
    ({"temperature": 1.5}, "temperature: range: 0..1"),
    ({"temperature": 0.5, "top_p": 0.5}, "cannot both be specified for this model"),
    ({"model": OPUS_47, "temperature": 0.5}, "`temperature` is deprecated for this model."),
    ({"model": "claude-sonnet-5", "top_k": 5}, "`top_k` is deprecated for this model."),
    ({"model": SONNET_46, "output_config": {"effort": "xhigh"}}, "does not support effort level 'xhigh'"),
    ({"model": SONNET_4, "output_config": {"effort": "low"}}, "does not support the effort parameter"),
    ({"output_config": {"effort": "minimal"}}, "output_config.effort: Input should be"),
    ({"model": SONNET_4, "output_config": {"format": {"type": "json_schema", "schema": CLOSED}}}, "does not support output format"),
    (
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        "'additionalProperties' must be explicitly set to false",
    ),
    (
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "integer", "minimum": 1}}}},
        "For 'integer' type, property 'minimum' is not supported",
    ),
    ({"stop_sequences": ["\n"]}, "each stop sequence must contain non-whitespace"),
    ({"metadata": {"user": "x"}}, "metadata.user: Extra inputs are not permitted"),
    ({"service_tier": "flex"}, "service_tier: Input should be 'auto', 'standard_only'"),
    (
        {"messages": [user(*[{**text(), "cache_control": {"type": "ephemeral"}}] * 5)]},
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
]  # fmt: skip


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(change):
    assert find_problem(request(change), HEADERS) is None


@pytest.mark.parametrize(("change", "words"), REJECTED, ids=[words[:60] for _, words in REJECTED])
def test_rejected(change, words):
    assert words in (find_problem(request(change), HEADERS) or "accepted")


def test_the_newer_version_rejects_sampling_and_a_beta_header_allows_more_members():
    assert find_problem(request({"temperature": 1}), {"anthropic-version": "2026-10-21"}) == (
        "temperature: Extra inputs are not permitted"
    )
    assert find_problem(request({"context_management": {}}), {**HEADERS, "anthropic-beta": "any"}) is None
