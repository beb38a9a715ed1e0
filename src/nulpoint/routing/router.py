"""Resolves a model name to targets: the providers that may serve it, in order, and the model's name at each.

The first target is found by an alias (one of config.yaml, then a built-in one), by the form `provider/model`, by what
the name begins with, or as the last possibility by DEFAULT_PROVIDER. Further targets come from the model's chain.

A name with a slash names a provider. If that provider is unknown, the name goes to DEFAULT_PROVIDER only where the
operator has set it: otherwise a prompt meant for one company would be sent to another.
"""

import difflib
from collections.abc import Iterator, Mapping
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from nulpoint.errors import Failure, rejected
from nulpoint.models.catalog import Models, built_in_models
from nulpoint.models.retirement import NO_DAY, describe, has_retired
from nulpoint.providers.catalog import ALIASES, KNOWN_MODELS
from nulpoint.providers.model_names import OTHER_PROVIDER_NAMES, PREFIX_EXPANSIONS, PROVIDER_BY_PREFIX
from nulpoint.providers.operations import OPERATIONS, Operation
from nulpoint.providers.spec import Provider, ProviderSpec, Route
from nulpoint.routing.chains import Chain, FallbackChains, Target, TargetPlan
from nulpoint.routing.model_list import offered_models
from nulpoint.routing.retirements import BUILT_IN, ChosenTarget, built_in_targets, configured_targets

_MAX_SHOWN = 100  # characters of a client's name for a model that an error message repeats
_SIMILARITY = 0.75  # the least ratio of two names of which one is suggested for the other
_MAX_CACHED_PLANS = 4096  # the limit is needed because clients can send any number of different names


class ResolutionRule(StrEnum):
    """The rule by which the provider of a model was found. The values are shown to operators."""

    ALIAS = "an alias of config.yaml"
    BUILT_IN_ALIAS = "a built-in alias"
    PREFIX = "provider/model"
    PATTERN = "what the name begins with"
    DEFAULT = "DEFAULT_PROVIDER, since the name does not say which provider has it"
    OWN_HOST = "DEFAULT_PROVIDER, a host without keys, since the provider that the name begins with is not configured"


_BY_DEFAULT = frozenset({ResolutionRule.DEFAULT, ResolutionRule.OWN_HOST})
_BY_MAKER = frozenset({ResolutionRule.BUILT_IN_ALIAS, ResolutionRule.PATTERN})


class Resolution(NamedTuple):
    """The provider of a model, the model's name at that provider, and the rule by which it was found."""

    provider: str
    model: str
    rule: ResolutionRule


class RoutingTrace(NamedTuple):
    """Explains how the plan of a model was made.

    Fields:
        resolution: the provider of the model, and the rule by which it was found.
        primary: the name of the first target.
        configured_chain: the name or pattern of the model's chain in config.yaml; None if it has none there.
        uses_chain: whether the chain has further targets.
        unusable_targets: the targets of the chain that cannot be used, with the reason for each.
    """

    resolution: Resolution
    primary: str
    configured_chain: str | None
    uses_chain: bool
    unusable_targets: Mapping[str, str]


