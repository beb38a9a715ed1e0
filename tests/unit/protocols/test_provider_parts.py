"""Reasoning's opaque data and what only its provider can read: as parts in responses and streams, and sent back."""

import json
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.conversation.emulation import EmulationWriter, ToolEmulation
from nulpoint.conversation.parts import Citation, ProviderPart, Reasoning, Refusal, Text, ToolCall
from nulpoint.conversation.request import ConversationRequest, Message
from nulpoint.models.facts import NO_FACTS
from nulpoint.protocols.limits import DEFAULT_LIMITS
from nulpoint.protocols.openai.chat_client.writer import ChatStreamWriter, write_response
from nulpoint.protocols.provider_protocol import ResponseSource
from nulpoint.protocols.registry import PROVIDER_PROTOCOLS
from support import bedrock_judge
from support.corpus.cuts import cuts
from support.corpus.variants import framed
from support.line_writer import LineWriter
from support.round_trip import NAMES, arguments, signatures, spoken

HI = Message("user", (Text("hi"),), "messages[0]", True)
SOURCE = ResponseSource("m", "i")


def parsed(wire, blocks):
    """Return the first choice of a response with these blocks."""
    body = json.dumps(PROVIDERS[wire].response(blocks)).encode()
    return PROVIDER_PROTOCOLS[wire].parse(body, SOURCE).choices[0]


def rendered(wire, *parts):
    """Return the blocks of the assistant's message with these parts, and what was dropped of it."""
    provider = PROVIDERS[wire]
    made = [msgspec.structs.replace(part, unique_id=part.id) if isinstance(part, ToolCall) else part for part in parts]
    said = Message("assistant", tuple(made), "messages[1]")
    more = Message("user", (Text("go on"),), "messages[2]", True)
    request = ConversationRequest((HI, said, more), (), None, None, {})
    body, dropped, *_ = PROVIDER_PROTOCOLS[wire].render(request, provider.model, NO_FACTS, DEFAULT_LIMITS)
    turns = json.loads(body)[provider.turns]
    answers = [turn for turn in turns if turn["role"] not in ("user", "system")]
    return [block for turn in answers for block in provider.blocks_of(turn)], dropped


def lines_of(wire, events, make_writer=LineWriter):
    """Return the lines of a stream, which must be the same in whatever pieces it arrives."""
    outcomes = set()
    body = bedrock_judge.framed(*events) if wire == "bedrock" else framed(*events)
    for pieces in cuts(body):
        parser = PROVIDER_PROTOCOLS[wire].stream_parser(make_writer(), SOURCE)
        outcomes.add(b"".join([*map(parser.feed, pieces), parser.close()]))
        assert (parser.failure, parser.finished()) == (None, True)
    (outcome,) = outcomes
    return outcome.decode().splitlines()


# -- Anthropic ---------------------------------------------------------------------------------------------------------

USED = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"type": "web_search_result", "url": "u"}]}
CITATION = {"type": "web_search_result_location", "url": "https://a.example", "title": "A", "encrypted_index": "e"}
CITED = {"type": "text", "text": "so", "citations": [CITATION]}
CALL = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}
CALLER = {"type": "code_execution_20250825", "tool_id": "s1"}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "abcd"}
HIDDEN = {"type": "redacted_thinking", "data": "YWJj"}


def anthropic_response(blocks):
    return {"id": "i", "type": "message", "role": "assistant", "model": "m", "content": blocks, "stop_reason": "end_turn",
            "usage": {"input_tokens": 1, "output_tokens": 2}}  # fmt: skip


def anthropic_events(*blocks):
    """Return the events of a stream. Each block is its beginning and its deltas."""
    message = {**anthropic_response([]), "stop_reason": None}
    events = [{"type": "message_start", "message": message}]
    for index, (beginning, *deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": beginning})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    ending = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}
    return [*events, ending, {"type": "message_stop"}]


# -- Bedrock -----------------------------------------------------------------------------------------------------------

GROUNDED = {"toolUse": {"toolUseId": "s", "name": "nova_grounding", "input": {}, "type": "server_tool_use"}}
GROUNDS = {"toolResult": {"toolUseId": "s", "content": [{"text": "found"}]}}
PICTURE = {"image": {"format": "png", "source": {"bytes": "cG5n"}}}
WEB = {"title": "T", "location": {"web": {"url": "https://b.example", "domain": "b.example"}}}
QUOTED = {"citationsContent": {"content": [{"text": "so"}], "citations": [WEB]}}
UNQUOTED = {"citationsContent": {"content": [], "citations": [{"location": {"documentChar": {"documentIndex": 0}}}]}}
USE = {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}}
SIGNED = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "abcd"}}}
UNSIGNED = {"reasoningContent": {"reasoningText": {"text": "hm"}}}
REDACTED = {"reasoningContent": {"redactedContent": "YWJj"}}


