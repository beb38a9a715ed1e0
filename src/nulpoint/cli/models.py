"""The command `nulpoint models`: shows what is known of models, and where each fact is from."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from textwrap import wrap
from typing import Any, NamedTuple

import msgspec

from nulpoint.app.wiring import build_models, build_router
from nulpoint.cli.log.formatting import clean, count
from nulpoint.cli.log.table import Paint, Table, TableCell, TableColumn
from nulpoint.cli.terminal import make_painter, terminal_width
from nulpoint.config import ConfigError, ConfigSource
from nulpoint.models.catalog import Models, built_in_models
from nulpoint.models.facts import FACT_NAMES, ModelFacts
from nulpoint.models.prices import price_on
from nulpoint.models.retirement import SOON, days_left, describe, has_retired
from nulpoint.models.rows import Provenance
from nulpoint.models.text import dollars, reasoning_text, value_text
from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.spec import ProviderSpec
from nulpoint.routing.chains import FallbackChains
from nulpoint.routing.model_list import KnownModel, known_models
from nulpoint.routing.router import Resolution, Router

_COLUMNS = (
    TableColumn("PROVIDER", min_width=8),
    TableColumn("MODEL", min_width=24),
    TableColumn("CONTEXT", right_aligned=True, drop_rank=1),
    TableColumn("OUTPUT", right_aligned=True, drop_rank=3),
    TableColumn("REASONING", min_width=9, drop_rank=4),
    TableColumn("$IN", right_aligned=True, drop_rank=2),
    TableColumn("$OUT", right_aligned=True, drop_rank=2),
    TableColumn("RETIRES"),
)
NOT_CONFIGURED = "without a valid configuration (nulpoint check), these are the built-in facts only"
_INDENT = " " * 6
_FACT_WIDTH = max(map(len, FACT_NAMES))

Page = dict[str, Any]


class Knowledge(NamedTuple):
    """What is known of models under a configuration. `problem` says why there is none."""

    specs: Mapping[str, ProviderSpec]
    models: Models
    router: Router
    today: date
    problem: str = ""

    def list(self, provider: str | None, *, with_retired: bool) -> tuple[list[Page], Iterator[str]]:
        """Return the list of all models, or of one provider's, as JSON and as lines of text."""
        specs = self.specs.values() if provider is None else [self.specs[provider]]
        listed = [
            model
            for model in known_models(specs, self.models)
            if with_retired or not has_retired(model.facts, self.today)
        ]
        return list_page(listed), list_lines(listed, self.today, terminal_width(), make_painter())

    def describe(self, name: str) -> tuple[Page, Iterator[str]]:
        """Return what is known of one model as JSON and as lines of text. Raises Failure for an unknown provider."""
        resolution = self.router.trace(name, "chat").resolution
        spec = self.specs[resolution.provider]
        lines = model_lines(name, resolution, spec, self.models, self.today, make_painter())
        return model_page(name, resolution, spec, self.models), lines


def load_knowledge(source: ConfigSource) -> Knowledge:
    """Return what the configuration and the built-in rows say; without a valid configuration, only the latter."""
    today = source.today()
    try:
        config = source.load()
    except ConfigError:
        chains = FallbackChains({}, automatic=True)
        router = Router({}, {}, "openai", CATALOG, chains, built_in_models(), today, default_is_set=False)
        return Knowledge(CATALOG, built_in_models(), router, today, NOT_CONFIGURED)
    models = build_models(config)
    return Knowledge(config.known, models, build_router(config, models, today), today)


def list_page(listed: Iterable[KnownModel]) -> list[Page]:
    """Return the list as JSON, each model with its facts that are not the default."""
    defaults = msgspec.to_builtins(ModelFacts())
    return [
        {
            "provider": model.provider,
            "model": model.name,
            **{name: value for name, value in msgspec.to_builtins(model.facts).items() if value != defaults[name]},
        }
        for model in listed
    ]


def list_lines(listed: Iterable[KnownModel], today: date, width: int, paint: Paint) -> Iterator[str]:
    """Lay the list out for a terminal of `width` columns."""
    rows = [_cells(model, today) for model in listed]
    table = Table(_COLUMNS, rows, width, paint)
    yield table.head()
    yield from map(table.row, rows)
    yield paint(
        "prices are in dollars per million tokens; nulpoint models MODEL shows all facts and their sources", "dim"
    )


def _cells(model: KnownModel, today: date) -> list[TableCell]:
    facts = model.facts
    price = price_on(today, facts.price, facts.price_changes)
    style = "bad" if facts.retires is not None and days_left(facts.retires, today) <= SOON else ""
    return [
        TableCell(model.provider),
        TableCell(clean(model.name)),
        TableCell(count(facts.context)),
        TableCell(count(facts.output)),
        TableCell(reasoning_text(facts)),
        TableCell(dollars(price.input * facts.price_factor).removeprefix("$") if price else ""),
        TableCell(dollars(price.output * facts.price_factor).removeprefix("$") if price else ""),
        TableCell(facts.retires.isoformat() if facts.retires is not None else "", style),
    ]


def model_page(name: str, resolution: Resolution, spec: ProviderSpec, models: Models) -> Page:
    """Return all that is known of one model as JSON, each fact with the row that it is from."""
    known = models.provenance(spec.host, resolution.model, spec.name)
    return {
        "model": name,
        "provider": resolution.provider,
        "model_there": resolution.model,
        "found_by": resolution.rule.value,
        "facts": {
            fact: {"value": msgspec.to_builtins(known[fact][0]), **_origin(known[fact][1])}
            for fact in FACT_NAMES
            if fact in known
        },
    }


def _origin(origin: Provenance) -> Page:
    return {name: value for name, value in msgspec.to_builtins(origin).items() if value}


def model_lines(
    name: str, resolution: Resolution, spec: ProviderSpec, models: Models, today: date, paint: Paint
) -> Iterator[str]:
    """Describe one model: its facts with the numbers of their sources, and then the sources."""
    target = f"{resolution.provider}/{resolution.model}"
    yield f"{clean(name)} resolves to {clean(target)}: by {resolution.rule.value}"
    known = models.provenance(spec.host, resolution.model, spec.name)
    if not known:
        yield "Nothing is known of this model, so nothing in a request is changed for it (models in config.yaml)."
        return
    if retirement := describe(models.of(spec.host, resolution.model, spec.name), today):
        yield paint(f"It {retirement}.", "warn")
    numbers = _numbered(known)
    for fact in FACT_NAMES:
        if fact in known:
            value, origin = known[fact]
            yield f"  {fact:<{_FACT_WIDTH}}  {value_text(value)} {paint(f'[{numbers[origin]}]', 'dim')}"
    yield "Of everything else nothing is known, and it is passed on. Sources:"
    for origin, number in numbers.items():
        yield from _source_lines(number, origin)


def _numbered(known: Mapping[str, tuple[Any, Provenance]]) -> dict[Provenance, int]:
    """Number the rows in the order in which their facts are shown."""
    origins = dict.fromkeys(known[fact][1] for fact in FACT_NAMES if fact in known)
    return {origin: number for number, origin in enumerate(origins, 1)}


def _source_lines(number: int, origin: Provenance) -> Iterator[str]:
    details = ", ".join(filter(None, (origin.confidence, origin.as_of)))
    yield f"  [{number}] {origin.source or 'no source'} ({details})"
    yield f"{_INDENT}row: {', '.join(origin.models) or 'its list'} at {', '.join(origin.hosts)}"
    yield from wrap(origin.note, terminal_width(), initial_indent=_INDENT, subsequent_indent=_INDENT)
