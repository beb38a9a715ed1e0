"""What the supervisor of several workers does must not end it: without it nobody replaces those that die."""

import logging
import os
import signal
import subprocess
import sys

import pytest

from nulpoint.config import Place
from nulpoint.config.last_good import LastGood, load_last_good
from nulpoint.workers import Supervisor, _Signals

ENVIRON = {"OPENAI_API_KEY": "sk-configured"}


def test_a_full_disk_is_told_and_the_files_are_written_when_there_is_room(tmp_path, caplog):
    (tmp_path / "config.yaml").write_text("max_retries: 7")
    place = Place(ENVIRON, tmp_path)
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


def test_a_worker_that_cannot_be_started_is_tried_again(caplog, monkeypatch):
    """As where no process may be made for a while, or no memory is left for one."""
    monkeypatch.setattr("nulpoint.workers.RESTART_SECONDS", 0.05)
    started = []

    def start():
        started.append(len(started))
        if 1 < len(started) <= 4:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        code = "" if len(started) == 1 else "import time; time.sleep(60)"
        return subprocess.Popen([sys.executable, "-c", code])

    buried, looks = [], []

    def look():
        looks.append(None)
        if len(started) == 5:
            raise KeyboardInterrupt  # the test is over

    supervisor = Supervisor(1, start, 0.1, look, buried.append)
    with caplog.at_level(logging.ERROR, "nulpoint"), pytest.raises(KeyboardInterrupt):
        supervisor.run()
    (worker,) = supervisor._workers
    assert worker.poll() is None
    worker.kill()
    worker.wait()
    assert len(buried) == 1
    assert "a worker cannot be started: Resource temporarily unavailable" in caplog.text


def test_none_to_stop_is_lost_among_a_thousand_to_reload():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        with _Signals() as signals:
            for _ in range(1000):
                os.kill(os.getpid(), signal.SIGHUP)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                os.kill(os.getpid(), number)
            told = [signals.wait(0.01) for _ in range(8)]
        assert [number for number in told if number] == [signal.SIGHUP, signal.SIGTERM, signal.SIGINT]
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
