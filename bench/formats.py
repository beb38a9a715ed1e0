"""The responses of the benchmark's upstreams in each provider's own shape (recorded responses with replaced words).

One upstream serves all formats. The first segment of the path selects the format, so the gateway's base URLs all name
the same host: `/anthropic/v1` and so on. A path without such a segment is OpenAI's.
"""

import json
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple
from zlib import crc32

_TEXT = "word " * 50  # for a response of about 600 bytes


class Format(NamedTuple):
    """A wire format: the settings with which the gateway reaches it, a whole response, and the parts of a stream.

    The text of an event is the time at which it was sent, in twenty digits. `done` follows the last event. `frame`
    turns an event into the bytes to send. `variables` are further environment variables of the gateway.
    """

    name: str
    key: str
    base_url: str
    base_path: str
    model: str
    response: str
    begin: bytes
    event: bytes
    done: bytes
    frame: Callable[[bytes], bytes] = bytes
    content_type: bytes = b"text/event-stream"
    variables: Mapping[str, str] = MappingProxyType({})


def _json(value: Mapping[str, Any], indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, separators=(",", ": ") if indent else (",", ":"))


OPENAI = Format(
    name="OpenAI",
    key="OPENAI_API_KEY",
    base_url="OPENAI_BASE_URL",
    base_path="/v1",
    model="gpt-4o",
    response=_json(
        {
            "id": "chatcmpl-123",
            "object": "chat.completion",
            "created": 1710000000,
            "model": "gpt-4o",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": _TEXT, "refusal": None},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 19, "completion_tokens": 50, "total_tokens": 69},
        }
    ),
    begin=b"",
    event=b'data: {"id":"chatcmpl-123","object":"chat.completion.chunk","created":1710000000,"model":"gpt-4o",'
    b'"system_fingerprint":"fp_44709d6fcb","choices":[{"index":0,"delta":{"content":"%020d"},"logprobs":null,'
    b'"finish_reason":null}]}\n\n',
    done=b"data: [DONE]\n\n",
)
ANTHROPIC = Format(
    name="Anthropic",
    key="ANTHROPIC_API_KEY",
    base_url="ANTHROPIC_BASE_URL",
    base_path="/anthropic/v1",
    model="claude-sonnet-4-5",
    response=_json(
        {
            "model": "claude-sonnet-4-5-20250929",
            "id": "msg_018wcZd3HjaUCp6vtfWURYTU",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": _TEXT}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "stop_details": None,
            "usage": {
                "input_tokens": 19,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                "output_tokens": 50,
                "service_tier": "standard",
                "inference_geo": "not_available",
            },
        }
    ),
    begin=b'event: message_start\ndata: {"type":"message_start","message":{"model":"claude-sonnet-4-5-20250929",'
    b'"id":"msg_018wcZd3HjaUCp6vtfWURYTU","type":"message","role":"assistant","content":[],"stop_reason":null,'
    b'"stop_sequence":null,"usage":{"input_tokens":19,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,'
    b'"output_tokens":1}}   }\n\nevent: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""}  }\n\n',
    event=b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"%020d"}      }\n\n',
    done=b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0 }\n\nevent: message_delta\n'
    b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
    b'"usage":{"output_tokens":400}}\n\nevent: message_stop\ndata: {"type":"message_stop"  }\n\n',
)
GEMINI = Format(
    name="Gemini",
    key="GOOGLE_API_KEY",
    base_url="GEMINI_BASE_URL",
    base_path="/gemini/v1beta",
    model="gemini-2.5-flash",
    response=_json(
        {
            "candidates": [
                {"content": {"parts": [{"text": _TEXT}], "role": "model"}, "finishReason": "STOP", "index": 0}
            ],
            "usageMetadata": {
                "promptTokenCount": 19,
                "candidatesTokenCount": 50,
                "totalTokenCount": 69,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 19}],
            },
            "modelVersion": "gemini-2.5-flash",
            "responseId": "VL-Fao-BIOTbvdIPyZ3HiAQ",
        },
        indent=2,
    ),
    begin=b"",
    event=b'data: {"candidates": [{"content": {"parts": [{"text": "%020d"}],"role": "model"},"index": 0}],'
    b'"usageMetadata": {"promptTokenCount": 19,"candidatesTokenCount": 50,"totalTokenCount": 69,'
    b'"promptTokensDetails": [{"modality": "TEXT","tokenCount": 19}],"serviceTier": "standard"},'
    b'"modelVersion": "gemini-2.5-flash","responseId": "VL-Fao-BIOTbvdIPyZ3HiAQ"}\r\n\r\n',
    done=b'data: {"candidates": [{"content": {"parts": [{"text": ""}],"role": "model"},"finishReason": "STOP",'
    b'"index": 0}],"usageMetadata": {"promptTokenCount": 19,"candidatesTokenCount": 400,"totalTokenCount": 419},'
    b'"modelVersion": "gemini-2.5-flash","responseId": "VL-Fao-BIOTbvdIPyZ3HiAQ"}\r\n\r\n',
)
MISTRAL = Format(
    name="Mistral",
    key="MISTRAL_API_KEY",
    base_url="MISTRAL_BASE_URL",
    base_path="/mistral/v1",
    model="mistral-small-latest",
    response=_json(
        {
            "id": "8f5e8c9b0c6c4f4a930e27f54ab8d92f",
            "created": 1710000000,
            "model": "mistral-small-latest",
            "usage": {
                "prompt_tokens": 19,
                "total_tokens": 69,
                "completion_tokens": 50,
                "prompt_tokens_details": {"cached_tokens": 0},
                "service_tier": "standard",
            },
            "object": "chat.completion",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "tool_calls": None, "content": _TEXT},
                }
            ],
        }
    ),
    begin=b'data: {"id":"8f5e8c9b0c6c4f4a930e27f54ab8d92f","object":"chat.completion.chunk","created":1710000000,'
    b'"model":"mistral-small-latest","choices":[{"index":0,"delta":{"role":"assistant","content":""},'
    b'"finish_reason":null}]}\n\n',
    event=b'data: {"id":"8f5e8c9b0c6c4f4a930e27f54ab8d92f","object":"chat.completion.chunk","created":1710000000,'
    b'"model":"mistral-small-latest","choices":[{"index":0,"delta":{"content":"%020d"},"finish_reason":null}],'
    b'"p":"abcdefghij"}\n\n',
    done=b'data: {"id":"8f5e8c9b0c6c4f4a930e27f54ab8d92f","object":"chat.completion.chunk","created":1710000000,'
    b'"model":"mistral-small-latest","choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":19,"total_tokens":419,"completion_tokens":400}}\n\ndata: [DONE]\n\n',
)


