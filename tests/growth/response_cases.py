"""Growth cases for hostile responses: whole responses, errors, usage, and texts that are searched for credentials."""

import contextlib
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from measure import Case, Work

from nulpoint.cache.entry import CacheEntry
from nulpoint.conversation.emulation import ToolEmulation
from nulpoint.errors import Failure, Kind
from nulpoint.formats.retry_after import parse_retry_after
from nulpoint.protocols.error_body import has_embedded_error
from nulpoint.protocols.openai import answers
from nulpoint.protocols.openai.chat_provider.response import parse
from nulpoint.protocols.openai.stored_forms import CompletionForms
from nulpoint.protocols.openai.text_completion.writer import write_completion
from nulpoint.protocols.openai.usage import read_completion, read_metadata
from nulpoint.protocols.provider_errors import embedded_failure, provider_failure, redact_failure
from nulpoint.protocols.registry import EMBEDDINGS, ERROR_READERS
from nulpoint.protocols.result_list import read_result_list
from nulpoint.redaction.credential_matcher import CredentialMatcher
from nulpoint.redaction.text import MAX_REQUEST_BYTES, redact, without_request
from nulpoint.telemetry.request_log.bodies import BodyLogger
from support.chat_codec import CODECS, codec_for_model

JSON = dict[str, Any]
CREATED = 1_700_000_000
SECRET = "Zt7Qp2Lk9Vx4Rm8Wc3Nb6Hy1"
CREDENTIAL = CredentialMatcher(SECRET)
Shape = tuple[Callable[[int], Any], int]


def case(name: str, build: Callable[[int], Any], read: Callable[[bytes], object], largest: int, **more: Any) -> Case:
    def make(size: int) -> Work:
        built = build(size)
        body = built if isinstance(built, bytes) else json.dumps(built).encode()
        return lambda: read(body)

    return Case(name, make, largest, **more)


# -- whole responses ---------------------------------------------------------------------------------------------------


def anthropic(content: list[Any], **more: Any) -> JSON:
    usage = {"input_tokens": 1, "output_tokens": 1}
    return {
        "id": "m",
        "type": "message",
        "model": "c",
        "content": content,
        "stop_reason": "end_turn",
        "usage": usage,
        **more,
    }


def gemini(parts: list[Any], **more: Any) -> JSON:
    return {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP", **more}], "modelVersion": "g"}


def bedrock(content: list[Any], **more: Any) -> JSON:
    usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": "end_turn",
        "usage": usage,
        **more,
    }


def openai(message: JSON, copies: int = 1, **more: Any) -> JSON:
    choices = [{"index": at, "message": message, "finish_reason": "stop"} for at in range(copies)]
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, **more}


def tool_call(number: int) -> JSON:
    return {"id": f"call_{number}", "type": "function", "function": {"name": "f", "arguments": '{"input":"x"}'}}


def distinct(size: int) -> JSON:
    return {f"member{at}": at + 1 for at in range(size)}


def _gemini_sources(size: int) -> JSON:
    support = {"segment": {"startIndex": size, "endIndex": size * 8}, "groundingChunkIndices": [0]}
    chunk = {"web": {"uri": "https://example.com", "title": "T"}}
    return gemini(
        [{"text": "é" * size * 8}],
        groundingMetadata={"groundingChunks": [chunk], "groundingSupports": [support] * size},
    )


def _gemini_logprobs(size: int) -> JSON:
    token = {"token": "a", "logProbability": -0.5}
    result = {"chosenCandidates": [token] * size, "topCandidates": [{"candidates": [token]}] * size}
    return gemini([{"text": "a"}], logprobsResult=result)


