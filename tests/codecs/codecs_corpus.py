"""Replay of recorded provider traffic through the codecs; `make corpus` prints the table.

The recordings are not part of the project: they are looked for beside it (or where NULPOINT_CORPUS says), and what
uses them is skipped where they are absent. What is compared with is read from the recording itself, by rules written
here and not by the codec's.
"""

import collections
import gzip
import json
import os
import random
import sys
from pathlib import Path

from openai.types.chat import ChatCompletion, ChatCompletionChunk

from nulpoint.codecs.table import CODECS

CORPUS = Path(os.environ.get("NULPOINT_CORPUS", Path(__file__).parents[3] / "shared" / "corpus"))
CREATED = 1_700_000_000
KINDS = {
    "anthropic": ("messages",),
    "gemini": ("generateContent", "streamGenerateContent"),
    "mistral": ("chat",),
}
FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def recordings(provider):
    """The answered chats of a provider: (name, record)."""
    with gzip.open(CORPUS / f"{provider}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            record = json.loads(line)
            answered = record["kind"] in KINDS[provider] and record["status"] == 200 and not record["suspect"]
            # Without `alt=sse`, which the gateway always asks for, Gemini streams a JSON array.
            array = record["is_stream"] and record["response_body"].startswith("[")
            if answered and not array:
                yield f"{provider}:{number}", record


def judge(record):
    """Raises AssertionError where the answer shown to the caller is not the answer that was recorded."""
    if record["is_stream"]:
        judge_stream(record)
    else:
        answer = json.loads(record["response_body"])
        decoded = CODECS[record["provider"]].decode(record["response_body"].encode(), CREATED)
        ChatCompletion.model_validate_json(decoded, strict=True)
        shown = json.loads(decoded)
        choice = shown["choices"][0]
        expected, nothing_lost, _ = JUDGES[record["provider"]]
        same(expected(answer), seen(choice["message"], choice["finish_reason"], shown["usage"]))
        nothing_lost(answer, choice["message"])


def judge_stream(record):
    body = record["response_body"].encode()
    expected, nothing_lost, assembled = JUDGES[record["provider"]]
    answer = assembled(body.decode())
    shown = {translated(record["provider"], pieces) for pieces in cuts(body)}
    assert len(shown) == 1, "the cuts of the network change the answer"
    text = shown.pop().decode()
    assert text.endswith("data: [DONE]\n\n")
    events = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    for event in events:
        ChatCompletionChunk.model_validate_json(event, strict=True)
    chunks = [json.loads(event) for event in events]
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    usage = chunks.pop()
    assert usage["choices"] == []
    message, finish = added_up(chunks)
    same(expected(answer), seen(message, finish, usage["usage"]))
    nothing_lost(answer, message)


def cuts(body):
    """The same bytes as networks may bring them."""
    yield [body]
    yield [body[at : at + 7] for at in range(0, len(body), 7)]
    chance = random.Random(len(body))
    places = sorted(chance.sample(range(len(body)), min(20, len(body))))
    yield [body[start:end] for start, end in zip([0, *places], [*places, len(body)], strict=True)]


def translated(provider, pieces):
    stream = CODECS[provider].stream(CREATED, True)
    out = b"".join(stream.feed(piece) for piece in pieces) + stream.close()
    assert stream.finished(), stream.failure
    return out


def added_up(chunks):
    """What a caller makes of the chunks; the order and the indexes are checked on the way."""
    message = {"content": "", "tool_calls": []}
    finishes = []
    roles = 0
    for chunk in chunks:
        assert not finishes, "a chunk after the finish reason"
        delta = chunk["choices"][0]["delta"]
        roles += "role" in delta
        for name, value in delta.items():
            if name == "tool_calls":
                add_calls(message["tool_calls"], value)
            elif name in ("content", "reasoning_content"):
                message[name] = message.get(name, "") + (value or "")  # null says nothing, as with OpenAI itself
            else:
                message[name] = value
        if chunk["choices"][0]["finish_reason"]:
            finishes.append(chunk["choices"][0]["finish_reason"])
    assert roles == 1
    assert len(finishes) == 1
    return message, finishes[0]


def add_calls(calls, fragments):
    for fragment in fragments:
        if fragment["index"] == len(calls):
            assert fragment["type"] == "function"
            calls.append({"id": fragment["id"], "function": dict(fragment["function"])})
        else:
            calls[fragment["index"]]["function"]["arguments"] += fragment["function"]["arguments"]


def seen(message, finish, usage):
    return {
        "text": message["content"] or "",
        "thinking": message.get("reasoning_content", ""),
        "calls": [
            (call["id"], call["function"]["name"], lenient(call["function"]["arguments"]))
            for call in message.get("tool_calls") or []
        ],
        "named": [
            (call["function"]["name"], lenient(call["function"]["arguments"]))
            for call in message.get("tool_calls") or []
        ],
        "finish": finish,
        "prompt": usage["prompt_tokens"],
        "completion": usage["completion_tokens"],
        "cached": (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
        "total": usage["total_tokens"],
    }


def anthropic_expected(answer):
    blocks = collections.defaultdict(list)
    for block in answer["content"]:
        blocks[block["type"]].append(block)
    usage = answer["usage"]
    read = usage.get("cache_read_input_tokens") or 0
    prompt = usage["input_tokens"] + read + (usage.get("cache_creation_input_tokens") or 0)
    return {
        "text": "".join(block["text"] for block in blocks["text"]),
        "thinking": "".join(block["thinking"] for block in blocks["thinking"]),
        "calls": [(block["id"], block["name"], block["input"]) for block in blocks["tool_use"]],
        "finish": FINISHES[answer["stop_reason"]],
        "prompt": prompt,
        "completion": usage["output_tokens"],
        "cached": read,
        "total": prompt + usage["output_tokens"],
    }


def lenient(text):
    """Arguments; what a token limit cut is compared as text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def same(expected, seen):
    for name, value in expected.items():
        assert seen[name] == value, f"{name}: {str(seen[name])[:80]!r} for {str(value)[:80]!r}"


def anthropic_keeps(answer, message):
    """Every block that is more than text or a call, every further member and count is in the extra fields."""
    extra = (message.get("provider_specific_fields") or {}).get("anthropic", {})
    plain = {"text": {"type", "text"}, "tool_use": {"type", "id", "name", "input"}}
    if any(set(block) - plain.get(block["type"], set()) for block in answer["content"]):
        assert extra["content"] == answer["content"]
    known = {"id", "type", "role", "model", "content", "stop_reason", "usage"}
    for name in set(answer) - known:
        assert answer[name] is None or extra[name] == answer[name], name
    counted = {"input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"}
    for name in set(answer["usage"]) - counted:
        assert answer["usage"][name] is None or extra["usage"][name] == answer["usage"][name], name


def anthropic_assembled(text):
    """The message a stream adds up to."""
    answer, texts = {}, collections.defaultdict(str)
    for line in text.splitlines(keepends=False) if "\u2028" not in text else text.split("\n"):
        if not line.startswith("data:"):
            continue
        event = json.loads(line[5:])
        kind = event["type"]
        if kind == "message_start":
            answer = event["message"]
        elif kind == "content_block_start":
            answer["content"].append(event["content_block"])
        elif kind == "content_block_delta":
            grow(answer["content"][event["index"]], event["delta"], texts, event["index"])
        elif kind == "message_delta":
            answer |= event["delta"] | {k: v for k, v in event.items() if k not in ("type", "delta", "usage")}
            answer["usage"] |= {k: v for k, v in event["usage"].items() if v is not None}
    for index, partial in texts.items():
        answer["content"][index]["input"] = lenient(partial)
    return answer


def grow(block, delta, texts, index):
    kind = delta["type"]
    if kind == "input_json_delta":
        if delta["partial_json"]:
            texts[index] += delta["partial_json"]
    elif kind == "citations_delta":
        block["citations"] = [*(block.get("citations") or []), delta["citation"]]
    elif kind == "compaction_delta":
        block["content"] = (block.get("content") or "") + (delta["content"] or "")
    else:
        name = kind.removesuffix("_delta")
        block[name] = block.get(name, "") + delta[name]


def mistral_expected(answer):
    (choice,) = answer["choices"]
    message, usage = choice["message"], answer["usage"]
    content = message["content"]
    parts = [{"type": "text", "text": content or ""}] if not isinstance(content, list) else content
    return {
        "text": "".join(part["text"] for part in parts if part["type"] == "text"),
        "thinking": "".join(
            piece["text"] for part in parts if part["type"] == "thinking" for piece in part["thinking"]
        ),
        "calls": [
            (call["id"], call["function"]["name"], lenient(call["function"]["arguments"]))
            for call in message.get("tool_calls") or []
        ],
        "finish": choice["finish_reason"],
        "prompt": usage["prompt_tokens"],
        "completion": usage["completion_tokens"],
        "cached": (usage.get("prompt_tokens_details") or {}).get("cached_tokens", usage.get("num_cached_tokens", 0)),
        "total": usage["total_tokens"],
    }


def mistral_keeps(answer, message):
    content = answer["choices"][0]["message"]["content"]
    if isinstance(content, list) and not answer.get("streamed"):
        assert message["provider_specific_fields"]["mistral"]["content"] == content


def mistral_assembled(text):
    """A stream's pieces as one answer; the pieces of a list are left as they came."""
    parts, calls, answer, finish = [], [], {}, None
    for line in text.split("\n"):
        if not line.startswith("data: {"):
            continue
        chunk = json.loads(line[6:])
        answer |= {"usage": chunk["usage"]} if chunk.get("usage") else {}
        choice = chunk["choices"][0]
        content = choice["delta"].get("content")
        parts += content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        calls += choice["delta"].get("tool_calls") or []
        finish = choice["finish_reason"] or finish
    message = {"content": parts, "tool_calls": calls}
    return {**answer, "streamed": True, "choices": [{"message": message, "finish_reason": finish}]}


FILTERED = {"SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "IMAGE_SAFETY", "LANGUAGE"}


def gemini_expected(answer):
    candidate = answer["candidates"][0]
    parts = (candidate.get("content") or {}).get("parts") or []
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    reason = candidate.get("finishReason")
    finish = "length" if reason == "MAX_TOKENS" else "content_filter" if reason in FILTERED else None
    usage = answer.get("usageMetadata") or {}
    counts = ("promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    return {
        "text": "".join(part.get("text", "") for part in parts if not part.get("thought")),
        "thinking": "".join(part.get("text", "") for part in parts if part.get("thought")),
        "named": [(call["name"], call.get("args") or {}) for call in calls],
        "finish": finish or ("tool_calls" if calls else "stop"),
        "prompt": usage.get("promptTokenCount", 0) + usage.get("toolUsePromptTokenCount", 0),
        "completion": usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0),
        "cached": usage.get("cachedContentTokenCount", 0),
        "total": usage.get("totalTokenCount", sum(usage.get(name, 0) for name in counts)),
    }


def gemini_keeps(answer, message):
    candidate = answer["candidates"][0]
    extra = (message.get("provider_specific_fields") or {}).get("gemini", {})
    parts = (candidate.get("content") or {}).get("parts") or []
    if any(set(part) - {"text"} for part in parts):
        assert extra["parts"] == parts
    for name in set(candidate) - {"content", "index", "finishReason"}:
        assert candidate[name] is None or extra[name] == candidate[name], name


def gemini_assembled(text):
    """All events of a stream as one answer."""
    answer = {"usageMetadata": {}}
    candidate, parts = {}, []
    for line in text.replace("\r\n", "\n").split("\n"):
        if not line.startswith("data:"):
            continue
        event = json.loads(line[5:])
        answer["usageMetadata"] |= event.get("usageMetadata") or {}
        for one in event.get("candidates") or []:
            parts += (one.get("content") or {}).get("parts") or []
            candidate |= one
    return {**answer, "candidates": [{**candidate, "content": {"parts": parts}}]}


JUDGES = {
    "gemini": (gemini_expected, gemini_keeps, gemini_assembled),
    "anthropic": (anthropic_expected, anthropic_keeps, anthropic_assembled),
    "mistral": (mistral_expected, mistral_keeps, mistral_assembled),
}


def main():
    """The table; exit code 1 where any recording fails."""
    counts, failures = collections.Counter(), []
    for provider in CODECS:
        for name, record in recordings(provider):
            kind = "stream" if record["is_stream"] else "whole"
            try:
                judge(record)
                counts[provider, kind, "passed"] += 1
            except Exception as error:
                counts[provider, kind, "failed"] += 1
                failures.append(f"{name} ({record['source']}): {type(error).__name__}: {str(error)[:200]}")
    print(f"{'provider':<12}{'kind':<10}{'recordings':>11}{'passed':>8}{'failed':>8}")
    for provider, kind in sorted({key[:2] for key in counts}):
        passed, failed = counts[provider, kind, "passed"], counts[provider, kind, "failed"]
        print(f"{provider:<12}{kind:<10}{passed + failed:>11}{passed:>8}{failed:>8}")
    print("\n".join(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
