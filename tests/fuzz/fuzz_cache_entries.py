"""Fuzz targets for cached responses that are replayed as a whole or as a stream."""

import json
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import strategies as st
from target import Target

from nulpoint.cache.entry import CacheEntry
from nulpoint.protocols.client_protocol import IncompleteStreamError
from nulpoint.protocols.openai.accumulate import accumulate
from nulpoint.protocols.openai.stored_forms import CompletionForms
from support.mutation import mutated, mutated_json
from support.samples import CHUNKS, OPENAI

CHAT, COMPLETIONS = CompletionForms("chat"), CompletionForms("completions")


def _kept(content: bytes, usage_event: bytes, streamed: bool) -> CacheEntry:
    return CacheEntry(content, usage_event, streamed, "p", "m", None, 0.0)


def streams_kept(chunks: list[Any]) -> None:
    """Check that only complete streams are cached, and that the assembled stream is a valid response if there is one."""
    body = b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"
    kept = CHAT.from_stream(body)
    if kept is None:
        return
    answer = _kept(*kept, streamed=True)
    assert answer.as_stream(CHAT, with_usage=True).endswith(b"data: [DONE]\n\n")
    for forms in (CHAT, COMPLETIONS):
        try:
            whole = answer.as_body(forms)
        except IncompleteStreamError:
            continue
        choices = msgspec.json.decode(whole)["choices"]
        assert choices
        assert all(choice["finish_reason"] for choice in choices)


def bodies_kept(body: bytes) -> None:
    for forms in (CHAT, COMPLETIONS):
        answer = _kept(body, b"", streamed=False)
        assert answer.as_body(forms) == body
        try:
            stream = answer.as_stream(forms, with_usage=True)
        except IncompleteStreamError:
            continue
        assert stream.endswith(b"data: [DONE]\n\n")
        for line in stream.split(b"\n"):
            if line.startswith(b"data: {"):
                assert isinstance(msgspec.json.decode(line[6:])["choices"], list)


def pieces(given: tuple[str, str, list[int]]) -> None:
    """Check that the chunks of a response, assembled again, give its texts and arguments."""
    text, arguments, places = given
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    deltas: list[Any] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": text[start:end]} for start, end in pairwise(edges)]
    deltas += [
        {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]}
    ]
    deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": letter}}]} for letter in arguments]
    made = [{"id": "i", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    made.append({"id": "i", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    (choice,) = msgspec.json.decode(accumulate("chat", [json.dumps(chunk).encode() for chunk in made]))["choices"]
    assert choice["message"]["content"] == text
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == arguments


_text = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
TARGETS = (
    Target("a stream that is cached", st.lists(mutated(CHUNKS), max_size=8), streams_kept),
    Target("a response that is cached", mutated_json(OPENAI), bodies_kept),
    Target("chunks put together", st.tuples(_text, _text, st.lists(st.integers(0, 99), max_size=5)), pieces),
)
