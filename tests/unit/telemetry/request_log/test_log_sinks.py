"""Tests the log sinks: rotation, retention, full disks, and files that are removed or damaged."""

import contextlib
import itertools
import json
import logging
import os
import sqlite3
import stat
import subprocess
import sys
import time
from datetime import timedelta

import msgspec
import pytest

from nulpoint.conversation.usage import Usage
from nulpoint.telemetry.request_log import writer
from nulpoint.telemetry.request_log.files import DescriptorSink, FileSink, write_lines
from nulpoint.telemetry.request_log.record import AttemptRecord, RequestRecord
from nulpoint.telemetry.request_log.sqlite_schema import APPLICATION, COLUMNS, SCHEMA, open_to_write
from nulpoint.telemetry.request_log.writer import LogWriter, SinkError, weight
from nulpoint.telemetry.wall_clock import TOLERANCE
from support.paths import TESTS
from support.request_log_files import DAY, WHEN, Clock, database, lines, record, rows

# -- lines -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize("accepted", range(25))
def test_a_partial_write_loses_no_line(monkeypatch, goes_on, accepted):
    """Some bytes are written, then the disk is full, then there is room again."""
    written, room = bytearray(), [accepted]

    def write(_, data):
        if room[0] == 0:
            raise OSError(28, "No space left on device")
        count = min(len(data), room[0], 7)
        room[0] -= count
        written.extend(data[:count])
        return count

    waiting = [b"first", b"second", b"third line"]
    monkeypatch.setattr(os, "write", write)
    whole = sum(len(line) + 1 for line in waiting)
    with pytest.raises(SinkError, match="No space left") if accepted < whole else contextlib.nullcontext():
        write_lines(1, waiting, 4096, resume=goes_on)
    room[0] = 1000
    write_lines(1, waiting, 4096, resume=goes_on)
    assert waiting == []
    found = bytes(written).splitlines()
    if goes_on:
        assert found == [b"first", b"second", b"third line"]
    else:  # the partial line is there too
        assert [line for line in found if line in (b"first", b"second", b"third line")][-1] == b"third line"
        assert {b"first", b"second", b"third line"} <= set(found)


def test_a_file_is_rotated_and_the_oldest_removed(tmp_path):
    path, clock = tmp_path / "requests.jsonl", Clock()
    sink = FileSink(path, max_bytes=200, keep=2, retention=DAY, clock=clock.calendar())
    for number in range(6):
        sink.write([b"%d" % number * 150])
        sink.write([b"%d" % number * 100])
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name, f"{path.name}.1", f"{path.name}.2"]
    assert path.read_bytes()[:1] == b"5"
    assert (tmp_path / f"{path.name}.1").read_bytes()[:1] == b"4"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for number in (1, 2):
        os.utime(tmp_path / f"{path.name}.{number}", (clock.wall, clock.wall - number * 0.6 * DAY))
    sink.maintain()
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name, f"{path.name}.1"]
    sink.close()


def test_workers_rotate_a_file_once(tmp_path):
    path = tmp_path / "requests.jsonl"
    sinks = [FileSink(path, 1000, 3, 0.0, Clock().calendar()) for _ in range(3)]
    for sink, number in itertools.product(sinks, range(5)):
        sink.write([b"%03d" % number * 33])
    files = sorted(one.name for one in tmp_path.iterdir())
    assert files == [path.name, f"{path.name}.1"]
    assert sum(len((tmp_path / name).read_bytes().splitlines()) for name in files) == 15
    for sink in sinks:
        sink.close()


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_a_file_that_was_moved_is_created_again(tmp_path, how):
    path = tmp_path / "requests.jsonl"
    sink = FileSink(path, 1000, 3, 0.0, Clock().calendar())
    sink.write([b"one"])
    path.unlink() if how == "removed" else path.rename(tmp_path / "elsewhere")
    sink.write([b"two"])
    assert path.read_bytes() == b"two\n"
    sink.close()


# -- SQLite ------------------------------------------------------------------------------------------------------------


