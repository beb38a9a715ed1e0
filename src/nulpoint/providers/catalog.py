"""The catalogue of known providers, and the aliases of model names. Other names are found by `model_names.py`.

Base URLs and model names are taken from the providers' documentation and from published model tables (2026-11-30). The
listed models are available today, and none is announced to shut down before March 2027. Users can correct or add a row
with the same record under `providers` in config.yaml.
"""

from collections.abc import Mapping
from types import MappingProxyType

from nulpoint.providers.dialects import DIALECTS, OPENAI
from nulpoint.providers.spec import ProviderSpec, Variant

_VERTEX_PUBLISHERS = "/projects/{VERTEX_PROJECT}/locations/{VERTEX_LOCATION}/publishers"
_VERTEX = "/v1" + _VERTEX_PUBLISHERS
_VERTEX_BETA = "/v1beta1" + _VERTEX_PUBLISHERS
_VERTEX_PLACES = tuple(
    Variant(variable="VERTEX_LOCATION", value=location, base_url=f"https://{host}")
    for location, host in (
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    )
)

_ROWS = (
    ProviderSpec(
        name="openai",
        base_url="https://api.openai.com/v1",
        key_env="OPENAI_API_KEY",
        dialect=OPENAI,
        operations=("chat", "completions", "embeddings", "moderations"),
        models=(
            "gpt-6.2-astra",
            "gpt-6.2-sol",
            "gpt-6.1-sol",
            "gpt-6.1-terra",
            "gpt-6-astra",
            "gpt-6-sol",
            "gpt-6-luna",
            "gpt-5.6-sol",
            "gpt-5.6-terra",
            "gpt-5.6-luna",
            "gpt-5.5",
            "gpt-5.4",
            "gpt-5.4-mini",
            "gpt-5.4-nano",
            "gpt-5.2",
            "gpt-5.1",
            "text-embedding-3-small",
            "text-embedding-3-large",
            "text-embedding-ada-002",
            "omni-moderation-latest",
        ),
    ),
    ProviderSpec(
        name="anthropic",
        base_url="https://api.anthropic.com/v1",
        key_env="ANTHROPIC_API_KEY",
        wire="anthropic",
        auth="x-api-key",
        headers={"anthropic-version": "2023-06-01"},
        models=(
            "claude-fable-5-2",
            "claude-fable-5-1",
            "claude-opus-5-5",
            "claude-opus-5",
            "claude-opus-4-8",
            "claude-sonnet-5-5",
            "claude-sonnet-5",
            "claude-haiku-5-5",
        ),
    ),
    ProviderSpec(
        name="gemini",
        base_url="https://generativelanguage.googleapis.com/v1beta",
        key_env="GOOGLE_API_KEY",
        wire="gemini",
        auth="x-goog-api-key",
        sends_done=False,
        operations=("chat", "embeddings"),
        models=(
            "gemini-4-argon",
            "gemini-3.8-flash",
            "gemini-3.6-flash",
            "gemini-3.5-flash-lite",
            "gemini-3.1-pro-preview",
            "gemini-embedding-2",
            "gemini-embedding-001",
        ),
    ),
    ProviderSpec(
        name="mistral",
        base_url="https://api.mistral.ai/v1",
        key_env="MISTRAL_API_KEY",
        operations=("chat", "embeddings"),
        wire="mistral",
        stream_usage="inline",
        models=(
            "mistral-large-latest",
            "mistral-medium-latest",
            "mistral-small-latest",
            "magistral-medium-latest",
            "codestral-latest",
            "mistral-embed",
        ),
    ),
    ProviderSpec(
        name="xai",
        base_url="https://api.x.ai/v1",
        key_env="XAI_API_KEY",
        dialect=DIALECTS["xai"],
        models=("grok-4.7", "grok-4.3"),
    ),
    ProviderSpec(
        name="deepseek",
        base_url="https://api.deepseek.com/v1",
        key_env="DEEPSEEK_API_KEY",
        dialect=DIALECTS["deepseek"],
        models=("deepseek-flash", "deepseek-v4-pro"),
    ),
    ProviderSpec(
        name="groq",
        base_url="https://api.groq.com/openai/v1",
        key_env="GROQ_API_KEY",
        dialect=DIALECTS["groq"],
        models=("openai/gpt-oss-120b", "openai/gpt-oss-20b", "qwen/qwen3.8-27b"),
    ),
    ProviderSpec(
        name="together",
        base_url="https://api.together.xyz/v1",
        key_env="TOGETHER_API_KEY",
        dialect=DIALECTS["together"],
        operations=("chat", "completions", "embeddings", "rerank"),
    ),
    ProviderSpec(
        name="perplexity",
        base_url="https://api.perplexity.ai",
        key_env="PERPLEXITY_API_KEY",
        dialect=DIALECTS["perplexity"],
        stream_usage="inline",
        sends_done=False,
        models_path="",
    ),
    ProviderSpec(
        name="cerebras",
        base_url="https://api.cerebras.ai/v1",
        key_env="CEREBRAS_API_KEY",
        dialect=DIALECTS["cerebras"],
        operations=("chat", "completions"),
        models=("gpt-oss-120b", "zai-glm-4.7", "qwen-3.8-27b"),
    ),
    ProviderSpec(
        name="moonshot",
        base_url="https://api.moonshot.ai/v1",
        key_env="MOONSHOT_API_KEY",
        dialect=DIALECTS["moonshot"],
    ),
    ProviderSpec(
        name="minimax",
        base_url="https://api.minimax.io/v1",
        key_env="MINIMAX_API_KEY",
        dialect=DIALECTS["minimax"],
    ),
    ProviderSpec(
        name="qwen",
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        key_env="QWEN_API_KEY",
        dialect=DIALECTS["qwen"],
        operations=("chat", "embeddings"),
        models=("qwen4-max", "qwen3.8-max", "qwen3.8-flash", "qwen-plus"),
    ),
    ProviderSpec(
        name="nebius",
        base_url="https://api.tokenfactory.nebius.com/v1",
        key_env="NEBIUS_API_KEY",
        dialect=DIALECTS["nebius"],
        operations=("chat", "completions", "embeddings"),
    ),
    ProviderSpec(
        name="novita",
        base_url="https://api.novita.ai/v3/openai",
        key_env="NOVITA_API_KEY",
        dialect=DIALECTS["novita"],
        operations=("chat", "completions", "embeddings"),
    ),
    ProviderSpec(
        name="bytedance",
        base_url="https://ark.cn-beijing.volces.com/api/v3",
        key_env="BYTEDANCE_API_KEY",
        dialect=DIALECTS["bytedance"],
        operations=("chat", "embeddings"),
    ),
    ProviderSpec(
        name="zai",
        base_url="https://api.z.ai/api/paas/v4",
        key_env="ZAI_API_KEY",
        dialect=DIALECTS["zai"],
    ),
    ProviderSpec(
        name="canopywave",
        base_url="https://inference.canopywave.io/v1",
        key_env="CANOPYWAVE_API_KEY",
        dialect=DIALECTS["canopywave"],
    ),
    ProviderSpec(
        name="inference",
        base_url="https://api.inference.net/v1",
        key_env="INFERENCE_API_KEY",
        dialect=DIALECTS["inference"],
    ),
    ProviderSpec(
        name="nanogpt",
        base_url="https://nano-gpt.com/api/v1",
        key_env="NANOGPT_API_KEY",
        dialect=DIALECTS["nanogpt"],
        operations=("chat", "completions", "embeddings"),
    ),
    ProviderSpec(
        name="openrouter",
        base_url="https://openrouter.ai/api/v1",
        key_env="OPENROUTER_API_KEY",
        dialect=DIALECTS["openrouter"],
        operations=("chat", "completions", "embeddings"),
    ),
    ProviderSpec(
        name="fireworks",
        base_url="https://api.fireworks.ai/inference/v1",
        key_env="FIREWORKS_API_KEY",
        dialect=DIALECTS["fireworks"],
        operations=("chat", "completions", "embeddings"),
    ),
    # Hosts of rerankers. Cohere and Voyage have chat or embeddings too, in formats that are not OpenAI's.
    ProviderSpec(
        name="cohere",
        base_url="https://api.cohere.com/v2",  # docs.cohere.com/reference/rerank (read 2026-11)
        key_env="COHERE_API_KEY",
        operations=("rerank",),
        models_path="",  # it has one, but not below /v2
        models=("rerank-v5.0-pro", "rerank-v5.0-fast", "rerank-v4.0-pro", "rerank-v4.0-fast", "rerank-v3.5"),
    ),
    ProviderSpec(
        name="jina",
        base_url="https://api.jina.ai/v1",  # jina.ai/reranker and jina.ai/embeddings (read 2026-11)
        key_env="JINA_API_KEY",
        operations=("embeddings", "rerank"),
        models=("jina-reranker-v3.5", "jina-reranker-m0", "jina-reranker-v2-base-multilingual"),
    ),
    ProviderSpec(
        name="voyage",
        base_url="https://api.voyageai.com/v1",  # docs.voyageai.com/reference/reranker-api (read 2026-11)
        key_env="VOYAGE_API_KEY",
        operations=("rerank",),
        rename={"top_n": "top_k"},
        rename_response={"rerank": {"data": "results"}},
        models_path="",
        models=("rerank-3", "rerank-3-lite", "rerank-2.5", "rerank-2.5-lite"),
    ),
    # Clouds, whose endpoints depend on the user's account, and which may use tokens instead of keys.
    ProviderSpec(
        name="azure",
        base_url="{AZURE_OPENAI_ENDPOINT}",
        key_env="AZURE_OPENAI_API_KEY",
        dialect=OPENAI,
        auth="api-key",
        identity="entra",
        # A version other than `v1` is a date and selects the older API, which has the deployment in the path.
        paths={
            "chat": "/openai/deployments/{model}/chat/completions?api-version={AZURE_OPENAI_API_VERSION}",
            "completions": "/openai/deployments/{model}/completions?api-version={AZURE_OPENAI_API_VERSION}",
            "embeddings": "/openai/deployments/{model}/embeddings?api-version={AZURE_OPENAI_API_VERSION}",
        },
        variables={"AZURE_OPENAI_ENDPOINT": None, "AZURE_OPENAI_API_VERSION": "v1"},
        variants=(
            Variant(
                variable="AZURE_OPENAI_API_VERSION",
                value="v1",
                paths={
                    "chat": "/openai/v1/chat/completions",
                    "completions": "/openai/v1/completions",
                    "embeddings": "/openai/v1/embeddings",
                },
            ),
            Variant(
                variable="AZURE_OPENAI_API_VERSION",
                value="preview",
                paths={
                    "chat": "/openai/v1/chat/completions?api-version=preview",
                    "completions": "/openai/v1/completions?api-version=preview",
                    "embeddings": "/openai/v1/embeddings?api-version=preview",
                },
            ),
        ),
        operations=("chat", "embeddings"),
        deployments=True,
    ),
    ProviderSpec(
        name="vertexai",
        base_url="https://{VERTEX_LOCATION}-aiplatform.googleapis.com",
        key_env=None,
        wire="vertex",
        identity="google",
        paths={
            "chat": _VERTEX + "/google/models/{model}:generateContent",
            "stream": _VERTEX + "/google/models/{model}:streamGenerateContent?alt=sse",
            "continued": _VERTEX_BETA + "/google/models/{model}:generateContent",
            "continued_stream": _VERTEX_BETA + "/google/models/{model}:streamGenerateContent?alt=sse",
            "embeddings": _VERTEX + "/google/models/{model}:{method}",
        },
        variables={"VERTEX_PROJECT": None, "VERTEX_LOCATION": "us-central1"},
        variants=_VERTEX_PLACES,
        sends_done=False,
        operations=("chat", "embeddings"),
        models=(
            "gemini-4-argon",
            "gemini-3.8-flash",
            "gemini-3.5-flash-lite",
            "text-embedding-005",
            "gemini-embedding-001",
        ),
    ),
    ProviderSpec(
        name="vertexai-claude",
        base_url="https://{VERTEX_LOCATION}-aiplatform.googleapis.com",
        key_env=None,
        wire="vertex-anthropic",
        identity="google",
        paths={
            "chat": _VERTEX + "/anthropic/models/{model}:rawPredict",
            "stream": _VERTEX + "/anthropic/models/{model}:streamRawPredict",
        },
        variables={"VERTEX_PROJECT": None, "VERTEX_LOCATION": "us-central1"},
        variants=_VERTEX_PLACES,
        models=("claude-fable-5-2", "claude-sonnet-5-5", "claude-opus-4-8", "claude-haiku-5-5"),
    ),
    ProviderSpec(
        name="bedrock",
        base_url="{BEDROCK_ENDPOINT_URL}",
        key_env="AWS_BEARER_TOKEN_BEDROCK",
        wire="bedrock",
        identity="aws",
        variables={
            "AWS_REGION": None,
            "BEDROCK_ENDPOINT_URL": "https://bedrock-runtime.{AWS_REGION}.amazonaws.com",
        },
        # A region alone may be set for other reasons.
        asked_for_by=("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "BEDROCK_ENDPOINT_URL"),
        operations=("chat", "embeddings"),
        models=(
            "us.anthropic.claude-opus-5-5",
            "us.anthropic.claude-opus-5",
            "us.anthropic.claude-sonnet-5-5",
            "us.anthropic.claude-sonnet-5",
            "us.anthropic.claude-haiku-5-5",
            "amazon.nova-pro-v1:0",
            "amazon.nova-lite-v1:0",
            "amazon.nova-micro-v1:0",
            "amazon.titan-embed-text-v2:0",
            "cohere.embed-english-v3",
            "cohere.embed-multilingual-v3",
        ),
    ),
    # Self-hosted servers, which need no key and are in use when their *_BASE_URL is set.
    ProviderSpec(
        name="ollama",
        base_url="http://localhost:11434/v1",
        key_env=None,
        dialect=DIALECTS["ollama"],
        auth="none",
        operations=("chat", "completions", "embeddings"),
        idle_timeout=4.0,
    ),
    ProviderSpec(
        name="vllm",
        base_url="http://localhost:8000/v1",
        key_env=None,
        dialect=DIALECTS["vllm"],
        auth="none",
        operations=("chat", "completions", "embeddings", "rerank"),
        idle_timeout=4.0,  # uvicorn, which serves it, closes idle connections after 5 s
    ),
    ProviderSpec(
        name="lmstudio",
        base_url="http://localhost:1234/v1",
        key_env=None,
        dialect=DIALECTS["lmstudio"],
        auth="none",
        operations=("chat", "completions", "embeddings"),
        idle_timeout=4.0,
    ),
)

CATALOG = MappingProxyType({row.name: row for row in _ROWS})

# What users should know about providers that have shut down models or changed their address.
NOTES = MappingProxyType(
    {
        "perplexity": "its chat completions (Sonar) ended on 27 September 2026 and now return an error that"
        " points to the Agent API, which uses the Responses format; nulpoint still sends requests there and passes the"
        " error on",
        "groq": "`llama-3.3-70b-versatile` and `llama-3.1-8b-instant` ended on 16 August 2026",
        "xai": "`grok-3` ended on 15 May 2026",
        "deepseek": "`deepseek-chat` and `deepseek-reasoner` ended on 24 July 2026",
        "together": "its documentation now gives the address https://api.together.ai/v1; the older one above works too",
        "novita": "newer integrations use https://api.novita.ai/openai/v1; the address above is the older one",
    }
)

# Model aliases, each for a `provider/model` as the provider spells it. A name that a provider serves unchanged needs no
# alias, because what it begins with is enough (`model_names.py`). Most of these aliases come from earlier versions of
# nulpoint: the Claude 3 models, Gemini 1.x, Mixtral and Google's older embedding models are shut down, and their
# provider's error says so.
ALIASES = MappingProxyType(
    {
        "claude-3-5-sonnet": "anthropic/claude-3-5-sonnet-latest",
        "claude-3-opus": "anthropic/claude-3-opus-latest",
        "claude-3-haiku": "anthropic/claude-3-haiku-20240307",
        "gemini-pro": "gemini/gemini-pro",
        "gemini-1.5-pro": "gemini/gemini-1.5-pro",
        "gemini-1.5-flash": "gemini/gemini-1.5-flash",
        "mistral-large": "mistral/mistral-large-latest",
        "mistral-medium": "mistral/mistral-medium-latest",
        "mistral-small": "mistral/mistral-small-latest",
        "mixtral-8x7b": "mistral/open-mixtral-8x7b",
        "mistral-embed": "mistral/mistral-embed",
        "text-embedding-004": "gemini/text-embedding-004",
        "embedding-001": "gemini/embedding-001",
        "codestral": "mistral/codestral-latest",
        "devstral": "mistral/devstral-latest",
        "magistral": "mistral/magistral-medium-latest",
        "mistral": "mistral/mistral-large-latest",
        "voxtral": "mistral/voxtral-small-latest",
    }
)

# Well-known models of operations that only some providers have, suggested in the error for a provider without them.
KNOWN_MODELS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "embeddings": {
            "text-embedding-3-small": "openai",
            "text-embedding-3-large": "openai",
            "mistral-embed": "mistral",
            "gemini-embedding-001": "gemini",
        },
        "moderations": {"omni-moderation-latest": "openai"},
        "rerank": {"rerank-v3.5": "cohere", "jina-reranker-m0": "jina", "rerank-2.5": "voyage"},
    }
)
