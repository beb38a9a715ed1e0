"""The parts of a message keep their order between every provider protocol and every client protocol.

A client's format may hold less: a complete chat message has no order between its text, its reasoning and its calls. A
stream of it has, because its chunks come one after the other.
"""

import json
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.conversation.parts import Reasoning, Text, ToolCall
from nulpoint.formats import sse
from nulpoint.models.catalog import built_in_models
from nulpoint.models.facts import NO_FACTS
from nulpoint.protocols.limits import DEFAULT_LIMITS
from nulpoint.protocols.openai.chat_client.request import read_chat_request
from nulpoint.protocols.openai.text_completion.request import read_completion_request
from nulpoint.protocols.provider_protocol import ResponseSource
from nulpoint.protocols.registry import PROVIDER_PROTOCOLS
from nulpoint.protocols.translation import translate
from support.bedrock_judge import framed
from support.chat_codec import HOSTS
from support.round_trip import handed_back
from support.toy_protocol import ToyProtocol

WIRES = ("anthropic", "bedrock", "gemini", "mistral", "openai")
CLIENTS = {
    "chat": read_chat_request(b'{"model":"m","messages":[{"role":"user","content":"hi"}]}', DEFAULT_LIMITS),
    "completions": read_completion_request(b'{"model":"m","prompt":"hi"}', DEFAULT_LIMITS),
    "toy": ToyProtocol().read_request(b'{"model":"m","say":"hi"}', DEFAULT_LIMITS),
}
words = st.text("abcdef", min_size=1, max_size=4)
said = st.tuples(st.sampled_from(["text", "reasoning"]), words)
called = st.tuples(st.just("call"), words)
parts_in_any_order = st.lists(said | called, min_size=1, max_size=6)
# A complete message of Mistral's has its calls beside the content, and one of OpenAI's its reasoning too.
ORDERS_OF_MESSAGES = {
    **dict.fromkeys(WIRES, parts_in_any_order),
    "mistral": st.builds(lambda one, other: one + other, st.lists(said, min_size=1), st.lists(called, max_size=3)),
    "openai": st.lists(said | called, min_size=1, max_size=6).map(
        lambda parts: sorted(parts, key=lambda part: ("reasoning", "text", "call").index(part[0]))
    ),
}


def joined(parts):
    """Join what is said in adjacent parts of a kind. The text of a call is the name of its tool."""
    runs = [(kind, [text for _, text in run]) for kind, run in groupby(parts, key=lambda part: part[0])]
    return [
        one
        for kind, run in runs
        for one in ([(kind, name) for name in run] if kind == "call" else [(kind, "".join(run))])
    ]


# -- what providers send -----------------------------------------------------------------------------------------------


