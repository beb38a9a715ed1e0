"""Defines a row of facts about models, and which models it is about."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, Self

import msgspec

from nulpoint.models.facts import ModelFacts

ANY = "*"
Confidence = Literal["stated", "reported", "inferred"]
# What may follow the name of a model: a date or `latest`, and on Bedrock a version.
DATE = r"[-@](?:\d{8}|\d{4}-\d{2}-\d{2}|latest|default)"
VERSION = r"-v\d+(?::\d+)?(?::\w+)?"
_SUFFIX = f"(?:{DATE})?(?:{VERSION})?"


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The origin of a row.

    Fields:
        hosts: the hosts, by the names of their providers; `*` stands for all.
        models: the patterns of the models' names, see `pattern_matches`.
        like: `provider/model`, a model whose facts these models have too, unless the row says otherwise.
        source: where the facts are from.
        as_of: the date when the source said so, as far as it is known.
        confidence: whether the maker states them, others report them, or they are inferred from other facts.
        note: what else must be known, such as the reason for the choice between sources that disagree.
    """

    hosts: tuple[str, ...]
    models: tuple[str, ...]
    like: str | None = None
    source: str = ""
    as_of: str = ""
    confidence: Confidence = "stated"
    note: str = ""


PROVENANCE_NAMES = frozenset(Provenance.__struct_fields__)


class ModelRow(msgspec.Struct, frozen=True):
    """Facts of some models at some hosts. `facts` has the values that the row gives, by the names of `ModelFacts`."""

    origin: Provenance
    facts: Mapping[str, Any]

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Self:
        """Read a row from an object that has the fields of `Provenance` and facts. Raises msgspec.ValidationError."""
        given = {name: value for name, value in record.items() if name not in PROVENANCE_NAMES}
        facts = msgspec.convert(given, ModelFacts)
        origin = msgspec.convert({name: record[name] for name in record if name not in given}, Provenance)
        return cls(origin, {name: getattr(facts, name) for name in given})

    def is_about(self, hosts: tuple[str, ...], model: str) -> bool:
        return self.is_of(hosts) and self.names(model)

    def is_of(self, hosts: tuple[str, ...]) -> bool:
        return any(host == ANY or host in hosts for host in self.origin.hosts)

    def names(self, model: str) -> bool:
        return any(pattern_matches(pattern, model) for pattern in self.origin.models)


def pattern_matches(pattern: str, model: str) -> bool:
    """Return whether a name matches a pattern, in which `*` stands for any text.

    The name may be followed by a date, by `latest` or by a version: `claude-haiku-4-5` is also about
    `claude-haiku-4-5-20251001`.
    """
    return compiled(regex(pattern)).fullmatch(model) is not None


def regex(pattern: str) -> str:
    """Return the regular expression for a pattern."""
    return ".*".join(map(re.escape, pattern.split(ANY))) + _SUFFIX


@lru_cache(maxsize=4096)
def compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.IGNORECASE)
