"""No member that a provider protocol knows is taken from a request and then not used.

`test_request_losses` does the same for top-level members, and for members that nobody knows. Here each known member of a
message, part, call, tool or format is added to a request that lacks it. It must change what is sent, be reported as
dropped, be a 400 that names it, or be in the list of members without an effect, which says why.
"""

import copy
import json

import pytest

from nulpoint.errors import Failure
from support.chat_codec import CODECS
from support.request_table import CITY, FORMAT, HI, IMAGE, PDF, TEXT, TURN, allowed, result, user

CACHE = {"cache_control": {"type": "ephemeral"}, "prompt_cache_breakpoint": {"mode": "explicit"}}
ANSWER = {"role": "assistant", "content": "a"}
FUNCTION = {"type": "function", "function": {"name": "weather"}}
CUSTOM = {"type": "custom", "custom": {"name": "shell"}}
PDF_PART = {"type": "file", "file": {"file_data": PDF}}
LEGACY_CALL = {"name": "weather", "arguments": "{}"}
# By level: a request, the place in it, and the members to add there.
LEVELS = {
    "user": ({"messages": HI}, ("messages", 0), {"name": "ann", **CACHE}),
    "system": ({"messages": [{"role": "system", "content": "s"}, *HI]}, ("messages", 0), {"name": "ann", **CACHE}),
    "developer": ({"messages": [*HI, ANSWER, {"role": "developer", "content": "s"}, *HI]}, ("messages", 2), CACHE),
    "assistant": (
        {"messages": [*HI, ANSWER, *HI]}, ("messages", 1),
        {
            "name": "ann", "refusal": "no", "audio": {"id": "a"}, "reasoning_content": "hm", "annotations": [{"type": "x"}],
            **CACHE,
        },
    ),
    "calling assistant": ({"messages": TURN, "tools": [FUNCTION]}, ("messages", 1), {"content": "I look.", "refusal": "no", **CACHE}),
    "result": ({"messages": TURN, "tools": [FUNCTION]}, ("messages", 2), {"name": "weather", "is_error": True, **CACHE}),
    "part of a result": (
        {"messages": [*TURN[:2], result(content=[TEXT])], "tools": [FUNCTION]}, ("messages", 2, "content", 0), CACHE,
    ),
    "call": ({"messages": TURN, "tools": [FUNCTION]}, ("messages", 1, "tool_calls", 0), {"index": 0, **CACHE}),
    "text": ({"messages": user(TEXT)}, ("messages", 0, "content", 0), CACHE),
    "text of the assistant": (
        {"messages": [*HI, {"role": "assistant", "content": [TEXT]}, *HI]}, ("messages", 1, "content", 0), CACHE,
    ),
    "image": ({"messages": user(TEXT, IMAGE)}, ("messages", 0, "content", 1), CACHE),
    "image URL": ({"messages": user(TEXT, IMAGE)}, ("messages", 0, "content", 1, "image_url"), {"detail": "high"}),
    "file": ({"messages": user(TEXT, PDF_PART)}, ("messages", 0, "content", 1), CACHE),
    "file data": ({"messages": user(TEXT, PDF_PART)}, ("messages", 0, "content", 1, "file"), {"filename": "a.pdf"}),
    "tool": ({"tools": [FUNCTION]}, ("tools", 0), {"cache_control": {"type": "ephemeral"}}),
    "function": (
        {"tools": [FUNCTION]}, ("tools", 0, "function"),
        {"description": "Tells it.", "parameters": CITY, "strict": True, "cache_control": {"type": "ephemeral"}},
    ),
    "custom": (
        {"tools": [CUSTOM]}, ("tools", 0, "custom"),
        {
            "description": "Runs it.", "cache_control": {"type": "ephemeral"},
            "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: x"}},
        },
    ),
    "format": ({"response_format": FORMAT}, ("response_format", "json_schema"), {"description": "Another.", "name": "other"}),
    "schema": ({"response_format": FORMAT}, ("response_format", "json_schema", "schema"), {"title": "T", "description": "D."}),
    "choice": (
        {"tools": [FUNCTION, CUSTOM], "tool_choice": allowed("auto", "weather", "shell")}, ("tool_choice", "allowed_tools"),
        {"mode": "required", "tools": [FUNCTION]},
    ),
    "search": (
        {"web_search_options": {}}, ("web_search_options",),
        {"search_context_size": "low", "user_location": {"type": "approximate", "approximate": {"city": "Oslo"}}},
    ),
    "function calls of old": (
        {"messages": [*HI, {"role": "assistant", "content": None, "function_call": LEGACY_CALL},
                      {"role": "function", "name": "weather", "content": "r"}], "functions": [{"name": "weather"}]},
        ("messages", 1), {"content": "I look.", "function_call": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
    ),
}  # fmt: skip
TARGETS = [
    ("anthropic", "claude-3-5-haiku-latest"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-opus-5-5"),
    ("vertex-anthropic", "claude-opus-5-5"),
    ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("bedrock", "us.anthropic.claude-opus-5-5"),
    ("bedrock", "amazon.nova-pro-v1:0"),
    ("bedrock", "us.meta.llama3-1-70b-instruct-v1:0"),
    ("gemini", "gemini-2.5-pro"),
    ("gemini", "gemini-3.6-flash"),
    ("vertex", "gemini-3.6-flash"),
    ("mistral", "mistral-large-latest"),
]
_SAID_BESIDE = "a refusal or a text of the assistant is said once, in the content if there is one"
_OF_RESPONSES = "the gateway wrote it into a response; what it says is restored from other members"
_IN_CALL = "the call says it"
# The members that have no effect on what is sent and are not reported, and why.
EXPLAINED = {
    ("assistant", "refusal"): _SAID_BESIDE,
    ("calling assistant", "refusal"): _SAID_BESIDE,
    ("assistant", "annotations"): _OF_RESPONSES,
    ("call", "index"): _OF_RESPONSES,
    ("result", "name"): _IN_CALL,
    ("format", "name"): "a label that no model sees, except as the name of a tool that is forced",
}
EXPLAINED_AT = {("gemini", "assistant", "audio"): _OF_RESPONSES, ("vertex", "assistant", "audio"): _OF_RESPONSES}


def encoded(wire, model, request):
    """Return the request as it is sent and the reported members, or the member that a 400 names."""
    try:
        body, dropped, _ = CODECS[wire].encode(json.dumps({"model": model, "messages": HI, **request}).encode(), model)
    except Failure as failure:
        return None, [failure.param] if failure.status == 400 and failure.param else pytest.fail(str(failure))
    return body, dropped


@pytest.mark.parametrize(("wire", "model"), TARGETS)
@pytest.mark.parametrize(
    ("level", "member"), [(level, name) for level, (*_, members) in LEVELS.items() for name in members]
)
def test_every_known_member_is_used_reported_or_explained(wire, model, level, member):
    request, place, members = copy.deepcopy(LEVELS[level])
    plain = encoded(wire, model, request)
    holder = request
    for step in place:
        holder = holder[step]
    holder[member] = members[member]
    sent, reported = encoded(wire, model, request)
    changes = sent != plain[0] or set(reported) - set(plain[1])
    explained = (level, member) in EXPLAINED or (wire, level, member) in EXPLAINED_AT
    path = ".".join([*(step for step in place if isinstance(step, str)), member])
    names = [name for name in reported if f"{path}.".startswith(f"{name}.")]
    assert changes or names or explained, f"{wire} {model}: `{member}` of {level} is lost without being reported"
