"""The `models` section: what the user knows about models, which overrides the built-in facts."""

import difflib
from collections.abc import Mapping
from typing import Any

import msgspec

from nulpoint.config.problems import Problem, Problems
from nulpoint.config.sections.providers import FILE
from nulpoint.config.sections.targets import target_problem
from nulpoint.models.facts import FACT_NAMES
from nulpoint.models.rows import PROVENANCE_NAMES, ModelRow
from nulpoint.providers.spec import ProviderSpec

SECTION = "models"
_EXAMPLE = "for example {context: 128000, tool_choice: [none, auto]}"
_FIELDS = (*FACT_NAMES, *sorted(PROVENANCE_NAMES - {"hosts", "models"}))


def read_models(section: Any, known: Mapping[str, ProviderSpec]) -> tuple[dict[str, ModelRow], Problems]:
    """Return the user's rows by `provider/pattern`, in their order, and the problems found in them."""
    problems: Problems = []
    if section is None:
        return {}, problems
    if not isinstance(section, dict):
        text = f"must be a mapping of provider/model to facts, {_EXAMPLE}"
        problems.append(Problem(SECTION, f"({FILE})", text))
        return {}, problems
    rows = {str(name): _row(str(name), record, known, problems) for name, record in section.items()}
    return {name: row for name, row in rows.items() if row is not None}, problems


def _row(name: str, record: Any, known: Mapping[str, ProviderSpec], problems: Problems) -> ModelRow | None:
    location = f"{SECTION}.{name}"
    if remedy := target_problem(name, known):
        problems.append(Problem(location, f"({FILE})", remedy))
        return None
    if not isinstance(record, dict):
        problems.append(Problem(location, f"({FILE})", f"must be a mapping of facts, {_EXAMPLE}"))
        return None
    unknown = [str(field) for field in record if field not in _FIELDS]
    for field in unknown:
        close = difflib.get_close_matches(field, _FIELDS, 1)
        hint = f"did you mean {close[0]}?" if close else "docs/configuration.md lists all fields"
        problems.append(Problem(f"{location}.{field}", f"({FILE})", f"is not a fact about models; {hint}"))
    like = record.get("like")
    if like is not None and (remedy := target_problem(str(like), known)):
        problems.append(Problem(f"{location}.like", f"= {like!r}", remedy))
        return None
    if unknown:
        return None
    provider, _, pattern = name.partition("/")
    try:
        row = ModelRow.read({"source": FILE, **record, "hosts": (provider,), "models": (pattern,)})
    except msgspec.ValidationError as error:
        problems.append(Problem(location, f"({FILE})", str(error)))
        return None
    return row
