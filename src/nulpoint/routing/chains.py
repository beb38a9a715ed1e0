"""Chains: for a model, the ordered steps of targets that may answer for it.

A step is one target, or several with weights, among which requests are spread; the others of a step come right after
the one whose turn it is. Chains are the user's (`fallbacks` in config.yaml) or, for plain model names, the built-in
table of equivalents.
"""

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from nulpoint.providers.equivalents import equivalents
from nulpoint.providers.spec import Provider


class Target(NamedTuple):
    """A provider and the model's name there; `name` is both, `provider/model`."""

    provider: Provider
    model: str
    name: str

    @classmethod
    def at(cls, provider: Provider, model: str) -> "Target":
        return cls(provider, model, f"{provider.spec.name}/{model}")


class WeightedTarget(msgspec.Struct, frozen=True):
    """A target's name, `provider/model`, and its share of the step's requests."""

    target: str
    weight: int = 1


Step = tuple[WeightedTarget, ...]
Chain = tuple[Step, ...]


class WeightedRoundRobin:
    """Smooth weighted round robin (as nginx has it): every target gets its share, spread evenly over time."""

    __slots__ = ("_current", "weights")

    def __init__(self, weights: Sequence[int]) -> None:
        self.weights = tuple(weights)
        self._current = [0] * len(weights)

    def next_order(self) -> list[int]:
        """The positions, the one whose turn it is first, the others by how near their turn is."""
        order = self.preview()
        self._current = [now + weight for now, weight in zip(self._current, self.weights, strict=True)]
        self._current[order[0]] -= sum(self.weights)
        return order

    def preview(self) -> list[int]:
        """The same, without taking the turn."""
        current = [now + weight for now, weight in zip(self._current, self.weights, strict=True)]
        return sorted(range(len(current)), key=lambda position: -current[position])


class TargetPlan:
    """The targets of one model, step by step. `primary` is the model's own, which stands in the first step.

    `keeps`: names of the targets whose answers may be kept as answers of the plan. In a chain of the user's `own` they
    are all, for so it was said; in others those of the first step: a built-in equivalent helps out, and no longer than
    the primary fails.
    """

    __slots__ = ("_steps", "_turns", "all", "cacheable", "fixed", "identity", "primary")

    def __init__(
        self, primary: Target, steps: Sequence[Sequence[tuple[Target, int]]], *, configured: bool = False
    ) -> None:
        self.primary = primary
        self._steps = [tuple(target for target, _ in step) for step in steps]
        self._turns = [WeightedRoundRobin([weight for _, weight in step]) for step in steps]
        names = [[f"{target.name}*{weight}@{target.provider.base_url}" for target, weight in step] for step in steps]
        # the same for plans of the same targets that keep the same answers
        self.identity = ("own\n" * configured + "\n".join(map(",".join, names))).encode()
        self.all = tuple(target for step in self._steps for target in step)
        self.cacheable = frozenset(
            target.name for step in (self._steps if configured else self._steps[:1]) for target in step
        )
        single = all(len(step) == 1 for step in self._steps)
        self.fixed = tuple(step[0] for step in self._steps) if single else None  # the targets, always in this order

    def targets(self, *, has_client_key: bool = False) -> tuple[Target, ...]:
        """In the order in which they are to be tried now.

        A key that the caller brought (`own_key`) is one for the primary's provider, so targets there come first.
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
        """The targets of each step and their weights, as the next request would have them. No turn is taken."""
        return [
            [(step[position], turns.weights[position]) for position in turns.preview()]
            for step, turns in zip(self._steps, self._turns, strict=True)
        ]


class FallbackChains:
    """Which chain a model has. `own` are the user's by model name or pattern; `automatic` allows the built-in ones."""

    def __init__(self, configured: Mapping[str, Chain], *, automatic: bool) -> None:
        self._configured = configured
        self._patterns = sorted((name for name in configured if _is_pattern(name)), key=len, reverse=True)
        self._automatic = automatic

    def chain_for(self, model: str, primary: Target) -> Chain:
        """The whole chain of the model `asked` for. The model's own target comes first, unless the user's chain
        names it in its first step; where a later step names it, it is left out there."""
        first = WeightedTarget(primary.name)
        own = self._configured_chain(model)
        if own is not None:
            return own if _names(own[0], primary) else ((first,), *_without(own, primary))
        if not self._automatic or model.startswith(f"{primary.provider.spec.name}/"):
            return ((first,),)
        return ((first,), *((WeightedTarget(name),) for name in equivalents(primary.provider.spec.name, primary.model)))

    def configured_name(self, model: str) -> str | None:
        """Under which name or pattern the chain of this model is among the user's; None where it is not."""
        if model in self._configured:
            return model
        return next((name for name in self._patterns if fnmatch.fnmatchcase(model, name)), None)

    def _configured_chain(self, model: str) -> Chain | None:
        name = self.configured_name(model)
        return None if name is None else self._configured[name]


def _names(step: Step, target: Target) -> bool:
    return any(one.target == target.name for one in step)


def _without(chain: Chain, target: Target) -> Iterator[Step]:
    """A chain that would return to a target it has tried."""
    for step in chain:
        others = tuple(one for one in step if one.target != target.name)
        if others:
            yield others


def _is_pattern(name: str) -> bool:
    return any(letter in name for letter in "*?[")
