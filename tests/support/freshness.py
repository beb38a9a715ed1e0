"""Finds the models that nulpoint itself names and that retire soon.

`make freshness` uses today's date and fails if there are any, `make test` only prints them. It looks at the built-in
fallback targets, the built-in aliases, the mock providers, the demo, the examples and the documentation. The aliases of
the first versions are left out: their providers answer for the models that have retired.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from nulpoint.mock.anthropic import server as anthropic_server
from nulpoint.mock.openai import server as openai_server
from nulpoint.models.catalog import built_in_models
from nulpoint.models.facts import ModelFacts
from nulpoint.models.retirement import SOON, days_left, describe
from nulpoint.providers.catalog import ALIASES, CATALOG
from nulpoint.providers.model_names import PROVIDER_BY_PREFIX
from nulpoint.providers.spec import Provider
from nulpoint.routing.chains import FallbackChains
from nulpoint.routing.model_list import known_models
from nulpoint.routing.retirements import built_in_targets
from nulpoint.routing.router import Router
from support.fenced_blocks import PAGES
from support.paths import ROOT

# Aliases for names of the product's first versions.
FIRST_ALIASES = {
    "claude-3-5-sonnet", "claude-3-opus", "claude-3-haiku", "gemini-pro", "gemini-1.5-pro", "gemini-1.5-flash",
    "mistral-large", "mistral-medium", "mistral-small", "mixtral-8x7b", "mistral-embed", "text-embedding-004",
    "embedding-001",
}  # fmt: skip
FILES = [
    *PAGES,
    *(path for folder in ("demo", "examples") for path in sorted((ROOT / folder).rglob("*")) if path.is_file()),
    ROOT / "config.example.yaml",
    ROOT / ".env.example",
    *sorted(ROOT.glob("compose*.yaml")),
    *(path for path in sorted((ROOT / "deploy").rglob("*")) if path.suffix in (".yaml", ".yml", ".md", ".env")),
]
# Lines that name a model because it has retired.
_SAYS_SO = re.compile(r"\bended\b|\bhas retired\b|\bretires\b")
_TABLES = re.compile(r"<!-- models: made from .*?<!-- /models -->", re.DOTALL)
_ROUTER = Router({}, {}, "openai", CATALOG, FallbackChains({}, automatic=False), default_is_set=False)


class Finding(NamedTuple):
    """A model that is named somewhere, and what is known of it at the provider that is meant."""

    place: str
    model: str
    facts: ModelFacts

    def describe(self, today: date) -> str:
        return f"{self.place}: {self.model} {describe(self.facts, today)}"


def retiring(today: date, days: int = SOON) -> list[Finding]:
    """Return everything that names a model which retires within some days."""
    return [
        finding
        for finding in (*_chosen(), *(finding for path in FILES for finding in in_file(path)))
        if finding.facts.retires is not None and days_left(finding.facts.retires, today) <= days
    ]


def _chosen() -> Iterator[Finding]:
    providers = [Provider(spec=spec, base_url=spec.base_url) for spec in CATALOG.values()]
    for chosen in built_in_targets(providers, built_in_models()):
        yield Finding("the built-in fallback targets", chosen.name, chosen.facts)
    for alias, target in ALIASES.items():
        if alias not in FIRST_ALIASES:
            yield Finding(f"the alias {alias}", target, _facts(target))
    for model in openai_server.MODELS:
        yield Finding("the mock of OpenAI", model, _facts(f"openai/{model}"))
    for model in anthropic_server._MODELS:
        yield Finding("the mock of Anthropic", model, _facts(f"anthropic/{model}"))


def in_file(path: Path) -> Iterator[Finding]:
    """Yield the models that a file names and that have a day of retirement."""
    text = _TABLES.sub("", path.read_text(encoding="utf-8", errors="replace"))
    for line in text.splitlines():
        if line not in _generated_rows() and not _SAYS_SO.search(line):
            yield from (Finding(str(path.relative_to(ROOT)), name, _facts(name)) for name in names_in(line))


def names_in(text: str) -> list[str]:
    """Return the names of models with a day of retirement in a text, perhaps with their providers before them."""
    return [match[0] for match in _pattern().finditer(text)]


def _facts(name: str) -> ModelFacts:
    provider, model, _ = _ROUTER.trace(name, "chat").resolution
    return built_in_models().of(CATALOG[provider].host, model)


@cache
def _pattern() -> re.Pattern[str]:
    """Match whole names of models, with a date or `-latest` behind them and a provider before them."""
    dated = {known.name for known in known_models(CATALOG.values(), built_in_models()) if known.facts.retires}
    names = "|".join(re.escape(name) for name in sorted(dated, key=len, reverse=True))
    providers = "|".join(map(re.escape, CATALOG))
    suffix = r"(?:-latest|-\d{4}-?\d\d-?\d\d|@\d+)?"
    return re.compile(rf"(?<![\w./-])(?:(?:{providers})/|azure-|vertexai-)?(?:{names}){suffix}(?![\w]|[-.]\w)")


@cache
def _generated_rows() -> frozenset[str]:
    """Return the lines of docs/providers.md that list the built-in aliases and prefixes."""
    rows = {f"| `{alias}` | `{target}` |" for alias, target in ALIASES.items()}
    return frozenset(rows | {f"| `{prefix}` | {provider} |" for prefix, provider in PROVIDER_BY_PREFIX.items()})


def report(findings: Iterable[Finding], today: date) -> str:
    return "\n".join(dict.fromkeys(finding.describe(today) for finding in findings))


def main(arguments: list[str], today: date) -> int:
    """Print what retires soon. Return 1 if there is anything, unless it is only to be a warning."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--warn", action="store_true", help="only warn")
    options = parser.parse_args(arguments)
    findings = retiring(today)
    if not findings:
        return 0
    print(f"{'warning: ' if options.warn else ''}nulpoint names models that retire within {SOON} days:")
    print(report(findings, today))
    return 0 if options.warn else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], datetime.now(UTC).date()))
