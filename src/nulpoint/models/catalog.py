"""Finds the facts of a model at a host in the built-in rows and in those of config.yaml."""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from nulpoint.models.facts import ModelFacts
from nulpoint.models.listing import ListedModel
from nulpoint.models.names import MAX_NAME_LENGTH, listed_name, plain_name
from nulpoint.models.row_index import RowIndex
from nulpoint.models.rows import ModelRow, Provenance

_DATA = Path(__file__).parent / "data"
_MAX_CACHED_MODELS = 4096  # the limit is needed because clients can send any number of different names


@cache
def built_in_rows() -> tuple[ModelRow, ...]:
    """Return the rows of all files in `data/`, in the order of the files' names."""
    files = [msgspec.json.decode(path.read_bytes()) for path in sorted(_DATA.glob("*.json"))]
    return tuple(ModelRow.read(record) for records in files for record in records)


@cache
def _built_in_rows_of(hosts: tuple[str, ...]) -> RowIndex:
    return RowIndex([row for row in built_in_rows() if row.is_of(hosts)])


class Listing(NamedTuple):
    """The models that a provider lists, each with its day of retirement if it says so, and the origin of the list."""

    models: Mapping[str, ListedModel]
    origin: Provenance

    def retirement(self, names: Sequence[str]) -> date | None:
        """Return when a model retires that may be listed under one of these names; None if the list does not say."""
        return next((self.models[name].retires for name in names if name in self.models), None)


class Models:
    """What is known of models.

    Of all rows about a model, each fact is taken from the last one that has it. The rows of config.yaml come after the
    built-in ones. Between them come the dates of retirement in `listings`, the lists of the providers themselves by
    provider.
    """

    def __init__(self, configured: Sequence[ModelRow] = (), listings: Mapping[str, Listing] = {}) -> None:
        self._configured = tuple(configured)
        self._known: dict[tuple[str, str, str], ModelFacts] = {}
        self.listings = dict(listings)

    def learn(self, provider: str, models: Sequence[ListedModel], source: str, as_of: str) -> None:
        """Remember the models that a provider lists, in place of its previous list."""
        origin = Provenance(hosts=(provider,), models=(), source=source, as_of=as_of)
        self.listings[provider] = Listing({model.name: model for model in models}, origin)
        self._known.clear()

    def names(self, host: str, name: str = "", fact: str = "") -> list[str]:
        """Return the models of a host that rows name in full, or only those of rows with a certain fact.

        The arguments are those of `of`.
        """
        rows = [row for row in _built_in_rows_of((host, name or host)).rows if not fact or fact in row.facts]
        named = _names_in(rows, host)
        return list(dict.fromkeys([*named, *self.configured_names(host, name, fact)]))

    def configured_names(self, host: str, name: str = "", fact: str = "") -> list[str]:
        """Return the same as `names`, but only of rows of config.yaml."""
        hosts = (host, name or host)
        return _names_in(
            [row for row in self._configured if row.is_of(hosts) and (not fact or fact in row.facts)], host
        )

    def of(self, host: str, model: str, name: str = "") -> ModelFacts:
        """Return the facts of a model.

        `host` is the built-in provider which the provider is or resembles, and `name` its own name if that is another.
        """
        key = (host, model, name)
        facts = self._known.get(key)
        if facts is None:
            if len(self._known) >= _MAX_CACHED_MODELS:
                self._known.clear()
            merged = self.provenance(host, model, name)
            facts = self._known[key] = ModelFacts(**{fact: value for fact, (value, _) in merged.items()})
        return facts

    def provenance(self, host: str, model: str, name: str = "") -> Mapping[str, tuple[Any, Provenance]]:
        """Return the facts that are known, each with the origin of its row."""
        hosts, names = (host, name or host), _names(host, model)
        merged = _merged(hosts, names)
        listing = self.listings.get(name or host)
        if listing is not None and (retires := listing.retirement(names)) is not None:
            merged["retires"] = (retires, listing.origin)
        for row in self._configured:
            if _is_about(row, hosts, names):
                if row.origin.like is not None:
                    merged |= _facts_of_like(row.origin.like, hosts)
                _add(merged, row)
        return merged


def _names_in(rows: Sequence[ModelRow], host: str) -> list[str]:
    patterns = (pattern for row in rows for pattern in row.origin.models)
    return [name for pattern in patterns if (name := listed_name(host, pattern))]


def _names(host: str, model: str) -> tuple[str, ...]:
    """Return the names under which a model may be listed: the plain one, and the whole one if that is another."""
    plain = plain_name(host, model)
    return (plain,) if plain == model or len(model) > MAX_NAME_LENGTH else (plain, model)


def _merged(hosts: tuple[str, ...], names: tuple[str, ...]) -> dict[str, tuple[Any, Provenance]]:
    """Return the built-in facts of a model, each with the origin of its row."""
    merged: dict[str, tuple[Any, Provenance]] = {}
    for row in _built_in_rows_of(hosts).about(names):
        _add(merged, row)
    return merged


def _facts_of_like(target: str, hosts: tuple[str, ...]) -> dict[str, tuple[Any, Provenance]]:
    """Return the built-in facts that a model of `hosts` shares with `target`: when it retires depends on the host."""
    host, _, model = target.partition("/")
    own = ("fallback_for",) if host in hosts else ("fallback_for", "retires", "replacement")
    return {name: fact for name, fact in _merged((host,), _names(host, model)).items() if name not in own}


def _is_about(row: ModelRow, hosts: tuple[str, ...], names: tuple[str, ...]) -> bool:
    return any(row.is_about(hosts, name) for name in names)


def _add(merged: dict[str, tuple[Any, Provenance]], row: ModelRow) -> None:
    """Add the facts of a row. A new price takes the place of all that was known of the old one."""
    if "price" in row.facts:
        merged.pop("price_changes", None)
        merged.pop("price_factor", None)
    merged |= {name: (value, row.origin) for name, value in row.facts.items()}


@cache
def built_in_models() -> Models:
    """Return the models without anything from config.yaml."""
    return Models()
