"""Valid requests, responses and streams of every format, each with as many members as the format has."""

import base64
from typing import Any

JSON = dict[str, Any]
PNG = "data:image/png;base64," + base64.b64encode(b"png").decode()
PDF = "data:application/pdf;base64," + base64.b64encode(b"pdf").decode()
TXT = "data:text/plain;base64," + base64.b64encode("é".encode()).decode()
MARK = {"type": "ephemeral", "ttl": "1h"}

# -- requests of clients -----------------------------------------------------------------------------------------------

PLACE = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1, "enum": ["Oslo", "Rome"]},
        "days": {"type": ["integer", "null"], "default": 2},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "prefixItems": [{"const": "a"}]},
        "all": {"allOf": [{"$ref": "#/definitions/old"}], "not": {"type": "null"}},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"tag": {"type": "object", "properties": {"name": {"type": "string"}}}},
    "definitions": {"old": {"type": "string", "pattern": "a"}},
}
EITHER = {
    "description": "Either.",
    "anyOf": [{"$ref": "#/$defs/A"}, {"properties": {"a": {"type": "integer"}}, "required": ["a"]}],
    "oneOf": [{"properties": {"b": {"const": 1}}}],
    "allOf": [{"$ref": "#/definitions/B"}],
    "$defs": {"A": {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}},
    "definitions": {"B": {"properties": {"c": {}}}},
}


def call(number: int, name: str = "weather", arguments: str = '{"city":"Oslo"}') -> JSON:
    return {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


def tool(name: str, parameters: Any, **more: Any) -> JSON:
    return {"type": "function", "function": {"name": name, "description": "Does it.", "parameters": parameters, **more}}


# Responses of the gateway that clients return, with members that OpenAI's format does not have.
KEPT = {
    "anthropic": {"content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "so"}, {"type": "tool_use", "id": "call_9", "name": "weather", "input": {}}]},
    "bedrock": {"content": [{"reasoningContent": {"reasoningText": {"text": "hm"}}}, {"text": "so"}, {"toolUse": {"toolUseId": "call_9", "name": "weather", "input": {}}}]},
    "gemini": {"parts": [{"text": "so"}, {"functionCall": {"name": "weather", "args": {}, "id": "g"}, "thoughtSignature": "s"}]},
    "mistral": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "so"}]},
}  # fmt: skip

