"""Tests of the supervisor: no error may end it, because without it nothing replaces workers that die."""

import logging
import os
import signal
import subprocess
import sys
import threading

import pytest

from nulpoint.app.signals import Signals
from nulpoint.app.supervisor import BackgroundTask, Supervisor, Timeouts, Worker
from nulpoint.app.worker_link import BEAT_SECONDS, START_SECONDS, SupervisorLink, WorkerLink
from nulpoint.config import ConfigSource
from nulpoint.config.last_good import LastGoodConfig, load_last_good
from nulpoint.config.settings import SETTINGS
from support.event_loop import run

ENVIRON = {"OPENAI_API_KEY": "sk-configured"}


@pytest.fixture
def new_link():
    """Return a function that makes links without workers; close them after the test."""
    links = []

    def make(now=100.0):
        links.append(WorkerLink(now))
        return links[-1]

    yield make
    for link in links:
        link.close_workers_end()
        link.close()


def test_a_full_disk_is_reported_and_the_files_are_written_later(tmp_path, caplog):
    (tmp_path / "config.yaml").write_text("max_retries: 7")
    place = ConfigSource(ENVIRON, tmp_path)
    shared = tmp_path / "shared"
    shared.write_text("no folder can be made in what is none, as none can be on a full disk")
    good = LastGoodConfig(place, place.load(), shared / "config")
    (tmp_path / "config.yaml").write_text("max_retries: many")
    for _ in range(3):
        good.check()
    assert "cannot store the last valid configuration" in caplog.text
    shared.unlink()
    shared.mkdir()
    good.check()
    found = load_last_good(place, shared / "config")
    assert found is not None
    assert found.max_retries == 7
    assert caplog.text.count("cannot store") == 1


def test_starting_a_worker_is_retried(caplog, monkeypatch, new_link):
    """Starting a worker may fail for a while, for example without memory or free process ids."""
    monkeypatch.setattr("nulpoint.app.supervisor.RESTART_SECONDS", 0.05)
    started = []

    def start():
        started.append(len(started))
        if 1 < len(started) <= 4:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        code = "" if len(started) == 1 else "import time; time.sleep(60)"
        return Worker(subprocess.Popen([sys.executable, "-c", code]), new_link())

    buried, looks = [], []

    def look():
        looks.append(None)
        if len(started) == 5:
            raise KeyboardInterrupt  # ends the test

    supervisor, signals = Supervisor(1, start, Timeouts(0.1, 0.0), look, buried.append), Signals()
    with caplog.at_level(logging.ERROR, "nulpoint"), pytest.raises(KeyboardInterrupt):
        supervisor.run(signals)
    signals.close()
    (worker,) = supervisor._workers
    assert worker.process.poll() is None
    worker.process.kill()
    worker.process.wait()
    assert len(buried) == 1
    assert "cannot start a worker: Resource temporarily unavailable" in caplog.text


def test_no_stop_signal_is_lost_among_a_thousand_reload_signals():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        signals = Signals()
        signals.handle(handlers)
        for _ in range(1000):
            os.kill(os.getpid(), signal.SIGHUP)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            os.kill(os.getpid(), number)
        text = [signals.wait(0.01) for _ in range(8)]
        assert [number for number in text if number] == [signal.SIGHUP, signal.SIGTERM, signal.SIGINT]
    finally:
        signals.close()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def beats(link, count=1):
    link.workers_end.send(b"." * count)


@pytest.mark.parametrize("timeout", [2.0, 10.0, 1000.0])
def test_a_worker_is_silent_after_the_timeout(new_link, timeout):
    link = new_link()
    beats(link, 7)
    link.listen(105.0)
    assert not link.silent_seconds(105.0 + timeout, timeout)
    assert link.silent_seconds(106.0 + timeout, timeout) == timeout + 1.0
    beats(link)
    link.listen(106.0 + timeout)
    assert not link.silent_seconds(107.0 + timeout, timeout)