def test_every_field_of_a_record_has_its_column(tmp_path):
    path = tmp_path / "requests.db"
    whole = record(
        id="a", model="m", provider="openai", answered_model="m-1", stream=True, first_byte_us=1, total_us=2, added_us=3,
        usage=Usage(4, 5, 6, 7, 8, 9), coalesced=True, cache="HIT", limit="allowed", bytes_in=10, bytes_out=11,
        key="abc", cost=0.1, saved=0.2, first_token_us=12, error="timeout", code="c", message="é\n\"'",
        attempts=[AttemptRecord("openai", "m", "ok", 1, "", 2)], request_body="{}", response_body="[]",
    )  # fmt: skip
    sink = database(path)
    sink.write([msgspec.json.encode(whole), msgspec.json.encode(record(id="b"))])
    sink.close()
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    full, bare = map(dict, connection.execute("SELECT * FROM requests"))
    connection.close()
    assert set(full) == {"number", *(column.name for column in COLUMNS)}
    fields = set(RequestRecord.__struct_fields__) - {"usage"} | set(Usage.__struct_fields__)
    assert set(full) - {"number"} == fields
    assert json.loads(full.pop("attempts")) == [{"provider": "openai", "model": "m", "outcome": "ok", "ms": 1, "at": 2}]
    assert full == {
        "number": 1, "time": "2026-11-26T14:00:00.000Z", "level": "info", "id": "a", "route": "chat", "method": "POST",
        "status": 200, "model": "m", "provider": "openai", "answered_model": "m-1", "stream": 1, "first_byte_us": 1,
        "total_us": 2, "added_us": 3, "prompt": 4, "completion": 5, "cached": 6, "reasoning": 7, "written": 8,
        "written_1h": 9, "coalesced": 1, "cache": "HIT", "limit": "allowed", "bytes_in": 10, "bytes_out": 11,
        "key": "abc", "cost": 0.1, "saved": 0.2, "first_token_us": 12, "error": "timeout", "code": "c",
        "message": "é\n\"'", "request_body": "{}", "response_body": "[]",
    }  # fmt: skip
    assert {name for name, value in bare.items() if value is not None} == {
        "number", "time", "level", "id", "route", "method", "status", "stream", "total_us", "added_us", "coalesced",
        "bytes_in", "bytes_out",
    }  # fmt: skip


@pytest.mark.parametrize("microsecond", [0, 1000, 999_000, 123_456])
def test_times_sort_as_text(tmp_path, microsecond):
    sink = database(tmp_path / "x.db")
    sink.write(lines("a", time=WHEN.replace(microsecond=microsecond)))
    sink.close()
    assert rows(tmp_path / "x.db", "time") == [f"2026-11-26T14:00:00.{microsecond // 1000:03d}Z"]


def test_old_records_are_removed_and_the_file_shrinks(tmp_path):
    path, clock = tmp_path / "requests.db", Clock()
    sink = database(path, clock, retention=DAY)
    sink.write(lines(*map(str, range(3000)), time=WHEN - timedelta(days=2), message="x" * 500))
    sink.write(lines("new", time=WHEN))
    pages = sqlite3.connect(path)
    before = pages.execute("PRAGMA page_count").fetchone()[0]
    clock.pass_by(61)
    sink.maintain()
    assert rows(path) == ["new"]
    assert pages.execute("PRAGMA page_count").fetchone()[0] < before / 2
    pages.close()
    sink.close()


@pytest.mark.parametrize("jump", [-10 * 365 * DAY, 10 * 365 * DAY])
def test_nothing_is_removed_after_a_clock_jump(tmp_path, jump, caplog):
    path, clock = tmp_path / "requests.db", Clock()
    sink = database(path, clock, retention=DAY)
    sink.write(lines("kept", time=WHEN - timedelta(hours=1)))
    clock.wall += jump
    for _ in range(3):
        clock.pass_by(61)
        sink.maintain()
    assert rows(path) == ["kept"]
    assert sum("the clock has jumped" in one.message for one in caplog.records) == 1
    clock.wall -= jump
    clock.pass_by(DAY)
    sink.maintain()
    assert rows(path) == []
    sink.close()


