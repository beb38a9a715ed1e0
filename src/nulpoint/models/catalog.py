"""Finds the facts of a model at a host in the built-in rows and in those of config.yaml."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from nulpoint.models.facts import ModelFacts
from nulpoint.models.names import MAX_NAME_LENGTH, plain_name
from nulpoint.models.rows import ANY, ModelRow, Provenance

_DATA = Path(__file__).parent / "data"
_MAX_CACHED_MODELS = 4096  # the limit is needed because clients can send any number of different names


@cache
def built_in_rows() -> tuple[ModelRow, ...]:
    """Return the rows of all files in `data/`, in the order of the files' names."""
    files = [msgspec.json.decode(path.read_bytes()) for path in sorted(_DATA.glob("*.json"))]
    return tuple(ModelRow.read(record) for records in files for record in records)


class Models:
    """What is known of models.

    Of all rows about a model, each fact is taken from the last one that has it. The rows of config.yaml come after the
    built-in ones.
    """

    def __init__(self, configured: Sequence[ModelRow] = ()) -> None:
        self._configured = tuple(configured)
        self._known: dict[tuple[str, str, str], ModelFacts] = {}

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
        merged = _merged(built_in_rows(), hosts, names)
        for row in self._configured:
            if _is_about(row, hosts, names):
                if row.origin.like is not None:
                    like_host, _, like_model = row.origin.like.partition("/")
                    merged |= _merged(built_in_rows(), (like_host,), _names(like_host, like_model))
                _add(merged, row)
        return merged

    def names_with(self, host: str, fact: str) -> list[str]:
        """Return the names of a host's models for which a row gives a fact, in the order of the rows."""
        return [
            pattern
            for row in (*built_in_rows(), *self._configured)
            if fact in row.facts and host in row.origin.hosts
            for pattern in row.origin.models
            if ANY not in pattern
        ]


def _names(host: str, model: str) -> tuple[str, ...]:
    """Return the names under which a model may be listed: the plain one, and the whole one if that is another."""
    plain = plain_name(host, model)
    return (plain,) if plain == model or len(model) > MAX_NAME_LENGTH else (plain, model)


def _merged(
    rows: Sequence[ModelRow], hosts: tuple[str, ...], names: tuple[str, ...]
) -> dict[str, tuple[Any, Provenance]]:
    merged: dict[str, tuple[Any, Provenance]] = {}
    for row in rows:
        if _is_about(row, hosts, names):
            _add(merged, row)
    return merged


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
