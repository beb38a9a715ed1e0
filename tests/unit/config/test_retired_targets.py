"""Targets of a configuration whose models have retired: refused at a start, and a warning while they are in force."""

from datetime import date, timedelta

import pytest
from click.testing import CliRunner

from nulpoint.cli.main import main
from nulpoint.config import ConfigError, ConfigSource
from nulpoint.config.last_good import LastGoodConfig, load_last_good
from nulpoint.config.retirements import retirement_warnings
from nulpoint.config.safeguards import ReloadGuard
from nulpoint.config.source import utc_today

TEXT = """
aliases: {fast: openai/old}
fallbacks:
  mine: [anthropic/claude-sonnet-5, {openai/old: 1, openai/gpt-5.4: 2}]
models:
  openai/old: {retires: 2030-06-01, replacement: new}
"""
BEFORE, DAY = date(2030, 5, 1), date(2030, 6, 1)
WHEN = "retired on 2030-06-01; its host recommends new"


def source(folder, today, text=TEXT):
    (folder / "config.yaml").write_text(text)
    return ConfigSource({"OPENAI_API_KEY": "sk-x"}, folder, today=lambda: today)


def problems(load):
    with pytest.raises(ConfigError) as caught:
        load()
    return list(map(str, caught.value.problems))


def test_a_start_with_retired_targets_is_refused(tmp_path):
    assert source(tmp_path, BEFORE).load().aliases == {"fast": "openai/old"}
    remedy = "name another model; if it still works, correct `retires` under models.openai/old"
    assert problems(source(tmp_path, DAY).load) == [
        f"aliases.fast = 'openai/old': {WHEN}; {remedy}",
        f"fallbacks.mine[1] = 'openai/old': {WHEN}; {remedy}",
    ]


def test_the_remedy_works(tmp_path):
    corrected = TEXT.replace("retires: 2030-06-01", "retires: 2030-06-02")
    assert source(tmp_path, DAY, corrected).load()
    assert source(tmp_path, DAY, TEXT.replace("retires: 2030-06-01", "retires: null")).load()


def test_time_alone_makes_no_reload_fail(tmp_path):
    running = source(tmp_path, BEFORE).load()
    later = source(tmp_path, DAY)
    config = later.load(running)
    assert config.aliases == running.aliases
    assert len(retirement_warnings(config, DAY)) == 2
    assert later.load(config).aliases == running.aliases  # nor the one after it


def test_a_reload_that_names_another_retired_target_is_refused(tmp_path):
    running = source(tmp_path, BEFORE).load()
    changed = TEXT.replace("{fast: openai/old}", "{fast: openai/old, new: openai/older}")
    changed += "  openai/older: {retires: 2029-01-01}\n"
    (problem,) = problems(lambda: source(tmp_path, DAY, changed).load(running))
    assert problem.startswith("aliases.new = 'openai/older': retired on 2029-01-01")


def test_workers_start_after_a_target_has_retired(tmp_path):
    """A worker reads the files itself, with the guard of the configuration in force."""
    folder = tmp_path / "good"
    good = LastGoodConfig(source(tmp_path, BEFORE), source(tmp_path, BEFORE).load(), folder)
    guard = ReloadGuard.decode(good.guard.encode())
    assert guard.targets == {"openai/old"}
    later = source(tmp_path, DAY)
    assert later.load(guard=guard)
    source(tmp_path, DAY, "nonsense: 1")
    good.check()
    good.check()
    loaded = load_last_good(later, folder, guard)
    assert loaded is not None
    assert loaded.aliases == {"fast": "openai/old"}
    assert problems(lambda: load_last_good(later, folder))


def test_targets_of_providers_that_are_not_in_use_are_checked_too(tmp_path):
    text = "fallbacks: {a: [groq/gone]}\nmodels: {groq/gone: {retires: 2030-06-01}}\n"
    (problem,) = problems(source(tmp_path, DAY, text).load)
    assert problem.startswith("fallbacks.a[0] = 'groq/gone': retired on 2030-06-01; name")


def test_a_built_in_target_that_has_retired_refuses_nothing(tmp_path):
    text = "models: {openai/gpt-5.4: {retires: 2030-06-01}}\n"
    config = source(tmp_path, DAY, text).load()
    (warning,) = retirement_warnings(config, DAY)
    assert warning.startswith("openai/gpt-5.4 (FALLBACKS=auto) retired on 2030-06-01")
    assert source(tmp_path, DAY, text + "fallbacks: off\n").load()
    assert not retirement_warnings(source(tmp_path, DAY, text + "fallbacks: off\n").load(), DAY)


def test_the_check_command_warns(tmp_path, monkeypatch):
    soon = (utc_today() + timedelta(days=365)).isoformat()
    (tmp_path / "config.yaml").write_text(TEXT.replace("2030-06-01", soon))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nulpoint.models.retirement.SOON", 400)
    monkeypatch.setattr("nulpoint.routing.retirements.SOON", 400)
    result = CliRunner().invoke(main, ["check"], env={"OPENAI_API_KEY": "sk-x"})
    assert result.exit_code == 0
    assert f"  warning: openai/old (aliases.fast) retires on {soon}, in 36" in result.output
