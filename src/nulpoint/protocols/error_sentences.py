"""The sentences by which providers tell an error for which they give no code.

An error is decided by its status, its code and its type. Only if none of them says more than that the request is bad
are these sentences asked. Each row has the provider that writes the sentence, where it was published, and when that was
read. Providers behind others repeat their sentences, so a row holds wherever its sentence comes from.

A sentence that rests a key is read from the beginning of the message only: a later part may repeat the client's words.
"""

import re
from functools import cache
from typing import Literal, NamedTuple

Meaning = Literal["invalid_api_key", "insufficient_quota", "model_not_found", "context_length_exceeded"]
_MAX_LENGTH = 2048  # characters of a message in which a sentence is looked for


class Sentence(NamedTuple):
    """A sentence, as a regular expression, and what it means.

    Fields:
        meaning: OpenAI's code for the error.
        provider: who writes it.
        source: where it is published.
        as_of: when that was read.
        at_start: the message must begin with it.
        is_lasting: it is about the key, or about the key and the model, whatever else the request says, so that both
            rest for a while.
    """

    meaning: Meaning
    pattern: str
    provider: str
    source: str
    as_of: str = "2026-11-30"
    at_start: bool = True
    is_lasting: bool = True


def _key(pattern: str, provider: str, source: str) -> Sentence:
    return Sentence("invalid_api_key", pattern, provider, source)


def _quota(pattern: str, provider: str, source: str, *, is_lasting: bool = True) -> Sentence:
    return Sentence("insufficient_quota", pattern, provider, source, is_lasting=is_lasting)


def _model(pattern: str, provider: str, source: str, *, is_lasting: bool = True) -> Sentence:
    return Sentence("model_not_found", pattern, provider, source, is_lasting=is_lasting)


def _context(pattern: str, provider: str, source: str) -> Sentence:
    return Sentence("context_length_exceeded", pattern, provider, source, at_start=False, is_lasting=False)


_OVERFLOWS = "https://github.com/earendil-works/pi/issues/129"
_MODEL_NAME = r"[`'\"]?[^\s`'\"]{1,200}[`'\"]?"

