"""Tests that new requests are rejected before the kernel would kill the process."""

import pytest

from nulpoint.proxy.admission.memory_monitor import INTERVAL, MemoryMonitor


@pytest.mark.parametrize(
    ("current", "most"),
    [("memory.current", "memory.max"), ("memory/memory.usage_in_bytes", "memory/memory.limit_in_bytes")],
)
def test_full_from_95_per_cent_of_the_limit_on(tmp_path, current, most):
    (tmp_path / "memory").mkdir()
    (tmp_path / most).write_text("1000\n")
    watch = MemoryMonitor(tmp_path)
    seen = []
    for step, used in enumerate((949, 950, 1000, 100)):
        (tmp_path / current).write_text(f"{used}\n")
        watch.sample(step * INTERVAL)
        seen.append(watch.full)
    assert seen == [False, True, True, False]


def test_it_looks_only_now_and_then(tmp_path):
    (tmp_path / "memory.max").write_text("1000")
    (tmp_path / "memory.current").write_text("10")
    watch = MemoryMonitor(tmp_path)
    watch.sample(1.0)
    (tmp_path / "memory.current").write_text("999")
    watch.sample(1.0 + INTERVAL / 2)
    assert not watch.full
    watch.sample(1.0 + INTERVAL)
    assert watch.full


@pytest.mark.parametrize("limit", ["max", "9223372036854771712", ""])
def test_without_a_limit_nothing_is_ever_full(tmp_path, limit):
    (tmp_path / "memory.max").write_text(limit)
    (tmp_path / "memory.current").write_text("10")
    watch = MemoryMonitor(tmp_path)
    watch.sample(1.0)
    assert not watch.full
    MemoryMonitor(tmp_path / "nowhere").sample(1.0)


def test_a_file_that_goes_away_is_no_reason_to_refuse(tmp_path):
    (tmp_path / "memory.max").write_text("1000")
    (tmp_path / "memory.current").write_text("999")
    watch = MemoryMonitor(tmp_path)
    (tmp_path / "memory.current").unlink()
    watch.sample(1.0)
    assert not watch.full
