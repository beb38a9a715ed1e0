"""The schema of requests to Anthropic's Messages API, written down from the request types of the `anthropic` SDK."""

from typing import Any

from nulpoint.mock.request_schema import ListOf, TaggedUnion, record

_CACHE_CONTROL = record("type", type=frozenset({"ephemeral"}), ttl=frozenset({"5m", "1h"}))
_SOURCES = {
    "base64": record("media_type data", type=str, media_type=str, data=str),
    "url": record("url", type=str, url=str),
    "file": record("file_id", type=str, file_id=str),
}
_TEXT_SOURCES = {
    "text": record("media_type data", type=str, media_type=frozenset({"text/plain"}), data=str),
    "content": record("content", type=str, content=object),
}
_CITATIONS_SWITCH = record("", enabled=bool)
_TEXT = record("text", type=str, text=str, cache_control=_CACHE_CONTROL, citations=object)
_IMAGE = record(
    "source", type=str, source=TaggedUnion("type", _SOURCES), cache_control=_CACHE_CONTROL, transformations=dict
)
_DOCUMENT = record(
    "source",
    type=str,
    source=TaggedUnion("type", {**_SOURCES, **_TEXT_SOURCES}),
    cache_control=_CACHE_CONTROL,
    citations=_CITATIONS_SWITCH,
    context=str,
    title=str,
)
_SEARCH_RESULT = record(
    "content source title",
    type=str,
    content=ListOf(_TEXT),
    source=str,
    title=str,
    cache_control=_CACHE_CONTROL,
    citations=_CITATIONS_SWITCH,
)
_RESULT_BLOCKS = {
    "text": _TEXT,
    "image": _IMAGE,
    "document": _DOCUMENT,
    "search_result": _SEARCH_RESULT,
    "tool_reference": record("tool_name", type=str, tool_name=str, cache_control=_CACHE_CONTROL),
}
_SERVER_RESULT = record(
    "content tool_use_id",
    type=str,
    content=object,
    tool_use_id=str,
    cache_control=_CACHE_CONTROL,
    caller=dict,
    is_error=bool,
)
_TOOL_USE_MEMBERS = {
    "type": str,
    "id": str,
    "input": dict,
    "name": str,
    "cache_control": _CACHE_CONTROL,
    "caller": dict,
}
_CONTENT_BLOCKS = {
    "text": _TEXT,
    "image": _IMAGE,
    "document": _DOCUMENT,
    "search_result": _SEARCH_RESULT,
    "thinking": record("signature thinking", type=str, signature=str, thinking=str),
    "redacted_thinking": record("data", type=str, data=str),
    "tool_use": record("id input name", **_TOOL_USE_MEMBERS, toolset_name=str),
    "tool_result": record(
        "tool_use_id",
        type=str,
        tool_use_id=str,
        content=(str, ListOf(TaggedUnion("type", _RESULT_BLOCKS))),
        is_error=bool,
        cache_control=_CACHE_CONTROL,
        toolset_name=str,
    ),
    "server_tool_use": record("id input name", **_TOOL_USE_MEMBERS),
    "mcp_tool_use": record("id input name server_name", **_TOOL_USE_MEMBERS, server_name=str),
    "container_upload": record("file_id", type=str, file_id=str, cache_control=_CACHE_CONTROL),
    "tool_addition": record("tool", type=str, tool=dict),
    "compaction": record("content", type=str, content=str, cache_control=_CACHE_CONTROL),
    **{
        f"{name}_tool_result": _SERVER_RESULT
        for name in (
            "web_search",
            "web_fetch",
            "code_execution",
            "bash_code_execution",
            "text_editor_code_execution",
            "tool_search",
            "mcp",
        )
    },
}
USER_BLOCKS = frozenset({"text", "image", "document"})  # the content of a user, as opposed to tool results
_MESSAGE = record(
    "role content",
    role=frozenset({"user", "assistant", "system"}),
    content=(str, ListOf(TaggedUnion("type", _CONTENT_BLOCKS))),
)
TOOL = record(
    "name input_schema",
    type=str,
    name=str,
    description=str,
    input_schema=dict,
    strict=bool,
    cache_control=_CACHE_CONTROL,
    allowed_callers=list,
    defer_loading=bool,
    eager_input_streaming=bool,
    input_examples=list,
)
_TOOL_CHOICES = {
    "auto": record("", type=str, disable_parallel_tool_use=bool),
    "any": record("", type=str, disable_parallel_tool_use=bool),
    "tool": record("name", type=str, name=str, disable_parallel_tool_use=bool),
    "none": record("", type=str),
}
_DISPLAY = frozenset({"summarized", "omitted", "updates"})
_BLOCK_BINDING = record("", prefix_mismatch_behavior=frozenset({"error", "drop_block"}))
_THINKING = {
    "enabled": record("budget_tokens", type=str, budget_tokens=int, display=_DISPLAY, block_binding=_BLOCK_BINDING),
    "adaptive": record("", type=str, display=_DISPLAY, block_binding=_BLOCK_BINDING),
    "between_tools": record("", type=str),
    "disabled": record("", type=str),
}
_OUTPUT_FORMAT = record("type schema", type=frozenset({"json_schema"}), schema=dict)
EFFORT = frozenset({"low", "medium", "high", "xhigh", "max"})
REQUEST = record(
    "model max_tokens messages",
    model=str,
    max_tokens=int,
    messages=ListOf(_MESSAGE),
    stream=bool,
    temperature=float,
    system=(str, ListOf(TaggedUnion("type", {"text": _TEXT}))),
    stop_sequences=ListOf(str),
    top_p=float,
    top_k=int,
    tool_choice=TaggedUnion("type", _TOOL_CHOICES),
    thinking=TaggedUnion("type", _THINKING),
    cache_control=_CACHE_CONTROL,
    output_config=record("", effort=EFFORT, format=_OUTPUT_FORMAT, task_budget=dict),
    metadata=record("", user_id=str),
    service_tier=frozenset({"auto", "standard_only"}),
    container=(str, dict),
    diagnostics=dict,
    inference_geo=str,
    speed=frozenset({"standard", "fast"}),
    user_profile_id=str,
    workspace_id=str,
    tools=ListOf(dict),
)
# Members that are accepted only if the `anthropic-beta` header asks for a beta.
BETA_MEMBERS: dict[str, Any] = {"context_management": dict, "mcp_servers": list, "output_format": _OUTPUT_FORMAT}
