"""The bytes that providers send: heads, chunks, whole responses, and one response in each format and of each cloud."""

from typing import Any, NamedTuple
from zlib import crc32

from nulpoint.mock import MockServer, MockSettings
from nulpoint.mock.bedrock import eventstream
from nulpoint.mock.interface import MockRequest
from support import cloud_mocks

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
WORDS = 8
TEXT = "a mock answer made of plain words that"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunks(events: list[bytes]) -> list[bytes]:
    return [chunk(event) for event in events]


def event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


def delta(text: bytes, finish: bytes = b"null") -> bytes:
    """Return one event with a chat chunk."""
    content = b'{"content":"%b"}' % text if text else b"{}"
    return event(b'{"id":"c","model":"m","choices":[{"index":0,"delta":%b,"finish_reason":%b}]}' % (content, finish))


def answer(body: bytes, status: int = 200, *fields: bytes, content_type: bytes = b"application/json") -> bytes:
    """Return a whole response with its Content-Length."""
    lines = [b"HTTP/1.1 %d X" % status, b"content-type: " + content_type, b"content-length: %d" % len(body), *fields]
    return b"\r\n".join([*lines, b"", b""]) + body


def good_stream(*words: bytes) -> bytes:
    """Return a whole OpenAI stream."""
    events = [ROLE, *map(delta, words or (b"word ",)), delta(b"", b'"stop"'), DONE]
    return STREAM_HEAD + b"".join(chunks(events)) + LAST_CHUNK


