"""Valid requests with as many members as possible, for tests that replace any of them by other JSON."""

import base64
import copy
from typing import Any

PNG = "data:image/png;base64," + base64.b64encode(b"png").decode()
PDF = "data:application/pdf;base64," + base64.b64encode(b"pdf").decode()
TXT = "data:text/plain;base64," + base64.b64encode("é".encode()).decode()
MARK = {"type": "ephemeral", "ttl": "1h"}

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": ["object", "array", "null"],
    "title": "Place",
    "description": "A place.",
    "properties": {
        "city": {"type": "string", "minLength": 1, "format": "date", "enum": ["Oslo", "Rome"]},
        "days": {"type": ["integer", "null"], "minimum": 1, "default": 2},
        "kind": {"const": "town"},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 1, "prefixItems": [{"type": "string"}]},
        "either": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/tag", "title": "T"}], "oneOf": [{"type": "null"}]},
        "all": {"allOf": [{"$ref": "#/definitions/old"}], "type": ["string", "number"]},
    },
    "items": {"type": "string"},
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"tag": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}},
    "definitions": {"old": {"type": "string", "pattern": "a"}},
}
TOP = {
    "type": "object",
    "description": "Either.",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "anyOf": [
        {"$ref": "#/$defs/A"},
        {"properties": {"a": {"type": "integer"}, "b": {"anyOf": [{"type": "null"}]}}, "required": ["b"]},
    ],
    "oneOf": [{"properties": {"b": {"const": 1}}}],
    "allOf": [{"$ref": "#/definitions/B"}],
    "$defs": {"A": {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}},
    "definitions": {"B": {"properties": {"c": {}}}},
}


def function(name: Any, parameters: Any, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": "Does it.", "parameters": parameters, **more}}


def call(call_id: Any, name: Any, arguments: Any, **more: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def result(call_id: Any, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **more}


TOOLS = [
    function("weather", {**SCHEMA, "type": "object"}, strict=True),
    {**function("either", TOP), "cache_control": MARK},
    {"type": "custom", "custom": {
        "name": "shell", "description": "Runs it.",
        "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": 'start: "a"'}},
    }},
]  # fmt: skip
PARTS = [
    {"type": "text", "text": "see", "cache_control": MARK},
    {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}, "prompt_cache_breakpoint": {"type": "default"}},
    {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
]
AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}

# Responses of the gateway that clients return, with members that OpenAI's format does not have.
KEPT = {
    "anthropic": {"content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "so", "citations": [{"url": "https://a"}]},
        {"type": "tool_use", "id": "call_k", "name": "weather", "input": {"city": "Oslo"}},
    ]},
    "bedrock": {"content": [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
        {"citationsContent": {"content": [{"text": "so"}], "citations": [{"location": {"web": {"url": "https://a"}}}]}},
        {"toolUse": {"toolUseId": "call_k", "name": "weather", "input": {"city": "Oslo"}}},
    ]},
    "gemini": {"parts": [
        {"text": "hm", "thought": True, "thoughtSignature": "s"},
        {"text": "so"},
        {"functionCall": {"name": "weather", "args": {"city": "Oslo"}, "id": "g"}, "thoughtSignature": "s"},
    ]},
    "mistral": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "so"}]},
}  # fmt: skip


def handed_back(**extra: Any) -> dict[str, Any]:
    return {
        "role": "assistant", "content": "so", "refusal": None, "reasoning_content": "hm",
        "tool_calls": [
            call("call_k", "weather", '{"city":"Oslo"}', extra_content={"google": {"thought_signature": "s"}}, index=0)
        ],
        "annotations": [{"type": "url_citation", "url_citation": {"url": "https://a"}}],
        **extra,
    }  # fmt: skip


