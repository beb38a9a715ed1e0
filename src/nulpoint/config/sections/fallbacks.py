"""The `fallbacks` section: an ordered chain of targets for a model or a pattern.

A plain value instead of a section is the setting FALLBACKS, which is read with the other settings.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from nulpoint.config.problems import Problem, Problems
from nulpoint.config.sections.providers import FILE
from nulpoint.config.sections.targets import target_problem
from nulpoint.providers.spec import ProviderSpec
from nulpoint.routing.chains import Chain, Step, WeightedTarget

SECTION = "fallbacks"
_EXAMPLE = "for example [anthropic/claude-sonnet-5, {gemini/gemini-3.8-flash: 3, mistral/mistral-large-latest: 1}]"


def read_chains(section: Any, known: Mapping[str, ProviderSpec]) -> tuple[dict[str, Chain], Problems]:
    """Return the user's chains by model name or pattern, and the problems found in them."""
    problems: Problems = []
    if isinstance(section, list):
        text = "must be a mapping of model names or patterns to chains, or one of: auto, off"
        problems.append(Problem(SECTION, f"({FILE})", text))
    if not isinstance(section, dict):
        return {}, problems
    chains = {str(name): _chain(f"{SECTION}.{name}", steps, known, problems) for name, steps in section.items()}
    return chains, problems


def _chain(location: str, steps: Any, known: Mapping[str, ProviderSpec], problems: Problems) -> Chain:
    if not isinstance(steps, list) or not steps:
        problem = "is empty" if steps == [] else f"({FILE})"
        problems.append(Problem(location, problem, f"must be a list of steps, {_EXAMPLE}"))
        return ()
    chain = tuple(_step(f"{location}[{index}]", step, known, problems) for index, step in enumerate(steps))
    seen: set[str] = set()
    for index, step in enumerate(chain):
        for weighted in step:
            if weighted.target in seen:
                text = "appears twice; a chain must not return to a target it has already tried"
                problems.append(Problem(f"{location}[{index}]", f"= {weighted.target!r}", text))
            seen.add(weighted.target)
    return chain


def _step(location: str, step: Any, known: Mapping[str, ProviderSpec], problems: Problems) -> Step:
    if isinstance(step, str):
        step = {step: 1}
    if not isinstance(step, dict) or not step:
        problems.append(
            Problem(
                location, f"({FILE})", f"must be `provider/model`, or a mapping of such names to weights, {_EXAMPLE}"
            )
        )
        return ()
    return tuple(_weighted(location, step, known, problems))


def _weighted(
    location: str, step: dict[Any, Any], known: Mapping[str, ProviderSpec], problems: Problems
) -> Iterator[WeightedTarget]:
    for name, weight in step.items():
        if remedy := target_problem(str(name), known):
            problems.append(Problem(location, f"= {repr(name)[:100]}", remedy))
        elif isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= 1_000_000:
            problems.append(
                Problem(
                    location,
                    f"= {repr(weight)[:100]}",
                    f"the weight of {name} must be a whole number from 1 to 1000000",
                )
            )
        else:
            yield WeightedTarget(str(name), weight)
