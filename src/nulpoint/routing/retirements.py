"""Finds the targets that the gateway or the operator chose, and whose models retire."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import NamedTuple

from nulpoint.models.catalog import Models
from nulpoint.models.facts import ModelFacts
from nulpoint.models.retirement import SOON, days_left, describe
from nulpoint.models.tiers import PROVIDERS
from nulpoint.providers.spec import Provider, ProviderSpec
from nulpoint.routing.chains import Chain

BUILT_IN = "FALLBACKS=auto"


class ChosenTarget(NamedTuple):
    """A target whose model has a day of retirement.

    `chosen_by` says where it was chosen: in config.yaml, or with `BUILT_IN` among the built-in fallback targets.
    """

    name: str
    chosen_by: str
    facts: ModelFacts
    retires: date

    def describe(self, today: date) -> str:
        return f"{self.name} ({self.chosen_by}) {describe(self.facts, today)}"


def configured_targets(
    aliases: Mapping[str, str], chains: Mapping[str, Chain], specs: Mapping[str, ProviderSpec], models: Models
) -> list[ChosenTarget]:
    """Return the targets of the aliases and chains of config.yaml whose models have a day of retirement."""
    named = [(target, f"aliases.{alias}") for alias, target in aliases.items()]
    named += [
        (entry.target, f"fallbacks.{model}[{number}]")
        for model, chain in chains.items()
        for number, step in enumerate(chain)
        for entry in step
    ]
    return list(_with_dates(named, specs, models))


def built_in_targets(providers: Iterable[Provider], models: Models) -> list[ChosenTarget]:
    """Return the built-in fallback targets of these providers whose models have a day of retirement."""
    specs = {provider.spec.name: provider.spec for provider in providers if provider.spec.name in PROVIDERS}
    named = [(f"{name}/{model}", BUILT_IN) for name in specs for model in models.names(name, fact="fallback_for")]
    return [target for target in _with_dates(named, specs, models) if target.facts.fallback_for]


def _with_dates(
    named: Iterable[tuple[str, str]], specs: Mapping[str, ProviderSpec], models: Models
) -> Iterator[ChosenTarget]:
    for target, chosen_by in named:
        provider, _, model = target.partition("/")
        if provider not in specs:  # the configuration has this as a problem
            continue
        facts = models.of(specs[provider].host, model, provider)
        if facts.retires is not None:
            yield ChosenTarget(target, chosen_by, facts, facts.retires)


def warnings(targets: Iterable[ChosenTarget], today: date) -> list[str]:
    """Return a text for each target that has retired or retires soon."""
    return [target.describe(today) for target in targets if days_left(target.retires, today) <= SOON]
