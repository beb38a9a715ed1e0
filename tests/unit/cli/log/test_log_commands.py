"""Tests of `nulpoint logs` and `nulpoint stats`: filters, output in terminals of any width, and unreadable files."""

import contextlib
import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from click.testing import CliRunner

from nulpoint.cli.log import filters
from nulpoint.cli.log.formatting import width
from nulpoint.cli.main import main as nulpoint
from nulpoint.conversation.usage import Usage
from nulpoint.telemetry.request_log.record import AttemptRecord, RequestRecord
from nulpoint.telemetry.request_log.sqlite_schema import APPLICATION, SCHEMA, open_to_write
from support.request_log_files import Clock, database

NOW = datetime.now(UTC).replace(microsecond=0)
FAILED_OVER = [AttemptRecord("openai", "gpt-4o", "upstream", 310, "server_error", 2),
               AttemptRecord("mistral", "mistral-large-latest", "open", 0, "", 312),
               AttemptRecord("anthropic", "claude-sonnet-4-5", "ok", 920, "", 313)]  # fmt: skip
REQUESTS = (
    {"id": "old", "model": "gpt-4o", "provider": "openai", "time": NOW - timedelta(days=2), "total_us": 1000},
    {"id": "good", "model": "gpt-4o", "provider": "openai", "answered_model": "gpt-4o-2024-08-06", "total_us": 42_000,
     "usage": Usage(10, 20, 4, 5), "cost": 0.0002, "key": "abcdef012345", "cache": "MISS", "first_byte_us": 30_000},
    {"id": "hit", "model": "gpt-4o", "provider": "openai", "cache": "HIT", "cost": 0.0, "saved": 0.0002,
     "usage": Usage(10, 20), "total_us": 50, "key": "abcdef012345"},
    {"id": "moved", "model": "gpt-4o", "provider": "anthropic", "answered_model": "claude-sonnet-4-5", "stream": True,
     "attempts": FAILED_OVER, "total_us": 1_240_000, "first_token_us": 400_000, "key": "999999999999",
     "usage": Usage(120, 2500), "cost": 0.03786},
    {"id": "limited", "model": "claude-sonnet-4-5", "status": 429, "level": "warn", "error": "rate_limit",
     "message": "too many requests; \x1b[31mwait", "limit": "limited", "key": "999999999999"},
    {"id": "broken", "model": "gemini-2.5-pro", "provider": "gemini", "status": 502, "level": "error",
     "error": "upstream", "message": "the provider failed", "total_us": 2_500_000,
     "attempts": [AttemptRecord("gemini", "gemini-2.5-pro", "upstream", 2490, "", 3)]},
    {"id": "wide", "model": "模型名称很长很长很长很长很长很长很长很长", "provider": "openai", "total_us": 90_000},
    {"id": "left", "model": "gpt-4o", "provider": "openai", "status": 499, "error": "caller_left", "level": "warn"},
    {"id": "page", "route": "/health", "method": "GET"},
)  # fmt: skip


def line(**fields):
    """Return one JSON line of the request log."""
    defaults = {"time": NOW, "level": "info", "id": "i", "route": "chat", "method": "POST", "status": 200}
    return msgspec.json.encode(RequestRecord(**{**defaults, **fields}))


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "requests.db"
    sink = database(path, Clock())
    sink.write([line(**fields) for fields in REQUESTS])
    sink.close()
    return path


def call(*arguments, **more):
    return CliRunner().invoke(nulpoint, [str(argument) for argument in arguments], **more)


def listed_ids(log, *options):
    result = call("logs", "--file", log, "--json", *options)
    if result.exit_code:
        assert "no request" in result.stderr
        return []
    return [json.loads(text)["id"] for text in result.stdout.splitlines()]


ALL = ["old", "good", "hit", "moved", "limited", "broken", "wide", "left"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ALL),
        (["-n", "2"], ["wide", "left"]),
        (["--all"], [*ALL, "page"]),
        (["--model", "gpt-4o"], ["old", "good", "hit", "moved", "left"]),
        (["--model", "claude-*"], ["moved", "limited"]),
        (["--provider", "anthropic"], ["moved"]),
        (["--status", "429"], ["limited"]),
        (["--status", "5XX"], ["broken"]),
        (["--status", "error"], ["limited", "broken"]),
        (["--key", "abcdef"], ["good", "hit"]),
        (["--key", "' OR 1=1 --"], []),
        (["--cache", "hit"], ["hit"]),
        (["--since", "1h"], ALL[1:]),
        (["--since", "7d"], ALL),
        (["--since", "2020-01-01"], ALL),
        (["--slower-than", "1s"], ["moved", "broken"]),
        (["--slower-than", "1s", "--provider", "gemini"], ["broken"]),
        (["--failed-over"], ["moved"]),
        (["--model", "none"], []),
    ],
)
def test_filters(log, options, expected):
    assert listed_ids(log, *options) == expected