def bedrock_response(blocks):
    return {"output": {"message": {"role": "assistant", "content": blocks}}, "stopReason": "end_turn"}


def bedrock_events(*blocks):
    """Return the events of a stream. Each block is its beginning or None, and its deltas."""
    events = [("messageStart", {"role": "assistant"})]
    for index, (beginning, *deltas) in enumerate(blocks):
        at = {"contentBlockIndex": index}
        if beginning is not None:
            events.append(("contentBlockStart", {"start": beginning, **at}))
        events += [("contentBlockDelta", {"delta": delta, **at}) for delta in deltas]
        events.append(("contentBlockStop", at))
    return [*events, ("messageStop", {"stopReason": "end_turn"})]


# -- Gemini ------------------------------------------------------------------------------------------------------------

CODE = {"executableCode": {"language": "PYTHON", "code": "1"}}
OUTCOME = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
MEDIA = {"inlineData": {"mimeType": "image/png", "data": "cG5n"}}
DRAFT = {**MEDIA, "thought": True}
ENDING = {"text": "", "thoughtSignature": "s3"}
FUNCTION = {"functionCall": {"name": "f", "id": "t1", "args": {"a": 1}}, "thoughtSignature": "s2"}


def gemini_response(parts, **more):
    candidate = {"content": {"role": "model", "parts": parts}, "index": 0, "finishReason": "STOP", **more}
    return {"candidates": [candidate], "modelVersion": "m", "responseId": "i"}


def gemini_events(*parts):
    return [*[gemini_response([part], finishReason=None) for part in parts], gemini_response([])]


PROVIDERS = {
    "anthropic": SimpleNamespace(
        response=anthropic_response, model="claude-sonnet-4-5", turns="messages", blocks_of=lambda turn: turn["content"],
    ),
    "bedrock": SimpleNamespace(
        response=bedrock_response, model="us.anthropic.claude-sonnet-4-5-20250929-v1:0", turns="messages",
        blocks_of=lambda turn: turn["content"],
    ),
    "gemini": SimpleNamespace(
        response=gemini_response, model="gemini-2.5-pro", turns="contents", blocks_of=lambda turn: turn["parts"],
    ),
    "mistral": SimpleNamespace(
        model="mistral-large-latest", turns="messages", blocks_of=lambda turn: [{**turn, "role": None}],
    ),
    "openai": SimpleNamespace(model="gpt-5.4", turns="messages", blocks_of=lambda turn: [{**turn, "role": None}]),
}  # fmt: skip


# -- complete responses, and requests ----------------------------------------------------------------------------------

