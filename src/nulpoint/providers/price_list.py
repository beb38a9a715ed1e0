"""The built-in price list: the providers' standard prices in dollars per million tokens.

Every model name is listed in full, because a dated name may have another price than the plain one, as
gpt-4o-2024-05-13 does. A `-latest` name is listed only if it is known which model it stands for. Some models have no
price here, so their cost is reported as null: models whose price depends on the time of day (DeepSeek), and names that
moved to a model with another price (mistral-large-latest, mistral-small-latest). The user's `prices` in config.yaml
take precedence. Models that were shut down keep their last price.
"""

from nulpoint.models.prices import Price, PriceRow

_OPENAI = "https://developers.openai.com/api/docs/pricing"
_ANTHROPIC = "https://platform.claude.com/docs/en/about-claude/pricing"
_GEMINI = "https://ai.google.dev/gemini-api/docs/pricing"
_MISTRAL = "https://mistral.ai/pricing/api"
# A published table of many providers' prices, used where the provider's own page was not available.
_LITELLM = "https://github.com/BerriAI/litellm/blob/main/model_prices_and_context_window.json"


def _openai(
    *names: str, input: float, output: float, cached: float | None = None, seen: str = "2026-03-21"
) -> PriceRow:
    price = Price(input=input, output=output, cached=cached)
    return PriceRow(provider="openai", names=names, price=price, source=_OPENAI, seen=seen)


def _openai_of_2026(name: str, *, input: float, output: float, cached: float, writes: bool = True) -> PriceRow:
    """Price a model from gpt-5.4 on: above 272,000 prompt tokens, input costs 2 and output 1.5 times as much.

    With `writes`, writing to the cache costs 1.25 times the input price, as it does from gpt-5.6 on.
    """
    written = input * 1.25 if writes else None
    beyond = Price(input=input * 2, output=output * 1.5, cached=cached * 2, written=written and written * 2)
    price = Price(input=input, output=output, cached=cached, written=written, over=272_000, beyond=beyond)
    return PriceRow(provider="openai", names=(name,), price=price, source=_LITELLM, seen="2026-11")


def _anthropic(
    *names: str, input: float, output: float, cached: float | None = None, seen: str = "2026-10-24"
) -> PriceRow:
    """Price a Claude model.

    Compared with the input price, reading the cache costs a tenth unless `cached` is given, writing to it costs 1.25
    times as much, and writing to it for an hour costs twice as much.
    """
    read = input / 10 if cached is None else cached
    price = Price(input=input, output=output, cached=read, written=input * 1.25, written_1h=input * 2)
    return PriceRow(provider="anthropic", names=names, price=price, source=_ANTHROPIC, seen=seen)


def _gemini(
    *names: str,
    input: float,
    output: float,
    cached: float | None,
    beyond: Price | None = None,
    seen: str = "2026-11-18",
) -> PriceRow:
    over = 200_000 if beyond is not None else None
    price = Price(input=input, output=output, cached=cached, over=over, beyond=beyond)
    return PriceRow(provider="gemini", names=names, price=price, source=_GEMINI, seen=seen)


def _xai(name: str, *, input: float, output: float, cached: float) -> PriceRow:
    """Price a Grok model: above 200,000 prompt tokens, everything costs twice as much."""
    beyond = Price(input=input * 2, output=output * 2, cached=cached * 2)
    price = Price(input=input, output=output, cached=cached, over=200_000, beyond=beyond)
    return PriceRow(provider="xai", names=(name,), price=price, source=_LITELLM, seen="2026-11")


def _mistral(
    *names: str, input: float, output: float, cached: float | None = None, seen: str = "2026-06-09"
) -> PriceRow:
    price = Price(input=input, output=output, cached=cached)
    return PriceRow(provider="mistral", names=names, price=price, source=_MISTRAL, seen=seen)


def _per_input_token(provider: str, *names: str, input: float) -> PriceRow:
    """Price a model without output, such as a reranker. Those that cost an amount for each search have no price."""
    price = Price(input=input, output=0)
    return PriceRow(provider=provider, names=names, price=price, source=_LITELLM, seen="2026-11")


