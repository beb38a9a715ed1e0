"""What providers send, as bytes: heads, chunks, whole answers, and one answer in each of the four formats."""

from typing import NamedTuple

from nulpoint.mock import MockServer, MockSettings
from nulpoint.mock.answers import Call

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
    """One event with a chat chunk."""
    said = b'{"content":"%b"}' % text if text else b"{}"
    return event(b'{"id":"c","model":"m","choices":[{"index":0,"delta":%b,"finish_reason":%b}]}' % (said, finish))


def answer(body: bytes, status: int = 200, *fields: bytes, content_type: bytes = b"application/json") -> bytes:
    """A whole answer with its length."""
    lines = [b"HTTP/1.1 %d X" % status, b"content-type: " + content_type, b"content-length: %d" % len(body), *fields]
    return b"\r\n".join([*lines, b"", b""]) + body


def good_stream(*words: bytes) -> bytes:
    """A whole OpenAI stream."""
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
    """One provider's answer to the same question. A stream is `preamble` + `content` + `terminal`, event by event."""

    name: str
    model: str
    preamble: list[bytes]
    content: list[bytes]
    terminal: list[bytes]
    whole: bytes
    error: bytes  # body of an error with status 500
    error_event: bytes

    @property
    def events(self) -> list[bytes]:
        return self.preamble + self.content + self.terminal


_CREDENTIALS = {"authorization": "Bearer x", "x-api-key": "x", "x-goog-api-key": "x", "anthropic-version": "2023-06-01"}
_MODELS = {
    "openai": "gpt-4o", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-pro", "mistral": "mistral-large-latest",
}  # fmt: skip
_PATHS = {
    "openai": ("/v1/chat/completions", "/v1/chat/completions"),
    "anthropic": ("/v1/messages", "/v1/messages"),
    "gemini": ("/v1beta/models/gemini-2.5-pro:generateContent", "/v1beta/models/gemini-2.5-pro:streamGenerateContent"),
    "mistral": ("/v1/chat/completions", "/v1/chat/completions"),
}
# How many events come before the first one that a caller would show, and how many after the last one.
_BEFORE = {"openai": 1, "anthropic": 3, "gemini": 0, "mistral": 1}
_AFTER = {"openai": 2, "anthropic": 2, "gemini": 1, "mistral": 2}


def _format(name: str) -> Format:
    server = MockServer(name, MockSettings(stream_words=WORDS))

    def ask(stream: bool, path: str) -> tuple[bytes, list[bytes]]:
        body = {"model": _MODELS[name], "messages": [{"role": "user", "content": "hi"}]}
        if name == "anthropic":
            body["max_tokens"] = 99
        if name == "gemini":
            body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        elif stream:
            body["stream"] = True
        call = Call("POST", path, _CREDENTIALS, body, 1, WORDS)
        found = server.dialect.answer(call)
        assert found.status == 200, found.body
        return found.body, found.events or []

    whole, _ = ask(False, _PATHS[name][0])
    _, events = ask(True, _PATHS[name][1])
    before, after = _BEFORE[name], _AFTER[name]
    error = server.dialect.error(500, "broken").body
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
    )


def _embeddings(name: str, model: str, path: str, body: dict[str, object]) -> Format:
    server = MockServer(name, MockSettings())
    found = server.dialect.answer(Call("POST", path, _CREDENTIALS, body, 1, WORDS))
    assert found.status == 200, found.body
    return Format(name, model, [], [], [], found.body, server.dialect.error(500, "broken").body, b"")


FORMATS = {name: _format(name) for name in _MODELS}
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
}


def with_tool_call(form: Format) -> Format:
    """The same answer with a tool call in place of text, in pieces as that provider streams them."""
    said = {"openai": _OPENAI_CALL, "anthropic": _ANTHROPIC_CALL}[form.name]
    terminal = [one.replace(b'"stop"', b'"tool_calls"').replace(b'"end_turn"', b'"tool_use"') for one in form.terminal]
    preamble = form.preamble[:1]
    return form._replace(preamble=preamble, content=said, terminal=terminal)


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