SENTENCES = (
    _key(r"Incorrect API key provided", "xai", "https://github.com/yym68686/uni-api/issues/105"),
    # An empty balance, or a limit of what may be spent.
    _quota(r"Your credit balance is too low", "anthropic", "https://github.com/anthropics/claude-code/issues/66314"),
    _quota(
        r"You have reached your specified API usage limits",
        "anthropic",
        "https://github.com/anthropics/claude-code/issues/2127",
    ),
    _quota(
        r"Your team \S{1,80} has either used all available credits or reached its monthly spending limit",
        "xai",
        "https://github.com/continuedev/continue/issues/10373",
    ),
    _quota(
        r"Account \S{1,120} is suspended, possibly due to reaching the monthly spending limit",
        "fireworks",
        "https://github.com/pollinations/pollinations/issues/12136",
    ),
    _quota(
        r"Your account .{0,160}(?:is suspended due to insufficient balance|exceeded current quota)",
        "moonshot",
        "https://github.com/MoonshotAI/kimi-code/pull/1857",
    ),
    _quota(
        r"(?:\[1113\]\[)?(?:Insufficient balance or no resource package|余额不足或无可用资源包)",
        "zai",
        "https://github.com/musistudio/claude-code-router/issues/1071",
    ),
    _quota(r"Your prepayment credits are depleted", "gemini", "https://github.com/dyad-sh/dyad/issues/3626"),
    _quota(r"Key limit exceeded", "openrouter", "https://github.com/MCPJam/inspector/issues/1287"),
    _quota(
        r"This request requires more credits",
        "openrouter",
        "https://github.com/can1357/oh-my-pi/issues/9569",
        is_lasting=False,
    ),
    # A model that has been retired, or never was.
    _model(r"model: \S{1,200}$", "anthropic", "https://platform.claude.com/docs/en/api/errors"),
    _model(
        r"models/\S{1,200} is not found for API version",
        "gemini",
        "https://github.com/wwardaww/gnome-gemini-ai/issues/21",
    ),
    _model(
        r"This model \S{1,200} is no longer available", "gemini", "https://github.com/sohzm/cheating-daddy/issues/459"
    ),
    _model(
        rf"The (?:requested )?model {_MODEL_NAME} (?:does not exist|has been (?:decommissioned|deprecated|retired))",
        "groq",
        "https://github.com/RightNow-AI/openfang/issues/60",
    ),
    _model(r"Model Not Exist", "deepseek", "https://github.com/ConardLi/easy-dataset/issues/9"),
    _model(
        rf"The requested model {_MODEL_NAME} is not supported by any provider you have enabled",
        "huggingface",
        "https://github.com/cline/cline/issues/5098",
    ),
    _model(r"Invalid model: \S", "mistral", "https://github.com/tmc/langchaingo/issues/1233"),
    _model(
        r"This model version has reached the end of its life"
        r"|Access denied\. This Model is marked by provider as Legacy",
        "bedrock",
        "https://github.com/aws-solutions-library-samples/"
        "accelerated-intelligent-document-processing-on-aws/issues/708",
    ),
    _model(
        r"The provided model identifier is invalid", "bedrock", "https://github.com/RooCodeInc/Roo-Code/issues/9182"
    ),
    _model(
        r"Invocation of model ID \S{1,200} with on-demand throughput isn.t supported",
        "bedrock",
        "https://github.com/0xPlaygrounds/rig/pull/2309",
    ),
    # These are about the endpoint, so the model does not rest: others may ask for it at the right one.
    _model(
        r"This model is only supported in v1/responses",
        "openai",
        "https://github.com/n8n-io/n8n/issues/18352",
        is_lasting=False,
    ),
    _model(r"This is not a chat model", "openai", "https://github.com/micz/ThunderAI/issues/570", is_lasting=False),
    # A prompt that is longer than the context of the model.
    _context(r"prompt is too long", "anthropic", _OVERFLOWS),
    _context(r"exceed context limit", "anthropic", "https://github.com/openclaw/openclaw/pull/20539"),
    _context(
        r"input token count(?: \(\d{1,12}\))? exceeds the maximum",
        "gemini",
        "https://github.com/google-gemini/gemini-cli/issues/4231",
    ),
    _context(
        r"input token count is \d{1,12} but (?:the )?model only supports up to",
        "vertexai",
        "https://github.com/google-gemini/gemini-cli/issues/19727",
    ),
    _context(r"exceeds the (?:model.?s )?context window", "openai", _OVERFLOWS),
    _context(r"maximum context length", "vllm", "https://github.com/earendil-works/pi/pull/5929"),
    _context(
        r"prompt \(length \d{1,12}\) is longer than the maximum model length",
        "vllm",
        "https://github.com/langchain-ai/deepagents/issues/468",
    ),
    _context(r"maximum prompt length is \d", "xai", _OVERFLOWS),
    _context(r"reduce the length of the (?:messages|input|prompt)", "groq", _OVERFLOWS),
    _context(r"exceeded model token limit", "moonshot", _OVERFLOWS),
    _context(r"exceeds the available context size", "llamacpp", "https://github.com/ggml-org/llama.cpp/pull/15780"),
    _context(r"greater than the context length", "lmstudio", _OVERFLOWS),
    _context(r"context window exceeds limit", "minimax", _OVERFLOWS),
    _context(
        r"longer than the model.?s context length", "sglang", "https://github.com/0xBakeer/inference-atlas/pull/186"
    ),
    _context(
        r"`?inputs`? tokens \+ `?max_new_tokens`? must be <=",
        "tgi",
        "https://github.com/huggingface/text-generation-inference/blob/main/router/src/validation.rs",
    ),
    _context(r"Range of input length should be", "qwen", "https://github.com/QwenLM/qwen-code/issues/98"),
    _context(
        r"exceeds the (?:model.?s )?(?:maximum )?context length|exceeded max context length",
        "ollama",
        "https://github.com/earendil-works/pi/issues/5677",
    ),
    _context(r"prompt token count of \d{1,12} exceeds the limit", "github", _OVERFLOWS),
    _context(
        r"exceeded this model context window limit",
        "cloudflare",
        "https://github.com/UKGovernmentBEIS/inspect_ai/pull/1665",
    ),
    _context(
        r"exceeds the maximum allowed input length", "openrouter", "https://github.com/earendil-works/pi/issues/4943"
    ),
    _context(
        r"input is too long|too many input tokens|input tokens exceed|exceeds? (?:the )?context limit"
        r"|expected maxLength",
        "bedrock",
        "https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html",
    ),
)


@cache
def _compiled() -> tuple[tuple[re.Pattern[str], Sentence], ...]:
    return tuple((re.compile(row.pattern, re.IGNORECASE), row) for row in SENTENCES)


def find_sentence(message: str) -> Sentence | None:
    """Return the first row whose sentence the message has."""
    text = message[:_MAX_LENGTH].strip()
    for pattern, row in _compiled():
        if (pattern.match if row.at_start else pattern.search)(text) is not None:
            return row
    return None