def test_what_counts_as_a_jump():
    clock = Clock()
    calendar = clock.calendar()
    clock.pass_by(400 * DAY)
    assert calendar.now() == clock.wall
    clock.wall += TOLERANCE + 1
    assert calendar.now() is None


def test_a_file_removed_while_in_use(tmp_path, caplog):
    path = tmp_path / "requests.db"
    sink = database(path)
    sink.write(lines("lost with the file"))
    path.unlink()
    sink.write(lines("a", "b"))
    assert rows(path) == ["a", "b"]
    assert "was removed or replaced" in caplog.text
    sink.close()


def test_workers_do_not_remove_each_other_s_new_file(tmp_path):
    """All workers close the removed file before one of them creates a new one."""
    path = tmp_path / "requests.db"
    one, other = database(path), database(path)
    one.write(lines("lost"))
    other.write(lines("lost too"))
    path.unlink()
    for _ in range(3):  # however long it takes
        with pytest.raises(SinkError, match="all workers have closed"):
            one.write(lines("x"))
    assert not path.exists()
    other.maintain()  # which notices that the file is gone
    for number, sink in enumerate((one, other, one, other)):
        sink.write(lines(str(number)))
    one.close()
    assert path.with_name("requests.db-wal").exists()
    other.close()
    assert rows(path) == ["0", "1", "2", "3"]


DAMAGE = {
    "header": lambda data: b"garbage!" + data[8:],
    "schema page": lambda data: data[:100] + b"\xff" * 3996 + data[4096:],
    "all zero": lambda data: bytes(len(data)),
    "text": lambda data: b"this was never a database, but it is long enough to look at\n" * 100,
}


def asides(folder):
    return [one for one in folder.iterdir() if "damaged" in one.name and one.name.endswith("Z")]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_renamed(tmp_path, damage):
    path = tmp_path / "requests.db"
    sink = database(path)
    sink.write(lines(*map(str, range(500)), message="y" * 100))
    sink.close()
    damaged = DAMAGE[damage](path.read_bytes())
    path.write_bytes(damaged)
    waiting = lines("after")
    with pytest.raises(SinkError, match=r"renamed to requests\.db\.damaged-"):
        sink.write(waiting)
    sink.write(waiting)
    assert [one.read_bytes() for one in asides(tmp_path)] == [damaged]
    assert rows(path) == ["after"]
    sink.close()


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_while_in_use_is_noticed_within_a_minute(tmp_path, damage):
    path, clock = tmp_path / "requests.db", Clock()
    sink = database(path, clock)
    sink.write(lines(*map(str, range(500)), message="y" * 100))
    sink._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    clock.pass_by(61)
    with pytest.raises(SinkError, match="renamed"):
        sink.maintain()
    sink.write(lines("after"))
    assert len(asides(tmp_path)) == 1
    assert rows(path) == ["after"]
    sink.close()


def test_only_one_of_two_workers_renames_a_damaged_file(tmp_path):
    path = tmp_path / "requests.db"
    clock = Clock()
    one, other = database(path, clock), database(path, clock)
    one.write(lines("a"))
    other.write(lines("b"))
    one._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path.write_bytes(b"garbage!" * 2000)
    clock.pass_by(61)
    for sink in (one, other):
        with contextlib.suppress(SinkError):
            sink.maintain()
    waiting = lines("c"), lines("d")
    for _ in range(3):
        for sink, some in zip((one, other), waiting, strict=True):
            if some:
                with contextlib.suppress(SinkError):
                    sink.write(some)
    assert len(asides(tmp_path)) == 1
    assert sorted(rows(path)) == ["c", "d"]
    one.close()
    other.close()


def test_an_older_file_gets_the_columns_it_lacks(tmp_path):
    path = tmp_path / "requests.db"
    sink = database(path)
    sink.write(lines("old"))
    sink.close()
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE requests DROP COLUMN saved")
    connection.execute("ALTER TABLE requests ADD COLUMN of_a_newer_version TEXT")
    connection.close()
    sink = database(path)
    sink.write(lines("new", saved=0.5))
    sink.close()
    assert rows(path, "id, saved") == [("old", None), ("new", 0.5)]