ANSWERS: dict[str, dict[str, Shape]] = {
    "anthropic": {
        "many texts": (lambda size: anthropic([{"type": "text", "text": "x"}] * size), 20_000),
        "many calls": (
            lambda size: anthropic([{"type": "tool_use", "id": f"t{at}", "name": "f", "input": {"input": "x"}} for at in range(size)]), 10_000
        ),
        "much thinking": (lambda size: anthropic([{"type": "thinking", "thinking": "x", "signature": "s"}] * size), 20_000),
        "many citations": (
            lambda size: anthropic([{"type": "text", "text": "x", "citations": [{"url": "https://example.com"}] * size}]), 20_000
        ),
        "unknown members": (lambda size: anthropic([{"type": "text", "text": "x"}], **distinct(size)), 20_000),
        "much usage": (lambda size: anthropic([{"type": "text", "text": "x"}], usage=distinct(size)), 20_000),
    },
    "gemini": {
        "many texts": (lambda size: gemini([{"text": "x"}] * size), 20_000),
        "many calls": (lambda size: gemini([{"functionCall": {"name": "f", "args": {}}}] * size), 10_000),
        "much thinking": (lambda size: gemini([{"text": "x", "thought": True}] * size), 20_000),
        "many candidates": (
            lambda size: {"candidates": [{**gemini([{"text": "x"}])["candidates"][0], "index": at} for at in range(size)]}, 5_000
        ),
        "many sources of a long text": (_gemini_sources, 10_000),
        "many logprobs": (_gemini_logprobs, 20_000),
        "unknown members": (lambda size: gemini([{"text": "x"}]) | distinct(size), 20_000),
        "many modalities": (
            lambda size: gemini([{"text": "x"}]) | {"usageMetadata": {"promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1}] * size}}, 20_000
        ),
    },
    "bedrock": {
        "many texts": (lambda size: bedrock([{"text": "x"}] * size), 20_000),
        "many calls": (
            lambda size: bedrock([{"toolUse": {"toolUseId": f"t{at}", "name": "f", "input": {}}} for at in range(size)]), 10_000
        ),
        "much thinking": (lambda size: bedrock([{"reasoningContent": {"reasoningText": {"text": "x"}}}] * size), 20_000),
        "many citations": (
            lambda size: bedrock([{"citationsContent": {"content": [{"text": "x"}], "citations": [{"location": {"web": {"url": "https://example.com"}}}]}}] * size), 10_000
        ),
        "unknown members": (lambda size: bedrock([{"text": "x"}]) | distinct(size), 20_000),
    },
    "mistral": {
        "many choices": (lambda size: openai({"content": "x"}, size), 5_000),
        "many calls": (lambda size: openai({"content": "", "tool_calls": [tool_call(at) for at in range(size)]}), 10_000),
        "many parts": (lambda size: openai({"content": [{"type": "text", "text": "x"}] * size}), 20_000),
        "much thinking": (
            lambda size: openai({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "x"}]}] * size}), 20_000
        ),
        "unknown members": (lambda size: openai({"content": "x"}, **distinct(size)), 20_000),
    },
}  # fmt: skip

OPENAI_ANSWERS: dict[str, tuple[Callable[[int], Any], int]] = {
    "many choices": ANSWERS["mistral"]["many choices"],
    "many calls": ANSWERS["mistral"]["many calls"],
    "many citations": (
        lambda size: openai({"content": "x", "annotations": [{"url_citation": {"url": "https://example.com"}}] * size}), 10_000
    ),
    "unknown members": ANSWERS["mistral"]["unknown members"],
    "unknown members of a message": (lambda size: openai({"content": "x", **distinct(size)}), 20_000),
    "much usage": (
        lambda size: openai({"content": "x"}, usage={"prompt_tokens_details": distinct(size), **distinct(size)}), 20_000
    ),
}  # fmt: skip


def _codec(wire: str, wrapped: bool) -> Callable[[bytes], object]:
    codec = codec_for_model(wire, "some-model")
    if wrapped:
        codec = codec.restoring(ToolEmulation(custom_tools=frozenset({"f"}), schema_tool="g"), legacy_functions=True)
    return lambda body: codec.decode(body, CREATED)