PRICE_LIST = (
    _openai("gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-2024-11-20", input=2.5, output=10, cached=1.25),
    _openai("gpt-4o-2024-05-13", input=5, output=15),
    _openai("gpt-4o-mini", "gpt-4o-mini-2024-07-18", input=0.15, output=0.6, cached=0.075),
    _openai("gpt-4.1", "gpt-4.1-2025-04-14", input=2, output=8, cached=0.5),
    _openai("gpt-4.1-mini", "gpt-4.1-mini-2025-04-14", input=0.4, output=1.6, cached=0.1),
    _openai("gpt-4.1-nano", "gpt-4.1-nano-2025-04-14", input=0.1, output=0.4, cached=0.025),
    _openai("gpt-4-turbo", "gpt-4-turbo-2024-04-09", input=10, output=30),
    _openai("gpt-4", "gpt-4-0613", input=30, output=60),
    _openai("gpt-3.5-turbo", "gpt-3.5-turbo-0125", input=0.5, output=1.5),
    _openai("gpt-3.5-turbo-instruct", input=1.5, output=2),
    _openai("o1", "o1-2024-12-17", input=15, output=60, cached=7.5),
    _openai("o3", "o3-2025-04-16", input=2, output=8, cached=0.5),
    _openai("o3-mini", "o3-mini-2025-01-31", input=1.1, output=4.4, cached=0.55),
    _openai("o4-mini", "o4-mini-2025-04-16", input=1.1, output=4.4, cached=0.275),
    _openai("gpt-5", "gpt-5-2025-08-07", input=1.25, output=10, cached=0.125),
    _openai("gpt-5-mini", "gpt-5-mini-2025-08-07", input=0.25, output=2, cached=0.025),
    _openai("gpt-5-nano", "gpt-5-nano-2025-08-07", input=0.05, output=0.4, cached=0.005),
    _openai("gpt-5.1", input=1.25, output=10, cached=0.125),
    _openai("gpt-5.2", input=1.75, output=14, cached=0.175),
    _openai_of_2026("gpt-5.4", input=2.5, output=15, cached=0.25, writes=False),
    PriceRow(provider="openai", names=("gpt-5.4-mini",), price=Price(input=0.75, output=4.5, cached=0.075),
        source=_LITELLM, seen="2026-11"),
    PriceRow(provider="openai", names=("gpt-5.4-nano",), price=Price(input=0.2, output=1.25, cached=0.02),
        source=_LITELLM, seen="2026-11"),
    _openai_of_2026("gpt-5.5", input=5, output=30, cached=0.5, writes=False),
    _openai_of_2026("gpt-5.6-sol", input=4, output=20, cached=0.4),
    _openai_of_2026("gpt-5.6-terra", input=2, output=12, cached=0.2),
    _openai_of_2026("gpt-5.6-luna", input=0.2, output=1.2, cached=0.02),
    _openai_of_2026("gpt-6-astra", input=10, output=50, cached=1),
    _openai_of_2026("gpt-6-sol", input=2, output=10, cached=0.2),
    _openai_of_2026("gpt-6-luna", input=0.1, output=0.5, cached=0.01),
    _openai_of_2026("gpt-6.1-sol", input=2, output=10, cached=0.1),
    _openai_of_2026("gpt-6.1-terra", input=1, output=5, cached=0.05),
    _openai_of_2026("gpt-6.2-sol", input=2, output=10, cached=0.1),
    _openai_of_2026("gpt-6.2-astra", input=8, output=40, cached=0.4),
    _openai("text-embedding-3-small", input=0.02, output=0),
    _openai("text-embedding-3-large", input=0.13, output=0),
    _openai("text-embedding-ada-002", "text-embedding-ada-002-v2", input=0.1, output=0),
    _anthropic("claude-sonnet-4-5", "claude-sonnet-4-5-20250929", input=3, output=15),
    _anthropic("claude-haiku-4-5", "claude-haiku-4-5-20251001", input=1, output=5),
    _anthropic("claude-opus-4-5", "claude-opus-4-5-20251101", input=5, output=25),
    _anthropic("claude-opus-4-1", "claude-opus-4-1-20250805", input=15, output=75),
    _anthropic("claude-3-7-sonnet-latest", "claude-3-7-sonnet-20250219", input=3, output=15),
    _anthropic("claude-3-5-haiku-latest", "claude-3-5-haiku-20241022", input=0.8, output=4),
    _anthropic("claude-opus-4-6", "claude-opus-4-7", "claude-opus-4-8", "claude-opus-5", input=5, output=25),
    _anthropic("claude-opus-5-5", input=4, output=20, cached=0.2),
    _anthropic("claude-sonnet-5", input=2, output=10),
    _anthropic("claude-sonnet-5-5", input=2, output=10, cached=0.1),
    _anthropic("claude-sonnet-4-6", input=3, output=15, seen="2026-11-24"),
    _anthropic("claude-fable-5", input=10, output=50, seen="2026-11-24"),
    _anthropic("claude-fable-5-1", input=10, output=50, cached=0.25, seen="2026-11-20"),
    _anthropic("claude-fable-5-2", input=8, output=40, cached=0.2, seen="2026-11"),
    PriceRow(provider="anthropic", names=("claude-haiku-5-5",), source=_ANTHROPIC, seen="2026-10",
        price=Price(input=0.1, output=0.5, cached=0.01, written=0.125, written_1h=0.2, over=100_000,
                    beyond=Price(input=0.5, output=2.5, cached=0.05, written=0.625, written_1h=1))),
    _gemini("gemini-2.5-pro", input=1.25, output=10, cached=0.125, beyond=Price(input=2.5, output=15, cached=0.25)),
    _gemini("gemini-2.5-flash", input=0.3, output=2.5, cached=0.03),
    _gemini("gemini-2.5-flash-lite", input=0.1, output=0.4, cached=0.01),
    _gemini("gemini-3.1-flash-lite", input=0.25, output=1.5, cached=0.025),
    _gemini("gemini-3.1-pro-preview", input=2, output=12, cached=0.2, beyond=Price(input=4, output=18, cached=0.4)),
    _gemini("gemini-3.5-flash-lite", input=0.3, output=2.5, cached=0.03),
    # These prices are valid until 31 December 2026; they double after that.
    _gemini("gemini-3.6-flash", "gemini-3.7-flash", "gemini-3.8-flash", input=0.75, output=3.75, cached=0.075),
    # These prices are valid from 1 December 2026; before that they were half as much.
    _gemini("gemini-4-argon", "gemini-4-carbon", input=4, output=20, cached=0.2),
    _gemini("gemini-embedding-001", input=0.15, output=0, cached=None, seen="2026-11-20"),
    _mistral("mistral-large-2512", input=0.5, output=1.5, cached=0.05),
    _mistral("mistral-medium-latest", "mistral-medium-3-5", "mistral-medium-3.5", input=1.5, output=7.5, cached=0.15,
             seen="2026-08-24"),
    _mistral("mistral-medium-2508", "mistral-medium-2505", input=0.4, output=2, cached=0.04, seen="2026-08-24"),
    _mistral("mistral-small-2603", input=0.15, output=0.6, cached=0.015),
    _mistral("codestral-latest", "codestral-2508", input=0.3, output=0.9, cached=0.03),
    _mistral("magistral-medium-latest", "magistral-medium-2509", input=2, output=5, seen="2025-08-12"),
    _mistral("mistral-embed", input=0.1, output=0, seen="2025-07-04"),
    _xai("grok-4.7", input=2, output=6, cached=0.5),
    _xai("grok-4.3", input=1.25, output=2.5, cached=0.2),
    _per_input_token("openai", "omni-moderation-latest", "omni-moderation-2024-09-26", input=0),
    _per_input_token("cohere", "rerank-v5.0-pro", input=0.05),
    _per_input_token("cohere", "rerank-v5.0-fast", input=0.02),
    _per_input_token("jina", "jina-reranker-v3.5", "jina-reranker-m0", input=0.05),
    _per_input_token("jina", "jina-reranker-v2-base-multilingual", input=0.05),
    _per_input_token("voyage", "rerank-3", "rerank-2.5", "rerank-2", input=0.05),
    _per_input_token("voyage", "rerank-3-lite", "rerank-2.5-lite", "rerank-2-lite", input=0.02),
)  # fmt: skip
