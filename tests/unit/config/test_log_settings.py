"""Tests of REQUEST_LOG and the `prices` section: valid values, and the problems that are reported."""

import os
import sqlite3
from datetime import date

import pytest
import yaml

from nulpoint.config import ConfigError, load
from nulpoint.config.sections.request_log import LogTarget, configured_targets
from nulpoint.conversation.usage import Usage
from nulpoint.models.catalog import built_in_models
from nulpoint.models.costs import Prices
from nulpoint.telemetry.request_log.sqlite_schema import SCHEMA, open_to_write
from support.paths import ROOT

KEY = {"OPENAI_API_KEY": "sk-x"}
TODAY = date(2026, 12, 1)


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
    prices = Prices(built_in_models(), {}, loaded(tmp_path, prices=given).prices)
    assert prices.cost("openai", "gpt-4o", "gpt-4o", Usage(1000, 2000, 400), TODAY) == 0.0056
    assert prices.cost("openai", "my/model", "my/model", Usage(1, 1), TODAY) == 1e-6


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
        ({"openai/x": {"input": 1, "output": 1, "per_search": -1}}, "from 0"),
        ({"openai/x": {"input": 1, "output": 1, "over": 1000}}, "set over and beyond together"),
        ({"openai/x": 3}, "for example"),
    ],
)
def test_invalid_prices_are_reported(tmp_path, prices, said):
    (problem,) = problems(tmp_path, prices=prices)
    assert problem.startswith("prices")
    assert said in problem


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