CASES = [
    (
        "anthropic",
        [THOUGHT, {"type": "text", "text": "a"}, CALL, USED, HIDDEN, FOUND, CITED, {**CALL, "caller": CALLER}],
        [
            Reasoning("hm", {"anthropic": {"signature": "abcd"}}),
            Text("a"),
            ToolCall("t1", None, "f", '{"a":1}'),
            ProviderPart(USED, "anthropic"),
            Reasoning("", {"anthropic": {"redacted": "YWJj"}}),
            ProviderPart(FOUND, "anthropic"),
            Text("so", (Citation("https://a.example", "A"),), {"anthropic": {"citations": [CITATION]}}),
            ToolCall("t1", None, "f", '{"a":1}', provider_data={"anthropic": {"caller": CALLER}}),
        ],
    ),
    (
        "anthropic",
        [{"type": "thinking", "thinking": "hm"}, {**HIDDEN, "news": 1}, {"type": "hologram", "beam": 1}],
        [
            Reasoning("hm", {"anthropic": {}}),
            Reasoning("", {"anthropic": {"redacted": "YWJj", "news": 1}}),
            ProviderPart({"type": "hologram", "beam": 1}, "anthropic"),
        ],
    ),
    (
        "bedrock",
        [SIGNED, {"text": "a"}, USE, GROUNDED, REDACTED, GROUNDS, QUOTED, PICTURE, UNSIGNED, UNQUOTED],
        [
            Reasoning("hm", {"bedrock": {"signature": "abcd"}}),
            Text("a"),
            ToolCall("t1", None, "f", '{"a":1}'),
            ProviderPart(GROUNDED, "bedrock"),
            Reasoning("", {"bedrock": {"redacted": "YWJj"}}),
            ProviderPart(GROUNDS, "bedrock"),
            Text("so", (Citation("https://b.example", "T"),), {"bedrock": {"citations": [WEB]}}),
            ProviderPart(PICTURE, "bedrock"),
            Reasoning("hm", {"bedrock": {}}),
            ProviderPart(UNQUOTED, "bedrock"),
        ],
    ),
    (
        "gemini",
        [
            {"text": "h", "thought": True},
            {"text": "m", "thought": True, "thoughtSignature": "s1"},
            DRAFT,
            {"text": "a"},
            FUNCTION,
            CODE,
            OUTCOME,
            {"text": "b", "thoughtSignature": "s4", "videoMetadata": {"fps": 1}},
            MEDIA,
            ENDING,
        ],
        [
            Reasoning("h", {"gemini": {}}),
            Reasoning("m", {"gemini": {"signature": "s1"}}),
            ProviderPart(DRAFT, "gemini"),
            Text("a"),
            ToolCall("t1", None, "f", '{"a":1}', provider_data={"google": {"thought_signature": "s2"}}),
            ProviderPart(CODE, "gemini"),
            ProviderPart(OUTCOME, "gemini"),
            Text("b", provider_data={"gemini": {"signature": "s4", "videoMetadata": {"fps": 1}}}),
            ProviderPart(MEDIA, "gemini"),
            ProviderPart(ENDING, "gemini"),
        ],
    ),
]


@pytest.mark.parametrize(("wire", "blocks", "parts"), CASES)
def test_a_response_holds_all_parts_in_order_and_its_provider_gets_them_back(wire, blocks, parts):
    assert list(parsed(wire, blocks).parts) == parts
    assert rendered(wire, *parts) == (blocks, [])


@pytest.mark.parametrize(("wire", "blocks", "parts"), CASES)
def test_another_provider_gets_what_it_can_read(wire, blocks, parts):
    for other in PROVIDERS.keys() - {wire}:
        if other in ("mistral", "openai"):
            written, _ = rendered(other, *parts)
            plain, _ = rendered(other, *[part for part in map(without_data, parts) if part is not None])
        else:
            written, dropped = rendered(other, *parts)
            assert dropped == ["messages.content"]
            plain, _ = rendered(
                other, *[part for part in map(without_data, parts) if isinstance(part, Text | ToolCall)]
            )
        assert written == plain


def without_data(part):
    """Return what every provider can read of a part. Calls keep their data, which clients of chats send, too."""
    if isinstance(part, ProviderPart) or (isinstance(part, Reasoning) and not part.text):
        return None
    return part if isinstance(part, ToolCall) else msgspec.structs.replace(part, provider_data={})


@pytest.mark.parametrize("wire", PROVIDERS)
def test_a_part_of_another_provider_is_reported(wire):
    foreign = ProviderPart({"type": "server_tool_use"}, "another")
    written, dropped = rendered(wire, Text("a"), foreign)
    assert (written, dropped) == (rendered(wire, Text("a"))[0], ["messages.content"])


@pytest.mark.parametrize("wire", ["anthropic", "bedrock", "gemini"])
def test_a_refusal_beside_the_content_is_sent_only_without_content(wire):
    refusal = Refusal("no", where="refusal")
    assert rendered(wire, Text("a"), refusal)[0] == rendered(wire, Text("a"))[0]
    assert rendered(wire, Text(""), refusal)[0] == rendered(wire, Text("no"))[0]


@pytest.mark.parametrize(("wire", "blocks", "parts"), CASES)
def test_clients_of_chats_see_no_difference(wire, blocks, parts):
    choice = parsed(wire, blocks)
    response = PROVIDER_PROTOCOLS[wire].parse(json.dumps(PROVIDERS[wire].response(blocks)).encode(), SOURCE)
    message = json.loads(write_response(response, 1, legacy_functions=False))["choices"][0]["message"]
    texts = [part for part in parts if isinstance(part, Text)]
    assert message["content"] == "".join([text.text for text in texts])
    assert message["reasoning_content"] == "".join([part.text for part in parts if isinstance(part, Reasoning)])
    calls = [call.get("extra_content") for call in message.get("tool_calls", ())]
    expected = [part.provider_data if wire == "gemini" else None for part in parts if isinstance(part, ToolCall)]
    assert calls == expected
    member = "parts" if wire == "gemini" else "content"
    assert choice.provider_data[wire][member] == message["provider_specific_fields"][wire][member] == blocks