def _message(event_type: bytes) -> Callable[[bytes], bytes]:
    """Return a function that frames an event as AWS does: lengths, their checksum, headers, payload, total checksum."""
    texts = {b":event-type": event_type, b":content-type": b"application/json", b":message-type": b"event"}
    headers = b"".join(
        b"%c%b\x07%b%b" % (len(name), name, struct.pack(">H", len(text)), text) for name, text in texts.items()
    )

    def frame(payload: bytes) -> bytes:
        prelude = struct.pack(">II", len(headers) + len(payload) + 16, len(headers))
        message = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
        return message + struct.pack(">I", crc32(message))

    return frame


# Bedrock is called with an API key, so that translation alone is measured. The signature has a row of its own.
BEDROCK = Format(
    name="Bedrock",
    key="AWS_BEARER_TOKEN_BEDROCK",
    base_url="BEDROCK_ENDPOINT_URL",
    base_path="/bedrock",
    model="us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    response=_json(
        {
            "metrics": {"latencyMs": 1234},
            "output": {"message": {"content": [{"text": _TEXT}], "role": "assistant"}},
            "stopReason": "end_turn",
            "usage": {
                "cacheReadInputTokenCount": 0,
                "cacheReadInputTokens": 0,
                "cacheWriteInputTokenCount": 0,
                "cacheWriteInputTokens": 0,
                "inputTokens": 19,
                "outputTokens": 50,
                "totalTokens": 69,
            },
        }
    ),
    begin=_message(b"messageStart")(b'{"p":"abcdefghijklm","role":"assistant"}'),
    event=b'{"contentBlockIndex":0,"delta":{"text":"%020d"},"p":"abcdefghijklmnopqrst"}',
    done=_message(b"contentBlockStop")(b'{"contentBlockIndex":0,"p":"abcdefghi"}')
    + _message(b"messageStop")(b'{"p":"abcdefghijk","stopReason":"end_turn"}')
    + _message(b"metadata")(
        b'{"metrics":{"latencyMs":1234},"p":"abcdefg","usage":{"inputTokens":19,"outputTokens":400,"totalTokens":419}}'
    ),
    frame=_message(b"contentBlockDelta"),
    content_type=b"application/vnd.amazon.eventstream",
    variables={"AWS_REGION": "us-east-1"},
)
# Settings that sign the requests instead of sending an API key. The upstream does not check the signature.
SIGNED = {
    "AWS_BEARER_TOKEN_BEDROCK": "",
    "AWS_ACCESS_KEY_ID": "AKIABENCHBENCHBENCH0",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-bench",
}
AZURE = OPENAI._replace(
    name="Azure",
    key="AZURE_OPENAI_API_KEY",
    base_url="AZURE_OPENAI_ENDPOINT",
    base_path="/azure",
    model="azure-gpt-4o",
)
TRANSLATED = (ANTHROPIC, GEMINI, MISTRAL, BEDROCK)
PASSED_THROUGH = (AZURE,)  # in addition to OpenAI itself
FORMATS = (OPENAI, *PASSED_THROUGH, *TRANSLATED)


def format_of(path: str) -> Format:
    """Return the format that a path selects."""
    return next((form for form in FORMATS[1:] if path.startswith(form.base_path)), OPENAI)
