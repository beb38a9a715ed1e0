"""Tests of REQUEST_LOG and the `prices` section: valid values, and the problems that are reported."""

import os
import sqlite3

import pytest
import yaml

from nulpoint.config import ConfigError, load
from nulpoint.config.sections.request_log import LogTarget, configured_targets
from nulpoint.conversation.usage import Usage
from nulpoint.models.prices import Price, Prices
from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.price_list import PRICE_LIST
from nulpoint.telemetry.request_log.sqlite_schema import SCHEMA, open_to_write
from support.paths import ROOT

KEY = {"OPENAI_API_KEY": "sk-x"}


def loaded(tmp_path, log="", **file):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(file))
    return load({**KEY, **({"REQUEST_LOG": log} if log else {})}, tmp_path)


def problems(tmp_path, log="", **file):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, log, **file)
    return [str(one) for one in caught.value.problems]


def test_log_targets(tmp_path):
    assert loaded(tmp_path).request_log == (LogTarget("stdout"),)
    assert loaded(tmp_path, "none").request_log == ()
    assert loaded(tmp_path, f"STDOUT, sqlite:{tmp_path}/a:b.db").request_log == (
        LogTarget("stdout"), LogTarget("sqlite", tmp_path / "a:b.db"),
    )  # fmt: skip
    assert loaded(tmp_path, request_log=["stdout", f"file:{tmp_path}/x"]).request_log[1].kind == "file"


@pytest.mark.parametrize("text", ["syslog", "sqlite", "sqlite:", "file: ", "postgres://x", "stdout,", "stdout:1",
                                  "none,stdout", "stdout,stdout"])  # fmt: skip
def test_invalid_log_targets_are_reported(tmp_path, text):
    (problem,) = problems(tmp_path, text)
    assert "REQUEST_LOG" in problem
    assert "sqlite:PATH" in problem or "twice" in problem


def test_log_targets_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    assert "create it first" in problems(tmp_path, f"sqlite:{tmp_path}/none/x.db")[0]
    assert "is a directory" in problems(tmp_path, f"file:{tmp_path}/folder")[0]
    assert "not a regular file" in problems(tmp_path, "sqlite:/dev/null")[0]
    (tmp_path / "mine").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "may not write this file" in problems(tmp_path, f"file:{tmp_path}/mine")[0]
    both = problems(tmp_path, f"file:{tmp_path}/new,sqlite:{tmp_path}/new.db")
    assert len(both) == 2
    assert all("may not create files in" in one for one in both)


def test_sqlite_files_that_cannot_be_used(tmp_path):
    newer, foreign, damaged = (tmp_path / name for name in ("newer.db", "foreign.db", "damaged.db"))
    connection = open_to_write(newer)
    connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    assert "newer nulpoint" in problems(tmp_path, f"sqlite:{newer}")[0]
    assert "another program" in problems(tmp_path, f"sqlite:{foreign}")[0]
    damaged.write_bytes(b"damaged" * 1000)
    assert loaded(tmp_path, f"sqlite:{damaged}").request_log  # the damaged file is set aside when the log is written


# -- prices ------------------------------------------------------------------------------------------------------------


def test_configured_prices_take_precedence(tmp_path):
    given = {
        "openai/gpt-4o": {"input": 1, "output": 2.5, "cached": 0},
        "openai/my/model": {"input": 0.5, "output": 0.5},
    }
    prices = Prices(PRICE_LIST, loaded(tmp_path, prices=given).prices)
    assert prices.cost("openai", "gpt-4o", "gpt-4o", Usage(1000, 2000, 400)) == 0.0056
    assert prices.cost("openai", "my/model", "my/model", Usage(1, 1)) == 1e-6


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ([1], "must be a mapping"),
        ({"gpt-4o": {"input": 1, "output": 1}}, "provider/model"),
        ({"openia/gpt-4o": {"input": 1, "output": 1}}, "did you mean openai/gpt-4o?"),
        ({"openai/x": {"input": 1}}, "output"),
        ({"openai/x": {"input": "one", "output": 1}}, "input"),
        ({"openai/x": {"input": 1, "output": 1, "per": 1000}}, "per"),
        ({"openai/x": {"input": -1, "output": 1}}, "from 0"),
        ({"openai/x": {"input": float("nan"), "output": 1}}, "from 0"),
        ({"openai/x": {"input": 1, "output": 1, "over": 1000}}, "set over and beyond together"),
        ({"openai/x": 3}, "for example"),
    ],
)
def test_invalid_prices_are_reported(tmp_path, prices, said):
    (problem,) = problems(tmp_path, prices=prices)
    assert problem.startswith("prices")
    assert said in problem