@pytest.mark.parametrize(
    ("option", "value", "remedy"),
    [("--status", "99", "429"), ("--status", "6xx", "5xx"), ("--since", "yesterday", "24h"), ("--slower-than", "2", "30s"),
     ("--since", "99999999999h", "24h")],
)  # fmt: skip
def test_an_invalid_filter_is_rejected_with_a_remedy(log, option, value, remedy):
    result = call("logs", "--file", log, option, value)
    assert result.exit_code == 2
    assert remedy in result.stderr


def test_times_are_utc_unless_they_say_otherwise():
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    assert filters.since("90m", now) == "2026-11-26T10:30:00.000Z"
    assert filters.since("2026-11-26T14:00", now) == "2026-11-26T14:00:00.000Z"
    assert filters.since("2026-11-26T14:00+02:00", now) == "2026-11-26T12:00:00.000Z"


def test_json_output_equals_the_line_of_the_log(log):
    (record,) = [json.loads(text) for text in call("logs", "good", "--file", log, "--json").stdout.splitlines()]
    logged = json.loads(line(**REQUESTS[1]))
    assert record.pop("number") == 2
    assert record.pop("time")[:19] == logged.pop("time")[:19]
    assert {name: value for name, value in record.items() if value not in (False, 0)} == logged


# -- in a terminal -----------------------------------------------------------------------------------------------------


def in_terminal(columns, *arguments, **environ):
    """Return what the program writes to a terminal of `columns` columns."""
    terminal, child_end = pty.openpty()
    env = {"PATH": os.environ["PATH"], "COLUMNS": str(columns), "PYTHONPATH": ":".join(sys.path), **environ}
    command = [sys.executable, "-m", "nulpoint", *map(str, arguments)]
    child = subprocess.Popen(command, stdout=child_end, stderr=subprocess.STDOUT, env=env)
    os.close(child_end)
    output = b""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # Linux reports EIO when the other end is closed
            break
        if not data:
            break
        output += data
    os.close(terminal)
    assert child.wait(10) == 0, output.decode()
    return output.decode().replace("\r\n", "\n")


COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_tables_are_as_wide_as_the_terminal(log, columns):
    for arguments in (["logs"], ["stats"], ["stats", "--by", "hour"]):
        output = in_terminal(columns, *arguments, "--file", log)
        assert COLOUR.search(output)
        lines = COLOUR.sub("", output).splitlines()
        assert max(map(width, lines)) <= columns, output
        assert "\x1b" not in COLOUR.sub("", output)  # text that a client sent must not move the cursor
        assert width(lines[0]) > columns * 0.6
    assert "2 tries" not in output


@pytest.mark.parametrize("columns", [80, 140])
def test_the_important_columns_are_shown_at_every_width(log, columns):
    output = in_terminal(columns, "logs", "--file", log, NO_COLOR="1")
    assert "\x1b" not in output
    moved = next(text for text in output.splitlines() if "anthropic" in text)
    assert "3 tries" in moved
    assert "$0.0379" in moved
    assert "1.24s" in moved
    assert " hit" in output
    assert "429" in output
    assert ("999999999999" in output) == (columns == 140)


def test_no_colour_if_the_output_is_not_a_terminal(log):
    for command in ("logs", "stats"):
        assert "\x1b" not in call(command, "--file", log).stdout


def test_one_request_as_a_waterfall(log):
    output = call("logs", "4", "--file", log).stdout
    assert "answered by anthropic/claude-sonnet-4-5" in output
    assert "120 in, 2500 out" in output
    marks = {"openai": "━", "mistral": "·", "anthropic/": "━"}
    bars = {
        name: text.index(mark)
        for text in output.splitlines()
        for name, mark in marks.items()
        if text.strip().startswith(name)
    }
    assert bars["openai"] < bars["mistral"] <= bars["anthropic/"]
    assert "upstream (server_error), 310ms" in output
    assert call("logs", "moved", "--file", log).stdout == output