CONVERSATION = [
    {"role": "system", "content": "Be short.", "cache_control": MARK},
    {"role": "developer", "content": [{"type": "text", "text": "Be exact."}]},
    {"role": "user", "content": PARTS, "name": "u"},
    {
        "role": "assistant", "content": [{"type": "text", "text": "so"}, {"type": "refusal", "refusal": "no"}],
        "tool_calls": [
            call("call_1", "weather", '{"city":"Oslo"}'),
            {"id": "call_1", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
        ],
    },
    result("call_1", [{"type": "text", "text": "rain"}, PARTS[1]], name="weather", is_error=True),
    {"role": "user", "content": "And?"},
    result("call_1", "sun"),
    {"role": "assistant", "content": None, "refusal": "I will not."},
    {"role": "user", "content": "Why?"},
]  # fmt: skip
LEGACY = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}", "id": "call_l"}},
    {"role": "function", "name": "weather", "content": "rain"},
]
# Messages in the formats of the providers, which are accepted.
OWN = {
    "anthropic": [
        {"role": "user", "content": [{"type": "document", "source": {"type": "text", "data": "x"}, "title": "t"}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {}},
        ]},
        {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "tool_result", "tool_use_id": "t", "content": "y"}]},
    ],
    "bedrock": [
        {"role": "user", "content": [
            {"document": {"format": "txt", "name": "d", "source": {"bytes": "AA=="}}}, {"text": "see"}, {"cachePoint": {"type": "default"}},
        ]},
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "f", "input": {}}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [{"document": {"name": "d"}}, {"text": "y"}]}}]},
    ],
    "gemini": [
        {"role": "user", "content": [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}, {"text": "see"}]},
        {"role": "assistant", "content": [{"functionCall": {"name": "f", "args": {}}}]},
        {"role": "user", "content": [{"functionResponse": {"name": "f", "response": {"output": "y"}}}]},
    ],
    "mistral": [
        {"role": "user", "content": [{"type": "document_url", "document_url": "https://a"}, {"type": "text", "text": "see"}]},
        {"role": "assistant", "content": "Oslo", "prefix": True},
    ],
}  # fmt: skip
SETTINGS = {
    "temperature": 0.5, "top_p": 0.9, "max_tokens": 4000, "max_completion_tokens": 5000, "stop": ["END", "\n"],
    "seed": 1, "n": 1, "user": "u", "safety_identifier": "s", "metadata": {"user_id": "u"}, "service_tier": "auto",
    "stream": True, "stream_options": {"include_usage": True}, "logit_bias": {"1": 2}, "logprobs": True,
    "top_logprobs": 2, "presence_penalty": 0.1, "frequency_penalty": 0.1, "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": [{"type": "text", "text": "x"}]}, "modalities": ["text", "audio"],
    "audio": {"format": "pcm16", "voice": "Kore"}, "store": False, "verbosity": "low",
    "web_search_options": {"user_location": {"approximate": {"city": "Oslo"}}, "search_context_size": "low"},
}  # fmt: skip
FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "place", "schema": SCHEMA, "strict": True, "description": "A."},
}
OWN_MEMBERS: dict[str, dict[str, Any]] = {
    "anthropic": {"thinking": {"type": "enabled", "budget_tokens": 2000}, "output_config": {"effort": "low"}, "top_k": 3},
    "bedrock": {
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        "inferenceConfig": {"maxTokens": 5}, "guardrailConfig": {"guardrailIdentifier": "g"}, "top_k": 3,
    },
    "gemini": {"generationConfig": {"topK": 3}, "thinkingConfig": {"thinkingBudget": 5}, "safetySettings": [{"category": "c"}]},
    "mistral": {"safe_prompt": True, "prompt_mode": "reasoning"},
}  # fmt: skip
CHOICE = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [
    {"type": "function", "function": {"name": "weather"}}, {"type": "custom", "custom": {"name": "shell"}},
]}}  # fmt: skip
HI = [{"role": "user", "content": "hi"}]


def rich_requests(wire: Any) -> dict[str, Any]:
    """Return named requests, each valid for that wire format with some of its models."""
    kept = [*HI, handed_back(provider_specific_fields=KEPT), result("call_k", "rain", name="weather")]
    made: dict[str, dict[str, Any]] = {
        "conversation": {"messages": CONVERSATION, "tools": TOOLS, "tool_choice": CHOICE},
        "handed back": {"messages": kept, "tools": TOOLS[:1], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        "legacy": {"messages": LEGACY, "functions": [TOOLS[0]["function"]], "function_call": {"name": "weather"}},
        "own shapes": {"messages": OWN[wire], **OWN_MEMBERS[wire]},
        "settings": {"messages": HI, **SETTINGS, "reasoning_effort": "high"},
        "files": {"messages": [{"role": "user", "content": [
            {"type": "text", "text": "see"},
            {"type": "file", "file": {"file_data": TXT, "filename": "a.txt"}},
            *([AUDIO] if wire != "anthropic" else []),
        ]}]},
        "file id": {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file_1"}}]}]},
        "format": {"messages": HI, "response_format": FORMAT, "tools": [{"type": "web_search", "name": "web_search"}]},
        "format alone": {"messages": HI, "response_format": {**FORMAT, "json_schema": {"name": "x", "schema": TOP}}},
    }  # fmt: skip
    return {name: {"model": "m", **copy.deepcopy(request)} for name, request in made.items()}


EMBEDDINGS = {
    "model": "m", "input": ["a", "b"], "dimensions": 8, "encoding_format": "base64", "user": "u", "title": "t",
    "task_type": "RETRIEVAL_DOCUMENT", "auto_truncate": True, "metadata": {"a": "b"},
}  # fmt: skip
