"""Groups models into tiers, and finds the equivalent models of other providers for automatic fallbacks.

The tier of a model and the built-in target of each tier are facts in `models/data`. A request for a model without a
tier is never moved to another model unless the user configures it.
"""

from datetime import date

from nulpoint.models.catalog import Models
from nulpoint.models.facts import Tier

# The providers of equivalent models, in the order in which they are tried.
PROVIDERS = ("openai", "anthropic", "gemini", "mistral")
TIERS: tuple[Tier, ...] = ("large", "small", "reasoning")


def tier_of(provider: str, model: str, models: Models) -> Tier | None:
    """Return the tier of a model at a provider, or None if it has no equivalents."""
    return models.of(provider, model).tier if provider in PROVIDERS else None


def equivalents(provider: str, model: str, models: Models, today: date) -> tuple[str, ...]:
    """Return the models of the same tier at the other providers as `provider/model`, in order."""
    tier = tier_of(provider, model, models)
    if tier is None:
        return ()
    others = [(other, fallback_target(other, tier, models, today)) for other in PROVIDERS if other != provider]
    return tuple(f"{other}/{target}" for other, target in others if target is not None)


def fallback_target(provider: str, tier: Tier, models: Models, today: date) -> str | None:
    """Return the model of a provider that takes the place of the others of a tier.

    That is the last one that is listed as such and lives on this day; those of config.yaml are listed last.
    """
    candidates = reversed(models.names_with(provider, "fallback_for"))
    for name in candidates:
        facts = models.of(provider, name)
        if tier in facts.fallback_for and (facts.retires is None or today < facts.retires):
            return name
    return None
