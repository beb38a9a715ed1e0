"""The model names that select a provider by what they begin with.

The prefixes are from the providers' model pages, SDKs and published model tables, read on 2026-11-30. A name selects
the provider that made the model, except those that one cloud alone has.
"""

from types import MappingProxyType

# Bedrock's model ids begin with the vendor, those of inference profiles with a region before it
# (docs.aws.amazon.com/bedrock/latest/userguide/models-supported, .../inference-profiles-support).
_BEDROCK_VENDORS = (
    "ai21.", "amazon.", "anthropic.", "cohere.", "deepseek.", "google.", "luma.", "meta.", "minimax.", "mistral.",
    "moonshot.", "moonshotai.", "nvidia.", "openai.", "qwen.", "stability.", "twelvelabs.", "writer.", "xai.", "zai.",
)  # fmt: skip
_BEDROCK_REGIONS = ("us.", "us-gov.", "eu.", "jp.", "au.", "apac.", "global.", "in.", "ca.", "sa.")

# The provider of model names that begin with a prefix, in lower case; the longest matching prefix counts.
PROVIDER_BY_PREFIX = MappingProxyType(
    {
        "gpt-": "openai",
        "chatgpt-": "openai",
        "chat-latest": "openai",
        "codex-": "openai",
        "computer-use-preview": "openai",
        "o1": "openai",
        "o3": "openai",
        "o4": "openai",
        "davinci-": "openai",
        "babbage-": "openai",
        "ft:gpt-": "openai",
        "text-embedding-3-": "openai",
        "text-embedding-ada-": "openai",
        "omni-moderation-": "openai",
        "text-moderation-": "openai",
        "dall-e-": "openai",
        "sora-": "openai",
        "tts-1": "openai",
        "whisper-1": "openai",
        "claude-": "anthropic",
        "gemini-": "gemini",
        "gemma-": "gemini",
        "deep-research-": "gemini",
        "imagen-": "gemini",
        "nano-banana-": "gemini",
        "veo-": "gemini",
        # Google's older embedding models are at Vertex AI alone; `text-embedding-004` is an alias.
        "text-embedding-0": "vertexai",
        "text-multilingual-embedding-": "vertexai",
        "mistral-": "mistral",
        "mixtral-": "mistral",
        "open-codestral-": "mistral",
        "open-mistral-": "mistral",
        "open-mixtral-": "mistral",
        "codestral-": "mistral",
        "devstral-": "mistral",
        "labs-": "mistral",
        "magistral-": "mistral",
        "ministral-": "mistral",
        "pixtral-": "mistral",
        "voxtral-": "mistral",
        "ft:codestral-": "mistral",
        "ft:ministral-": "mistral",
        "ft:mistral-": "mistral",
        "ft:open-mistral-": "mistral",
        "zai-glm-": "mistral",  # Z.ai itself writes `glm-`
        "zai-glm-4.": "cerebras",
        "grok-": "xai",
        "deepseek-": "deepseek",
        "sonar": "perplexity",
        "moonshot-": "moonshot",
        "kimi-": "moonshot",
        "minimax-": "minimax",
        "speech-": "minimax",
        "qwen": "qwen",
        "qvq-": "qwen",
        "qwq-": "qwen",
        "text-embedding-v": "qwen",
        "doubao-": "bytedance",
        "seed-": "bytedance",
        "glm-": "zai",
        "jina-": "jina",
        "rerank-": "voyage",
        "voyage-": "voyage",
        "c4ai-": "cohere",
        "command-": "cohere",
        "embed-": "cohere",
        "parse-v": "cohere",
        "rerank-v": "cohere",
        "rerank-english-": "cohere",
        "rerank-multilingual-": "cohere",
        **dict.fromkeys(_BEDROCK_VENDORS + _BEDROCK_REGIONS, "bedrock"),
    }
)

# Prefixes that are expanded to `provider/`, for clouds that serve other providers' models, and for the full names that
# providers' own APIs list. The longest matching prefix counts. A prefix with a slash, or of an ARN, applies to names
# with a slash, the others to names without.
PREFIX_EXPANSIONS = MappingProxyType(
    {
        "azure-": "azure/",
        "vertexai-": "vertexai/",
        "vertexai-claude-": "vertexai-claude/claude-",
        "vertexai/claude-": "vertexai-claude/claude-",
        "models/gemini-": "gemini/gemini-",
        "models/gemma-": "gemini/gemma-",
        "publishers/google/models/": "vertexai/",
        "publishers/anthropic/models/": "vertexai-claude/",
        "accounts/fireworks/": "fireworks/accounts/fireworks/",
        "arn:aws:bedrock:": "bedrock/arn:aws:bedrock:",
        "arn:aws-us-gov:bedrock:": "bedrock/arn:aws-us-gov:bedrock:",
    }
)

# What other programs and hosts call a provider in `provider/model`, in lower case and without punctuation. Names that
# differ from ours only in these, or in an `ai` at the end, need no row. No request is routed by this table: an error
# message suggests the name that is meant here.
OTHER_PROVIDER_NAMES = MappingProxyType(
    {
        "alibaba": "qwen",
        "amazon": "bedrock",
        "amazonbedrock": "bedrock",
        "aws": "bedrock",
        "awsbedrock": "bedrock",
        "azureopenai": "azure",
        "bedrockconverse": "bedrock",
        "bytedanceseed": "bytedance",
        "claude": "anthropic",
        "coherechat": "cohere",
        "dashscope": "qwen",
        "doubao": "bytedance",
        "google": "gemini",
        "googleaistudio": "gemini",
        "googlevertex": "vertexai",
        "googlevertexai": "vertexai",
        "hostedvllm": "vllm",
        "kimi": "moonshot",
        "ollamachat": "ollama",
        "tongyi": "qwen",
        "vertex": "vertexai",
        "vertexaibeta": "vertexai",
        "volcengine": "bytedance",
        "zhipu": "zai",
    }
)