def _whole() -> Iterator[Case]:
    for wire, shapes in ANSWERS.items():
        for name, (build, largest) in shapes.items():
            yield case(f"{wire} answer: {name}", build, _codec(wire, wrapped=False), largest)
        build, largest = shapes["many calls"]
        yield case(f"{wire} answer: many calls, unwrapped", build, _codec(wire, wrapped=True), largest)
    for name, (build, largest) in OPENAI_ANSWERS.items():
        yield case(f"chat answer: {name}", build, lambda body: write_completion(parse(body), CREATED), largest)


VECTORS: dict[str, tuple[str, Callable[[int], Any]]] = {
    "bedrock": ("cohere.embed-english-v3", lambda size: {"embeddings": {"float": [[0.5] * 4] * size}}),
    "gemini": ("gemini-embedding-001", lambda size: {"embeddings": [{"values": [0.5] * 4}] * size}),
    "mistral": ("mistral-embed", lambda size: {"data": [{"embedding": [0.5] * 4}] * size}),
    "vertex": ("text-embedding-005", lambda size: {"predictions": [{"embeddings": {"values": [0.5] * 4}}] * size}),
}


def _vectors() -> Iterator[Case]:
    for wire, (model, build) in VECTORS.items():
        for encoding in ("float", "base64"):
            yield Case(f"{wire} vectors: {encoding}", _decoding(wire, model, build, encoding), 10_000)


def _decoding(wire: str, model: str, build: Callable[[int], Any], encoding: str) -> Callable[[int], Work]:
    codec = EMBEDDINGS[wire]

    def make(size: int) -> Work:
        request = json.dumps({"model": model, "input": ["x"] * size, "encoding_format": encoding}).encode()
        body = json.dumps(build(size)).encode()
        return lambda: codec.decode(body, request, model)

    return make


# -- cached responses --------------------------------------------------------------------------------------------------


_CHAT = CompletionForms("chat")


def _kept(content: bytes, streamed: bool) -> CacheEntry:
    return CacheEntry(content, b"", streamed, "p", "m", None, 0.0)


def _replayed(body: bytes) -> None:
    _kept(body, streamed=False).as_stream(_CHAT, with_usage=True)


def _put_together(stream: bytes) -> None:
    kept = _CHAT.from_stream(stream)
    assert kept is not None
    _kept(kept[0], streamed=True).as_body(_CHAT)


