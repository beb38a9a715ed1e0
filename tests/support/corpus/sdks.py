"""The providers' own SDKs as second readers: what the judge reads in a recording, they must read too.

They are development dependencies where they are there at all; a format whose SDK is absent is judged without.
"""

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

from support.corpus.formats import Expected, lenient, same

_MODULES = {"anthropic": "anthropic", "gemini": "google.genai", "mistral": "mistralai"}
Reading = tuple[
    list[Expected], tuple[int, int] | None
]  # choices without their finish reason, tokens of prompt and completion


# Recordings that an SDK cannot read as intended, by their source.
NOT_READ = {
    "vercel/ai:packages/anthropic/src/__fixtures__/anthropic-tool-search-bm25.1.chunks.txt#0":
        "it reads on after the end, into the next answer",
    "anthropics/anthropic-sdk-python:tests/lib/streaming/fixtures/incomplete_partial_json_response.txt#0":
        "it completes arguments that the token limit cut",
    "prism-php/prism:tests/Fixtures/gemini/stream-basic-text-1.sse#0": "it needs the empty lines between events",
    "vercel/ai:packages/google/src/__fixtures__/google-stream-no-args-tool-call.chunks.txt#0":
        "it leaves calls in their pieces",
    "tmc/langchaingo:llms/googleai/testdata/TestGoogleAICall.httprr#0": "it knows no reasons that are numbers",
    "tmc/langchaingo:llms/googleai/testdata/TestGoogleAIGenerateContentWithMultipleMessages.httprr#0":
        "it knows no reasons that are numbers",
    "tmc/langchaingo:llms/googleai/testdata/TestGoogleAIWithJSONMode.httprr#0": "it knows no reasons that are numbers",
}  # fmt: skip


def is_there(wire: str) -> bool:
    try:
        return importlib.util.find_spec(_MODULES[wire]) is not None
    except ModuleNotFoundError:  # of `google`
        return False


def agree(wire: str, body: bytes, stream: bool, wanted: list[Expected], usage: dict[str, int] | None) -> None:
    """Raise AssertionError if the SDK reads another response than the judge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they warn of old models
        read, tokens = _READERS[wire](body, stream)
    same("the SDK's text", [one.text for one in read], [one.text for one in wanted])
    same("the SDK's thinking", [one.thinking for one in read], [one.thinking for one in wanted])
    same("the SDK's calls", [[call[1:] for call in one.calls] for one in read],
         [[call[1:] for call in one.calls] for one in wanted])  # fmt: skip
    if tokens is not None and usage is not None:
        same("the SDK's usage", tokens, (usage["prompt_tokens"], usage["completion_tokens"]))


def _client(body: bytes, stream: bool) -> Any:
    """Return an HTTP client whose response is always the recording."""
    import httpx2

    kind = "text/event-stream" if stream else "application/json"
    answer = httpx2.Response(200, headers={"content-type": kind}, content=body)
    return httpx2.Client(transport=httpx2.MockTransport(lambda _: answer))


def _anthropic(body: bytes, stream: bool) -> Reading:
    import anthropic

    client = anthropic.Anthropic(api_key="x", http_client=_client(body, stream), max_retries=0)
    asked: Any = {"model": "some-model", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    if stream:
        with client.messages.stream(**asked) as events:
            message = events.get_final_message()
    else:
        message = client.messages.create(**asked)
    answer = message.model_dump()
    blocks = answer["content"] or []
    usage = answer.get("usage")
    tokens = usage and (
        (usage["input_tokens"] or 0)
        + (usage.get("cache_read_input_tokens") or 0)
        + (usage.get("cache_creation_input_tokens") or 0),
        usage["output_tokens"],
    )
    return [
        Expected(
            "",
            "".join(block["text"] for block in blocks if block["type"] == "text"),
            "".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
            [(None, block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"],
        )
    ], tokens


def _gemini(body: bytes, stream: bool) -> Reading:
    from google import genai
    from google.genai import types

    options = types.HttpOptions(httpx_client=_client(body, stream))
    models = genai.Client(api_key="x", http_options=options).models
    asked: Any = {"model": "some-model", "contents": "hi"}
    events = list(models.generate_content_stream(**asked)) if stream else [models.generate_content(**asked)]
    parts: dict[int, list[Any]] = {}
    tokens = None
    for event in events:
        for position, candidate in enumerate(event.candidates or []):
            found = (candidate.content and candidate.content.parts) or []
            parts.setdefault(candidate.index or position, []).extend(found)
        if event.usage_metadata is not None:
            tokens = _gemini_tokens(event.usage_metadata)
    read = [_gemini_choice(parts[index]) for index in sorted(parts)]
    return read or [Expected("")], tokens


def _gemini_choice(parts: list[Any]) -> Expected:
    return Expected(
        "",
        "".join(part.text or "" for part in parts if not part.thought),
        "".join(part.text or "" for part in parts if part.thought),
        [(None, part.function_call.name, part.function_call.args or {}) for part in parts if part.function_call],
    )


def _gemini_tokens(usage: Any) -> tuple[int, int]:
    prompt = (usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0)
    return prompt, (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)


def _mistral(body: bytes, stream: bool) -> Reading:
    from mistralai.client import Mistral

    chat = Mistral(api_key="x", client=_client(body, stream)).chat
    asked: Any = {"model": "some-model", "messages": [{"role": "user", "content": "hi"}]}
    if not stream:
        whole = chat.complete(**asked).model_dump(by_alias=True)
        usage = whole["usage"]
        read = [_mistral_choice(_parts(one["message"]), one["message"].get("tool_calls")) for one in whole["choices"]]
        return read, (usage["prompt_tokens"], usage["completion_tokens"])
    parts: dict[int, list[Any]] = {}
    calls: dict[int, list[Any]] = {}
    tokens = None
    for event in chat.stream(**asked):
        chunk = event.data.model_dump(by_alias=True)
        for choice in chunk["choices"]:
            parts.setdefault(choice["index"], []).extend(_parts(choice["delta"]))
            _mistral_calls(calls.setdefault(choice["index"], []), choice["delta"].get("tool_calls") or [])
        if chunk.get("usage"):
            tokens = chunk["usage"]["prompt_tokens"], chunk["usage"]["completion_tokens"]
    return [_mistral_choice(parts[index], calls[index]) for index in sorted(parts)], tokens


def _parts(message: dict[str, Any]) -> list[Any]:
    content = message.get("content")
    return content if isinstance(content, list) else [{"type": "text", "text": content or ""}]


def _mistral_calls(calls: list[Any], pieces: list[Any]) -> None:
    for piece in pieces:
        if piece.get("id") in (None, "null") and calls:
            calls[-1]["function"]["arguments"] += piece["function"]["arguments"]
        else:
            calls.append(piece)


def _mistral_choice(parts: list[Any], calls: list[Any] | None) -> Expected:
    return Expected(
        "",
        "".join(part["text"] for part in parts if part["type"] == "text"),
        "".join(inner.get("text", "") for part in parts if part["type"] == "thinking" for inner in part["thinking"]),
        [(None, call["function"]["name"], lenient(call["function"]["arguments"])) for call in calls or []],
    )


_READERS: dict[str, Callable[[bytes, bool], Reading]] = {
    "anthropic": _anthropic,
    "gemini": _gemini,
    "mistral": _mistral,
}