def anthropic(parts):
    def block(at, kind, text):
        if kind == "text":
            return {"type": "text", "text": text}, {"type": "text_delta", "text": text}, {"text": ""}
        if kind == "reasoning":
            return (
                {"type": "thinking", "thinking": text, "signature": "abcd"},
                {"type": "thinking_delta", "thinking": text},
                {"thinking": ""},
            )
        return (
            {"type": "tool_use", "id": f"t{at}", "name": text, "input": {}},
            {"type": "input_json_delta", "partial_json": "{}"},
            {},
        )

    made = [block(at, *part) for at, part in enumerate(parts)]
    usage = {"input_tokens": 1, "output_tokens": 2}
    message = {"id": "i", "type": "message", "role": "assistant", "model": "m", "usage": usage}
    whole = {**message, "content": [one for one, _, _ in made], "stop_reason": "end_turn"}
    events = [{"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}]
    for index, (one, delta, empty) in enumerate(made):
        events += [
            {"type": "content_block_start", "index": index, "content_block": {**one, **empty}},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        ]
    events += [
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
        {"type": "message_stop"},
    ]
    return whole, events


def bedrock(parts):
    content, events = [], [("messageStart", {"role": "assistant"})]
    for at, (kind, text) in enumerate(parts):
        if kind == "call":
            use = {"toolUseId": f"t{at}", "name": text}
            content.append({"toolUse": {**use, "input": {}}})
            events.append(("contentBlockStart", {"contentBlockIndex": at, "start": {"toolUse": use}}))
            delta = {"toolUse": {"input": "{}"}}
        elif kind == "text":
            content.append({"text": text})
            delta = {"text": text}
        else:
            content.append({"reasoningContent": {"reasoningText": {"text": text, "signature": "abcd"}}})
            delta = {"reasoningContent": {"text": text}}
        events.append(("contentBlockDelta", {"contentBlockIndex": at, "delta": delta}))
        events.append(("contentBlockStop", {"contentBlockIndex": at}))
    usage = {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}
    whole = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "end_turn", "usage": usage}
    return whole, [*events, ("messageStop", {"stopReason": "end_turn"}), ("metadata", {"usage": usage})]


def gemini(parts):
    def part(kind, text):
        if kind == "call":
            return {"functionCall": {"name": text, "args": {}}}
        return {"text": text, "thought": True} if kind == "reasoning" else {"text": text}

    def answer(parts, **more):
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0, **more}
        return {"candidates": [candidate], "modelVersion": "m", "responseId": "i"}

    made = [part(*one) for one in parts]
    return answer(made, finishReason="STOP"), [*[answer([one]) for one in made], answer([], finishReason="STOP")]


def mistral(parts):
    def piece(at, kind, text):
        if kind == "call":
            return {"tool_calls": [{**call_of(at, text), "index": at}]}
        part = {"type": "text", "text": text}
        return {"content": [part if kind == "text" else {"type": "thinking", "thinking": [part]}]}

    return in_openai_s_frame(parts, piece, lambda texts: [one for piece in texts for one in piece["content"]])


def openai(parts):
    def piece(at, kind, text):
        if kind == "call":
            return {"tool_calls": [{**call_of(at, text), "index": at}]}
        return {"content" if kind == "text" else "reasoning_content": text}

    whole, chunks = in_openai_s_frame(parts, piece, lambda texts: "".join(one.get("content", "") for one in texts))
    reasoning = "".join(text for kind, text in parts if kind == "reasoning")
    if reasoning:
        whole["choices"][0]["message"]["reasoning_content"] = reasoning
    return whole, chunks


def call_of(at, name):
    return {"id": f"abcdefgh{at}", "type": "function", "function": {"name": name, "arguments": "{}"}}


