"""Any text passes unchanged through a translated stream, however the network splits it."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.protocols.openai.chat import ChunkWriter
from support.chat_codec import CODECS

ODD = ['"\\', "\u2028\u2029", "\x00\x1f\x7f\x85", "\r\n", "\ufeff", "é", "😀", "%d%b{}"]
TEXTS = st.lists(st.one_of(st.sampled_from(ODD), st.text(max_size=8)), min_size=1, max_size=6)


def framed(events, end="\n"):
    return "".join(f"data: {json.dumps(event)}{end}{end}" for event in events).encode()


def anthropic(texts):
    yield {"type": "message_start", "message": {"id": "i", "model": "m", "usage": {"input_tokens": 1}}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    for text in texts:
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}
    yield {"type": "message_stop"}


def gemini(texts):
    for text in [*texts, ""]:
        finish = {} if text else {"finishReason": "STOP"}
        candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0, **finish}
        yield {"candidates": [candidate], "responseId": "i", "modelVersion": "m"}


def mistral(texts):
    for text in [*texts, ""]:
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None if text else "stop"}
        yield {"id": "i", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


SAY = {"anthropic": anthropic, "gemini": gemini, "mistral": mistral}


def chunks_of(sent):
    """Return the chunks of a stream, which must be complete."""
    *events, done, nothing = sent.decode().split("\n\n")
    assert (done, nothing) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


@pytest.mark.parametrize("provider", SAY)
@given(TEXTS, st.lists(st.integers(0, 5000), max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_any_text_at_any_split(provider, texts, cuts, end):
    texts = [text for text in texts if text]
    body = framed(SAY[provider](texts), end) + (b"data: [DONE]\n\n" if provider == "mistral" else b"")
    edges = [0, *sorted(cut % len(body) for cut in cuts), len(body)]
    stream = CODECS[provider].stream(1, False)
    sent = b"".join([stream.feed(body[a:b]) for a, b in itertools.pairwise(edges)]) + stream.close()
    assert stream.finished() == bool(texts)  # a response without any text is no answer
    if not texts:
        return
    chunks = chunks_of(sent)
    assert {(chunk["id"].removeprefix("chatcmpl-"), chunk["created"], chunk["model"]) for chunk in chunks} == {
        ("i", 1, "m")
    }
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert [delta["content"] for delta in deltas if delta.get("content")] == texts


@given(st.text(), st.text(), st.text(), st.integers(0, 9), st.sampled_from([None, "stop"]))
def test_a_chunk_is_what_it_was_made_of(answer_id, model, text, index, finish):
    write = ChunkWriter(7)
    write.begin(answer_id, model)
    frame = {"id": answer_id, "object": "chat.completion.chunk", "created": 7, "model": model}
    choice = {"index": index, "delta": {"content": text}, "logprobs": None, "finish_reason": finish}
    sent = write.delta({"content": text}, finish, index) + write.usage({"total_tokens": 3})
    first, last, nothing = sent.split(b"\n\n")
    assert json.loads(first.removeprefix(b"data: ")) == {**frame, "choices": [choice]}
    assert json.loads(last.removeprefix(b"data: ")) == {**frame, "choices": [], "usage": {"total_tokens": 3}}
    assert nothing == b""
