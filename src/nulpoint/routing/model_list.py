"""Says which models of a provider are known by name, and which of them the gateway lists to its clients."""

from collections.abc import Iterable, Iterator
from datetime import date
from typing import NamedTuple

from nulpoint.models.catalog import Models
from nulpoint.models.facts import NO_FACTS, ModelFacts
from nulpoint.models.retirement import has_retired
from nulpoint.providers.spec import ProviderSpec

_OPERATIONS = {"embeddings": "embeddings", "rerank": "rerank", "moderation": "moderations"}  # by the kind of a model


class KnownModel(NamedTuple):
    """A model at a provider, and what is known of it there."""

    provider: str
    name: str
    facts: ModelFacts


def known_models(specs: Iterable[ProviderSpec], models: Models) -> Iterator[KnownModel]:
    """Yield the models that are known by name, provider by provider."""
    for spec in specs:
        for name in dict.fromkeys((*models.names(spec.host, spec.name), *spec.models)):
            yield KnownModel(spec.name, name, models.of(spec.host, name, spec.name))


def offered_models(spec: ProviderSpec, models: Models, today: date) -> list[str]:
    """Return the models that clients can use at a provider, as it spells them.

    They are those that the provider itself lists if its list has been read, and else the known ones that have not
    retired.
    """
    names = _names(spec, models)
    known = ((name, models.of(spec.host, name, spec.name)) for name in names)
    return [name for name, facts in known if _can_be_used(spec, facts) and not has_retired(facts, today)]


def _names(spec: ProviderSpec, models: Models) -> Iterable[str]:
    listing = models.listings.get(spec.name)
    if listing is not None:
        return listing.models
    named = models.configured_names(spec.host, spec.name) if spec.deployments else models.names(spec.host, spec.name)
    return dict.fromkeys((*spec.models, *named))


def _can_be_used(spec: ProviderSpec, facts: ModelFacts) -> bool:
    """Return whether a request of some operation can reach the model at this provider."""
    if facts == NO_FACTS:
        return True
    if facts.kind == "chat":
        return facts.chat and spec.offers("chat")
    return facts.kind in _OPERATIONS and spec.offers(_OPERATIONS[facts.kind])
