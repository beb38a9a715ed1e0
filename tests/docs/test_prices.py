"""The prices in the documentation and in the examples are those of the rows of facts."""

import re
from datetime import date

import msgspec
import pytest
import yaml

from nulpoint.models.catalog import built_in_models
from nulpoint.models.prices import Price, price_on
from nulpoint.providers.catalog import CATALOG
from support.fenced_blocks import PAGES, ROOT

TODAY = date(2026, 12, 1)
_LINE = re.compile(r"^#? *([\w.-]+)/([\w./:-]+): *(\{input: .*\})", re.MULTILINE)
WRITTEN = [
    (path.name, provider, model, text)
    for path in (*PAGES, ROOT / "config.example.yaml")
    for provider, model, text in _LINE.findall(path.read_text(encoding="utf-8"))
    if provider in CATALOG
]


def test_the_pages_have_prices():
    assert {"request-log.md", "configuration.md"} <= {name for name, *_ in WRITTEN}


@pytest.mark.parametrize(("page", "provider", "model", "text"), WRITTEN)
def test_a_price_in_the_documentation_is_the_built_in_one(page, provider, model, text):
    written = msgspec.convert(yaml.safe_load(text), Price)
    facts = built_in_models().of(provider, model)
    listed = price_on(TODAY, facts.price, facts.price_changes)
    assert listed is not None
    assert (written.input, written.output) == (listed.input, listed.output)
    assert written.cached in (None, listed.cached)
    assert (written.over, written.beyond) in ((None, None), (listed.over, listed.beyond))
