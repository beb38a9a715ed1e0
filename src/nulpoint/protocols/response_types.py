"""Defines the types of the members that the codecs read in provider responses.

The codecs read responses as plain objects, because they pass on members that they do not know. Before that, each
response is decoded into these types, which takes about a microsecond: so a member of the wrong type is reported in one
place as the provider's fault, and is never an exception somewhere in a codec. A member may be missing or null unless a
codec cannot work without it.

Sources: the types of the `anthropic`, `google-genai`, `mistralai` and `openai` SDKs, and the service model of
`bedrock-runtime`.
"""

from typing import Annotated, Any, Literal

import msgspec

from nulpoint.conversation.usage import Tokens

Object = dict[str, Any]
Enum = str | int  # an enumeration in Google's APIs, which JSON may give by name or by number
Index = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
Position = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Struct(msgspec.Struct, gc=False):
    pass


# -- Anthropic ---------------------------------------------------------------------------------------------------------


class _ThinkingTokens(_Struct):
    thinking_tokens: Tokens | None = None


class _CacheCreation(_Struct):
    ephemeral_1h_input_tokens: Tokens | None = None


class AnthropicUsage(_Struct):
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None
    output_tokens_details: _ThinkingTokens | None = None
    cache_creation: _CacheCreation | None = None


class _AnthropicCitation(_Struct):
    url: str | None = None
    title: str | None = None


class AnthropicBlock(_Struct):
    type: str
    id: str | None = None
    name: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    input: Object | str | None = None
    citations: list[_AnthropicCitation] | None = None


class _StopDetails(_Struct):
    explanation: str | None = None


class AnthropicMessage(_Struct):
    id: str | None = None
    model: str | None = None
    content: list[AnthropicBlock] | None = None
    stop_reason: str | None = None
    stop_details: _StopDetails | None = None
    usage: AnthropicUsage | None = None