def in_openai_s_frame(parts, piece, content_of):
    deltas = [piece(at, *part) for at, part in enumerate(parts)]
    calls = [call_of(at, text) for at, (kind, text) in enumerate(parts) if kind == "call"]
    message = {"role": "assistant", "content": content_of([one for one in deltas if "tool_calls" not in one])}
    if calls:
        message["tool_calls"] = calls
    frame = {"id": "i", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = [{**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {**frame, "object": "chat.completion", "choices": [choice]}, chunks


PROVIDERS = {"anthropic": anthropic, "bedrock": bedrock, "gemini": gemini, "mistral": mistral, "openai": openai}


def stream_of(wire, events):
    if wire == "bedrock":
        return framed(*events)
    body = b"".join(sse.encode(json.dumps(event).encode()) for event in events)
    return body + (b"data: [DONE]\n\n" if wire in ("mistral", "openai") else b"")


def translation(wire, client):
    protocol = PROVIDER_PROTOCOLS[wire]
    return translate(CLIENTS[client], protocol, "mistral-small-latest", NO_FACTS, DEFAULT_LIMITS).translation


def streamed(wire, client, parts):
    """Return the data of the events that a client gets of a stream."""
    transformer = translation(wire, client).stream(ResponseSource("m"), 1, show_usage=False)
    body = stream_of(wire, PROVIDERS[wire](parts)[1])
    sent = transformer.feed(body) + transformer.close()
    assert (transformer.failure, transformer.finished()) == (None, True)
    decoder = sse.SseDecoder()
    return [event.data.decode() for event in [*decoder.feed(sent), *decoder.close()]]


def parts_of_lines(lines):
    """Return the parts in the lines of `LineWriter`."""
    parts = []
    for line in lines:
        name, _, rest = line.partition(" ")
        if name in ("text", "reasoning"):
            parts.append((name, rest))
        elif name == "call":
            parts.append(("call", rest.split()[2]))
    return parts


def parts_of_chunks(data):
    """Return the parts in the chunks of a chat or of completions, in which the members of a delta are in the choice."""
    parts = []
    for chunk in map(json.loads, data[:-1]):
        (choice,) = chunk["choices"]
        delta = choice.get("delta", choice)
        said = {"reasoning": delta.get("reasoning_content"), "text": delta.get("content") or delta.get("text")}
        parts += [(kind, text) for kind, text in said.items() if text]
        names = [call["function"].get("name") for call in delta.get("tool_calls", ())]
        parts += [("call", name) for name in names if name]
    return parts


# -- from providers to clients -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", WIRES)
@given(parts=parts_in_any_order)
def test_every_client_gets_a_stream_in_the_provider_s_order(wire, parts):
    expected = joined(parts)
    assert joined(parts_of_lines(streamed(wire, "toy", parts))) == expected
    for client in ("chat", "completions"):
        assert joined(parts_of_chunks(streamed(wire, client, parts))) == expected


@pytest.mark.parametrize("wire", WIRES)
@given(data=st.data())
def test_every_client_gets_a_response_in_the_provider_s_order(wire, data):
    parts = data.draw(ORDERS_OF_MESSAGES[wire])
    body = json.dumps(PROVIDERS[wire](parts)[0]).encode()
    source = ResponseSource("m")
    (choice,) = PROVIDER_PROTOCOLS[wire].parse(body, source).choices
    kinds = {Text: "text", Reasoning: "reasoning", ToolCall: "call"}
    read = [(kinds[type(part)], part.name if isinstance(part, ToolCall) else part.text) for part in choice.parts]
    assert joined(read) == joined(parts)
    texts, reasoning = ("".join(text for kind, text in parts if kind == which) for which in ("text", "reasoning"))
    calls = [name for kind, name in parts if kind == "call"]
    written = {name: json.loads(translation(wire, name).response(body, source, 1).body) for name in CLIENTS}
    assert written["toy"]["said"] == texts
    (chat,), (completion,) = written["chat"]["choices"], written["completions"]["choices"]
    assert ((chat["message"]["content"] or ""), completion["text"]) == (texts, texts)
    for members in (chat["message"], completion):
        assert members.get("reasoning_content", "") == reasoning
        assert [call["function"]["name"] for call in members.get("tool_calls", ())] == calls


# -- from clients to providers -----------------------------------------------------------------------------------------

MODELS = {
    "anthropic": "claude-sonnet-4-5", "bedrock": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "gemini": "gemini-2.5-flash", "mistral": "mistral-small-latest", "openai": "gpt-5.4",
}  # fmt: skip
PIXEL = "iVBORw0KGgo="


def parts_of_request(wire, sent, role):
    """Return the parts of all turns of a role in a provider's request."""
    turns = sent["contents"] if wire == "gemini" else sent["messages"]
    parts = []
    for turn in turns:
        if turn["role"] in (role, {"assistant": "model"}.get(role)):
            content = turn.get("parts") or turn["content"]
            blocks = [{"text": content}] if isinstance(content, str) else content
            parts += [part_of_block(block) for block in blocks]
            parts += [("call", call["function"]["name"]) for call in turn.get("tool_calls") or ()]
    return [
        (kind, text) for kind, text in parts if text != " "
    ]  # Mistral needs a message of the assistant after results


def part_of_block(block):
    call = block.get("functionCall") or block.get("toolUse") or (block if block.get("type") == "tool_use" else None)
    if call is not None:
        return "call", call["name"]
    if "reasoningContent" in block:
        return "reasoning", block["reasoningContent"]["reasoningText"]["text"]
    if "thinking" in block:
        thinking = block["thinking"]
        return "reasoning", thinking if isinstance(thinking, str) else "".join(one["text"] for one in thinking)
    if "text" in block:
        return ("reasoning" if block.get("thought") else "text"), block["text"]
    return (
        "image" if block.keys() & {"image", "inlineData", "image_url"} or block.get("type") == "image" else "result"
    ), ""


@pytest.mark.parametrize("wire", WIRES)
@given(
    content=st.lists(st.tuples(st.sampled_from(["text", "image"]), words), min_size=1, max_size=5),
    texts=st.lists(words, max_size=3),
    names=st.lists(words, max_size=3, unique=True),
)
def test_every_provider_gets_a_chat_in_its_order(wire, content, texts, names):
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    asked = [image if kind == "image" else {"type": "text", "text": text} for kind, text in content]
    calls = [call_of(at, name) for at, name in enumerate(names)]
    turn = {"role": "assistant", "content": [{"type": "text", "text": text} for text in texts] or "a"}
    messages = [
        {"role": "user", "content": asked},
        {**turn, "tool_calls": calls} if calls else turn,
        *[{"role": "tool", "tool_call_id": call["id"], "content": "done"} for call in calls],
        {"role": "user", "content": [{"type": "text", "text": "z"}]},
    ]
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in names]
    body = json.dumps({"model": "m", "messages": messages, **({"tools": tools} if tools else {})}).encode()
    request = read_chat_request(body, DEFAULT_LIMITS)
    facts = built_in_models().of(HOSTS[wire], MODELS[wire])
    sent = json.loads(translate(request, PROVIDER_PROTOCOLS[wire], MODELS[wire], facts, DEFAULT_LIMITS).body)
    expected = [(kind, "" if kind == "image" else text) for kind, text in content]
    user = [part for part in parts_of_request(wire, sent, "user") if part[0] in ("text", "image")]
    assert joined(user) == joined([*expected, ("text", "z")])
    expected = [("text", text) for text in texts or "a"] + [("call", name) for name in names]
    assert joined(parts_of_request(wire, sent, "assistant")) == joined(expected)


@pytest.mark.parametrize("wire", ["anthropic", "bedrock", "gemini", "mistral"])
@given(data=st.data())
def test_a_provider_gets_its_own_message_back_in_its_order(wire, data):
    parts = data.draw(ORDERS_OF_MESSAGES[wire])
    sent, _ = handed_back(wire, MODELS[wire], PROVIDERS[wire](parts)[0])
    assert joined(parts_of_request(wire, sent, "assistant")) == joined(parts)


@pytest.mark.parametrize("wire", ["anthropic", "bedrock"])
@given(parts=st.lists(st.tuples(st.sampled_from(["text", "call"]), words), min_size=1, max_size=5))
def test_a_streamed_message_has_what_its_provider_needs_to_see_its_order(wire, parts):
    whole = json.loads(
        translation(wire, "chat").response(json.dumps(PROVIDERS[wire](parts)[0]).encode(), ResponseSource(), 1).body
    )
    (choice,) = whole["choices"]
    *_, last = [json.loads(data)["choices"][0] for data in streamed(wire, "chat", parts)[:-1]]
    kept = choice["message"].get("provider_specific_fields", {}).get(wire, {}).get("content")
    assert last["delta"].get("provider_specific_fields", {}).get(wire, {}).get("content") == kept
    kinds = [kind for kind, _ in parts]
    assert (kept is not None) is ("call" in kinds and "text" in kinds[kinds.index("call") :])
