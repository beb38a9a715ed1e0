"""What the supervisor of several workers does must not end it: without it nobody replaces those that die."""

import logging
import os
import signal
import subprocess
import sys
import threading

import pytest

from nulpoint.app.signals import Signals
from nulpoint.app.supervisor import InBackground, Supervisor, Times, Worker
from nulpoint.app.worker_link import BEAT_SECONDS, START_SECONDS, SupervisorLink, WorkerLink
from nulpoint.config import ConfigSource
from nulpoint.config.last_good import LastGood, load_last_good
from nulpoint.config.settings import SETTINGS
from support.event_loop import run

ENVIRON = {"OPENAI_API_KEY": "sk-configured"}


@pytest.fixture
def new_link():
    """Makes links to workers that are not there; closes them."""
    links = []

    def make(now=100.0):
        links.append(WorkerLink(now))
        return links[-1]

    yield make
    for link in links:
        link.close_workers_end()
        link.close()


def test_a_full_disk_is_told_and_the_files_are_written_when_there_is_room(tmp_path, caplog):
    (tmp_path / "config.yaml").write_text("max_retries: 7")
    place = ConfigSource(ENVIRON, tmp_path)
    shared = tmp_path / "shared"
    shared.write_text("no folder can be made in what is none, as none can be on a full disk")
    good = LastGood(place, place.load(), shared / "config")
    (tmp_path / "config.yaml").write_text("max_retries: many")
    for _ in range(3):
        good.look()
    assert "the last good configuration cannot be kept" in caplog.text
    shared.unlink()
    shared.mkdir()
    good.look()
    found = load_last_good(place, shared / "config")
    assert found is not None
    assert found.max_retries == 7
    assert caplog.text.count("cannot be kept") == 1


def test_a_worker_that_cannot_be_started_is_tried_again(caplog, monkeypatch, new_link):
    """As where no process may be made for a while, or no memory is left for one."""
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
            raise KeyboardInterrupt  # the test is over

    supervisor, signals = Supervisor(1, start, Times(0.1, 0.0), look, buried.append), Signals()
    with caplog.at_level(logging.ERROR, "nulpoint"), pytest.raises(KeyboardInterrupt):
        supervisor.run(signals)
    signals.close()
    (worker,) = supervisor._workers
    assert worker.process.poll() is None
    worker.process.kill()
    worker.process.wait()
    assert len(buried) == 1
    assert "a worker cannot be started: Resource temporarily unavailable" in caplog.text


def test_none_to_stop_is_lost_among_a_thousand_to_reload():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        signals = Signals()
        signals.handle(handlers)
        for _ in range(1000):
            os.kill(os.getpid(), signal.SIGHUP)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            os.kill(os.getpid(), number)
        told = [signals.wait(0.01) for _ in range(8)]
        assert [number for number in told if number] == [signal.SIGHUP, signal.SIGTERM, signal.SIGINT]
    finally:
        signals.close()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def beats(link, count=1):
    link.workers_end.send(b"." * count)


@pytest.mark.parametrize("timeout", [2.0, 10.0, 1000.0])
def test_a_worker_is_silent_when_it_was_not_heard_for_longer_than_the_timeout(new_link, timeout):
    link = new_link()
    beats(link, 7)
    link.listen(105.0)
    assert not link.silent_seconds(105.0 + timeout, timeout)
    assert link.silent_seconds(106.0 + timeout, timeout) == timeout + 1.0
    beats(link)
    link.listen(106.0 + timeout)
    assert not link.silent_seconds(107.0 + timeout, timeout)


def test_a_worker_that_starts_has_more_time(new_link):
    link = new_link()
    link.listen(100.0)
    assert not link.silent_seconds(100.0 + START_SECONDS, 2.0)
    assert link.silent_seconds(101.0 + START_SECONDS, 2.0)
    assert not link.silent_seconds(101.0 + START_SECONDS, 2 * START_SECONDS)
    link.excuse(101.0 + START_SECONDS)
    assert not link.silent_seconds(102.0 + START_SECONDS, 2.0)


def test_a_worker_that_has_ended_is_just_silent(new_link):
    link = new_link(0.0)
    beats(link)
    link.close_workers_end()
    link.listen(1.0)
    link.listen(2.0)
    assert link.silent_seconds(20.0, 10.0) == 19.0


def test_a_supervisor_that_reads_nothing_holds_up_no_worker(new_link):
    """The pair of sockets is full after a while; what is written then is not needed."""

    async def main():
        link = new_link(0.0)
        worker = SupervisorLink(link.workers_end.detach())
        for _ in range(10_000):
            worker.beat()
            worker.stop()
        link.listen(5.0)
        assert not link.silent_seconds(5.0, 1.0)
        worker.beat()
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
    supervisor = Supervisor(count, lambda: None, Times(1.0, timeout), lambda: None, lambda pid: None)
    supervisor._checked = 100.0
    supervisor._workers = [Worker(Process(), new_link()) for _ in range(count)]
    for worker in supervisor._workers:
        beats(worker.redis)
    supervisor._kill_the_silent(100.0)
    return supervisor, supervisor._workers


def test_the_silent_one_is_killed_and_no_other(new_link):
    supervisor, (talks, silent) = supervised(new_link, 10.0)
    for step in range(1, 60):
        beats(talks.redis)
        supervisor._kill_the_silent(100.0 + step / 5)
    assert (talks.process.kills, silent.process.kills) == (0, 1)


def test_turned_off_nobody_is_killed(new_link):
    supervisor, workers = supervised(new_link, 0.0)
    for step in range(10_000):
        supervisor._kill_the_silent(100.0 + step)
    assert [worker.process.kills for worker in workers] == [0, 0]


def test_after_a_gap_of_its_own_the_supervisor_gives_all_of_them_their_whole_time_again(new_link):
    supervisor, workers = supervised(new_link, 10.0)
    supervisor._kill_the_silent(100.0 + 3600)
    for step in range(50):
        supervisor._kill_the_silent(3700.0 + step / 5)
    assert [worker.process.kills for worker in workers] == [0, 0]
    supervisor._kill_the_silent(3710.5)
    assert [worker.process.kills for worker in workers] == [1, 1]


def test_beats_come_more_often_than_the_shortest_timeout():
    (setting,) = (one for one in SETTINGS if one.name == "WORKER_TIMEOUT")
    for text in ("1s", "1999ms", "1ns"):
        with pytest.raises(ValueError, match="2s and more"):
            setting.reader(text)
    assert [setting.reader(text) for text in ("0", "0s", "2s", "1h")] == [0, 0, 2, 3600]
    assert 3 * BEAT_SECONDS < 2


def test_looks_go_on_one_at_a_time_and_hold_up_nobody():
    """As on a file system that hangs."""
    released, begun = threading.Event(), []

    def look():
        begun.append(threading.current_thread())
        released.wait()

    in_background = InBackground(look)
    for _ in range(100):
        in_background()
    released.set()
    begun[0].join()
    assert begun[0].daemon
    in_background()
    begun[-1].join()
    assert len(begun) == 2
