"""Responses that are handed back in the next request."""

import json
from typing import Any

from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from support.chat_codec import CODECS
from support.request_judges import JUDGES

NAMES = ("weather", "now", "look_up")
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in NAMES]
texts = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(["\u2028", "a\nb", '"', "{}", "é", " "])
spoken = texts.map(lambda text: "." + text)  # the text is never blank
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(texts, values, max_size=3)
named_calls = st.lists(st.tuples(st.sampled_from(NAMES), arguments), max_size=3)
signatures = st.text("abcdef0123456789", min_size=4, max_size=8).map(lambda text: text[: len(text) // 4 * 4])


def handed_back(provider: Any, model: Any, answer: Any) -> Any:
    """Decode a response, read it with the official SDK, send it back with results: return request body and message."""
    decoded = CODECS[provider].decode(json.dumps(answer).encode(), 0)
    message = ChatCompletion.model_validate_json(decoded).choices[0].message.model_dump(exclude_none=True)
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": "done"} for call in message.get("tool_calls", [])
    ]
    messages = [{"role": "user", "content": "hi"}, message, *results, {"role": "user", "content": "go on"}]
    request = json.dumps({"model": model, "messages": messages, "tools": TOOLS}).encode()
    encode: Any = CODECS[provider].encode  # the bodies of these tests need no more than the two arguments
    body, dropped, _ = encode(request, model)
    sent = json.loads(body)
    JUDGES[provider](sent)
    assert dropped == []
    return sent, message
