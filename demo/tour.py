"""Shows what one gateway does: chat with each provider, a stream, tools, reasoning, embeddings and more."""

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import openai

CITY = {"type": "string", "examples": ["Rome"]}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": CITY},
            "required": ["city"],
        },
    },
}
HELLO: list[Any] = [{"role": "user", "content": "Say hello"}]


class Step(NamedTuple):
    """A request, the provider that should respond, and a function that returns the text to show and the headers."""

    name: str
    provider: str
    run: Callable[[openai.OpenAI], tuple[str, Any]]


def chat(model: str) -> Callable[[openai.OpenAI], tuple[str, Any]]:
    def run(client: openai.OpenAI) -> tuple[str, Any]:
        raw = client.chat.completions.with_raw_response.create(model=model, messages=HELLO)
        return raw.parse().choices[0].message.content or "", raw.headers

    return run


def stream(client: openai.OpenAI) -> tuple[str, Any]:
    raw = client.chat.completions.with_raw_response.create(model="gpt-5.4", messages=HELLO, stream=True)
    chunks = [chunk for chunk in raw.parse() if chunk.choices]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    return f"{len(chunks)} chunks: {text}", raw.headers


def tool_use(client: openai.OpenAI) -> tuple[str, Any]:
    """Claude thinks and calls a tool. The signed thought goes back with the result, because Anthropic requires it."""
    parameters: dict[str, Any] = {"model": "claude-sonnet-5", "tools": [WEATHER], "reasoning_effort": "low"}
    messages: list[Any] = [{"role": "user", "content": "How warm is it in Rome?"}]
    message = client.chat.completions.create(messages=messages, **parameters).choices[0].message
    call: Any = message.tool_calls[0]
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"}]
    raw = client.chat.completions.with_raw_response.create(messages=messages, **parameters)
    return f"{call.function.name}({call.function.arguments}) -> {raw.parse().choices[0].message.content}", raw.headers


def reasoning(client: openai.OpenAI) -> tuple[str, Any]:
    raw = client.chat.completions.with_raw_response.create(
        model="gemini-3.8-flash", messages=HELLO, reasoning_effort="medium"
    )
    message: Any = raw.parse().choices[0].message
    return f"({message.reasoning_content}) {message.content}", raw.headers


def embedding(client: openai.OpenAI) -> tuple[str, Any]:
    raw = client.embeddings.with_raw_response.create(model="text-embedding-3-small", input=["one", "two"])
    vectors = raw.parse().data
    return f"{len(vectors)} vectors of {len(vectors[0].embedding)} numbers", raw.headers


def moderation(client: openai.OpenAI) -> tuple[str, Any]:
    raw = client.moderations.with_raw_response.create(input=["a kind word", "please flag this"])
    return ", ".join("flagged" if result.flagged else "fine" for result in raw.parse().results), raw.headers


def reranking(client: openai.OpenAI) -> tuple[str, Any]:
    """Rank two documents. OpenAI's SDK has no method for it."""
    documents = ["Rome is a city", "Paris is the capital of France"]
    body = {"model": "rerank-v3.5", "query": "the capital of France", "documents": documents}
    fields = {"content-type": "application/json"}
    request = urllib.request.Request(f"{client.base_url}rerank", json.dumps(body).encode(), fields)
    with urllib.request.urlopen(request) as response:
        best = json.load(response)["results"][0]
    return f"{documents[best['index']]!r} has {best['relevance_score']:.2f}", response.headers


def unknown_model(client: openai.OpenAI) -> tuple[str, Any]:
    try:
        client.chat.completions.create(model="no-such-model", messages=HELLO)
    except openai.NotFoundError as error:
        return f"404 {error.code}: {error.body['message']}", error.response.headers  # type: ignore[index]
    raise AssertionError("an unknown model should be a 404")


STEPS = (
    Step("chat, gpt-5.4", "openai", chat("gpt-5.4")),
    Step("chat, claude-haiku-5-5", "anthropic", chat("claude-haiku-5-5")),
    Step("chat, gemini-3.5-flash-lite", "gemini", chat("gemini-3.5-flash-lite")),
    Step("chat, mistral-large", "mistral", chat("mistral-large")),
    Step("stream, gpt-5.4", "openai", stream),
    Step("tool use, claude-sonnet-5", "anthropic", tool_use),
    Step("reasoning, gemini-3.8-flash", "gemini", reasoning),
    Step("embedding of two texts", "openai", embedding),
    Step("moderation of two texts", "openai", moderation),
    Step("reranking, rerank-v3.5", "cohere", reranking),
    Step("a model that does not exist", "openai", unknown_model),
)


def play(port: int, log: Path) -> int:
    """Run the steps and print the table. Return the number of failed steps."""
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any-string", max_retries=0)
    print(f"\n  {'request':<30} {'provider':<12} {'added':>9}   response")
    failed = 0
    for step in STEPS:
        try:
            text, headers = step.run(client)
            provider = headers["x-nulpoint-provider"]
            good = provider == step.provider
            added = f"{_added_us(log, headers['x-nulpoint-request-id']) / 1000:.2f} ms"
        except Exception as error:  # noqa: BLE001 - every error is shown and counted
            text, provider, good, added = f"{type(error).__name__}: {error}", "", False, ""
        failed += not good
        print(f"  {step.name:<30} {provider:<12} {added:>9}   {'' if good else 'FAILED '}{text[:70]}")
    print(f"\n  {len(STEPS) - failed} of {len(STEPS)} steps did what they should\n")
    return failed


def _added_us(log: Path, request_id: str) -> int:
    """Return the time the gateway itself took, from its request log, which is written a moment later."""
    end = time.monotonic() + 3
    while time.monotonic() < end:
        for line in log.read_text().splitlines():
            record = json.loads(line)
            if record["id"] == request_id:
                return int(record.get("added_us", 0))
        time.sleep(0.05)
    raise TimeoutError(f"request {request_id} is not in the log")
