"""Round trips: a provider gets what the client sent, and gets its responses again as they were.

The provider's formats are read and written here by separate rules, not by those of the codecs.
"""

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nulpoint.protocols.added_texts import system_text_for_user
from support.chat_codec import CODECS
from support.request_judges import JUDGES
from support.round_trip import TOOLS, arguments, handed_back, named_calls, signatures, spoken, texts

MODELS = {
    "anthropic": ("claude-3-5-haiku-latest", "claude-sonnet-4-5", "claude-opus-4-8"),
    "bedrock": ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "amazon.nova-pro-v1:0"),
    "gemini": ("gemini-2.5-flash", "gemini-3.6-flash"),
    "mistral": ("mistral-small-latest",),
}
TARGETS = [(provider, model) for provider, models in MODELS.items() for model in models]
SYSTEM = "SYSTEM "

# Ids in the style of all providers, some of them repeated.
ids = st.sampled_from(["call_0", "call_1", "toolu_01A", "abcDEF123", "functions.f:0", "é 2", "x" * 70])

NO_SIGNATURE = base64.b64encode(b"skip_thought_signature_validator").decode()


# -- requests ----------------------------------------------------------------------------------------------------------


@st.composite
def turns(draw):
    """Generate a turn of the user and one of the assistant, with the results of its calls."""
    content = draw(texts | st.lists(texts.map(lambda text: {"type": "text", "text": text}), min_size=1, max_size=3))
    messages = [{"role": "user", "content": content}]
    if draw(st.booleans()):
        messages.append({"role": draw(st.sampled_from(["system", "developer"])), "content": SYSTEM + draw(texts)})
    made = [
        {"id": draw(ids), "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
        for name, given in draw(named_calls)
    ]
    # An id must be unique within a message, but not between messages.
    made = list({call["id"]: call for call in made}.values())
    spoke = {"role": "assistant", "content": draw(st.none() | texts)}
    messages.append({**spoke, "tool_calls": made} if made else spoke)
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": draw(texts | arguments.map(json.dumps))}
        for call in made
    ]
    return messages + draw(st.permutations(results))


@st.composite
def conversations(draw):
    leading = [{"role": "system", "content": SYSTEM + draw(texts)} for _ in range(draw(st.integers(0, 2)))]
    messages = [message for turn in draw(st.lists(turns(), max_size=3)) for message in turn]
    first = {"role": "user", "content": draw(spoken)}
    return [*leading, first, *messages, {"role": "user", "content": draw(spoken)}]


def said(messages):
    """The content of a conversation: texts by role, calls, results by number of the call, and the system texts."""
    events, system, numbers, count = [], [], {}, 0
    for message in messages:
        content = message["content"]
        parts = content if isinstance(content, list) else [{"text": content or ""}]
        text = "".join(part["text"] for part in parts if part["text"].strip())
        if message["role"] in ("system", "developer"):
            system.append(text)
        elif message["role"] == "tool":
            events.append(("result", numbers[message["tool_call_id"]], content))
        else:
            events.append((message["role"], text))
        for call in message.get("tool_calls") or []:
            events.append(("call", call["function"]["name"], json.loads(call["function"]["arguments"])))
            numbers[call["id"]] = count
            count += 1
    return joined(events), system


def joined(events):
    """Join adjacent texts of a role, drop blank ones, and sort the results of a turn in the order of their calls."""
    out = []
    for event in events:
        if event[0] in ("user", "assistant") and not event[1].strip():
            continue
        if out and out[-1][0] == event[0] in ("user", "assistant"):
            out[-1] = (event[0], out[-1][1] + event[1])
        else:
            out.append(event)
    start = 0
    while start < len(out):
        end = start
        while end < len(out) and out[end][0] == "result":
            end += 1
        out[start:end] = sorted(out[start:end], key=lambda event: event[1])
        start = max(end, start + 1)
    return out