class Router:
    """Makes the plan of targets for each model.

    `providers` has the configured providers and `specs` all known ones, both by name. `aliases` are those of
    config.yaml; they map a name to `provider/model`. `models` is what is known of models, and `today` the date, from
    which it follows which of them have retired. `default_is_set` says whether the operator has chosen the default
    provider.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider],
        aliases: Mapping[str, str],
        default_provider: str,
        specs: Mapping[str, ProviderSpec],
        chains: FallbackChains,
        models: Models | None = None,
        today: date = NO_DAY,
        *,
        default_is_set: bool,
    ) -> None:
        self._providers = providers
        self._configured_aliases = aliases
        self._aliases = {**ALIASES, **aliases}
        self._default = default_provider
        self._default_is_set = default_is_set
        self._specs = specs
        self._chains = chains
        self._known_models = models or built_in_models()
        self._today = today
        self._plan_cache: dict[tuple[str, Route], TargetPlan] = {}
        self._listed: list[tuple[str, str]] | None = None
        self._chosen: list[ChosenTarget] | None = None

    @property
    def today(self) -> date:
        return self._today

    def set_today(self, today: date) -> None:
        """Route by another date from now on: models may have retired."""
        if today != self._today:
            self._today = self._chains.today = today
            self.forget_decisions()

    def forget_decisions(self) -> None:
        """Make all plans and lists again, because something else is known of models."""
        self._plan_cache.clear()
        self._listed = self._chosen = None

    def chosen_targets(self) -> list[ChosenTarget]:
        """Return the targets with a day of retirement that the gateway or the operator chose."""
        if self._chosen is None:
            models, chains = self._known_models, self._chains
            self._chosen = configured_targets(self._configured_aliases, chains.configured, self._specs, models)
            if chains.automatic:
                self._chosen += built_in_targets(self._providers.values(), models)
        return self._chosen

    def plan(self, model: str, route: Route) -> TargetPlan:
        """Return the targets for a model.

        Raises Failure: 404 if the name begins with an unknown provider, 400 if the model's provider is not configured
        or does not have this route.
        """
        cached_plan = self._plan_cache.get((model, route))
        if cached_plan is not None:
            return cached_plan
        name, upstream_model, _ = self._resolve(model)
        target = self._target(self._configured(name, model), upstream_model)
        if not target.provider.spec.offers(route):
            raise self._not_offered(name, OPERATIONS[route])
        steps = list(self._steps(self._chains.chain_for(model, target), target, route))
        plan = TargetPlan(target, steps, configured=self._chains.configured_name(model) is not None)
        if len(self._plan_cache) >= _MAX_CACHED_PLANS:
            self._plan_cache.clear()
        self._plan_cache[model, route] = plan
        return plan

    def _target(self, provider: Provider, model: str) -> Target:
        return Target.at(provider, model, self._known_models)

    def _steps(self, chain: Chain, primary: Target, route: Route) -> Iterator[list[tuple[Target, int]]]:
        """Yield the chain's steps without the targets that cannot be used for this route."""
        for step in chain:
            usable = [
                (self._target(self._providers[provider], model), entry.weight)
                for entry in step
                for provider, _, model in [entry.target.partition("/")]
                if not self._unusable_reason(provider, model, primary, route)
            ]
            if usable:
                yield usable

    def find_target(self, model: str) -> Target | None:
        """Return the target of a model whose name says which provider has it; None if that one is not configured."""
        resolution = self._find(model)
        if resolution is None or resolution.rule in _BY_DEFAULT or resolution.provider not in self._providers:
            return None
        return self._target(self._providers[resolution.provider], resolution.model)

    def models(self) -> list[tuple[str, str]]:
        """Return the model names to list, sorted, each with the name of its provider.

        They are the names of aliases and chains of config.yaml, the built-in aliases and the models of the providers in
        use. Built-in names whose models have retired are left out.
        """
        if self._listed is None:
            self._listed = sorted(self._names_to_list().items())
        return self._listed

    def _names_to_list(self) -> dict[str, str]:
        listed = {
            name: resolution.provider
            for name in (*self._aliases, *self._chains.exact_names)
            if (resolution := self._find(name)) is not None
            and resolution.provider in self._providers
            and (name not in ALIASES or name in self._configured_aliases or not self._is_retired(resolution))
        }
        for provider in self._providers.values():
            for model in offered_models(provider.spec, self._known_models, self._today):
                name, found = provider.spec.name, self.find_target(model)
                is_plain = found is not None and found.provider is provider and found.model == model
                listed.setdefault(model if is_plain else f"{name}/{model}", name)
        return listed

    def _is_retired(self, resolution: Resolution) -> bool:
        spec = self._specs[resolution.provider]
        return has_retired(self._known_models.of(spec.host, resolution.model, spec.name), self._today)

    def _resolve(self, model: str) -> Resolution:
        """Find the provider of a model. Raises Failure (404) if the name begins with an unknown provider."""
        resolution = self._find(model)
        if resolution is None:
            raise self._unknown_provider(model)
        return resolution

    def _find(self, model: str) -> Resolution | None:
        """Find the provider of a model by its name, or as the last possibility by the default.

        Return None if the name begins with an unknown provider, and the operator has set no default.
        """
        by_name = self._find_by_name(model)
        if by_name is None:
            unknown_provider = "/" in model and not self._default_is_set
            return None if unknown_provider else Resolution(self._default, model, ResolutionRule.DEFAULT)
        if by_name.rule in _BY_MAKER and by_name.provider not in self._providers and self._default_is_own_host():
            return Resolution(self._default, model, ResolutionRule.OWN_HOST)
        return by_name

    def _find_by_name(self, model: str) -> Resolution | None:
        """Find the provider of a model by alias, by prefix or by pattern; None if its name does not say."""
        alias = self._aliases.get(model)
        if alias is not None:
            provider, _, upstream_model = alias.partition("/")
            rule = ResolutionRule.ALIAS if model in self._configured_aliases else ResolutionRule.BUILT_IN_ALIAS
            return Resolution(provider, upstream_model, rule)
        model = _with_provider(model)
        provider, slash, upstream_model = model.partition("/")
        if slash and upstream_model and provider in self._specs:
            return Resolution(provider, upstream_model, ResolutionRule.PREFIX)
        # No pattern applies to a name like `maker/model`, as used by hosts of many makers' models.
        name = "" if slash else model.lower()
        matching = [prefix for prefix in PROVIDER_BY_PREFIX if name.startswith(prefix)]
        if matching:
            return Resolution(PROVIDER_BY_PREFIX[max(matching, key=len)], model, ResolutionRule.PATTERN)
        return None

    def _default_is_own_host(self) -> bool:
        """Return whether the operator has chosen a host without keys, which serves many makers' models under one roof.

        Such a host, an Ollama for instance, has models with the names of makers that are not configured.
        """
        return self._default_is_set and self._specs[self._default].auth == "none"

    def trace(self, model: str, route: Route) -> RoutingTrace:
        """Explain the plan that `plan` makes for a model, or why it refuses to make one.

        Raises Failure (404) if the name begins with an unknown provider.
        """
        resolution = self._resolve(model)
        configured_chain = self._chains.configured_name(model)
        spec = self._specs[resolution.provider]
        primary = self._target(Provider(spec=spec, base_url=spec.base_url), resolution.model)
        chain = self._chains.chain_for(model, primary)
        unusable_targets = {
            entry.target: reason
            for step in chain
            for entry in step
            for provider, _, upstream_model in [entry.target.partition("/")]
            if (reason := self._unusable_reason(provider, upstream_model, primary, route))
        }
        if configured_chain is None and len(chain) > 1:
            unusable_targets |= self._retired_equivalents(primary)
        return RoutingTrace(resolution, primary.name, configured_chain, len(chain) > 1, unusable_targets)

    def _retired_equivalents(self, primary: Target) -> Iterator[tuple[str, str]]:
        """Yield the built-in fallback targets that would take the place of a model if they had not retired."""
        for chosen in self.chosen_targets():
            same_tier = primary.facts.tier in chosen.facts.fallback_for and chosen.name != primary.name
            if chosen.chosen_by == BUILT_IN and same_tier and has_retired(chosen.facts, self._today):
                yield chosen.name, f"it {describe(chosen.facts, self._today)}"

    def _unusable_reason(self, provider: str, model: str, primary: Target, route: Route) -> str:
        """Return why a target of a chain cannot be used; empty if it can."""
        if provider not in self._providers:
            spec = self._specs[provider]
            return f"{provider} is not configured; set {spec.variables_to_set}"
        operation, is_primary = OPERATIONS[route], f"{provider}/{model}" == primary.name
        spec = self._providers[provider].spec
        facts = self._known_models.of(spec.host, model, spec.name)
        if has_retired(facts, self._today) and not is_primary:
            return f"it {describe(facts, self._today)}"
        if not spec.offers(route):
            return f"{provider} has no {operation.noun}"
        if operation.fallback == "same model" and model != primary.model:
            return f"its {operation.noun} cannot be compared with those of the primary model"
        if operation.fallback is None and not is_primary:
            return f"requests for {operation.noun} never go to another target"
        return ""

    def _configured(self, name: str, model: str) -> Provider:
        provider = self._providers.get(name)
        if provider is not None:
            return provider
        spec = self._specs[name]
        variable = spec.variables_to_set
        text = f"the model {model[:_MAX_SHOWN]!r} is served by {name}, which is not configured here; set {variable}"
        raise rejected(text, param="model", code="provider_not_configured")

    def _unknown_provider(self, model: str) -> Failure:
        """Return the failure for a name that begins with an unknown provider."""
        shown = model[:_MAX_SHOWN]
        provider, _, upstream_model = shown.partition("/")
        meant = _meant_provider(provider, self._specs)
        if provider in self._specs:
            text = f"the model {shown!r} names a provider and no model."
        elif meant is None:
            text = f"the model {shown!r} begins with {provider!r}, which is no provider."
        else:
            note = "" if meant in self._providers else f" ({meant} is not configured here)"
            text = f"{provider!r} is no provider; did you mean {meant}/{upstream_model}{note}?"
        text += (
            f" Write `provider/model`; configured providers: {', '.join(sorted(self._providers))}. To have one of them"
            " get such names unchanged, set DEFAULT_PROVIDER"
        )
        return rejected(text, param="model", code="model_not_found", status=404)

    def _not_offered(self, name: str, operation: Operation) -> Failure:
        """Return the failure for a provider that does not have the operation."""
        known = KNOWN_MODELS.get(operation.name, {})
        offered = [f"{model} ({owner})" for model, owner in known.items() if owner in self._providers] or list(known)
        remedy = f"use one of: {', '.join(offered)}" if offered else "name a model of another provider"
        text = f"{name} has no {operation.noun}; {remedy}"
        return rejected(text, param="model", code=f"{operation.name}_not_supported")


def _meant_provider(name: str, specs: Mapping[str, ProviderSpec]) -> str | None:
    """Return the provider that is probably meant by another spelling, or by the name that other programs use."""
    plain = _letters(name)
    known = {_letters(provider): provider for provider in specs}
    meant = {**OTHER_PROVIDER_NAMES, **known}
    for spelling in (plain, plain.removesuffix("ai")):
        if spelling in meant:
            return meant[spelling]
    close = difflib.get_close_matches(plain, known, 1, _SIMILARITY)
    return known[close[0]] if close else None


def _letters(name: str) -> str:
    """Return a name in lower case and without punctuation."""
    return "".join(filter(str.isalnum, name.lower()))


def _with_provider(model: str) -> str:
    """Return the name in the form `provider/model` if it begins with one of the built-in prefixes."""
    has_slash = "/" in model
    matching = [
        prefix
        for prefix in PREFIX_EXPANSIONS
        if model.startswith(prefix) and has_slash == ("/" in prefix or prefix.startswith("arn:"))
    ]
    if not matching:
        return model
    prefix = max(matching, key=len)
    return PREFIX_EXPANSIONS[prefix] + model.removeprefix(prefix)
