"""Replays recordings over real sockets: a provider that sends them, the gateway, and the official `openai` SDK."""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from support.corpus.cuts import cuts
from support.corpus.error_responses import seen_status
from support.corpus.formats import Expected, events, lenient, same
from support.corpus.judge import FORMATS
from support.corpus.records import HOSTS, Recording
from support.running_gateway import gateway

_AT_ONCE = 8
_ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}


async def replay(recordings: Iterable[Recording]) -> dict[str, str]:
    """Return the problems by the name of the recording."""
    numbered = dict(enumerate(recordings))
    wrong: dict[str, str] = {}
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(client: openai.AsyncOpenAI, number: int, recording: Recording) -> None:
        async with turn:
            try:
                await _judge(client, number, recording)
            except Exception as error:
                wrong[recording.name] = f"{type(error).__name__}: {str(error)[:300]}"

    async with caller_of(numbered) as client:
        await asyncio.gather(*(one(client, number, recording) for number, recording in numbered.items()))
    return wrong


@contextlib.asynccontextmanager
async def caller_of(numbered: dict[int, Recording], key: str = "sk-configured-1") -> AsyncIterator[openai.AsyncOpenAI]:
    """Run the official SDK, a gateway, and a provider that sends these responses; `key` is the gateway's."""
    provider = await asyncio.start_server(_answering(numbered), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{provider.sockets[0].getsockname()[1]}/v1"
    hosts = [row for row in HOSTS.values() if not row.variables]  # clouds need more than a URL
    settings = {row.base_url_env: url for row in hosts}
    settings |= {row.key_env: key for row in hosts if row.key_env}
    with tempfile.TemporaryDirectory() as directory:
        rows = [msgspec.to_builtins(row) for row in hosts]
        Path(directory, "config.yaml").write_bytes(msgspec.json.encode({"providers": rows}))
        async with (
            gateway(settings, names=(), directory=Path(directory)) as running,
            openai.AsyncOpenAI(base_url=running.url, api_key="any", max_retries=0, timeout=30) as client,
        ):
            yield client
    provider.close()


def _answering(numbered: dict[int, Recording]) -> Any:
    """Run a server that sends the recording named in a member of the request that the gateway passes on."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
                fields = dict(line.split(": ", 1) for line in head[1:-2])
                await reader.readexactly(int(fields["content-length"]))
                writer.writelines(_answer(numbered[int(fields["x-title"])]))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    return serve


def _answer(recording: Recording) -> list[bytes]:
    body, stream = recording.body, recording.is_stream
    headers = {name.lower(): value for name, value in recording.record["response_headers"].items()}
    kind = "text/event-stream" if stream else headers.get("content-type", "application/json")
    head = f"HTTP/1.1 {recording.record['status']} x\r\ncontent-type: {kind}\r\n"
    if not stream:
        return [head.encode(), b"content-length: %d\r\n\r\n" % len(body), body]
    pieces = list(cuts(body, thorough=False))[1]
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return [head.encode(), b"transfer-encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n"]


def asked_for(number: int, recording: Recording) -> dict[str, Any]:
    """Return the arguments of a call whose response is this recording."""
    return {"model": f"{recording.host.name}/some-model", "extra_headers": {"x-title": str(number)}}


async def _judge(client: openai.AsyncOpenAI, number: int, recording: Recording) -> None:
    asked = asked_for(number, recording)
    if recording.failed:
        return await _judge_error(client, asked, recording)
    if recording.route == "embeddings":
        vectors = await client.embeddings.create(input=["hi"], encoding_format="float", **asked)
        assert vectors.data
        return None
    expected, usage, failed = _expected(recording)
    try:
        seen, told = await _ask(client, recording.is_stream, asked)
    except openai.APIError:
        assert failed, "an answer is told as a failure"
        return None
    assert not failed, "a failure passes as a response"
    for one, wanted in zip(seen, expected, strict=True):
        same("text", one.text, wanted.text)
        same("finish", one.finish, wanted.finish)
        if recording.host.wire in FORMATS:
            same("calls", [call[1:] for call in one.calls], [call[1:] for call in wanted.calls])
    if usage is not None:
        assert told is not None, "the usage is missing"
        same("usage", (told.prompt_tokens, told.completion_tokens), usage)
    return None


async def _judge_error(client: openai.AsyncOpenAI, asked: dict[str, Any], recording: Recording) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        await client.chat.completions.create(messages=_ASKED["messages"], **asked)
    same("status", caught.value.status_code, seen_status(recording))
    assert caught.value.message


def _expected(recording: Recording) -> tuple[list[Expected], tuple[int, int] | None, bool]:
    """Return the choices, the tokens and whether the recording is a failure."""
    body = recording.body.decode()
    read = FORMATS.get(recording.host.wire)
    if read is None:
        chunks, member = (list(events(body)), "delta") if recording.is_stream else ([json.loads(body)], "message")
        return _plain(chunks, member), None, _is_empty(chunks, member)
    answer = read.assembled(body) if recording.is_stream else json.loads(body)
    if read.failed(answer):
        return [], None, True
    usage = read.usage(answer)
    return read.choices(answer), (usage and (usage["prompt_tokens"], usage["completion_tokens"])) or None, False


def _plain(chunks: list[Any], member: str) -> list[Expected]:
    """Return the choices of responses or chunks in OpenAI's format. Perplexity has `message` and `delta` in both."""
    texts: dict[int, str] = {}
    finishes: dict[int, Any] = {}
    for choice in [choice for chunk in chunks for choice in chunk.get("choices") or []]:
        index = choice["index"]
        texts[index] = texts.get(index, "") + ((choice.get(member) or {}).get("content") or "")
        finishes[index] = choice.get("finish_reason") or finishes.get(index)
    return [Expected(finishes[index], texts[index]) for index in sorted(texts)]


def _is_empty(chunks: list[Any], member: str) -> bool:
    """Return whether no choice has any content, and no finish reason explains that."""
    choices = [choice for chunk in chunks for choice in chunk.get("choices") or []]
    shown = [value for choice in choices for name, value in (choice.get(member) or {}).items() if name != "role"]
    return not any(shown) and {choice.get("finish_reason") for choice in choices} <= {None, "stop", "tool_calls"}


async def _ask(client: openai.AsyncOpenAI, stream: bool, asked: dict[str, Any]) -> tuple[list[Expected], Any]:
    if not stream:
        answer = await client.chat.completions.create(messages=_ASKED["messages"], **asked)
        read = [
            Expected(
                choice.finish_reason,
                choice.message.content or "",
                calls=[
                    (call.id, call.function.name, lenient(call.function.arguments))
                    for call in choice.message.tool_calls or []
                    if call.type == "function"
                ],
            )
            for choice in answer.choices
        ]
        return read, answer.usage
    asked = {**asked, "stream": True, "stream_options": {"include_usage": True}}
    usage: Any = None
    choices: dict[int, dict[str, Any]] = {}
    chunks: Any = await client.chat.completions.create(messages=_ASKED["messages"], **asked)
    async for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices or []:
            held = choices.setdefault(choice.index, {"text": "", "calls": {}, "finish": None})
            held["text"] += (choice.delta.content if choice.delta else None) or ""
            held["finish"] = choice.finish_reason or held["finish"]
            for call in (choice.delta.tool_calls if choice.delta else None) or []:
                slot = held["calls"].setdefault(call.index, ["", ""])
                slot[0] += call.function.name or ""
                slot[1] += call.function.arguments or ""
    read = []
    for _, held in sorted(choices.items()):
        calls = [(None, name, lenient(arguments)) for name, arguments in held["calls"].values()]
        read.append(Expected(held["finish"], held["text"], calls=calls))
    return read, usage