class Reader:
    """Collects the sent contents. Texts that begin like system texts are such, whatever their position."""

    def __init__(self):
        self.events, self.system, self._numbers = [], [], {}

    def text(self, role, text):
        opening, closing = system_text_for_user("|").split("|")
        text = text.removeprefix(opening).removesuffix(closing) if text.startswith(opening) else text
        if text.startswith(SYSTEM):
            self.system.append(text)
        else:
            self.events.append((role, text))

    def call(self, call_id, name, given):
        self.events.append(("call", name, given))
        assert call_id not in self._numbers
        self._numbers[call_id] = len(self._numbers)

    def result(self, call_id, content):
        self.events.append(("result", self._numbers[call_id], content))


def read_anthropic(body, seen):
    for block in body.get("system", []):
        seen.text("system", block["text"])
    for turn in body["messages"]:
        for block in turn["content"]:
            if block["type"] == "text":
                seen.text(turn["role"], block["text"])
            elif block["type"] == "tool_use":
                seen.call(block["id"], block["name"], block["input"])
            else:
                seen.result(block["tool_use_id"], block.get("content", ""))


def read_bedrock(body, seen):
    for block in body.get("system", []):
        seen.text("system", block["text"])
    for turn in body["messages"]:
        for block in turn["content"]:
            if "text" in block:
                seen.text(turn["role"], block["text"])
            elif "toolUse" in block:
                use = block["toolUse"]
                seen.call(use["toolUseId"], use["name"], use["input"])
            else:
                result = block["toolResult"]
                seen.result(result["toolUseId"], "".join(one["text"] for one in result["content"]))


def read_gemini(body, seen):
    for part in body.get("systemInstruction", {"parts": []})["parts"]:
        seen.text("system", part["text"])
    for content in body["contents"]:
        for part in content["parts"]:
            if "text" in part:
                seen.text({"model": "assistant"}.get(content["role"], content["role"]), part["text"])
            elif "functionCall" in part:
                seen.call(part["functionCall"]["id"], part["functionCall"]["name"], part["functionCall"]["args"])
            else:
                response = part["functionResponse"]["response"]
                plain = set(response) == {"output"} and isinstance(response["output"], str)
                seen.result(part["functionResponse"]["id"], response["output"] if plain else json.dumps(response))


def read_mistral(body, seen):
    for message in body["messages"]:
        if message["role"] == "tool":
            seen.result(message["tool_call_id"], message["content"])
            continue
        content = message["content"]
        for part in [{"text": content}] if isinstance(content, str) else content:
            seen.text(message["role"], part["text"])
        for call in message.get("tool_calls") or []:
            seen.call(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))


READERS = {"anthropic": read_anthropic, "bedrock": read_bedrock, "gemini": read_gemini, "mistral": read_mistral}


@pytest.mark.parametrize(("provider", "model"), TARGETS)
@settings(max_examples=60)
@given(messages=conversations())
def test_a_conversation_reaches_the_provider_as_it_is(provider, model, messages):
    request = json.dumps({"model": model, "messages": messages, "tools": TOOLS}).encode()
    body, dropped, _ = CODECS[provider].encode(request, model)
    sent = json.loads(body)
    JUDGES[provider](sent)
    seen = Reader()
    READERS[provider](sent, seen)
    events, system = said(messages)
    assert comparable(joined(seen.events)) == comparable(events)
    assert sorted(seen.system) == sorted(system)
    assert dropped == []


def comparable(events):
    """Return results that are JSON objects as objects, and blank results as empty."""
    return [
        (event[0], event[1], as_value(event[2])) if event[0] == "result" else event for event in events
    ]  # fmt: skip


def as_value(text):
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None
    return value if isinstance(value, dict) else text.strip()


# -- responses -----------------------------------------------------------------------------------------------------------

thoughts = st.builds(lambda text, sign: {"type": "thinking", "thinking": text, "signature": sign}, texts, signatures)
redacted = st.builds(lambda sign: {"type": "redacted_thinking", "data": sign}, signatures)
blocks = st.builds(lambda text: {"type": "text", "text": text}, spoken)