CONVERSATION: list[JSON] = [
    {"role": "system", "content": "Be short.", "cache_control": MARK},
    {"role": "user", "content": [
        {"type": "text", "text": "see", "cache_control": MARK}, {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
        {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}}, {"type": "file", "file": {"file_data": TXT, "filename": "b.txt"}},
    ]},
    {"role": "assistant", "content": "so", "tool_calls": [call(1), {"id": "call_2", "type": "custom", "custom": {"name": "shell", "input": "ls"}}]},
    {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": PNG}}]},
    {"role": "tool", "tool_call_id": "call_1", "content": '{"rain":1}', "name": "weather"},
    {"role": "developer", "content": [{"type": "text", "text": "Be exact."}]},
    {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
    {"role": "function", "name": "weather", "content": "sun"},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "refusal": "no", "annotations": []},
    {"role": "assistant", "content": "so", "tool_calls": [call(9, arguments="{}")], "provider_specific_fields": KEPT},
    {"role": "tool", "tool_call_id": "call_9", "content": "x"},
    {"role": "user", "content": "And?"},
]  # fmt: skip
SETTINGS: JSON = {
    "temperature": 0.5, "top_p": 0.9, "max_tokens": 100, "max_completion_tokens": 50, "stop": ["a", " "], "n": 1, "seed": 7,
    "user": "u", "metadata": {"a": "b"}, "reasoning_effort": "low", "service_tier": "auto", "parallel_tool_calls": False,
    "stream": True, "stream_options": {"include_usage": True}, "logprobs": True, "top_logprobs": 2, "store": False,
    "web_search_options": {"user_location": {"approximate": {"country": "NO"}}}, "modalities": ["text"],
    "prediction": {"type": "content", "content": "x"}, "safety_identifier": "s", "thinking": {"type": "disabled"},
}  # fmt: skip
REQUESTS: list[JSON] = [
    {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    {"model": "m", "messages": CONVERSATION, "tools": [tool("weather", PLACE, strict=True), {"type": "custom", "custom": {"name": "shell"}}]},
    {"model": "m", "messages": CONVERSATION[:2], **SETTINGS},
    {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": [tool("weather", PLACE), tool("either", EITHER, strict=True)],
     "tool_choice": {"type": "function", "function": {"name": "weather"}}},
    {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": [tool("weather", EITHER)],
     "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "weather"}}]}}},
    {"model": "m", "messages": [{"role": "user", "content": "hi"}], "functions": [{"name": "weather", "parameters": PLACE}],
     "function_call": {"name": "weather"}},
    {"model": "m", "messages": [{"role": "user", "content": "hi"}],
     "response_format": {"type": "json_schema", "json_schema": {"name": "place", "schema": PLACE, "strict": True, "description": "A place."}}},
    {"model": "m", "messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]}],
     "audio": {"voice": "a", "format": "pcm16"}, "modalities": ["text", "audio"]},
    {"model": "m", "messages": [{"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "x"}, {"cachePoint": {"type": "default"}}, {"functionResponse": {"name": "f"}},
        {"document": {"name": "a", "format": "txt", "source": {"bytes": "eA=="}}}, {"type": "reference", "reference_ids": [1]},
    ]}], "generationConfig": {"topK": 1}, "inferenceConfig": {"maxTokens": 5}, "output_config": {"effort": "low"}},
]  # fmt: skip
COMPLETIONS: list[JSON] = [
    {"model": "m", "prompt": "hi"},
    {
        "model": "m",
        "prompt": ["hi"],
        "suffix": "",
        "echo": False,
        "best_of": 1,
        "logprobs": 1,
        "max_tokens": 5,
        "stream": True,
    },
]
EMBEDDINGS: list[JSON] = [
    {"model": "m", "input": "hi"},
    {"model": "m", "input": ["hi", "there"], "encoding_format": "base64", "dimensions": 8, "user": "u", "task_type": "x", "metadata": {}},
    {"model": "m", "input": [[1, 2], [3]]},
]  # fmt: skip

# -- whole responses of providers, by format ---------------------------------------------------------------------------

CITATION = {"type": "web_search_result_location", "url": "https://example.com", "title": "T", "cited_text": "x"}
OPENAI_CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"input":"x"}'}}
LOGPROBS = {"content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}], "refusal": None}
USAGE = {
    "prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8, "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 1},
}  # fmt: skip
OPENAI: list[JSON] = [
    {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi", "refusal": None, "annotations": []}, "logprobs": LOGPROBS, "finish_reason": "stop"},
        {"index": 1, "message": {"role": "assistant", "content": None, "tool_calls": [OPENAI_CALL], "reasoning_content": "hm"}, "finish_reason": "tool_calls"},
    ], "usage": USAGE, "system_fingerprint": "fp", "service_tier": "default", "x_groq": {"usage": USAGE}},
    {"id": "c", "object": "text_completion", "model": "m", "choices": [{"index": 0, "text": "hi", "logprobs": None, "finish_reason": "length"}]},
]  # fmt: skip
ANSWERS: dict[str, list[JSON]] = {
    "anthropic": [
        {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "tool_use", "stop_sequence": None, "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "eA=="},
            {"type": "text", "text": "hi", "citations": [CITATION]}, {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"input": "x"}},
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        ], "usage": {"input_tokens": 5, "output_tokens": 3, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 1,
                     "cache_creation": {"ephemeral_1h_input_tokens": 1}, "server_tool_use": {"web_search_requests": 1},
                     "output_tokens_details": {"thinking_tokens": 1}}},
        {"id": "msg_1", "type": "message", "model": "c", "content": [], "stop_reason": "refusal", "stop_details": {"explanation": "no"}, "usage": {"input_tokens": 1}},
    ],
    "gemini": [
        {"candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [
            {"text": "hm", "thought": True, "thoughtSignature": "s"}, {"text": "hi"}, {"functionCall": {"name": "f", "args": {"input": "x"}, "id": "g"}},
            {"executableCode": {"code": "x"}}, {"inlineData": {"mimeType": "image/png", "data": "eA=="}},
        ]}, "groundingMetadata": {"groundingChunks": [{"web": {"uri": "https://example.com", "title": "T"}}],
                                  "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 2}, "groundingChunkIndices": [0]}]},
            "logprobsResult": {"chosenCandidates": [{"token": "h", "logProbability": -0.5}], "topCandidates": [{"candidates": [{"token": "h"}]}]},
            "citationMetadata": {"citationSources": [{"uri": "u"}]}, "safetyRatings": []}],
         "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8, "thoughtsTokenCount": 1, "cachedContentTokenCount": 2,
                           "toolUsePromptTokenCount": 1, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 5}]},
         "modelVersion": "gemini", "responseId": "r"},
        {"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "no"}, "usageMetadata": {"promptTokenCount": 5}},
    ],
    "bedrock": [
        {"output": {"message": {"role": "assistant", "content": [
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}}, {"reasoningContent": {"redactedContent": "eA=="}}, {"text": "hi"},
            {"toolUse": {"toolUseId": "t", "name": "f", "input": {"input": "x"}}}, {"image": {"format": "png", "source": {"bytes": "eA=="}}},
            {"citationsContent": {"content": [{"text": "so"}], "citations": [{"title": "T", "location": {"web": {"url": "https://example.com"}}}]}},
        ]}}, "stopReason": "tool_use", "metrics": {"latencyMs": 5}, "trace": {"guardrail": {}},
         "usage": {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8, "cacheReadInputTokens": 2, "cacheWriteInputTokens": 1, "cacheDetails": [{"ttl": "1h"}]}},
    ],
    "mistral": [
        {"id": "c", "object": "chat.completion", "created": 1, "model": "mistral", "choices": [
            {"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "hi"}, {"type": "reference", "reference_ids": [1]},
            ], "tool_calls": [{"id": "null", "function": {"name": "f", "arguments": {"input": "x"}}}], "prefix": False}},
        ], "usage": {**USAGE, "num_cached_tokens": 1, "prompt_audio_seconds": {}}},
    ],
}  # fmt: skip
ANSWERS["vertex"] = ANSWERS["gemini"]
ANSWERS["vertex-anthropic"] = ANSWERS["anthropic"]
VECTORS: dict[str, list[JSON]] = {
    "bedrock": [
        {"embedding": [0.5, 1], "inputTextTokenCount": 3, "embeddingsByType": {"float": [0.5]}},
        {"embeddings": [[0.5, 1], [1, 0]], "id": "x", "texts": ["a"], "response_type": "embeddings_floats"},
        {"embeddings": {"float": [[0.5, 1]], "int8": [[1]]}},
    ],
    "gemini": [{"embeddings": [{"values": [0.5, 1]}, {"values": [1, 0]}], "usageMetadata": {"promptTokenCount": 3, "more": 1}}],
    "mistral": [{"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 1}}],
    "vertex": [{"predictions": [{"embeddings": {"values": [0.5, 1], "statistics": {"token_count": 3, "truncated": False}}}], "metadata": {}}],
}  # fmt: skip

# -- streams, by format: the events of one response --------------------------------------------------------------------

DELTAS: list[JSON] = [
    {"role": "assistant", "content": "", "refusal": None}, {"content": "hi"}, {"reasoning_content": "hm"}, {"refusal": "no"},
    {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"input":"x"}'}}]}, {"annotations": [{"type": "url_citation"}]},
    {"reasoning_details": [{"index": 0, "type": "reasoning.text", "text": "hm"}]}, {"executed_tools": [{"index": 0, "type": "t"}]},
]  # fmt: skip
CHUNKS: list[JSON] = [
    *[{"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]}
      for delta in DELTAS],
    {"id": "c", "model": "m", "choices": [{"index": 1, "delta": {"content": "x"}, "logprobs": LOGPROBS, "finish_reason": None}]},
    {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None},
    {"id": "c", "model": "m", "choices": [{"index": 0, "text": "hi", "finish_reason": "stop"}]},
    {"id": "c", "model": "m", "choices": [], "usage": USAGE},
    {"id": "c", "model": "m", "choices": [], "x_groq": {"id": "r", "usage": USAGE}},
]  # fmt: skip
STREAM_ERRORS: list[Any] = [
    {"error": {"message": "x", "type": "server_error", "code": "overloaded", "param": None}}, {"error": "x"}, {"error": None, "choices": []},
    {"message": "x", "object": "error"}, {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, {"detail": "x"},
]  # fmt: skip
ANTHROPIC_EVENTS: list[JSON] = [
    {"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [], "stop_reason": None,
                                          "usage": {"input_tokens": 5, "output_tokens": 1, "cache_read_input_tokens": 2, "cache_creation": {"ephemeral_1h_input_tokens": 1}}}},
    {"type": "ping"},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "hi"}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "citations_delta", "citation": CITATION}},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"input":'}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '"x"}'}},
    {"type": "content_block_stop", "index": 2},
    {"type": "content_block_start", "index": 3, "content_block": {"type": "new", "more": "a"}},
    {"type": "content_block_delta", "index": 3, "delta": {"type": "new_delta", "more": "b"}},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": {"output_tokens": 3, "output_tokens_details": {"thinking_tokens": 1}}},
    {"type": "message_stop"},
]  # fmt: skip
GEMINI_EVENTS: list[JSON] = [
    {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "hm", "thought": True}]}}], "modelVersion": "gemini", "responseId": "r",
     "usageMetadata": {"promptTokenCount": 5}},
    {"candidates": [{"index": 0, "content": {"parts": [{"text": "hi"}]}, "logprobsResult": {"chosenCandidates": [{"token": "h", "logProbability": -0.5}]}}]},
    {"candidates": [{"index": 0, "content": {"parts": [{"functionCall": {"name": "f", "args": {"input": "x"}}, "thoughtSignature": "s"}]}}]},
    {"candidates": [{"index": 0, "content": {"parts": [{"functionCall": {"name": "g", "willContinue": True}}]}}]},
    {"candidates": [{"index": 0, "content": {"parts": [{"functionCall": {"partialArgs": [{"jsonPath": "$.a[0].b", "stringValue": "x", "willContinue": True}], "willContinue": True}}]}}]},
    {"candidates": [{"index": 0, "content": {"parts": [{"functionCall": {"partialArgs": [{"jsonPath": "$.a[0].b", "stringValue": "y"}, {"jsonPath": "$.n", "numberValue": 1}]}}]}}]},
    {"candidates": [{"index": 1, "content": {"parts": [{"text": "ho"}]}, "finishReason": "STOP"}]},
    {"candidates": [{"index": 0, "finishReason": "STOP", "groundingMetadata": {
        "groundingChunks": [{"web": {"uri": "https://example.com", "title": "T"}}],
        "groundingSupports": [{"segment": {"endIndex": 2}, "groundingChunkIndices": [0]}]}}],
     "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 5}]}},
]  # fmt: skip
BEDROCK_EVENTS: list[JSON] = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}}},
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "s"}}}},
    {"contentBlockStop": {"contentBlockIndex": 0}},
    {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"text": "hi"}}},
    {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"citation": {"title": "T", "location": {"web": {"url": "https://example.com"}}}}}},
    {"contentBlockStart": {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}}},
    {"contentBlockDelta": {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"input":"x"}'}}}},
    {"contentBlockStop": {"contentBlockIndex": 2}},
    {"contentBlockStart": {"contentBlockIndex": 3, "start": {"toolResult": {"toolUseId": "s"}}}},
    {"contentBlockDelta": {"contentBlockIndex": 3, "delta": {"toolResult": [{"text": "x"}]}}},
    {"contentBlockDelta": {"contentBlockIndex": 4, "delta": {"image": {"source": {"bytes": "eA=="}}}}},
    {"messageStop": {"stopReason": "tool_use", "additionalModelResponseFields": {}}},
    {"metadata": {"usage": {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8, "cacheReadInputTokens": 2}, "metrics": {"latencyMs": 5}}},
]  # fmt: skip
MISTRAL_EVENTS: list[JSON] = [
    {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "mistral", "p": "abc", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]},
    {"id": "c", "model": "mistral", "choices": [{"index": 0, "delta": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}, "finish_reason": None}]},
    {"id": "c", "model": "mistral", "choices": [{"index": 0, "delta": {"content": [{"type": "text", "text": "hi"}, {"type": "reference", "reference_ids": [1]}]}, "finish_reason": None}]},
    {"id": "c", "model": "mistral", "choices": [{"index": 0, "delta": {"tool_calls": [{"id": "null", "index": 0, "function": {"name": "f", "arguments": '{"input":'}}]}, "finish_reason": None}]},
    {"id": "c", "model": "mistral", "choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"name": "", "arguments": '"x"}'}}]}, "finish_reason": None}]},
    {"id": "c", "model": "mistral", "choices": [{"index": 1, "delta": {"content": "ho"}, "finish_reason": "stop"}]},
    {"id": "c", "model": "mistral", "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "tool_calls"}], "usage": {**USAGE, "num_cached_tokens": 1}},
]  # fmt: skip

# The events of whole streams.
STREAMS: dict[str, list[list[Any]]] = {
    "anthropic": [ANTHROPIC_EVENTS], "gemini": [GEMINI_EVENTS], "bedrock": [BEDROCK_EVENTS], "mistral": [MISTRAL_EVENTS],
}  # fmt: skip

# -- errors of providers -----------------------------------------------------------------------------------------------

ERRORS: list[Any] = [
    {"error": {"message": "no", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}},
    {"type": "error", "error": {"type": "overloaded_error", "message": "no"}, "request_id": "r"},
    {"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED", "details": [
        {"@type": "QuotaFailure", "violations": [{"quotaId": "PerDayPerProject"}]}, {"retryDelay": "45.8s"}, {"reason": "API_KEY_INVALID"}]}},
    [{"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}],
    {"object": "error", "message": "no", "type": "rate_limited", "param": None, "code": "1300", "raw_status_code": 429},
    {"detail": [{"type": "missing", "loc": ["body", "messages"], "msg": "Field required", "input": {"model": "m"}}]},
    {"error": "no", "code": 500}, {"error": {"message": "no", "innererror": {"code": "x", "content_filter_result": {"hate": {"filtered": True}}}}},
    {"message": "no", "__type": "com.amazon#ThrottlingException"}, {"choices": [{"finish_reason": None}], "error": {"code": 502, "message": "no"}},
]  # fmt: skip
