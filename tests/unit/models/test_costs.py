"""Tests what requests cost by the rows of `models/data`, the user's prices, and the date."""

from datetime import date

import pytest

from nulpoint.conversation.usage import Usage
from nulpoint.models.catalog import Models, built_in_models
from nulpoint.models.costs import Prices
from nulpoint.models.prices import Price, PriceChange, price_on
from nulpoint.models.rows import ModelRow
from nulpoint.providers.catalog import CATALOG

TODAY = date(2026, 12, 1)
MILLION = Usage(1_000_000, 0)


def cost(provider, answered, asked, usage, today=TODAY):
    return Prices(built_in_models()).cost(provider, answered, asked, usage, today)


@pytest.mark.parametrize(
    ("provider", "answered", "asked", "usage", "dollars"),
    [
        ("openai", "gpt-4o", "gpt-4o", MILLION, 2.5),
        ("openai", "gpt-4o-2024-08-06", "gpt-4o", Usage(1_000_000, 1_000_000, 400_000), 12.0),
        ("openai", "gpt-4o-2024-05-13", "gpt-4o-2024-05-13", Usage(1_000_000, 1_000_000), 20.0),
        ("openai", "gpt-4o-2024-05-13", "gpt-4o-2024-05-13", Usage(10, 10, 5), None),  # there is no price for cached tokens
        ("openai", "gpt-4o-2099-01-01", "gpt-4o-2099-01-01", MILLION, 2.5),  # no row has another price for this date
        ("openai", "who-knows", "gpt-4o", MILLION, 2.5),  # the requested model has a price
        ("openai", "who-knows", "gpt-9", MILLION, None),
        ("groq", "gpt-4o", "gpt-4o", Usage(1, 1), None),
        ("azure", "gpt-4o", "x", MILLION, 2.5),
        ("azure", "gpt-6.2-sol", "x", MILLION, None),
        ("anthropic", "claude-sonnet-4-5", "x", Usage(1_000_000, 0, 200_000, 0, 300_000, 100_000), 1.5 + 0.06 + 0.75 + 0.6),
        ("vertexai-claude", "claude-sonnet-4-5@20250929", "x", MILLION, 3.0),
        ("bedrock", "global.anthropic.claude-sonnet-4-5-20250929-v1:0", "x", MILLION, 3.0),
        ("bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", "x", MILLION, 3.0),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "x", MILLION, 3.3),  # a region costs 10 % more
        ("bedrock", "us-gov.anthropic.claude-opus-5", "x", MILLION, 5.5),
        ("bedrock", "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-opus-5", "x", MILLION, 5.5),
        ("bedrock", "us.anthropic.claude-opus-4-1-20250805-v1:0", "x", MILLION, 15.0),
        ("bedrock", "us.amazon.nova-pro-v1:0", "x", MILLION, 0.8),
        ("anthropic", "claude-haiku-5-5", "x", Usage(100_000, 0), 0.01),
        ("anthropic", "claude-haiku-5-5", "x", Usage(200_000, 0), 0.1),  # the whole prompt has the higher price
        ("openai", "gpt-5.4", "x", Usage(272_000, 1000), 0.68 + 0.015),
        ("openai", "gpt-5.4", "x", Usage(300_000, 1000), 1.5 + 0.0225),
        ("openai", "gpt-6-luna", "x", Usage(1000, 0, 0, 0, 1000), 0.000125),
        ("vertexai", "gemini-2.5-pro", "x", Usage(200_000, 0), 0.25),
        ("vertexai", "gemini-2.5-pro", "x", Usage(200_001, 1000), 0.5150025),
        ("qwen", "qwen3-coder-plus", "x", Usage(32_000, 0), 0.032),
        ("qwen", "qwen3-coder-plus", "x", Usage(300_000, 0), 1.8),
        ("xai", "grok-4.7", "x", Usage(250_000, 0), 1.0),
        ("openai", "text-embedding-3-small", "x", Usage(7, 0), 1.4e-7),
        ("mistral", "mistral-large-latest", "x", MILLION, None),  # sources disagree which model it is
        ("cohere", "rerank-v3.5", "x", Usage(1, 0), None),  # a price for each search
        ("cohere", "rerank-v5.0-pro", "x", MILLION, 0.05),
        ("openai", "gpt-4o", "x", Usage(5, 0, 6), None),
    ],
)  # fmt: skip
def test_costs(provider, answered, asked, usage, dollars):
    assert cost(provider, answered, asked, usage) == (None if dollars is None else pytest.approx(dollars, abs=1e-12))


@pytest.mark.parametrize(
    ("model", "prices"),
    [
        ("gemini-4-argon", {date(2026, 11, 30): 2.0, date(2026, 12, 1): 4.0, date(2027, 6, 1): 4.0}),
        ("gemini-3.8-flash", {date(2026, 12, 31): 0.75, date(2027, 1, 1): 1.5}),
        # Its provider answers with gemini-3.8-flash from then on.
        ("gemini-2.5-pro", {date(2026, 11, 30): 2.5, date(2026, 12, 1): 0.75, date(2027, 1, 1): 1.5}),
    ],
)
def test_a_price_changes_on_its_day(model, prices):
    costs = Prices(built_in_models())
    assert {day: costs.cost("gemini", model, model, MILLION, day) for day in prices} == prices


def test_the_price_of_a_day_is_that_of_the_last_change():
    first, second, third = (Price(input=number, output=0) for number in (1, 2, 3))
    changes = (PriceChange(on=date(2027, 1, 1), price=second), PriceChange(on=date(2027, 2, 1), price=third))
    assert price_on(date(2026, 12, 31), first, changes) is first
    assert price_on(date(2027, 1, 1), first, changes) is second
    assert price_on(date(2027, 3, 1), None, changes) is third
    assert price_on(date(2026, 1, 1), None, changes) is None


def test_the_users_price_takes_precedence_over_changes_and_regions():
    own = Price(input=1, output=1)
    names = ("gemini/gemini-4-argon", "bedrock/us.anthropic.claude-opus-5")
    listed = Prices(built_in_models(), {}, dict.fromkeys(names, own))
    rows = [
        ModelRow.read({"hosts": [host], "models": [model], "price": {"input": 1, "output": 1}})
        for host, _, model in (name.partition("/") for name in names)
    ]
    for prices in (listed, Prices(Models(rows))):
        for name in names:
            provider, _, model = name.partition("/")
            assert prices.cost(provider, model, "x", MILLION, TODAY) == 1.0


def test_a_provider_of_the_users_own_has_the_prices_of_the_host_it_resembles():
    prices = Prices(built_in_models(), {"mine": "openai"})
    assert prices.cost("mine", "gpt-5.2", "x", MILLION, TODAY) == 1.75
    assert prices.cost("other", "gpt-5.2", "x", MILLION, TODAY) is None


def test_a_configured_price_for_long_prompts():
    price = Price(input=1, output=1, over=10, beyond=Price(input=2, output=2))
    prices = Prices(Models(), {}, {"openai/x": price})
    assert prices.cost("openai", "x", "x", Usage(10, 1), TODAY) == 11e-6
    assert prices.cost("openai", "x", "x", Usage(11, 1), TODAY) == 24e-6


@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini", "xai", "groq", "cohere", "voyage", "bedrock"])
def test_the_listed_models_have_a_price(name):
    models = built_in_models()
    assert not [model for model in CATALOG[name].models if models.of(name, model).price is None]
