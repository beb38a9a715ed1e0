"""The `fallbacks` part of the configuration: for a model or a pattern, an ordered chain of targets.

A plain value in its place is the setting FALLBACKS, which is read with all the others.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from nulpoint.config.sections.endpoints import Found
from nulpoint.config.sections.providers import FILE
from nulpoint.config.sections.targets import remedy_for
from nulpoint.providers.spec import ProviderSpec
from nulpoint.routing.chains import Chain, Step, WeightedTarget

SECTION = "fallbacks"
_EXAMPLE = "for example [anthropic/claude-sonnet-5, {gemini/gemini-3.8-flash: 3, mistral/mistral-large-latest: 1}]"


def read_chains(section: Any, known: Mapping[str, ProviderSpec]) -> tuple[dict[str, Chain], Found]:
    """The user's chains by model name or pattern, and what is wrong with them."""
    found: Found = []
    if isinstance(section, list):
        text = "must be a mapping of model names or patterns to chains, or one of: auto, off"
        found.append((SECTION, f"({FILE})", text))
    if not isinstance(section, dict):
        return {}, found
    chains = {str(name): _chain(f"{SECTION}.{name}", steps, known, found) for name, steps in section.items()}
    return chains, found


def _chain(where: str, steps: Any, known: Mapping[str, ProviderSpec], found: Found) -> Chain:
    if not isinstance(steps, list) or not steps:
        problem = "is empty" if steps == [] else f"({FILE})"
        found.append((where, problem, f"must be a list of steps, {_EXAMPLE}"))
        return ()
    chain = tuple(_step(f"{where}[{index}]", step, known, found) for index, step in enumerate(steps))
    seen: set[str] = set()
    for index, step in enumerate(chain):
        for one in step:
            if one.target in seen:
                text = "comes again: a chain must not return to a target it has tried"
                found.append((f"{where}[{index}]", f"= {one.target!r}", text))
            seen.add(one.target)
    return chain


def _step(where: str, step: Any, known: Mapping[str, ProviderSpec], found: Found) -> Step:
    if isinstance(step, str):
        step = {step: 1}
    if not isinstance(step, dict) or not step:
        found.append((where, f"({FILE})", f"must be `provider/model` or a mapping of such to weights, {_EXAMPLE}"))
        return ()
    return tuple(_weighted(where, step, known, found))


def _weighted(
    where: str, step: dict[Any, Any], known: Mapping[str, ProviderSpec], found: Found
) -> Iterator[WeightedTarget]:
    for name, weight in step.items():
        if remedy := remedy_for(str(name), known):
            found.append((where, f"= {repr(name)[:100]}", remedy))
        elif isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= 1_000_000:
            found.append(
                (where, f"= {repr(weight)[:100]}", f"the weight of {name} must be a whole number from 1 to 1000000")
            )
        else:
            yield WeightedTarget(str(name), weight)
