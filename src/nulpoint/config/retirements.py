"""Finds retired models among the targets of a configuration."""

from collections.abc import Iterable
from datetime import date

from nulpoint.config.model import Config
from nulpoint.config.problems import Problem, Problems
from nulpoint.models.catalog import Models
from nulpoint.models.retirement import describe, has_retired
from nulpoint.routing.retirements import ChosenTarget, built_in_targets, configured_targets, warnings


def retirement_problems(targets: Iterable[ChosenTarget], accepted: frozenset[str], today: date) -> Problems:
    """Return a problem for each target whose model has retired, unless it is `accepted`.

    The targets that are in force are accepted, so that a good file does not become a bad one as time passes.
    """
    remedy = "name another model; if it still works, correct `retires` under models.{}"
    return [
        Problem(
            target.chosen_by, f"= {target.name!r}", f"{describe(target.facts, today)}; {remedy.format(target.name)}"
        )
        for target in targets
        if has_retired(target.facts, today) and target.name not in accepted
    ]


def retirement_warnings(config: Config, today: date) -> list[str]:
    """Return a text for each target of a configuration whose model has retired or retires soon."""
    models = Models(tuple(config.models.values()))
    targets = configured_targets(config.aliases, config.chains, config.known, models)
    if config.fallbacks == "auto":
        targets += built_in_targets(config.providers.values(), models)
    return warnings(targets, today)