def test_a_starting_worker_has_more_time(new_link):
    link = new_link()
    link.listen(100.0)
    assert not link.silent_seconds(100.0 + START_SECONDS, 2.0)
    assert link.silent_seconds(101.0 + START_SECONDS, 2.0)
    assert not link.silent_seconds(101.0 + START_SECONDS, 2 * START_SECONDS)
    link.reset(101.0 + START_SECONDS)
    assert not link.silent_seconds(102.0 + START_SECONDS, 2.0)


def test_an_ended_worker_counts_as_silent(new_link):
    link = new_link(0.0)
    beats(link)
    link.close_workers_end()
    link.listen(1.0)
    link.listen(2.0)
    assert link.silent_seconds(20.0, 10.0) == 19.0


def test_a_supervisor_that_does_not_read_blocks_no_worker(new_link):
    """After a while the sockets are full, and further heartbeats are not needed."""

    async def main():
        link = new_link(0.0)
        worker = SupervisorLink(link.workers_end.detach())
        for _ in range(10_000):
            worker.send_heartbeats()
            worker.stop()
        link.listen(5.0)
        assert not link.silent_seconds(5.0, 1.0)
        worker.send_heartbeats()
        link.listen(8.0)
        assert not link.silent_seconds(8.0, 1.0)
        worker.stop()
        worker._socket.close()

    run(main())


class Process:
    pid, returncode = 4711, None

    def __init__(self):
        self.kills = 0

    def poll(self):
        return self.returncode

    def kill(self):
        self.kills += 1


def supervised(new_link, timeout, count=2):
    supervisor = Supervisor(count, lambda: None, Timeouts(1.0, timeout), lambda: None, lambda pid: None)
    supervisor._checked = 100.0
    supervisor._workers = [Worker(Process(), new_link()) for _ in range(count)]
    for worker in supervisor._workers:
        beats(worker.link)
    supervisor._kill_unresponsive(100.0)
    return supervisor, supervisor._workers


def test_only_the_silent_worker_is_killed(new_link):
    supervisor, (talks, silent) = supervised(new_link, 10.0)
    for step in range(1, 60):
        beats(talks.link)
        supervisor._kill_unresponsive(100.0 + step / 5)
    assert (talks.process.kills, silent.process.kills) == (0, 1)


def test_without_a_timeout_no_worker_is_killed(new_link):
    supervisor, workers = supervised(new_link, 0.0)
    for step in range(10_000):
        supervisor._kill_unresponsive(100.0 + step)
    assert [worker.process.kills for worker in workers] == [0, 0]


def test_workers_get_a_new_timeout_after_a_pause_of_the_supervisor(new_link):
    supervisor, workers = supervised(new_link, 10.0)
    supervisor._kill_unresponsive(100.0 + 3600)
    for step in range(50):
        supervisor._kill_unresponsive(3700.0 + step / 5)
    assert [worker.process.kills for worker in workers] == [0, 0]
    supervisor._kill_unresponsive(3710.5)
    assert [worker.process.kills for worker in workers] == [1, 1]


def test_heartbeats_are_more_frequent_than_the_shortest_timeout():
    (setting,) = (one for one in SETTINGS if one.name == "WORKER_TIMEOUT")
    for text in ("1s", "1999ms", "1ns"):
        with pytest.raises(ValueError, match="at least 2s"):
            setting.reader(text)
    assert [setting.reader(text) for text in ("0", "0s", "2s", "1h")] == [0, 0, 2, 3600]
    assert 3 * BEAT_SECONDS < 2


def test_background_checks_run_one_at_a_time_and_block_nothing():
    """A check may hang, for example on a file system."""
    released, begun = threading.Event(), []

    def look():
        begun.append(threading.current_thread())
        released.wait()

    in_background = BackgroundTask(look)
    for _ in range(100):
        in_background()
    released.set()
    begun[0].join()
    assert begun[0].daemon
    in_background()
    begun[-1].join()
    assert len(begun) == 2