@st.composite
def anthropic_contents(draw):
    thinking = draw(st.lists(thoughts | redacted, max_size=2))
    uses = [
        {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": given}
        for number, (name, given) in enumerate(draw(named_calls))
    ]
    return (thinking + draw(st.lists(blocks, max_size=2)) + uses) or [{"type": "text", "text": "."}]


@st.composite
def gemini_parts(draw):
    """Generate thoughts, text and calls, with a signature on the first call or the text, and ids as in newer models."""
    with_ids, signed = draw(st.booleans()), draw(st.booleans())
    parts = [{"text": text, "thought": True} for text in draw(st.lists(spoken, max_size=2))]
    parts += [{"text": text} for text in draw(st.lists(spoken, max_size=2))]
    for number, (name, args) in enumerate(draw(named_calls)):
        made = {"name": name, "args": args, **({"id": f"g{number}"} if with_ids else {})}
        parts.append(
            {"functionCall": made, **({"thoughtSignature": draw(signatures)} if signed and not number else {})}
        )
    return parts or [{"text": ".", "thoughtSignature": draw(signatures)}]


@st.composite
def mistral_contents(draw):
    chunks = [
        {"type": "thinking", "thinking": [{"type": "text", "text": text}], "closed": True}
        for text in draw(st.lists(spoken, max_size=1))
    ]
    return chunks + [{"type": "text", "text": text} for text in draw(st.lists(spoken, min_size=1, max_size=2))]


@pytest.mark.parametrize("model", [model for model in MODELS["anthropic"] if "3-5" not in model])  # that does not think
@given(content=anthropic_contents())
def test_an_answer_of_anthropic_goes_back_as_it_came(model, content):
    if not any(block["type"] in ("text", "tool_use") for block in content):
        content = [*content, {"type": "text", "text": "hi"}]  # thinking that nobody sees is no answer
    answer = {"id": "m", "type": "message", "role": "assistant", "model": model, "content": content,
              "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}  # fmt: skip
    sent, message = handed_back("anthropic", model, answer)
    spoke = "".join(block["text"] for block in content if block["type"] == "text")
    assert (message.get("content") or "") == spoke
    returned = sent["messages"][1]["content"]
    if any("thinking" in block["type"] for block in content):
        assert returned == content
    else:  # consecutive texts are a single text
        assert [block for block in returned if block["type"] != "text"] == [
            block for block in content if block["type"] != "text"
        ]
        assert "".join(block["text"] for block in returned if block["type"] == "text") == spoke


def without_added_signature(part):
    """Return a part without the signature that stands for a missing one."""
    return {name: value for name, value in part.items() if (name, value) != ("thoughtSignature", NO_SIGNATURE)}


@pytest.mark.parametrize("model", MODELS["gemini"])
@given(parts=gemini_parts())
def test_an_answer_of_gemini_goes_back_as_it_came(model, parts):
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}
    sent, message = handed_back("gemini", model, {"candidates": [candidate], "responseId": "r"})
    returned = sent["contents"][1]["parts"]
    if any(set(part) != {"text"} for part in parts):
        assert [without_added_signature(part) for part in returned] == parts
    else:
        assert "".join(part["text"] for part in returned) == message["content"]
    called = [part["functionCall"] for part in parts if "functionCall" in part]
    answered = [part["functionResponse"] for part in sent["contents"][2]["parts"] if "functionResponse" in part]
    assert [(one["name"], one.get("id")) for one in called] == [(one["name"], one.get("id")) for one in answered]


@given(content=mistral_contents(), made=named_calls)
def test_an_answer_of_mistral_goes_back_as_it_came(content, made):
    calls = [
        {"id": f"abcdefgh{at}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
        for at, (name, given) in enumerate(made)
    ]
    message = {"role": "assistant", "content": content, "tool_calls": calls or None}
    answer = {"id": "x", "object": "chat.completion", "created": 1, "model": "m",
              "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}  # fmt: skip
    sent, _ = handed_back("mistral", "mistral-small-latest", answer)
    assert sent["messages"][1]["content"] == content
    assert sent["messages"][1].get("tool_calls", []) == calls