@contextlib.contextmanager
def children_react_to_interrupts():
    """Start child processes with the default reaction to SIGINT.

    A shell starts background jobs with SIGINT ignored, and an ignored signal stays ignored in child processes. A signal
    with a handler is reset to the default when a child starts.
    """
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def test_following_shows_new_records(tmp_path):
    path = tmp_path / "requests.db"
    sink = database(path)
    sink.write([line(id="before", model="gpt-4o")])
    env = {**os.environ, "PYTHONPATH": ":".join(sys.path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "nulpoint", "logs", "-f", "--json", "--file", str(path), "--model", "gpt-*"]
    with children_react_to_interrupts():
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    try:
        seen = [json.loads(child.stdout.readline())["id"]]
        sink.write([line(id="one", model="gpt-4o"), line(id="other", model="claude"), line(id="two", model="gpt-5")])
        seen += [json.loads(child.stdout.readline())["id"] for _ in range(2)]
        path.unlink()
        sink.write([line(id="in a new file", model="gpt-4o")])
        seen.append(json.loads(child.stdout.readline())["id"])
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    finally:
        child.kill()
        child.communicate()
        sink.close()
    assert seen == ["before", "one", "two", "in a new file"]
    assert (child.returncode, err) == (0, b"")


# -- statistics -----------------------------------------------------------------------------------------------------------


def test_statistics_for_a_terminal(log):
    output = call("stats", "--file", log).stdout
    lines = output.splitlines()
    assert lines[0].split() == ["MODEL", "REQS", "ERR", "P50", "P95", "P99", "TTFT50", "TTFT95", "IN", "OUT", "COST",
                                "SAVED", "HITS"]  # fmt: skip
    assert next(text.split() for text in lines if text.startswith("gpt-4o ")) == [
        "gpt-4o", "5", "0%", "1.0ms", "1.24s", "1.24s", "400ms", "400ms", "130", "2.5k", "$0.0381", "$0.000200", "50%",
    ]  # fmt: skip
    assert next(text.split()[:3] for text in lines if text.startswith("all ")) == ["all", "8", "25%"]
    assert "1 took more than one attempt" in output
    assert "1 ended because the client disconnected" in output


def test_groups(log):
    by_hour = json.loads(call("stats", "--file", log, "--by", "hour", "--json").stdout)
    assert len(by_hour["groups"]) == 2
    assert list(by_hour["groups"]) == sorted(by_hour["groups"])
    by_key = json.loads(call("stats", "--file", log, "--by", "key", "--json").stdout)
    assert {key: group["requests"] for key, group in by_key["groups"].items()} == {
        "": 4, "abcdef012345": 2, "999999999999": 2,
    }  # fmt: skip


def test_only_the_largest_of_very_many_groups_are_shown(tmp_path):
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b"\n".join(line(model=f"m-{number:05d}") for number in range(10_000)))
    output = call("stats", "--file", path).stdout
    assert len(output.splitlines()) == 33
    assert "9970 more are left out; use -n 10000 to show all" in output
    assert len(json.loads(call("stats", "--file", path, "--json").stdout)["groups"]) == 10_000


# -- files that are not a request log -----------------------------------------------------------------------------------------------


def make_newer(path):
    connection = open_to_write(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()


def make_foreign(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (x)")
    connection.execute(f"PRAGMA application_id = {APPLICATION + 1}")
    connection.close()


def make_damaged(path):
    sink = database(path)
    sink.write([line()])
    sink.close()
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 8000)


BAD_FILES = {
    "missing": (lambda path: None, "there is no request log"),
    "empty": (lambda path: path.touch(), "is empty: no request has been logged yet"),
    "no request in it": (lambda path: open_to_write(path).close(), "no request has been logged"),
    "text": (lambda path: path.write_text("hello"), "neither SQLite nor lines of JSON"),
    "damaged": (make_damaged, "sets it aside"),
    "newer": (make_newer, "newer nulpoint"),
    "foreign": (make_foreign, "another program"),
    "a directory": (lambda path: path.mkdir(), "cannot be read: Is a directory"),
    "other JSON": (lambda path: path.write_text('{"a": 1}\n'), "there is no request in"),
}


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.parametrize("command", ["logs", "stats"])
def test_an_unreadable_file_is_reported_in_one_line(tmp_path, name, command):
    make, message = BAD_FILES[name]
    path = tmp_path / "requests.db"
    make(path)
    result = call(command, "--file", path)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.startswith("nulpoint: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_json_lines_are_read_from_a_file_or_standard_input(tmp_path):
    path = tmp_path / "requests.jsonl"
    text = b"\n".join([line(id="a", model="gpt-4o"), b'{"time": "cut', b"something else", line(id="b")])
    path.write_bytes(text)
    assert listed_ids(path) == ["a", "b"]
    piped = call("logs", "--file", "-", "--json", input=text)
    assert [json.loads(text)["id"] for text in piped.stdout.splitlines()] == ["a", "b"]
    assert "tail -f" in call("logs", "-f", "--file", path).stderr


@pytest.mark.parametrize("by", ["environment", "config.yaml", ".env", "nothing"])
def test_the_setting_names_the_file(tmp_path, monkeypatch, by):
    """The file is found although the rest of the configuration is missing."""
    name = "requests.db" if by == "nothing" else "other.db"
    sink = database(tmp_path / name)
    sink.write([line(id="found")])
    sink.close()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REQUEST_LOG", raising=False)
    if by == "environment":
        monkeypatch.setenv("REQUEST_LOG", "stdout,sqlite:other.db")
    elif by == "config.yaml":
        (tmp_path / "config.yaml").write_text("request_log: [stdout, 'sqlite:other.db']\n")
    elif by == ".env":
        (tmp_path / ".env").write_text("REQUEST_LOG=sqlite:other.db\n")
    result = call("logs", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["id"] == "found"


def test_an_unreadable_env_file_is_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(b"\xff")
    result = call("logs")
    assert result.exit_code == 1
    assert result.stderr == "nulpoint: .env: cannot be read: not UTF-8; name the request log with --file\n"


def test_a_log_without_a_file_is_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REQUEST_LOG", "stdout")
    result = call("stats")
    assert result.exit_code == 1
    assert "names no file" in result.stderr