@pytest.mark.parametrize(
    ("pragma", "why"),
    [(f"user_version = {SCHEMA + 1}", "newer nulpoint"), (f"application_id = {APPLICATION + 1}", "another program")],
)
def test_a_file_of_another_program_is_left_alone(tmp_path, pragma, why):
    path = tmp_path / "requests.db"
    connection = open_to_write(path)
    connection.execute(f"PRAGMA {pragma}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(SinkError, match=why):
        database(path).write(lines("a"))
    assert path.read_bytes() == before


def test_workers_write_one_file_together(tmp_path):
    path = tmp_path / "requests.db"
    program = (
        "import sys; sys.path[:0] = sys.argv[3:]; from support.request_log_files import database, lines; from pathlib import Path\n"
        "sink = database(Path(sys.argv[1]))\n"
        "for batch in range(20): sink.write(lines(*(f'{sys.argv[2]}-{batch}-{n}' for n in range(25))))\n"
        "sink.close()"
    )
    here = [str(TESTS), *sys.path]
    command = [sys.executable, "-c", program, str(path)]
    running = [subprocess.Popen([*command, name, *here], stderr=subprocess.PIPE) for name in "abc"]
    for one in running:
        assert one.wait(60) == 0, one.stderr.read()
        one.stderr.close()
    assert sorted(rows(path)) == sorted(
        f"{name}-{batch}-{n}" for name in "abc" for batch in range(20) for n in range(25)
    )


# -- the writer --------------------------------------------------------------------------------------------------------


class Faulty:
    """A sink that fails while `failing` is set."""

    name = "faulty"

    def __init__(self):
        self.broken = True
        self.written = []
        self.closed = False

    def write(self, lines):
        if self.broken:
            raise SinkError("disk full")
        self.written += lines
        lines.clear()

    def maintain(self): ...

    def close(self):
        self.closed = True


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_waiting_records_are_limited_and_written_later(monkeypatch, caplog):
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.02)
    sink, dropped = Faulty(), []
    log_writer = LogWriter(sink, 100, lambda: dropped.append(1))
    for number in range(50):
        log_writer.enqueue([b"%d" % (10 * number + one) for one in range(10)])
    wait_for(lambda: log_writer.error)
    assert len(dropped) == 400
    assert log_writer.health() == {
        "sink": "faulty", "status": "failing", "error": "disk full", "waiting": 100, "dropped": 400,
    }  # fmt: skip
    time.sleep(0.1)
    sink.broken = False
    wait_for(lambda: not log_writer.error and log_writer.health()["waiting"] == 0)
    assert sink.written == [b"%d" % number for number in range(100)]
    said = [(one.levelno, one.getMessage()) for one in caplog.records]
    assert (
        said
        == [
            (logging.ERROR, "the request log faulty cannot be written: disk full"),
            (logging.WARNING, "the request log faulty can be written again; 400 records were dropped"),
        ][: len(said)]
    )
    assert len(said) == 2
    log_writer.stop()
    log_writer.join(2.0)
    assert sink.closed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_stopped_by_a_bug_is_reported():
    sink = Faulty()
    sink.write = None
    writer = LogWriter(sink, 100, lambda: None)
    writer.enqueue([b"x"])
    wait_for(lambda: writer.error)
    assert writer.health()["status"] == "failing"
    assert "bug" in writer.health()["error"]


def test_long_records_take_more_of_the_queue():
    sink = Faulty()
    dropped = []
    writer = LogWriter(sink, 100, lambda: dropped.append(1))
    writer.enqueue([b"x" * 40_000] * 20)
    assert weight(b"x" * 40_000) == 10
    assert len(dropped) == 10
    writer.stop()
    writer.join(2.0)
    assert len(dropped) == 20  # records that could not be written at the end were dropped too


def test_stopping_does_not_wait_for_a_blocked_sink():
    reading, writing = os.pipe()
    writer = LogWriter(DescriptorSink(writing, shared=False), 100_000, lambda: None)
    writer.enqueue([b"x" * 1000] * 1000)
    began = time.monotonic()
    writer.stop()
    writer.join(0.2)
    assert time.monotonic() - began < 10
    os.close(reading)  # lets the thread end
    writer.join(2.0)
    os.close(writing)
