"""Model name to targets: which providers may answer, in order, and what the model is called there.

The first is found, in this order, by: an alias (the user's, then the catalogue's); `provider/model`; a name pattern;
DEFAULT_PROVIDER. The others come from its chain.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from nulpoint.errors import Failure, rejected
from nulpoint.providers.catalog import ALIASES, EMBEDDING_MODELS, PREFIX_EXPANSIONS, PROVIDER_BY_PREFIX
from nulpoint.providers.spec import Provider, ProviderSpec, Route
from nulpoint.routing.chains import Chain, FallbackChains, Target, TargetPlan

_REMEMBERED = 4096  # names; callers may make up as many as they like


class ResolutionRule(StrEnum):
    """How a model's own provider is found."""

    ALIAS = "an alias of config.yaml"
    KNOWN_ALIAS = "a built-in alias"
    PREFIX = "provider/model"
    PATTERN = "what the name begins with"
    DEFAULT = "DEFAULT_PROVIDER, since the name tells nothing"


class Resolution(NamedTuple):
    """The provider, and the model's name there."""

    provider: str
    model: str
    rule: ResolutionRule


class RoutingTrace(NamedTuple):
    """How a plan comes about.

    Fields:
        named: whose model it is, and by which rule.
        primary: that target's name.
        own_chain: the name or pattern of the user's chain, None where there is none.
        chained: there are further targets.
        left_out: targets of the chain that cannot be used here, and why.
    """

    resolution: Resolution
    primary: str
    configured_chain: str | None
    uses_chain: bool
    left_out: Mapping[str, str]


class Router:
    """`providers` are the configured ones and `known` all rows, both by name; `aliases` map to `provider/model`."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        aliases: Mapping[str, str],
        default_provider: str,
        known: Mapping[str, ProviderSpec],
        chains: FallbackChains,
    ) -> None:
        self._providers = providers
        self._own_aliases = aliases
        self._aliases = {**ALIASES, **aliases}
        self._default = default_provider
        self._known = known
        self._chains = chains
        self._plan_cache: dict[tuple[str, Route], TargetPlan] = {}

    def plan(self, model: str, route: Route) -> TargetPlan:
        """Raises Failure (400) when the model's own provider is not configured or does not have this route."""
        remembered = self._plan_cache.get((model, route))
        if remembered is not None:
            return remembered
        name, there, _ = self._resolve(model)
        target = Target.at(self._configured(name, model), there)
        if route == "embeddings" and not target.provider.spec.embeddings:
            raise self._no_embeddings(name)
        steps = list(self._steps(self._chains.chain_for(model, target), target, route))
        plan = TargetPlan(target, steps, configured=self._chains.configured_name(model) is not None)
        if len(self._plan_cache) >= _REMEMBERED:
            self._plan_cache.clear()
        self._plan_cache[model, route] = plan
        return plan

    def _steps(self, chain: Chain, primary: Target, route: Route) -> Iterator[list[tuple[Target, int]]]:
        """The chain's steps without the targets that cannot take this route here."""
        for step in chain:
            usable = [
                (Target.at(self._providers[provider], model), one.weight)
                for one in step
                for provider, _, model in [one.target.partition("/")]
                if not self._why_not(provider, model, primary, route)
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
        found = self._resolve(model)
        if found.rule is ResolutionRule.DEFAULT or found.provider not in self._providers:
            return None
        return Target.at(self._providers[found.provider], found.model)

    def models(self) -> list[tuple[str, str]]:
        """Names to list, each with its provider's."""
        listed: dict[str, str] = {}
        for alias, target in self._aliases.items():
            provider = target.partition("/")[0]
            if provider in self._providers:
                listed[alias] = provider
        for name, provider_ in self._providers.items():
            for model in provider_.spec.models:
                named = self._resolve(model)
                is_plain = named.rule is not ResolutionRule.DEFAULT and (named.provider, named.model) == (name, model)
                listed.setdefault(model if is_plain else f"{name}/{model}", name)
        return sorted(listed.items())

    def _resolve(self, model: str) -> Resolution:
        """By alias, prefix or pattern; else by default, for a name that tells nothing."""
        alias = self._aliases.get(model)
        if alias is not None:
            provider, _, there = alias.partition("/")
            return Resolution(
                provider, there, ResolutionRule.ALIAS if model in self._own_aliases else ResolutionRule.KNOWN_ALIAS
            )
        model = _spelled_out(model)
        provider, slash, there = model.partition("/")
        if slash and there and provider in self._known:
            return Resolution(provider, there, ResolutionRule.PREFIX)
        # `maker/model`, as hosts of many makers' models have it: no pattern speaks for those
        matching = [] if slash else [prefix for prefix in PROVIDER_BY_PREFIX if model.startswith(prefix)]
        if matching:
            return Resolution(PROVIDER_BY_PREFIX[max(matching, key=len)], model, ResolutionRule.PATTERN)
        return Resolution(self._default, model, ResolutionRule.DEFAULT)

    def trace(self, model: str, route: Route) -> RoutingTrace:
        """Why `plan` plans as it does, also where it refuses to."""
        named = self._resolve(model)
        own = self._chains.configured_name(model)
        spec = self._known[named.provider]
        primary = Target(Provider(spec=spec, base_url=spec.base_url), named.model, f"{named.provider}/{named.model}")
        chain = self._chains.chain_for(model, primary)
        left_out = {
            one.target: why
            for step in chain
            for one in step
            for provider, _, there in [one.target.partition("/")]
            if (why := self._why_not(provider, there, primary, route))
        }
        return RoutingTrace(named, primary.name, own, len(chain) > 1, left_out)

    def _why_not(self, provider: str, model: str, primary: Target, route: Route) -> str:
        if provider not in self._providers:
            spec = self._known[provider]
            return f"{provider} is not configured; set {spec.variables_to_set}"
        if not self._takes(provider, model, primary, route):
            return "embeddings of another model mean something else"
        return ""

    def _configured(self, name: str, model: str) -> Provider:
        provider = self._providers.get(name)
        if provider is not None:
            return provider
        spec = self._known[name]
        variable = spec.variables_to_set
        text = f"the model {model[:100]!r} is served by {name}, which is not configured here; set {variable}"
        raise rejected(text, param="model", code="provider_not_configured")

    def _no_embeddings(self, name: str) -> Failure:
        offered = ", ".join(
            f"{model} ({owner})" for model, owner in EMBEDDING_MODELS.items() if owner in self._providers
        )
        text = f"{name} has no embeddings; use one of: {offered or ', '.join(EMBEDDING_MODELS)}"
        return rejected(text, param="model", code="embeddings_not_supported")


def _spelled_out(model: str) -> str:
    """The name with its provider before a slash, where its beginning tells which."""
    matching = [
        prefix for prefix in PREFIX_EXPANSIONS if model.startswith(prefix) and ("/" in prefix) == ("/" in model)
    ]
    if not matching:
        return model
    prefix = max(matching, key=len)
    return PREFIX_EXPANSIONS[prefix] + model.removeprefix(prefix)
