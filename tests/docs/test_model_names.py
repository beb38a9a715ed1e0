"""Model names that nulpoint itself chose (fallback targets, aliases, demo, examples, documentation) are of models that live on.

The tests use the day on which the names were checked last, so that they fail when a name is added and not as time
passes. `make freshness` uses today's date.
"""

from datetime import date

import pytest

from nulpoint.models.catalog import built_in_models
from nulpoint.providers.catalog import ALIASES, CATALOG
from support import freshness

CHECKED = date(2026, 12, 1)


def test_the_pattern_finds_names_and_no_parts_of_others():
    text = "model='gpt-4o', openai/gpt-4o-2024-08-06 and azure-gpt-4o; claude-3-7-sonnet-latest"
    assert freshness.names_in(text) == [
        "gpt-4o", "openai/gpt-4o-2024-08-06", "azure-gpt-4o", "claude-3-7-sonnet-latest",
    ]  # fmt: skip
    assert freshness.names_in("gpt-4ox, gpt-4o-unknown, my-gpt-4o, foo3, sonar2") == []


def test_nothing_that_nulpoint_names_retires_soon():
    assert freshness.report(freshness.retiring(CHECKED, days=60), CHECKED) == ""


def test_listed_models_live():
    for spec in CATALOG.values():
        for model in spec.models:
            retires = built_in_models().of(spec.host, model).retires
            assert retires is None or retires > CHECKED, f"{spec.name}/{model}"


def test_aliases_of_the_first_versions_stay():
    assert set(ALIASES) >= freshness.FIRST_ALIASES


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page that is the only one, and that names a model which retires on 2027-01-14."""
    monkeypatch.setattr(freshness, "ROOT", tmp_path)
    monkeypatch.setattr(freshness, "FILES", [tmp_path / "page.md"])
    (tmp_path / "page.md").write_text("Ask `gpt-4o`.\nThe model gpt-4.1 has retired.\n")


@pytest.mark.parametrize(
    ("today", "code", "output"),
    [
        (date(2026, 12, 14), 0, ""),
        (date(2026, 12, 15), 1, "page.md: gpt-4o retires on 2027-01-14, in 30 days"),
        (date(2027, 1, 14), 1, "page.md: gpt-4o retired on 2027-01-14"),
    ],
)
@pytest.mark.usefixtures("page")
def test_the_exit_code_depends_on_the_date(today, code, output, capsys):
    assert freshness.main([], today) == code
    assert output in capsys.readouterr().out
    assert freshness.main(["--warn"], today) == 0
    assert capsys.readouterr().out.startswith("warning: " if code else "")
