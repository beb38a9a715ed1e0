"""Judges responses that are passed on unchanged: hosts with the OpenAI format, and Mistral's embeddings."""

import json
import math
import struct
from base64 import b64decode
from typing import Any

from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel, ValidationError

from support.corpus.cuts import by_event, cuts
from support.corpus.formats import same
from support.corpus.gateway import Shown, show_stream, show_whole
from support.corpus.openai_client import events_of
from support.corpus.records import Recording

DONE = b"data: [DONE]\n\n"


def judge_whole(recording: Recording) -> list[str]:
    """Return notes on how the host differs from OpenAI. Raises AssertionError if the gateway is wrong."""
    shown = show_whole(recording.host, recording.route, recording.body)
    assert shown.failure is None, shown.failure
    assert shown.body == recording.body, "the bytes changed"
    answer = json.loads(recording.body)
    _same_facts(shown, [answer])
    if recording.route == "embeddings":
        packed = recording.request.get("encoding_format") == "base64"  # the SDK decodes it before it checks types
        return [] if packed else _departure(CreateEmbeddingResponse, [recording.body])
    if "completions" not in recording.host.operations:
        completed = show_whole(recording.host, "completions", recording.body)
        texts = [choice["message"].get("content") or "" for choice in answer["choices"]]
        same("completion", [one["text"] for one in json.loads(completed.body)["choices"]], texts)
    return _departure(ChatCompletion, [recording.body])


def judge_stream(recording: Recording, *, thorough: bool) -> list[str]:
    host, body = recording.host, recording.body
    chunks = [json.loads(event) for event in _events(body)]
    asked = body if host.sends_done else body + DONE
    hidden = asked if host.stream_usage == "inline" else _without_usage(asked)
    for usage, wanted in ((True, asked), (False, hidden)):
        for pieces in cuts(body, thorough=thorough):
            shown = show_stream(host, pieces, usage=usage)
            assert shown.failure is None, shown.failure
            assert shown.body == wanted, "the bytes changed"
            _same_facts(shown, chunks)
    _judge_cut(recording, chunks)
    if "completions" not in host.operations:
        _judge_completion(recording, chunks)
    return _departure(ChatCompletionChunk, [json.dumps(chunk).encode() for chunk in chunks])


def _judge_cut(recording: Recording, chunks: list[Any]) -> None:
    """Check that a stream that ends early is an error for the client."""
    host, pieces = recording.host, by_event(recording.body)
    for end in range(0, len(pieces) - 1, max(1, len(pieces) // 12)):
        part = b"".join(pieces[:end])
        finished = any(
            choice.get("finish_reason") for one in _events(part) for choice in json.loads(one).get("choices") or []
        )
        if b"[DONE]" in part or finished:
            continue
        shown = show_stream(host, pieces[:end], usage=True)
        assert shown.failure is not None, f"a stream cut after {end} events passes for whole"
        assert b"[DONE]" not in shown.body
        assert shown.body.startswith(part) or not shown.began  # nothing is sent before content


def _judge_completion(recording: Recording, chunks: list[Any]) -> None:
    texts: dict[int, str] = {}
    for chunk in chunks:
        for choice in chunk.get("choices") or []:
            texts[choice["index"]] = texts.get(choice["index"], "") + (choice["delta"].get("content") or "")
    shown = show_stream(recording.host, by_event(recording.body), usage=True, route="completions")
    assert shown.failure is None, shown.failure
    assert shown.body.endswith(DONE)
    seen: dict[int, str] = {}
    for event in events_of(shown.body)[:-1]:
        for choice in json.loads(event).get("choices") or []:
            seen[choice["index"]] = seen.get(choice["index"], "") + choice["text"]
    same("completion", seen, texts)


def _same_facts(shown: Shown, answers: list[Any]) -> None:
    """Check that the gateway records the values of the last event that reports them."""
    usages = [one.get("usage") or (one.get("x_groq") or {}).get("usage") for one in answers]
    usage = next((one for one in reversed(usages) if one), None)
    model = next((one["model"] for one in reversed(answers) if one.get("model")), None)
    same("noted model", shown.facts.model, model)
    if usage is None:
        assert shown.facts.usage is None
        return
    noted = shown.facts.usage
    assert noted is not None, "the usage was not noted"
    details = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    same("noted usage", (noted.prompt, noted.completion), (usage["prompt_tokens"], usage.get("completion_tokens") or 0))
    same("noted cached tokens", noted.cached, details[0].get("cached_tokens") or 0)
    same("noted reasoning", noted.reasoning, details[1].get("reasoning_tokens") or 0)


def _events(body: bytes) -> list[str]:
    lines = body.decode().replace("\r\n", "\n").split("\n")
    data = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
    return [one for one in data if one and one != "[DONE]"]


def _without_usage(body: bytes) -> bytes:
    """Return the stream without events that hold only usage."""
    kept = []
    for piece in by_event(body):
        data = _events(piece)
        chunk = json.loads(data[0]) if data else {}
        if not (chunk.get("choices") == [] and chunk.get("usage")):
            kept.append(piece)
    return b"".join(kept)


def _departure(model: type[BaseModel], bodies: list[bytes]) -> list[str]:
    """Return where the host deviates from OpenAI's types. Such responses are passed on, because its users expect them."""
    found = set()
    for body in bodies:
        try:
            model.model_validate_json(body, strict=True)
        except ValidationError as error:
            places = [".".join("[]" if isinstance(at, int) else at for at in one["loc"]) for one in error.errors()]
            found |= set(places)
    return [f"as it came, though no {model.__name__} of OpenAI's at {place}" for place in sorted(found)]


def same_floats(packed: list[str], vectors: list[list[float]]) -> None:
    """Compare base64 of 32-bit floats with numbers, with the precision of 32 bits."""
    for text, vector in zip(packed, vectors, strict=True):
        floats = struct.unpack(f"<{len(vector)}f", b64decode(text))
        assert all(
            math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9) for one, other in zip(floats, vector, strict=True)
        )
