"""Judges one recording."""

import json
from typing import Any

from nulpoint.conversation.usage import Usage
from support.corpus import anthropic, error_responses, gemini, mistral, pass_through, sdks
from support.corpus.completeness import lost
from support.corpus.cuts import by_event, cuts
from support.corpus.formats import Format, compare, same
from support.corpus.gateway import CREATED, show_stream, show_whole, translated
from support.corpus.openai_client import Answer, read_completion, read_embeddings, read_stream, read_whole
from support.corpus.records import Recording

FORMATS = {"anthropic": anthropic.FORMAT, "gemini": gemini.FORMAT, "mistral": mistral.FORMAT}


def judge(recording: Recording, *, thorough: bool = True) -> list[str]:
    """Return notes. Raises AssertionError (or ValidationError) if the client does not get what the provider sent.

    If `thorough`, streams are also cut at every kind of place, and the provider's own SDK reads the recording too if it
    is installed.
    """
    host = recording.host
    if recording.failed:
        error_responses.judge_error(recording)
        return []
    if host.wire == "gemini" and recording.route == "embeddings":
        _judge_embeddings(recording)
        return []
    if not translated(host) or recording.route == "embeddings":
        if recording.is_stream:
            return pass_through.judge_stream(recording, thorough=thorough)
        return pass_through.judge_whole(recording)
    read = FORMATS[host.wire]
    body = recording.body
    answer = read.assembled(body.decode()) if recording.is_stream else json.loads(body)
    if read.failed(answer):
        return _judge_failure(recording)
    if recording.is_stream:
        _judge_stream(recording, read, answer, thorough)
    else:
        _judge_whole(recording, read, answer)
    return _ask_sdk(recording, read, answer) if thorough and sdks.is_there(host.wire) else []


def _ask_sdk(recording: Recording, read: Format, answer: dict[str, Any]) -> list[str]:
    why = sdks.NOT_READ.get(recording.record["source"])
    if why:
        return [f"not asked, the provider's SDK: {why}"]
    sdks.agree(recording.host.wire, recording.body, recording.is_stream, read.choices(answer), read.usage(answer))
    return []


def _judge_failure(recording: Recording) -> list[str]:
    """Check that a failure, even one in the middle of a response, does not pass as a response."""
    host = recording.host
    if recording.is_stream:
        shown = show_stream(host, by_event(recording.body), usage=True)
    else:
        shown = show_whole(host, "chat", recording.body)
    assert shown.failure is not None, "a failure passes for an answer"
    same("status", shown.failure.status, 502)
    assert b"[DONE]" not in shown.body
    return [f"told as a failure, which it is: {shown.failure.message}"]


def _judge_whole(recording: Recording, read: Format, answer: dict[str, Any]) -> None:
    shown = show_whole(recording.host, "chat", recording.body)
    assert shown.failure is None, shown.failure
    seen = read_whole(shown.body)
    _judge_answer(read, answer, seen)
    same("noted model", shown.facts.model or "", seen.frame["model"])
    completed = show_whole(recording.host, "completions", recording.body)
    same("completion", read_completion(completed.body), [one.text for one in read.choices(answer)])


def _judge_stream(recording: Recording, read: Format, answer: dict[str, Any], thorough: bool) -> None:
    body, host = recording.body, recording.host
    for usage in (True, False):
        sent = set()
        for pieces in cuts(body, thorough=thorough):
            shown = show_stream(host, pieces, usage=usage)
            assert shown.failure is None, shown.failure
            sent.add(shown.body)
        assert len(sent) == 1, "the cuts of the network change the answer"
        if host.wire == "anthropic":
            same("pings", shown.body.count(b": ping\n"), anthropic.pings(body.decode()))
        seen = read_stream(shown.body, usage=usage and read.usage(answer) is not None)
        _judge_answer(read, answer, seen, usage)
        if not usage:
            _same_noted(read.usage(answer), shown.facts.usage)
        same("noted model", shown.facts.model or "", seen.frame["model"])
    _judge_cut(recording, read)
    completed = show_stream(host, by_event(body), usage=True, route="completions")
    assert completed.failure is None, completed.failure
    assert completed.body.endswith(pass_through.DONE)


def _judge_answer(read: Format, answer: dict[str, Any], seen: Answer, usage: bool = True) -> None:
    assert seen.frame["created"] in (CREATED, answer.get("created"))
    counts = read.usage(answer)
    compare(read.choices(answer), counts if usage else None, seen)
    shown = [seen.frame, [seen.choices[index] for index in sorted(seen.choices)], seen.usage]
    elsewhere = read.elsewhere if usage else {**read.elsewhere, "usage*": "it was not asked for"}
    missing = lost(read.rest(answer), shown, elsewhere)
    assert not missing, f"lost: {', '.join(missing[:8])}"


def _same_noted(counts: dict[str, int] | None, noted: Usage | None) -> None:
    """Check what the gateway records for its log, also if the client did not request it."""
    assert (noted is None) == (counts is None)
    if counts is not None and noted is not None:
        same("noted usage", (noted.prompt, noted.completion), (counts["prompt_tokens"], counts["completion_tokens"]))
        same("noted cached", noted.cached, counts.get("cached_tokens", 0))
        same("noted reasoning", noted.reasoning, counts.get("reasoning_tokens", 0))


def _judge_cut(recording: Recording, read: Format) -> None:
    """Check that a stream that ends early is an error for the client, however much of it came."""
    pieces = by_event(recording.body)
    whole = show_stream(recording.host, pieces, usage=False).body
    for end in range(0, len(pieces) - 1, max(1, len(pieces) // 12)):
        shown = show_stream(recording.host, pieces[:end], usage=False)
        if shown.failure is None:
            # This is only allowed if every event reports the finish, or if nothing relevant was cut.
            said = read.assembled(b"".join(pieces[:end]).decode()).get("candidates", [])
            ended = all("finishReason" in one for one in said) if said else shown.body == whole
            assert ended, f"a stream cut after {end} events passes for whole"
            continue
        same("kind of a cut", (shown.failure.status, shown.failure.code), (502, "stream_cut"))
        if shown.began:
            read_stream(shown.body, usage=False, whole=False)
            assert whole.startswith(shown.body[: shown.body.rindex(b"\n\ndata: ")])


def _judge_embeddings(recording: Recording) -> None:
    answer = json.loads(recording.body)
    vectors = [one["values"] for one in answer["embeddings"]]
    for encoding in ("float", "base64"):
        shown = show_whole(recording.host, "embeddings", recording.body, encoding_format=encoding)
        assert shown.failure is None, shown.failure
        seen = json.loads(shown.body)
        same("order", [one["index"] for one in seen["data"]], list(range(len(vectors))))
        tokens = (answer.get("usageMetadata") or {}).get("promptTokenCount", 0)
        same("usage", (seen["usage"]["prompt_tokens"], seen["usage"]["total_tokens"]), (tokens, tokens))
        if encoding == "float":
            read_embeddings(shown.body)
            same("vectors", [one["embedding"] for one in seen["data"]], vectors)
            left = {**answer, "usageMetadata": {k: v for k, v in answer.get("usageMetadata", {}).items()
                                                if k != "promptTokenCount"}}  # fmt: skip
            missing = lost(left, seen, {"embeddings[].values[]": "compared"})
            assert not missing, f"lost: {', '.join(missing[:8])}"
        else:
            pass_through.same_floats([one["embedding"] for one in seen["data"]], vectors)
