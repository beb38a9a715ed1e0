"""Every row in `models/data` is sound: it has a source and a date, its names mean what they say, its facts fit together."""

import re
from datetime import date

import msgspec
import pytest

from nulpoint.models import catalog
from nulpoint.models.catalog import built_in_models, built_in_rows
from nulpoint.models.facts import EFFORTS, ModelFacts
from nulpoint.models.prices import Price
from nulpoint.models.rows import ANY, ModelRow
from nulpoint.providers.catalog import CATALOG

FILES = sorted(catalog._DATA.glob("*.json"))
RECORDS = [(file.stem, record) for file in FILES for record in msgspec.json.decode(file.read_bytes())]
IDS = [f"{stem}-{number}-{record['models'][0]}" for number, (stem, record) in enumerate(RECORDS)]
HOSTS = sorted({host for row in built_in_rows() for host in row.origin.hosts} - {ANY})
_AS_OF = re.compile(r"20\d\d-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?")
_PACKAGE = re.compile(r"[\w@/.-]+ \d[\w.]* \((PyPI|npm|crates\.io)\)|[\w.-]+ \(GitHub\)")
READ_ON = "2026-12-01"  # the newest date of what was read


@pytest.mark.parametrize("record", [record for _, record in RECORDS], ids=IDS)
def test_every_row_is_valid_and_says_where_and_when_it_is_from(record):
    row = ModelRow.read(record)
    assert row.facts, "a row without facts"
    assert row.origin.source.startswith("https://") or _PACKAGE.fullmatch(row.origin.source)
    assert _AS_OF.fullmatch(row.origin.as_of)
    assert row.origin.as_of <= READ_ON
    assert "confidence" in record
    assert row.origin.hosts
    assert {*row.origin.hosts} <= {*CATALOG, ANY}
    assert row.origin.models
    assert len(set(row.origin.models)) == len(row.origin.models)


@pytest.mark.parametrize("record", [record for _, record in RECORDS], ids=IDS)
def test_prices_and_dates_are_plausible(record):
    facts = msgspec.convert({name: record[name] for name in ModelRow.read(record).facts}, ModelFacts)
    for price in (facts.price, *(change.price for change in facts.price_changes)):
        if price is not None:
            check_price(price)
    days = [change.on for change in facts.price_changes]
    assert days == sorted(days)
    assert facts.retires is None or date(2024, 1, 1) < facts.retires < date(2029, 1, 1)
    assert list(facts.efforts) == [effort for effort in EFFORTS if effort in facts.efforts]  # in ascending order


def check_price(price: Price) -> None:
    assert 0 <= price.input < 200
    assert 0 <= price.output < 200
    assert price.cached is None or price.cached <= price.input
    assert price.written is None or price.written_1h is None or price.written <= price.written_1h
    assert (price.over is None) == (price.beyond is None)
    if price.beyond is not None:
        assert price.beyond.input >= price.input
        assert price.beyond.over is None or price.beyond.over > (price.over or 0)
        check_price(price.beyond)


def models_at(host: str) -> list[tuple[str, ModelFacts]]:
    """Return the models of a host that are listed by their full name, with their facts."""
    rows = [row for row in built_in_rows() if host in row.origin.hosts]
    names = sorted({name for row in rows for name in row.origin.models if ANY not in name})
    return [(name, built_in_models().of(host, name)) for name in names]


@pytest.mark.parametrize("host", HOSTS)
def test_facts_about_reasoning_fit_together(host):
    for name, facts in models_at(host):
        if facts.reasoning == "effort" and facts.kind == "chat" and facts.chat:
            assert facts.efforts, name
            assert facts.default_effort in (None, "none", *facts.efforts), name
        if facts.reasoning in ("none", "budget"):
            assert not facts.efforts, name
        if facts.reasoning == "none":
            assert facts.default_effort == "none", name
            assert not facts.refused_while_thinking, name
        if facts.budget_max is not None:
            assert facts.reasoning == "budget", name
            assert facts.budget_min is not None, name
            assert facts.budget_min < facts.budget_max, name


@pytest.mark.parametrize("host", HOSTS)
def test_limits_tiers_and_prices_fit_together(host):
    for name, facts in models_at(host):
        if facts.kind == "chat" and facts.context is not None:
            assert facts.output is None or facts.output <= facts.context, name
        if facts.tier is not None:
            assert facts.kind == "chat", name
            assert facts.chat, name
        assert facts.tier is not None or not facts.fallback_for, name
        assert facts.price is not None or not facts.price_changes, name


@pytest.mark.parametrize("host", HOSTS)
def test_a_replacement_outlives_the_model_that_it_replaces(host):
    for name, facts in models_at(host):
        if facts.replacement is not None and facts.retires is not None:
            end = built_in_models().of(host, facts.replacement).retires
            assert facts.replacement != name
            assert end is None or end > facts.retires, name


def test_models_that_are_listed_in_the_catalogue_live():
    models, today = built_in_models(), date(2026, 12, 1)
    for spec in CATALOG.values():
        for model in spec.models:
            facts = models.of(spec.name, model)
            assert facts.retires is None or facts.retires > today, f"{spec.name}/{model}"


@pytest.mark.parametrize("text", ['[{"hosts":["openai"],"models":["x"],"contxt":1}]', '[{"hosts":["openai"]}]'])
def test_a_row_with_an_unknown_fact_or_without_names_is_rejected(text):
    with pytest.raises(msgspec.ValidationError):
        [ModelRow.read(record) for record in msgspec.json.decode(text)]