def test_every_row_of_the_price_list_is_valid():
    seen = set()
    for row in PRICE_LIST:
        assert row.provider in CATALOG
        assert row.source.startswith("https://")
        assert row.seen[:2] == "20"
        for name in row.names:
            assert (row.provider, name) not in seen, f"{name} is priced twice"
            seen.add((row.provider, name))
        assert 0 <= row.price.input < 1000
        assert 0 <= row.price.output < 1000
        assert row.price.cached is None or row.price.cached < row.price.input


def test_well_known_models_have_a_price():
    priced = {(row.provider, name) for row in PRICE_LIST for name in row.names}
    listed = {(name, model) for name in ("openai", "anthropic", "xai") for model in CATALOG[name].models}
    assert not listed - priced


@pytest.mark.parametrize(
    ("provider", "answered", "asked", "usage", "cost"),
    [
        ("openai", "gpt-4o", "gpt-4o", Usage(1_000_000, 0), 2.5),
        ("openai", "gpt-4o-2024-08-06", "gpt-4o", Usage(1_000_000, 1_000_000, 400_000), 12.0),
        ("openai", "gpt-4o-2024-05-13", "gpt-4o-2024-05-13", Usage(1_000_000, 1_000_000), 20.0),
        ("openai", "gpt-4o-2024-05-13", "gpt-4o-2024-05-13", Usage(10, 10, 5), None),  # there is no price for cached tokens
        ("openai", "gpt-4o-2099-01-01", "gpt-4o-2099-01-01", Usage(1, 1), None),  # it may cost something else than gpt-4o
        ("openai", "gpt-4o-2099-01-01", "gpt-4o", Usage(1_000_000, 0), 2.5),  # the requested model has a price
        ("groq", "gpt-4o", "gpt-4o", Usage(1, 1), None),
        ("anthropic", "claude-sonnet-4-5", "x", Usage(1_000_000, 0, 200_000, 0, 300_000, 100_000), 1.5 + 0.06 + 0.75 + 0.6),
        ("gemini", "gemini-2.5-pro", "x", Usage(200_000, 0), 0.25),
        ("gemini", "gemini-2.5-pro", "x", Usage(200_001, 1000), 0.5150025),
        ("openai", "text-embedding-3-small", "x", Usage(7, 0), 1.4e-7),
        ("openai", "gpt-4o", "x", Usage(5, 0, 6), None),
    ],
)  # fmt: skip
def test_costs(provider, answered, asked, usage, cost):
    assert Prices(PRICE_LIST).cost(provider, answered, asked, usage) == cost


def test_a_configured_price_for_long_prompts():
    price = Price(input=1, output=1, over=10, beyond=Price(input=2, output=2))
    prices = Prices((), {"openai/x": price})
    assert prices.cost("openai", "x", "x", Usage(10, 1)) == 11e-6
    assert prices.cost("openai", "x", "x", Usage(11, 1)) == 24e-6


def test_the_example_in_the_documentation_loads(tmp_path):
    text = (ROOT / "docs" / "request-log.md").read_text()
    section = text.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "config.yaml").write_text(section)
    assert load(KEY, tmp_path).prices


@pytest.mark.parametrize("text", ["x: 2026-13-45\n", "[" * 5000, "a: 1\na: 2\n", "request_log: [stdout", "- stdout\n"])
def test_an_unreadable_file_gives_no_log_targets(tmp_path, text):
    """Loading the configuration reports the problem."""
    file = tmp_path / "config.yaml"
    file.write_text(text)
    assert configured_targets({}, file) is None
    assert configured_targets({"REQUEST_LOG": "stdout"}, file) == (LogTarget("stdout"),)
