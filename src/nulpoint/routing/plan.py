"""Model name to targets: which providers may answer, in order, and what the model is called there.

The first is found, in this order, by: an alias (the user's, then the catalogue's); `provider/model`; a name pattern;
DEFAULT_PROVIDER. The others come from its chain.
"""

from collections.abc import Iterator, Mapping

from nulpoint.errors import Failure, rejected
from nulpoint.providers.catalog import ALIASES, EMBEDDING_MODELS, PATTERNS
from nulpoint.providers.spec import Provider, ProviderSpec, Route
from nulpoint.routing.chains import Chain, Chains, Plan, Target

_REMEMBERED = 4096  # names; callers may make up as many as they like


class Router:
    """`providers` are the configured ones and `known` all rows, both by name; `aliases` map to `provider/model`."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        aliases: Mapping[str, str],
        default_provider: str,
        known: Mapping[str, ProviderSpec],
        chains: Chains,
    ) -> None:
        self._providers = providers
        self._aliases = {**ALIASES, **aliases}
        self._default = default_provider
        self._known = known
        self._chains = chains
        self._remembered: dict[tuple[str, Route], Plan] = {}

    def plan(self, model: str, route: Route) -> Plan:
        """Raises Failure (400) when the model's own provider is not configured or does not have this route."""
        remembered = self._remembered.get((model, route))
        if remembered is not None:
            return remembered
        name, model_there = self._named(model) or (self._default, model)
        target = Target.at(self._configured(name, model), model_there)
        if route == "embeddings" and not target.provider.spec.embeddings:
            raise self._no_embeddings(name)
        steps = list(self._steps(self._chains.of(model, target), target, route))
        plan = Plan(target, steps, own=self._chains.has_own(model))
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[model, route] = plan
        return plan

    def _steps(self, chain: Chain, primary: Target, route: Route) -> Iterator[list[tuple[Target, int]]]:
        """The chain's steps without the targets that cannot take this route here."""
        for step in chain:
            usable = [
                (Target.at(self._providers[provider], model), one.weight)
                for one in step
                for provider, _, model in [one.target.partition("/")]
                if provider in self._providers and self._takes(provider, model, primary, route)
            ]
            if usable:
                yield usable

    def _takes(self, provider: str, model: str, primary: Target, route: Route) -> bool:
        """Vectors of another model mean something else, so embeddings never move to one."""
        if route != "embeddings":
            return True
        return model == primary.model and self._providers[provider].spec.embeddings

    def find(self, model: str) -> Target | None:
        """The target of a name that says itself where it belongs, if that provider is configured."""
        found = self._named(model)
        if found is None or found[0] not in self._providers:
            return None
        return Target.at(self._providers[found[0]], found[1])

    def models(self) -> list[tuple[str, str]]:
        """Names to list, each with its provider's."""
        listed: dict[str, str] = {}
        for alias, target in self._aliases.items():
            provider = target.partition("/")[0]
            if provider in self._providers:
                listed[alias] = provider
        for name, provider_ in self._providers.items():
            for model in provider_.spec.models:
                listed.setdefault(model if self._named(model) == (name, model) else f"{name}/{model}", name)
        return sorted(listed.items())

    def _named(self, model: str) -> tuple[str, str] | None:
        """Provider and model there, by alias, prefix or pattern; None for a name that tells nothing."""
        alias = self._aliases.get(model)
        if alias is not None:
            provider, _, there = alias.partition("/")
            return provider, there
        provider, slash, there = model.partition("/")
        if slash and there and provider in self._known:
            return provider, there
        if slash:  # `maker/model`, as hosts of many makers' models have it: no pattern speaks for those
            return None
        matching = [prefix for prefix in PATTERNS if model.startswith(prefix)]
        return (PATTERNS[max(matching, key=len)], model) if matching else None

    def _configured(self, name: str, model: str) -> Provider:
        provider = self._providers.get(name)
        if provider is not None:
            return provider
        spec = self._known[name]
        variable = spec.key_env or spec.base_url_env
        text = f"the model {model[:100]!r} is served by {name}, which is not configured here; set {variable}"
        raise rejected(text, param="model", code="provider_not_configured")

    def _no_embeddings(self, name: str) -> Failure:
        offered = ", ".join(
            f"{model} ({owner})" for model, owner in EMBEDDING_MODELS.items() if owner in self._providers
        )
        text = f"{name} has no embeddings; use one of: {offered or ', '.join(EMBEDDING_MODELS)}"
        return rejected(text, param="model", code="embeddings_not_supported")