ROLE = event(
    b'{"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}'
)
WORD = delta(b"word ")
DONE = event(b"[DONE]")
CHAT_ANSWER = (
    b'{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"word"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)
GOOD = answer(CHAT_ANSWER)
SERVER_ERROR = answer(b'{"error":{"message":"broken","type":"server_error","param":null,"code":null}}', 500)


class Format(NamedTuple):
    """The response of one provider to the same request. A stream is `preamble` + `content` + `terminal`, event by event."""

    name: str
    model: str
    preamble: list[bytes]
    content: list[bytes]
    terminal: list[bytes]
    whole: bytes
    error: bytes  # the body of an error with status 500
    error_event: bytes
    speaks: str = ""  # the provider whose format it uses
    nonsense: bytes = event(b'{"id":')  # an event that cannot be decoded
    head: bytes = STREAM_HEAD

    @property
    def events(self) -> list[bytes]:
        return self.preamble + self.content + self.terminal


_CREDENTIALS = {
    "authorization": "Bearer x",
    "x-api-key": "x",
    "api-key": "x",
    "x-goog-api-key": "x",
    "anthropic-version": "2023-06-01",
}
_MODELS = {
    "openai": "gpt-4o", "anthropic": "claude-haiku-4-5", "gemini": "gemini-2.5-pro", "mistral": "mistral-large-latest",
}  # fmt: skip
_PATHS = {
    "openai": ("/v1/chat/completions", "/v1/chat/completions"),
    "anthropic": ("/v1/messages", "/v1/messages"),
    "gemini": ("/v1beta/models/gemini-2.5-pro:generateContent", "/v1beta/models/gemini-2.5-pro:streamGenerateContent"),
    "mistral": ("/v1/chat/completions", "/v1/chat/completions"),
}
# The number of events before the first event with content, and after the last one.
_BEFORE = {"openai": 1, "anthropic": 3, "gemini": 0, "mistral": 1}
_AFTER = {"openai": 2, "anthropic": 2, "gemini": 1, "mistral": 2}


def _format(name: str) -> Format:
    server = MockServer(name, MockSettings(stream_words=WORDS))

    def ask(stream: bool, path: str) -> tuple[bytes, list[bytes]]:
        body: dict[str, Any] = {"model": _MODELS[name], "messages": [{"role": "user", "content": "hi"}]}
        if name == "anthropic":
            body["max_tokens"] = 99
        if name == "gemini":
            body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        elif stream:
            body["stream"] = True
        call = MockRequest("POST", path, _CREDENTIALS, body, 1, WORDS)
        response = server.api.respond(call)
        assert response.status == 200, response.body
        return response.body, response.events or []

    whole, _ = ask(False, _PATHS[name][0])
    _, events = ask(True, _PATHS[name][1])
    before, after = _BEFORE[name], _AFTER[name]
    error = server.api.error(500, "broken").body
    named = b"event: error\n" if name == "anthropic" else b""
    return Format(
        name,
        _MODELS[name],
        events[:before] or [events[0].replace(b'"text":"a"', b'"text":""')],  # Gemini begins with content
        events[before:-after],
        events[-after:],
        whole,
        error,
        named + event(error),
        name,
    )


def _embeddings(name: str, model: str, path: str, body: dict[str, object]) -> Format:
    server = MockServer(name, MockSettings())
    response = server.api.respond(MockRequest("POST", path, _CREDENTIALS, body, 1, WORDS))
    assert response.status == 200, response.body
    return Format(name, model, [], [], [], response.body, server.api.error(500, "broken").body, b"")


FORMATS = {name: _format(name) for name in _MODELS}


def _framed_nonsense(good: bytes) -> bytes:
    """Return a Bedrock event with correct checksums and an invalid payload."""
    start = 12 + int.from_bytes(good[4:8])
    message = (start + 10).to_bytes(4) + good[4:8]
    message += crc32(message).to_bytes(4) + good[12:start] + b'{"id":'
    return message + crc32(message).to_bytes(4)


def _cloud(name: str, model: str, paths: tuple[str, str], body: dict[str, object], before: int, after: int) -> Format:
    """Return the format of a cloud. `before` events come before content, `after` events after it."""
    server = MockServer(name, MockSettings(stream_words=WORDS))
    streamed = {"stream": True} if "model" in body else {}
    whole, stream = (
        server.api.respond(MockRequest("POST", path, _CREDENTIALS, {**body, **more}, 1, WORDS))
        for path, more in zip(paths, ({}, streamed), strict=True)
    )
    assert (whole.status, stream.status) == (200, 200), (whole.body, stream.body)
    events = stream.events or []
    error, error_event = server.api.error(500, "broken").body, server.api.error_event(500, "broken")
    return Format(
        name, model, events[:before], events[before:-after], events[-after:], whole.body, error, error_event
    )  # fmt: skip


_AZURE = _cloud(
    "azure",
    "azure-gpt-4o",
    ("/openai/v1/chat/completions", "/openai/v1/chat/completions"),
    {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]},
    2,
    2,
)
_NOVA = "/model/amazon.nova-pro-v1%3A0"
_BEDROCK = _cloud(
    "bedrock",
    "amazon.nova-pro-v1:0",
    (f"{_NOVA}/converse", f"{_NOVA}/converse-stream"),
    {"messages": [{"role": "user", "content": [{"text": "hi"}]}]},
    1,
    3,
)
CLOUDS = {
    "azure": _AZURE._replace(speaks="openai"),
    "bedrock": _BEDROCK._replace(
        speaks="bedrock",
        nonsense=_framed_nonsense(_BEDROCK.content[0]),
        head=STREAM_HEAD.replace(b"text/event-stream", b"application/vnd.amazon.eventstream"),
    ),
    "vertexai": FORMATS["gemini"]._replace(name="vertexai", model="vertexai-gemini-2.5-pro"),
    "vertexai-claude": FORMATS["anthropic"]._replace(name="vertexai-claude", model="vertexai-claude-sonnet-4-5"),
}
# The clouds' models have no built-in equivalents.
CLOUDS_CONFIG = cloud_mocks.folder_with(
    "fallbacks:\n"
    "  azure-gpt-4o: [azure/gpt-4o, openai/gpt-4o]\n"
    "  amazon.nova-pro-v1:0: [bedrock/amazon.nova-pro-v1:0, openai/gpt-4o]\n"
    "  vertexai-gemini-2.5-pro: [vertexai/gemini-2.5-pro, openai/gpt-4o]\n"
    "  vertexai-claude-sonnet-4-5: [vertexai-claude/claude-sonnet-4-5, openai/gpt-4o]\n"
)
_PARTS = {"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "hi"}]}}
EMBEDDINGS = {
    "openai": _embeddings(
        "openai", "text-embedding-3-small", "/v1/embeddings", {"model": "text-embedding-3-small", "input": "hi"}
    ),
    "gemini": _embeddings(
        "gemini",
        "gemini-embedding-001",
        "/v1beta/models/gemini-embedding-001:batchEmbedContents",
        {"requests": [_PARTS]},
    ),
    "bedrock": _embeddings(
        "bedrock",
        "amazon.titan-embed-text-v2:0",
        "/model/amazon.titan-embed-text-v2%3A0/invoke",
        {"inputText": "hi"},
    ),
    "vertexai": Format(
        "vertexai",
        "vertexai-text-embedding-005",
        [],
        [],
        [],
        b'{"predictions":[{"embeddings":{"values":[0.5,0.25],"statistics":{"token_count":1,"truncated":false}}}]}',
        FORMATS["gemini"].error,
        b"",
    ),
}


def with_tool_call(form: Format) -> Format:
    """Return the format with a tool call in place of text, in pieces as that provider streams them."""
    content = {"openai": _OPENAI_CALL, "anthropic": _ANTHROPIC_CALL, "bedrock": _BEDROCK_CALL}[form.name]
    if form.name == "bedrock":
        return form._replace(content=content, terminal=[*form.terminal[:-2], _BEDROCK_STOP, form.terminal[-1]])
    terminal = [
        event.replace(b'"stop"', b'"tool_calls"').replace(b'"end_turn"', b'"tool_use"') for event in form.terminal
    ]
    preamble = form.preamble[:1]
    return form._replace(preamble=preamble, content=content, terminal=terminal)


def _openai_call(call: bytes) -> bytes:
    head = b'{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
    return event(head + b'{"tool_calls":[{"index":0,%b}]},"finish_reason":null}]}' % call)


_ARGUMENTS = (b'{\\"city\\":', b' \\"Par', b'is\\"', b"}")
_OPENAI_CALL = [
    _openai_call(b'"id":"call_1","type":"function","function":{"name":"weather","arguments":""}'),
    *(_openai_call(b'"function":{"arguments":"%b"}' % piece) for piece in _ARGUMENTS),
]


def _anthropic(kind: bytes, members: bytes) -> bytes:
    return b'event: %b\ndata: {"type":"%b","index":0%b}\n\n' % (kind, kind, members)


_ANTHROPIC_CALL = [
    _anthropic(b"content_block_start", b',"content_block":{"type":"tool_use","id":"t","name":"weather","input":{}}'),
    *(
        _anthropic(b"content_block_delta", b',"delta":{"type":"input_json_delta","partial_json":"%b"}' % piece)
        for piece in _ARGUMENTS
    ),
    _anthropic(b"content_block_stop", b""),
]


_BEDROCK_CALL = [
    eventstream.event(
        "contentBlockStart",
        {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "tooluse_1", "name": "weather"}}},
    ),
    *(
        eventstream.event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": piece}}})
        for piece in ('{"city":', ' "Par', 'is"', "}")
    ),
]
_BEDROCK_STOP = eventstream.event("messageStop", {"stopReason": "tool_use"})
