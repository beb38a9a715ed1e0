"""Chains of targets: for each model, the ordered steps of targets that may serve its requests.

A step is one target or several targets with weights. Requests are spread over the targets of a step by weight; if the
chosen one fails, the other targets of the step come next. Chains are configured (`fallbacks` in config.yaml) or, for
plain model names, built from the equivalent models of other providers.
"""

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import NamedTuple

import msgspec

from nulpoint.models.catalog import Models, built_in_models
from nulpoint.models.facts import ModelFacts
from nulpoint.models.tiers import equivalents
from nulpoint.providers.spec import Provider


class Target(NamedTuple):
    """A provider and a model at that provider.

    `model` is the provider's name for it, `name` is `provider/model`, and `facts` is what is known of it there.
    """

    provider: Provider
    model: str
    name: str
    facts: ModelFacts

    @classmethod
    def at(cls, provider: Provider, model: str, models: Models | None = None) -> "Target":
        """Return a target with what `models`, or else the built-in rows, have about its model."""
        spec = provider.spec
        facts = (models or built_in_models()).of(spec.host, model, spec.name)
        return cls(provider, model, f"{spec.name}/{model}", facts)


class WeightedTarget(msgspec.Struct, frozen=True):
    """The name of a target, `provider/model`, and its relative share of the step's requests."""

    target: str
    weight: int = 1


Step = tuple[WeightedTarget, ...]
Chain = tuple[Step, ...]


class WeightedRoundRobin:
    """Smooth weighted round robin, as in nginx: every target gets its share, spread evenly over time."""

    __slots__ = ("_current", "weights")

    def __init__(self, weights: Sequence[int]) -> None:
        self.weights = tuple(weights)
        self._current = [0] * len(weights)

    def next_order(self) -> list[int]:
        """Take the next turn. Return the positions of the targets in the order of their turns."""
        order = self.preview()
        self._current = [current + weight for current, weight in zip(self._current, self.weights, strict=True)]
        self._current[order[0]] -= sum(self.weights)
        return order

    def preview(self) -> list[int]:
        """Return the positions in the order of their turns, without taking the turn."""
        current = [value + weight for value, weight in zip(self._current, self.weights, strict=True)]
        return sorted(range(len(current)), key=lambda position: -current[position])


class TargetPlan:
    """The targets of one model, step by step. `primary` is the model's own target, which is in the first step.

    `cacheable` has the names of the targets whose responses may be cached for this plan. In a configured chain these
    are all targets, since the operator declared them interchangeable. Otherwise they are those of the first step: a
    built-in equivalent only stands in while the primary fails.
    """

    __slots__ = ("_steps", "_turns", "all", "cacheable", "fixed", "identity", "primary")

    def __init__(
        self, primary: Target, steps: Sequence[Sequence[tuple[Target, int]]], *, configured: bool = False
    ) -> None:
        self.primary = primary
        self._steps = [tuple(target for target, _ in step) for step in steps]
        self._turns = [WeightedRoundRobin([weight for _, weight in step]) for step in steps]
        names = [[f"{target.name}*{weight}@{target.provider.base_url}" for target, weight in step] for step in steps]
        # Part of the cache key: equal for plans with the same targets and the same cacheable targets.
        self.identity = ("own\n" * configured + "\n".join(map(",".join, names))).encode()
        self.all = tuple(target for step in self._steps for target in step)
        self.cacheable = frozenset(
            target.name for step in (self._steps if configured else self._steps[:1]) for target in step
        )
        single_targets = all(len(step) == 1 for step in self._steps)
        # The targets if their order never changes, else None.
        self.fixed = tuple(step[0] for step in self._steps) if single_targets else None

    def targets(self, *, has_client_key: bool = False) -> tuple[Target, ...]:
        """Return the targets in the order in which to try them for this request, and take a turn in each step.

        A key that the client sent is for the primary's provider, so that provider's targets come first.
        """
        if self.fixed is not None:
            return self.fixed
        ordered: list[Target] = []
        for step, turns in zip(self._steps, self._turns, strict=True):
            ordered += [step[position] for position in turns.next_order()] if len(step) > 1 else step
        if has_client_key:
            ordered.sort(key=lambda target: target.provider is not self.primary.provider)
        return tuple(ordered)

    def preview(self) -> list[list[tuple[Target, int]]]:
        """Return the targets and weights of each step in the order for the next request, without taking a turn."""
        return [
            [(step[position], turns.weights[position]) for position in turns.preview()]
            for step, turns in zip(self._steps, self._turns, strict=True)
        ]


class FallbackChains:
    """Finds the chain of a model.

    `configured` has the chains of config.yaml by model name or pattern; `automatic` allows the built-in equivalents.
    They come from `models`, without those that have been retired by `today`.
    """

    def __init__(
        self,
        configured: Mapping[str, Chain],
        *,
        automatic: bool,
        models: Models | None = None,
        today: date = date.min,
    ) -> None:
        self._models = models or built_in_models()
        self._today = today
        self._configured = configured
        self._patterns = sorted((name for name in configured if _is_pattern(name)), key=len, reverse=True)
        self._automatic = automatic

    def chain_for(self, model: str, primary: Target) -> Chain:
        """Return the whole chain of a model.

        It begins with the model's own target, `primary`. A configured chain that names the primary in its first step is
        used as it is; from a later step the primary is removed.
        """
        first = WeightedTarget(primary.name)
        configured = self._configured_chain(model)
        if configured is not None:
            return configured if _names(configured[0], primary) else ((first,), *_without(configured, primary))
        if not self._automatic or model.startswith(f"{primary.provider.spec.name}/"):
            return ((first,),)
        others = equivalents(primary.provider.spec.name, primary.model, self._models, self._today)
        return ((first,), *((WeightedTarget(name),) for name in others))

    def configured_name(self, model: str) -> str | None:
        """Return the name or pattern under which config.yaml has a chain for this model; None if it has none."""
        if model in self._configured:
            return model
        return next((name for name in self._patterns if fnmatch.fnmatchcase(model, name)), None)

    def _configured_chain(self, model: str) -> Chain | None:
        name = self.configured_name(model)
        return None if name is None else self._configured[name]


def _names(step: Step, target: Target) -> bool:
    return any(entry.target == target.name for entry in step)


def _without(chain: Chain, target: Target) -> Iterator[Step]:
    """Yield the steps of the chain without one target. Steps that become empty are dropped."""
    for step in chain:
        remaining = tuple(entry for entry in step if entry.target != target.name)
        if remaining:
            yield remaining


def _is_pattern(name: str) -> bool:
    return any(letter in name for letter in "*?[")