def chunks(deltas: Iterator[JSON], **more: Any) -> bytes:
    """Return a stream in OpenAI's format."""
    made = [
        {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": None}], **more}
        for delta in deltas
    ]
    made.append({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in made) + b"data: [DONE]\n\n"


def fragment(number: int, text: str = "x", **more: Any) -> JSON:
    return {"tool_calls": [{"index": number, "function": {"arguments": text}, **more}]}


def choices(size: int) -> bytes:
    made = [{"index": at, "delta": {"content": "x"}, "finish_reason": "stop"} for at in range(size)]
    return b"".join(b"data: %b\n\n" % json.dumps({"choices": [one]}).encode() for one in made) + b"data: [DONE]\n\n"


CHUNKS: dict[str, Shape] = {
    "many pieces of text": (lambda size: chunks({"content": "x" * 200} for _ in range(size)), 8_000),
    "many pieces of arguments": (lambda size: chunks(fragment(0, "x" * 200) for _ in range(size)), 8_000),
    "many calls": (lambda size: chunks(fragment(at, id=f"call_{at}") for at in range(size)), 5_000),
    "many calls in turn": (lambda size: chunks(fragment(at % (size // 2 + 1)) for at in range(size)), 5_000),
    "many calls in one chunk": (
        lambda size: chunks(iter([{"tool_calls": [{"index": at, "function": {"arguments": ""}} for at in range(size)]}])), 5_000
    ),
    "pieces of an unknown text": (lambda size: chunks({"thoughts": "x" * 200} for _ in range(size)), 8_000),
    "many unknown members": (lambda size: chunks({f"member{at}": "x"} for at in range(size)), 10_000),
    "lists of entries": (
        lambda size: chunks({"reasoning_details": [{"index": at, "type": "t", "text": "x"}]} for at in range(size)), 5_000
    ),
    "lists of whole entries": (lambda size: chunks({"executed_tools": [{"index": at}]} for at in range(size)), 5_000),
    "many lists": (lambda size: chunks({"annotations": [{"type": "t"}]} for _ in range(size)), 10_000),
    "many choices": (choices, 5_000),
}  # fmt: skip


def _objects_that_grow(size: int) -> bytes:
    made = [{"choices": [], "x_groq": {f"member{at}": at}} for at in range(size)]
    return b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in made) + chunks(iter([]))


def _logprobs_that_grow(size: int) -> bytes:
    made = [{"choices": [{"index": 0, "delta": {}, "logprobs": {"content": [{"token": "x"}]}}]} for _ in range(size)]
    return b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in made) + chunks(iter([]))


def _long_everywhere(name: str) -> Callable[[int], JSON]:
    """Build a response with a long name and a text that is sent in many chunks."""
    return lambda size: openai({"content": "x" * size * 40}, **{name: "n" * size * 4})


BODIES: dict[str, Shape] = {
    "a long text": (lambda size: openai({"content": "x" * size}), 1_000_000),
    "many calls": (lambda size: openai({"tool_calls": [tool_call(at) for at in range(size)]}), 5_000),
    "many choices": (lambda size: openai({"content": "x"}, size), 5_000),
    "many members": (lambda size: openai({"content": "x", **{f"member{at}": "x" for at in range(size)}}), 10_000),
    "a long id": (_long_everywhere("id"), 20_000),
    "a long fingerprint": (_long_everywhere("system_fingerprint"), 20_000),
}


def _answers_kept() -> Iterator[Case]:
    for name, (build, largest) in CHUNKS.items():
        yield case(f"put together: {name}", build, _put_together, largest)
    yield case("put together: objects that grow", _objects_that_grow, _put_together, 10_000)
    yield case("put together: logprobs", _logprobs_that_grow, _put_together, 10_000)
    for name, (build, largest) in BODIES.items():
        yield case(f"cut into chunks: {name}", build, _replayed, largest)


# -- errors and texts --------------------------------------------------------------------------------------------------


def run(piece: str, end: str = "") -> Callable[[int], str]:
    """Build a text that repeats the piece up to a number of characters."""
    return lambda size: (piece * (size // len(piece) + 1))[:size] + end


TEXTS: dict[str, Callable[[int], str]] = {
    name: run(piece, end)
    for name, piece, end in (
        ("letters", "x", ""), ("stars", "*", ""), ("dashes", "-", ""), ("dots", ".", ""), ("digits", "1", ""),
        ("letters and a star", "x", "*"), ("letters and three stars", "x", "***"), ("letters with a star", "x*", ""),
        ("letters with two stars", "x**", ""), ("letters with three stars", "x***", ""), ("stars and a letter", "***x", ""),
        ("sk-", "sk-", ""), ("sk-x", "sk-x", ""), ("sk-.", "sk-.", ""), ("sk_*", "sk_*", ""), ("sk-sk*", "sk-sk*", ""),
        ("pk-rk-", "pk-rk-", ""), ("one long key", "sk-" + "x" * 200, ""), ("AIza", "AIza", ""), ("AQ.", "AQ.", ""),
        ("ya29.", "ya29.", ""), ("eyJ", "eyJ", ""), ("eyJ-", "eyJ-", ""), ("eyJ a", "eyJ ", ""), ("eyJ x.", "eyJx.", ""),
        ("AKIA", "AKIA", ""), ("AKIA ", "AKIA ", ""), ("ASIA0", "ASIA0", ""), ("Bearer", "Bearer ", ""),
        ("Bearer and spaces", "Bearer" + " " * 500, ""), ("Bearer,", "Bearer x,", ""), ("spaces", " ", ""),
        ("lines", "\n", ""), ("a secret", SECRET, ""), ("half a secret", SECRET[:12], ""), ("most of a secret", SECRET[:-1], ""),
        ("the middle of a secret", SECRET[6:18], ""), ("a secret in upper case", SECRET.upper(), ""),
        ("percent signs", "%", ""), ("percent codes", "%5a", ""), ("base64", "WnQ3UXAyTGs5Vng0Um04V2Mz", ""),
        ("brackets", "[redacted]", ""), ("accents", "é", ""), ("wide letters", "\u4e2d", ""), ("quotes", '"', ""),
        ("backslashes", "\\", ""), ("colons", "://", ""), ("question marks", "?", ""), ("NULs", "\0", ""),
    )
}  # fmt: skip
PAGES: dict[str, Callable[[int], str]] = {
    name: run(piece)
    for name, piece in (
        ("opening brackets", "<"), ("tags", "<a>"), ("half tags", "<a "), ("comments", "<!--"), ("whole comments", "<!-- -->"),
        ("scripts", "<script"), ("scripts and styles", "<script><style>"), ("ends", "</"), ("attributes", "<a b='"),
        ("dashes", "<!-" + "-" * 50),
    )
}  # fmt: skip
LONGEST = 40_000


def _hidden(text: str) -> None:
    redact_failure(Failure(Kind.UPSTREAM, 502, text, code=text, param=text, type=text), CREDENTIAL)


def _logged(text: str) -> None:
    body = text.encode()
    bodies = BodyLogger(len(body), all_requests=True)
    bodies.attach(SimpleNamespace(level="info"), body, bodies.copy())


def _error(text: str) -> None:
    provider_failure("p", 422, json.dumps({"error": {"message": text}}).encode(), None, CREDENTIAL)


def _detail(text: str) -> None:
    provider_failure("p", 422, json.dumps({"detail": [{"msg": "bad", "input": text}]}).encode(), None, CREDENTIAL)


def _inner(text: str) -> None:
    provider_failure(
        "p", 400, json.dumps({"error": {"message": "x", "innererror": {"a": text}}}).encode(), None, CREDENTIAL
    )


def _texts() -> Iterator[Case]:
    readers: dict[str, Callable[[str], object]] = {
        "redact": lambda text: redact(text, CREDENTIAL),
        "hide": _hidden,
        "logged body": _logged,
        "error": _error,
        "error detail": _detail,
        "inner error": _inner,
        "error page": lambda text: provider_failure("p", 500, text.encode(), None, CREDENTIAL),
    }
    few = (
        "letters",
        "stars",
        "sk-",
        "eyJ",
        "letters and three stars",
        "Bearer and spaces",
        "a secret",
        "percent codes",
    )
    for reader, read in readers.items():
        for name, build in TEXTS.items():
            if reader == "redact" or name in few:
                yield case(f"{reader}: {name}", _encoded(build), _of_text(read), LONGEST)
    for name, build in PAGES.items():
        yield case(f"error page: {name}", _encoded(build), _of_text(readers["error page"]), 200_000)


def _encoded(build: Callable[[int], str]) -> Callable[[int], bytes]:
    return lambda size: build(size).encode()


def _of_text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda body: read(body.decode())


def _repeating(text: Callable[[int], str], said: Callable[[int], str]) -> Callable[[int], Work]:
    """Search a text for parts of a request while both grow."""

    def make(size: int) -> Work:
        shown, request = text(size), json.dumps({"model": "m", "messages": [said(size)]}).encode()
        return lambda: without_request(shown, request)

    return make


REPEATED = {
    "all of it": (run("the quick brown fox "), run("the quick brown fox ")),
    "one letter": (run("a"), run("a")),
    "one letter, often": (run("a" * 11 + "b"), run("a" * 11 + "c")),
    "pieces too short to tell": (run("abcdefghijk-"), run("abcdefghijk_")),
    "nothing": (run("0123456789"), run("abcdefghij")),
}


def _searched() -> Iterator[Case]:
    for name, (text, said) in REPEATED.items():
        yield Case(f"without_request: {name}", _repeating(text, said), MAX_REQUEST_BYTES // 2)
    yield case(
        "without_request: many texts",
        lambda size: ["x" * 20] * size,
        lambda body: without_request("x" * 100, body),
        10_000,
    )
    yield case(
        "without_request: no JSON", lambda size: b"{" * size, lambda body: without_request("x" * 100, body), 200_000
    )


ERROR_BODIES: dict[str, Shape] = {
    "many details": (lambda size: {"error": {"message": "x", "details": [{"reason": "x", "retryDelay": "x"}] * size}}, 20_000),
    "many violations": (
        lambda size: {"error": {"message": "x", "details": [{"violations": [{"quotaId": "x"}] * size}]}}, 20_000
    ),
    "a long delay": (lambda size: {"error": {"message": "x", "details": [{"retryDelay": "1" * size + "x"}]}}, 1_000_000),
    "a message of lists": (lambda size: {"error": {"message": [[["x"]]] * size}}, 20_000),
    "many members": (lambda size: {"error": distinct(size)}, 20_000),
    "many errors": (lambda size: [{"error": {"message": "x"}}] * size, 20_000),
    "nearly sentences": (
        lambda size: {"error": {"message": "Your account The model ` is suspended due to the input token count (1) " * size}}, 20_000
    ),
    "an error in an error": (lambda size: {"error": {"message": "x", "metadata": {"raw": "[" * size}}}, 200_000),
    "many choices": (lambda size: {"error": {}, "choices": [{"finish_reason": None}] * size}, 20_000),
    "numbers": (lambda size: b'{"error":' + b"1" * size + b"}", 1_000_000),
    "nothing but brackets": (lambda size: b"[" * size, 1_000_000),
    "types": (lambda size: {"error": {"message": "x", "type": "t" * size, "code": "c" * size, "param": "p" * size}}, LONGEST),
}  # fmt: skip
BEDROCK_ERRORS: dict[str, Shape] = {
    "many users": (lambda size: {"__type": "ValidationException", "message": "User: " * size}, 20_000),
    "a long user": (lambda size: {"__type": "ValidationException", "message": "User: " + "x" * size}, 500_000),
    "many paragraphs": (lambda size: {"__type": "ValidationException", "message": "a\n\n" * size}, 200_000),
    "a long type": (lambda size: {"__type": "a#" * size + ":b", "message": "x"}, 500_000),
    "nearly too long": (
        lambda size: {"__type": "ValidationException", "message": "input is too input tokens exceeds the " * size}, 20_000
    ),
}  # fmt: skip
USAGES: dict[str, Shape] = {
    "many choices": (lambda size: openai({"content": "x"}, size), 20_000),
    "many members": (lambda size: openai({"content": "x"}, **distinct(size)), 20_000),
    "a long text": (lambda size: openai({"content": "x" * size}), 1_000_000),
}


def is_answer(body: bytes) -> None:
    with contextlib.suppress(Failure):
        answers.check_completion("p", body, b"{}")


def _errors() -> Iterator[Case]:
    for name, (build, largest) in ERROR_BODIES.items():
        yield case(
            f"provider error: {name}", build, lambda body: provider_failure("p", 429, body, None, CREDENTIAL), largest
        )
        yield case(
            f"embedded error: {name}",
            build,
            lambda body: (has_embedded_error(body), embedded_failure("p", body)),
            largest,
        )
    for name, (build, largest) in BEDROCK_ERRORS.items():
        yield case(f"bedrock error: {name}", build, lambda body: ERROR_READERS["bedrock"](400, {}, body), largest)
    for name, (build, largest) in USAGES.items():
        yield case(f"usage: {name}", build, lambda body: (read_metadata(body), read_completion(body)), largest)
        yield case(f"answer: {name}", build, lambda body: is_answer(body), largest)
        yield case(f"result list: {name}", build, read_result_list, largest)
    for name, piece in (("digits", b"1"), ("spaces", b" "), ("commas", b","), ("dates", b"Mon, 1 Jan ")):
        build = lambda size, piece=piece: piece * (size // len(piece) + 1)  # noqa: E731
        yield case(f"retry-after: {name}", build, lambda value: parse_retry_after(value, 0.0), 60_000)


assert set(ANSWERS) <= set(CODECS)
CASES = [*_whole(), *_vectors(), *_answers_kept(), *_texts(), *_searched(), *_errors()]