class _AnthropicDelta(_Struct):
    """A change to a content block, or to the message."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    citation: _AnthropicCitation | None = None
    stop_reason: str | None = None
    stop_details: _StopDetails | None = None


class AnthropicEvent(_Struct):
    type: str | None = None
    index: Index | None = None
    message: AnthropicMessage | None = None
    content_block: AnthropicBlock | None = None
    delta: _AnthropicDelta | None = None
    usage: AnthropicUsage | None = None
    stop_details: _StopDetails | None = None


# -- Bedrock -----------------------------------------------------------------------------------------------------------


class BedrockUsage(_Struct):
    inputTokens: Tokens | None = None
    outputTokens: Tokens | None = None
    totalTokens: Tokens | None = None
    cacheReadInputTokens: Tokens | None = None
    cacheWriteInputTokens: Tokens | None = None


class _BedrockToolUse(_Struct):
    toolUseId: str
    name: str
    input: Object | None = None
    type: str | None = None


class _ReasoningText(_Struct):
    text: str | None = None
    signature: str | None = None


class _BedrockReasoning(_Struct):
    reasoningText: _ReasoningText | None = None
    redactedContent: str | None = None


class _BedrockText(_Struct):
    text: str | None = None


class _Web(_Struct):
    """A web page, in Bedrock's citations and in Gemini's sources."""

    url: str | None = None
    uri: str | None = None
    title: str | None = None


class _BedrockLocation(_Struct):
    web: _Web | None = None


class _BedrockCitation(_Struct):
    title: str | None = None
    location: _BedrockLocation | None = None


class _CitationsContent(_Struct):
    content: list[_BedrockText] | None = None
    citations: list[_BedrockCitation] | None = None


class _BedrockBlock(_Struct, omit_defaults=True):
    text: str | msgspec.UnsetType = msgspec.UNSET
    toolUse: _BedrockToolUse | msgspec.UnsetType = msgspec.UNSET
    reasoningContent: _BedrockReasoning | msgspec.UnsetType = msgspec.UNSET
    citationsContent: _CitationsContent | msgspec.UnsetType = msgspec.UNSET


class _BedrockMessage(_Struct):
    content: list[_BedrockBlock] | None


class _BedrockOutput(_Struct):
    message: _BedrockMessage


class BedrockResponse(_Struct):
    output: _BedrockOutput
    stopReason: str | None
    usage: BedrockUsage | None = None


class _BedrockToolPiece(_Struct):
    input: str


class _ReasoningPiece(_Struct):
    text: str | None = None
    signature: str | None = None
    redactedContent: str | None = None


class _BedrockDelta(_Struct):
    text: str | None = None
    toolUse: _BedrockToolPiece | None = None
    reasoningContent: _ReasoningPiece | None = None
    citation: _BedrockCitation | None = None


class _BedrockToolStart(_Struct):
    toolUseId: str
    name: str
    type: str | None = None


class _BedrockStart(_Struct):
    toolUse: _BedrockToolStart | None = None


class BedrockEvent(_Struct):
    contentBlockIndex: Index | None = None
    start: _BedrockStart | None = None
    delta: _BedrockDelta | None = None
    stopReason: str | None = None
    usage: BedrockUsage | None = None


# -- Gemini ------------------------------------------------------------------------------------------------------------


class _PartialArg(_Struct):
    jsonPath: str
    willContinue: bool | None = None


class _FunctionCall(_Struct):
    id: str | None = None
    name: str | None = None
    args: Object | None = None
    partialArgs: list[_PartialArg] | None = None
    willContinue: bool | None = None


class _GeminiPart(_Struct):
    text: str | None = None
    thought: bool | None = None
    thoughtSignature: str | None = None
    functionCall: _FunctionCall | None = None


class _GeminiContent(_Struct):
    parts: list[_GeminiPart] | None = None


class _GroundingChunk(_Struct):
    web: _Web | None = None
    retrievedContext: _Web | None = None


class _Segment(_Struct):
    startIndex: Position | None = None
    endIndex: Position | None = None


class _GroundingSupport(_Struct):
    segment: _Segment | None = None
    groundingChunkIndices: list[Position] | None = None


class _Grounding(_Struct):
    groundingChunks: list[_GroundingChunk] | None = None
    groundingSupports: list[_GroundingSupport] | None = None


class _GeminiToken(_Struct):
    token: str | None = None
    logProbability: float | None = None


class _TopTokens(_Struct):
    candidates: list[_GeminiToken] | None = None


class _Logprobs(_Struct):
    chosenCandidates: list[_GeminiToken] | None = None
    topCandidates: list[_TopTokens] | None = None


class _Candidate(_Struct):
    content: _GeminiContent | None = None
    index: Index | None = None
    finishReason: Enum | None = None
    groundingMetadata: _Grounding | None = None
    logprobsResult: _Logprobs | None = None


class _ModalityCount(_Struct):
    modality: Enum | None = None
    tokenCount: Tokens | None = None


class _GeminiUsage(_Struct):
    promptTokenCount: Tokens | None = None
    toolUsePromptTokenCount: Tokens | None = None
    candidatesTokenCount: Tokens | None = None
    thoughtsTokenCount: Tokens | None = None
    totalTokenCount: Tokens | None = None
    cachedContentTokenCount: Tokens | None = None
    promptTokensDetails: list[_ModalityCount] | None = None
    candidatesTokensDetails: list[_ModalityCount] | None = None


class _PromptFeedback(_Struct):
    blockReason: Enum | None = None
    blockReasonMessage: str | None = None


class GeminiResponse(_Struct):
    """A complete response, or one event of a stream."""

    candidates: list[_Candidate] | None = None
    usageMetadata: _GeminiUsage | None = None
    modelVersion: str | None = None
    responseId: str | None = None
    promptFeedback: _PromptFeedback | None = None


# -- Mistral -----------------------------------------------------------------------------------------------------------


class _MistralFunction(_Struct):
    name: str | None = None
    arguments: Object | str | None = None


class _MistralCall(_Struct):
    function: _MistralFunction
    id: str | None = None
    index: Index | None = None


class _MistralText(_Struct):
    text: str | None = None


class _MistralPart(_Struct):
    type: str | None = None
    text: str | None = None
    thinking: str | list[_MistralText] | None = None


class _MistralMessage(_Struct):
    content: str | list[_MistralPart] | None = None
    tool_calls: list[_MistralCall] | None = None


class _MistralChoice(_Struct):
    index: Index | None = None
    message: _MistralMessage | None = None
    delta: _MistralMessage | None = None
    finish_reason: str | None = None


class _CachedTokens(_Struct):
    cached_tokens: Tokens | None = None


class _MistralUsage(_Struct):
    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    total_tokens: Tokens | None = None
    num_cached_tokens: Tokens | None = None
    prompt_tokens_details: _CachedTokens | None = None
    prompt_token_details: _CachedTokens | None = None


class MistralResponse(_Struct):
    """A complete response, or one chunk of a stream."""

    choices: list[_MistralChoice] | None = None
    usage: _MistralUsage | None = None
    id: str | None = None
    model: str | None = None
    created: int | None = None


# -- OpenAI ------------------------------------------------------------------------------------------------------------


class OpenAIPromptDetails(_Struct):
    cached_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None
    cache_write_1h_tokens: Tokens | None = None


class OpenAICompletionDetails(_Struct):
    reasoning_tokens: Tokens | None = None


class OpenAIUsage(_Struct):
    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    total_tokens: Tokens | None = None
    prompt_tokens_details: OpenAIPromptDetails | None = None
    completion_tokens_details: OpenAICompletionDetails | None = None


class _OpenAIFunction(_Struct):
    name: str | None = None
    arguments: Object | str | None = None
    input: str | None = None


class _OpenAICall(_Struct):
    index: Index | None = None
    id: str | None = None
    function: _OpenAIFunction | None = None
    custom: _OpenAIFunction | None = None


class _OpenAIMessage(_Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_OpenAICall] | None = None
    function_call: _OpenAIFunction | None = None
    annotations: list[Object] | None = None


class _OpenAIChoice(_Struct):
    index: Index | None = None
    message: _OpenAIMessage | None = None
    delta: _OpenAIMessage | None = None
    finish_reason: str | None = None


class OpenAIResponse(_Struct):
    """A complete chat completion, or one chunk of a stream. Usage is checked apart, because it may be ignored."""

    choices: list[_OpenAIChoice] | None = None
    id: str | None = None
    model: str | None = None


class _OpenAITextDelta(_Struct, forbid_unknown_fields=True):
    """A delta that holds only text."""

    content: str
    role: str | None = None
    refusal: None = None
    reasoning_content: None = None
    reasoning: None = None
    tool_calls: None = None
    function_call: None = None


class _OpenAITextChoice(_Struct, forbid_unknown_fields=True):
    delta: _OpenAITextDelta
    index: Index = 0
    logprobs: None = None
    finish_reason: None = None
    native_finish_reason: None = None  # OpenRouter's


class OpenAITextChunk(_Struct, forbid_unknown_fields=True):
    """A chunk that holds only text. The members that are not decoded are the same in all chunks, or padding."""

    choices: tuple[_OpenAITextChoice]
    object: Literal["chat.completion.chunk"]
    id: msgspec.Raw = msgspec.Raw()
    created: msgspec.Raw = msgspec.Raw()
    model: msgspec.Raw = msgspec.Raw()
    provider: msgspec.Raw = msgspec.Raw()
    service_tier: msgspec.Raw = msgspec.Raw()
    system_fingerprint: msgspec.Raw = msgspec.Raw()
    obfuscation: msgspec.Raw = msgspec.Raw()
    usage: None = None