# -- streams -----------------------------------------------------------------------------------------------------------


def part_line(wire, block):
    return f"provider part {wire} {json.dumps(block)}"


STREAMS = [
    (
        "anthropic",
        anthropic_events(
            [
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": "hm"},
                {"type": "signature_delta", "signature": "ab"},
                {"type": "signature_delta", "signature": "cd"},
            ],
            [{**USED, "input": {}}, {"type": "input_json_delta", "partial_json": '{"query":'},
             {"type": "input_json_delta", "partial_json": '"x"}'}],
            [FOUND],
            [HIDDEN],
            [{"type": "text", "text": ""}, {"type": "text_delta", "text": "so"},
             {"type": "citations_delta", "citation": CITATION}],
            [{"type": "compaction", "content": None}, {"type": "compaction_delta", "content": "a"},
             {"type": "compaction_delta", "content": "b"}],
            [THOUGHT],
        ),
        [
            "part reasoning", "reasoning hm", "signature anthropic ab", "signature anthropic cd",
            "part other", part_line("anthropic", USED), "part other", part_line("anthropic", FOUND),
            "part reasoning", "redacted anthropic YWJj", "part text", "text so", "citation https://a.example",
            "part other", part_line("anthropic", {"type": "compaction", "content": "ab"}),
            "part reasoning", "reasoning hm", "signature anthropic abcd",
        ],
    ),
    (
        "bedrock",
        bedrock_events(
            [None, {"reasoningContent": {"text": "hm"}}, {"reasoningContent": {"signature": "ab"}},
             {"reasoningContent": {"signature": "cd"}}],
            [{"toolUse": {"toolUseId": "s", "name": "nova_grounding", "type": "server_tool_use"}},
             {"toolUse": {"input": "{}"}}],
            [{"toolResult": {"toolUseId": "s"}}, {"toolResult": [{"text": "found"}]}],
            [None, {"reasoningContent": {"redactedContent": "YWJj"}}],
            [None, {"text": "a"}],
            [None, {"image": {"format": "png"}}, {"image": {"source": {"bytes": "cG5n"}}}],
        ),
        [
            "part reasoning", "reasoning hm", "signature bedrock ab", "signature bedrock cd",
            "part other",
            part_line("bedrock", {"toolUse": {"toolUseId": "s", "name": "nova_grounding", "type": "server_tool_use",
                                              "input": {}}}),
            "part other", part_line("bedrock", GROUNDS), "part reasoning", "redacted bedrock YWJj",
            "part text", "text a", "part other", part_line("bedrock", PICTURE),
        ],
    ),
    (
        "gemini",
        gemini_events(
            {"text": "", "thoughtSignature": "s0"},
            {"text": "h", "thought": True},
            {"text": "m", "thought": True, "thoughtSignature": "s1"},
            {"text": "", "thought": True, "thoughtSignature": "s2"},
            CODE,
            OUTCOME,
            {"text": "a"},
            {"text": "b", "thoughtSignature": "s4"},
            DRAFT,
            ENDING,
        ),
        [
            "part other", part_line("gemini", {"text": "", "thoughtSignature": "s0"}),
            "part reasoning", "reasoning h", "reasoning m", "signature gemini s1", "signature gemini s2",
            "part other", part_line("gemini", CODE), "part other", part_line("gemini", OUTCOME),
            "part text", "text a", "text b", "signature gemini s4", "part other", part_line("gemini", DRAFT),
            "part other", part_line("gemini", ENDING),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "events", "lines"), STREAMS)
def test_any_split_of_a_stream_gives_the_same_parts(wire, events, lines):
    begin, *between = lines_of(wire, events)
    assert begin.startswith("begin ")
    assert between[: len(lines)] == lines
    assert between[len(lines)].startswith("finish stop ")
    emulation = ToolEmulation(frozenset({"shell"}), "place")
    assert lines_of(wire, events, lambda: EmulationWriter(LineWriter(), emulation)) == [begin, *between]


@pytest.mark.parametrize(("wire", "events", "lines"), STREAMS)
def test_clients_of_chats_get_no_chunk_for_what_their_format_cannot_hold(wire, events, lines):
    assert ChatStreamWriter(1, show_usage=False).signature("p", "data", redacted=True) == b""
    assert ChatStreamWriter(1, show_usage=False).provider_part("p", {}) == b""
    chunks = [line for line in lines_of(wire, events, lambda: ChatStreamWriter(1, show_usage=False)) if line]
    shown = [line for line in lines if line.startswith(("text ", "reasoning "))]
    assert len(chunks) == len(shown) + 3  # the role, the finish reason and the end


def test_a_block_without_an_end_is_complete_at_the_end_of_the_stream():
    events = [event for event in anthropic_events([USED]) if event["type"] != "content_block_stop"]
    assert lines_of("anthropic", events)[1:3] == ["part other", part_line("anthropic", USED)]
    events = [event for event in bedrock_events([{"toolResult": {}}]) if event[0] != "contentBlockStop"]
    assert lines_of("bedrock", events)[1:3] == ["part other", part_line("bedrock", {"toolResult": {}})]


def test_a_response_of_gemini_with_only_a_signature_may_still_fail():
    """Nothing was written, so another provider can answer."""
    events = [*gemini_events(ENDING)[:1], gemini_response([], finishReason="MALFORMED_FUNCTION_CALL")]
    parser = PROVIDER_PROTOCOLS["gemini"].stream_parser(LineWriter(), SOURCE)
    assert parser.feed(framed(*events)) + parser.close() == b""
    assert (parser.failure.status, parser.finished()) == (502, False)
    assert lines_of("gemini", gemini_events(ENDING))[1:3] == ["part other", part_line("gemini", ENDING)]


# -- round trips -------------------------------------------------------------------------------------------------------


def block(**members):
    return st.fixed_dictionaries(
        {name: one if isinstance(one, st.SearchStrategy) else st.just(one) for name, one in members.items()}
    )


def or_with(strategy, **members):
    """Return blocks some of which have more members."""
    return st.builds(lambda one, more: {**one, **more}, strategy, st.just({}) | block(**members))


names = st.sampled_from(NAMES)
BLOCKS = {
    "anthropic": st.one_of(
        or_with(block(type="text", text=spoken), citations=st.lists(st.just(CITATION)) | st.none(), news=arguments),
        or_with(block(type="thinking", thinking=spoken), signature=signatures, news=spoken),
        block(type="redacted_thinking", data=signatures),
        or_with(block(type="tool_use", id=st.uuids().map(str), name=names, input=arguments), caller=st.just(CALLER)),
        block(type="server_tool_use", id=spoken, name=names, input=arguments),
        block(type=st.sampled_from(["web_search_tool_result", "news"]), tool_use_id=spoken, content=st.lists(arguments)),
    ),
    "bedrock": st.one_of(
        block(text=spoken),
        block(reasoningContent=block(reasoningText=or_with(block(text=spoken), signature=signatures))),
        block(reasoningContent=block(redactedContent=signatures)),
        block(citationsContent=block(content=st.lists(block(text=spoken), min_size=1, max_size=1), citations=st.just([WEB]))),
        block(toolUse=block(toolUseId=st.uuids().map(str), name=names, input=arguments)),
        block(toolUse=block(toolUseId=spoken, name=names, input=arguments, type="server_tool_use")),
        block(toolResult=block(toolUseId=spoken, content=st.lists(block(text=spoken)))),
        st.just(PICTURE),
    ),
    "gemini": st.one_of(
        or_with(block(text=spoken), thoughtSignature=signatures, news=arguments),
        or_with(block(text=spoken, thought=True), thoughtSignature=signatures),
        or_with(
            block(functionCall=block(name=names, id=st.uuids().map(str), args=arguments)), thoughtSignature=signatures
        ),
        st.sampled_from([CODE, OUTCOME, MEDIA, DRAFT, ENDING]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("wire", BLOCKS)
@given(data=st.data())
def test_a_provider_gets_its_whole_content_back(wire, data):
    blocks = data.draw(st.lists(BLOCKS[wire], min_size=1, max_size=6))
    assert rendered(wire, *parsed(wire, blocks).parts) == (blocks, [])
