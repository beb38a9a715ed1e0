"""Providers' prices as they list them, standard tier, in dollars a million tokens.

Every name is written out: whether a dated name costs what the plain one does is the provider's to say, and
gpt-4o-2024-05-13 does not. A `-latest` name is here where its model is known for the day. What is missing costs null:
models priced by request or by the hour (Perplexity, DeepSeek), names that moved to a model with another price
(mistral-large-latest, mistral-small-latest). The user's `prices` in config.yaml come first.
"""

from nulpoint.providers.prices import Price, Row

_OPENAI = "https://developers.openai.com/api/docs/pricing"
_ANTHROPIC = "https://platform.claude.com/docs/en/about-claude/pricing"
_GEMINI = "https://ai.google.dev/gemini-api/docs/pricing"
_MISTRAL = "https://mistral.ai/pricing/api"
_XAI = "https://docs.x.ai/docs/models"
_GROQ = "https://groq.com/pricing"


def _openai(*names: str, input: float, output: float, cached: float | None = None, seen: str = "2026-03-21") -> Row:
    price = Price(input=input, output=output, cached=cached)
    return Row(provider="openai", names=names, price=price, source=_OPENAI, seen=seen)


def _anthropic(*names: str, input: float, output: float, cached: float | None = None) -> Row:
    """Reading its cache costs a tenth of the input unless given; writing to it 1.25 times, for an hour twice."""
    read = input / 10 if cached is None else cached
    price = Price(input=input, output=output, cached=read, written=input * 1.25, written_1h=input * 2)
    return Row(provider="anthropic", names=names, price=price, source=_ANTHROPIC, seen="2026-10-24")


def _gemini(*names: str, input: float, output: float, cached: float, beyond: Price | None = None) -> Row:
    over = 200_000 if beyond is not None else None
    price = Price(input=input, output=output, cached=cached, over=over, beyond=beyond)
    return Row(provider="gemini", names=names, price=price, source=_GEMINI, seen="2026")


def _mistral(*names: str, input: float, output: float, cached: float | None = None, seen: str = "2026-06-09") -> Row:
    price = Price(input=input, output=output, cached=cached)
    return Row(provider="mistral", names=names, price=price, source=_MISTRAL, seen=seen)


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
    _gemini("gemini-2.5-pro", input=1.25, output=10, cached=0.125, beyond=Price(input=2.5, output=15, cached=0.25)),
    _gemini("gemini-2.5-flash", input=0.3, output=2.5, cached=0.03),
    _gemini("gemini-2.5-flash-lite", input=0.1, output=0.4, cached=0.01),
    _mistral("mistral-large-2512", input=0.5, output=1.5, cached=0.05),
    _mistral("mistral-medium-latest", "mistral-medium-3-5", "mistral-medium-3.5", input=1.5, output=7.5, cached=0.15,
             seen="2026-08-24"),
    _mistral("mistral-medium-2508", "mistral-medium-2505", input=0.4, output=2, cached=0.04, seen="2026-08-24"),
    _mistral("mistral-small-2603", input=0.15, output=0.6, cached=0.015),
    _mistral("codestral-latest", "codestral-2508", input=0.3, output=0.9, cached=0.03),
    _mistral("magistral-medium-latest", "magistral-medium-2509", input=2, output=5, seen="2025-08-12"),
    _mistral("mistral-embed", input=0.1, output=0, seen="2025-07-04"),
    Row(provider="xai", names=("grok-3", "grok-3-latest"), price=Price(input=3, output=15, cached=0.75),
        source=_XAI, seen="2025-07-12"),
    Row(provider="xai", names=("grok-3-mini", "grok-3-mini-latest"), price=Price(input=0.3, output=0.5, cached=0.075),
        source=_XAI, seen="2025-07-12"),
    Row(provider="groq", names=("llama-3.3-70b-versatile",), price=Price(input=0.59, output=0.79), source=_GROQ,
        seen="2026-01"),
    Row(provider="groq", names=("llama-3.1-8b-instant",), price=Price(input=0.05, output=0.08), source=_GROQ,
        seen="2026-01"),
)  # fmt: skip
