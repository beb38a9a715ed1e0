"""Generates the tables of docs/models.md from the facts about models."""

from collections.abc import Iterator
from datetime import date

from nulpoint.models.catalog import Models, built_in_models, built_in_rows
from nulpoint.models.retirement import has_retired
from nulpoint.models.rows import Provenance
from nulpoint.models.text import price_text, reasoning_text
from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.spec import ProviderSpec
from nulpoint.routing.model_list import KnownModel, known_models

_HEAD = "| Model | Context | Output | Reasoning | Price | Retires | Sources |"
_SHOWN_FACTS = ("context", "output", "reasoning", "efforts", "price", "price_changes", "retires")

Sources = dict[str, tuple[int, str]]  # by where the facts are from: a number, and the latest date


def model_tables() -> str:
    """Return a table of models for each provider of which models are known, with the sources of its facts."""
    models, day = built_in_models(), _day_of_the_rows()
    lines = [f"The rows were read last on {day.isoformat()}. Models that had retired by then are only named."]
    for spec in CATALOG.values():
        known = list(known_models([spec], models))
        if known:
            lines += ["", f"### {spec.name}", "", *_table(spec, known, models, day)]
    return "\n".join([*lines, ""])


def _day_of_the_rows() -> date:
    """Return the latest day on which a row was read, so that the page changes with the rows and not with time."""
    days = [row.origin.as_of for row in built_in_rows()]
    return max(date.fromisoformat(day) for day in days if len(day) == len("2026-11-30"))


def _table(spec: ProviderSpec, known: list[KnownModel], models: Models, day: date) -> Iterator[str]:
    sources: Sources = {}
    living = [model for model in known if not has_retired(model.facts, day)]
    if living:
        yield _HEAD
        yield "|---|---|---|---|---|---|---|"
        yield from [_row(model, spec, models, sources) for model in living]
    if sources:
        yield ""
        yield from (f"{number}. {source} ({as_of})" for source, (number, as_of) in sources.items())
    if retired := [model for model in known if has_retired(model.facts, day)]:
        yield ""
        yield "Retired: " + ", ".join(f"`{model.name}` ({model.facts.retires})" for model in retired) + "."


def _row(model: KnownModel, spec: ProviderSpec, models: Models, sources: Sources) -> str:
    facts = model.facts
    known = models.provenance(spec.host, model.name, spec.name)
    numbers = sorted({_number(known[fact][1], sources) for fact in _SHOWN_FACTS if fact in known})
    cells = (
        f"`{model.name}`",
        "" if facts.context is None else f"{facts.context:,}",
        "" if facts.output is None else f"{facts.output:,}",
        reasoning_text(facts),
        _prices(model),
        "" if facts.retires is None else facts.retires.isoformat(),
        ", ".join(map(str, numbers)),
    )
    return f"| {' | '.join(cells)} |"


def _prices(model: KnownModel) -> str:
    facts = model.facts
    prices = [price_text(facts.price)] if facts.price is not None else []
    prices += [f"from {change.on}: {price_text(change.price)}" for change in facts.price_changes]
    return "; ".join(prices) + (f" (times {facts.price_factor:g})" if prices and facts.price_factor != 1 else "")


def _number(origin: Provenance, sources: Sources) -> int:
    number, as_of = sources.get(origin.source, (len(sources) + 1, ""))
    sources[origin.source] = (number, max(as_of, origin.as_of))
    return number
