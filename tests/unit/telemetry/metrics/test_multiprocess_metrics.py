"""Tests that the metrics of several workers add up, whichever worker serves the page and whichever has exited."""

import contextlib
import os
import threading

import msgspec
import pytest

from nulpoint.telemetry.metrics.definitions import Buckets, MetricValues, merge
from nulpoint.telemetry.metrics.metrics import Metrics
from nulpoint.telemetry.metrics.multiprocess import WorkerSnapshots, absorb_exited_worker
from support.metrics_page import record, samples


def by_another_worker(directory, pid, numbers):
    fresh = directory / f"{pid}-aa.new"
    fresh.write_bytes(msgspec.msgpack.encode(numbers))
    fresh.replace(fresh.with_suffix(".snapshot"))


def test_every_worker_reports_the_sum(tmp_path):
    workers = [Metrics("1", tmp_path) for _ in range(3)]
    for worker in workers:
        worker.request_finished(record(provider="openai", total_us=20_000))
        worker.set_inflight(2)
        worker.publish()
    assert workers[0].page() == workers[1].page() == workers[2].page()
    assert samples(workers[0].page(), "gateway_requests_total") == {("", "openai", "200"): 3}
    assert samples(workers[0].page(), "gateway_inflight_requests") == {("",): 6}
    assert samples(workers[0].page(), "gateway_build_info") == {("", "1"): 1}


def test_the_worst_breaker_state_of_all_workers_counts(tmp_path):
    one, other = Metrics("1", tmp_path), Metrics("1", tmp_path)
    one.set_breakers({"openai": 1, "groq": 1, "mistral": 0})
    other.set_breakers({"openai": 2, "groq": 0, "gemini": 0})
    other.publish()
    by_another_worker(
        tmp_path, 999999999, MetricValues(breakers={("mistral",): 2}, health={("mistral",): 0})
    )  # this worker has exited
    shown = samples(one.page(), "circuit_breaker_state")
    assert shown == {("", "openai"): 2, ("", "groq"): 1, ("", "mistral"): 0, ("", "gemini"): 0}
    shown = samples(one.page(), "gateway_provider_health")
    assert shown == {("", "openai"): 0, ("", "groq"): 0, ("", "mistral"): 1, ("", "gemini"): 1}


def test_a_counter_never_decreases(tmp_path):
    """Prometheus takes a counter that decreases for one that was reset, and would count everything again."""
    dying, other = Metrics("1", tmp_path), Metrics("1", tmp_path)
    dying.publish()
    dying.request_finished(record(provider="openai"))
    assert samples(dying.page(), "gateway_requests_total") == {("", "openai", "200"): 1}
    del dying  # the worker exits without publishing again
    assert samples(other.page(), "gateway_requests_total") == {("", "openai", "200"): 1}


def test_exited_workers_are_counted_once_in_one_file(tmp_path):
    living = Metrics("1", tmp_path)
    living.set_inflight(0)
    for _ in range(50):
        by_another_worker(tmp_path, 999999999, MetricValues(http={("chat", "200"): 2}, inflight={(): 7}))
        absorb_exited_worker(tmp_path, 999999999)
        by_another_worker(tmp_path, 999999999, MetricValues())  # another worker with the same process id
        absorb_exited_worker(tmp_path, 999999999)
    assert samples(living.page(), "gateway_http_requests_total") == {("", "chat", "200"): 100}
    assert samples(living.page(), "gateway_inflight_requests") == {("",): 0}
    assert len(list(tmp_path.iterdir())) == 2


def test_an_exited_worker_is_counted_once_while_it_is_absorbed(tmp_path):
    snapshots, seen, ended = WorkerSnapshots(tmp_path), [], threading.Event()

    def look():
        while not ended.is_set():
            with contextlib.suppress(OSError):  # it gives up; workers do not exit that often in practice
                seen.append(snapshots.sum_of_others().http.get(("a", "b"), 0))

    looking = threading.Thread(target=look)
    looking.start()
    for number in range(300):
        by_another_worker(tmp_path, 900_000_000 + number, MetricValues(http={("a", "b"): 1}))
        absorb_exited_worker(tmp_path, 900_000_000 + number)
    ended.set()
    looking.join()
    assert seen == sorted(seen)
    assert snapshots.sum_of_others().http == {("a", "b"): 300}


def test_without_the_directory_there_is_no_page(tmp_path):
    metrics = Metrics("1", tmp_path / "gone")
    with pytest.raises(OSError):
        metrics.page()


def test_merging_is_addition():
    total = MetricValues()
    for _ in range(3):
        merge(total, MetricValues(http={("a",): 2}, http_seconds={("a",): Buckets([1, 2], 0.5)}))
    assert total.http == {("a",): 6}
    assert total.http_seconds == {("a",): Buckets([3, 6], 1.5)}


def test_an_unfinished_snapshot_is_removed(tmp_path):
    (tmp_path / f"{os.getpid()}-aa.new").write_bytes(b"half")
    absorb_exited_worker(tmp_path, os.getpid())
    assert list(tmp_path.iterdir()) == []
