"""The request log never blocks and never grows; strands end as they should."""

import asyncio
import json
import os
import resource
from datetime import UTC, datetime

import pytest

from nulpoint.http.coroutine_runner import CoroutineRunner, RequestCancelled, WakeEvent
from nulpoint.telemetry.request_log.files import ATOMIC_BYTES, DescriptorSink
from nulpoint.telemetry.request_log.record import RequestRecord
from nulpoint.telemetry.request_log.request_log import RequestLog
from support.event_loop import run, until


def record(**fields):
    known = {"time": datetime.now(UTC), "level": "info", "id": "i", "route": "chat", "method": "POST", "status": 200}
    return RequestRecord(**{**known, **fields})


def test_a_blocked_pipe_blocks_nobody_and_drops_are_counted():
    async def main():
        reading, writing = os.pipe()
        dropped = []
        log = RequestLog([DescriptorSink(writing, shared=False)], "info", 1000, lambda: dropped.append(1))
        for _ in range(20):
            for number in range(500):
                log.put(record(id=f"{number:0200d}"))
            await asyncio.sleep(0.02)
        assert len(dropped) >= 8000
        os.set_blocking(reading, False)
        received = b""
        for _ in range(100):
            try:
                received += os.read(reading, 1 << 20)
            except BlockingIOError:
                await asyncio.sleep(0.01)
        log.close(1.0)
        os.close(writing)
        lines = received.splitlines()
        assert len(lines) + len(dropped) == 10_000
        assert all(json.loads(line)["route"] == "chat" for line in lines)
        os.close(reading)

    run(main())


def test_lines_leave_in_pieces_a_pipe_takes_whole(monkeypatch):
    pieces = []

    def write(fd, data):
        pieces.append(bytes(data))
        return len(data)

    async def main():
        log = RequestLog([DescriptorSink(1, shared=True)], "info", 1000, lambda: None)
        for _ in range(100):
            log.put(record())
        monkeypatch.setattr(os, "write", write)
        log.close(1.0)
        monkeypatch.undo()

    run(main())
    assert all(len(piece) <= ATOMIC_BYTES and piece.endswith(b"\n") for piece in pieces)
    assert sum(piece.count(b"\n") for piece in pieces) == 100


def test_a_full_disk_is_said_once_and_survived(caplog):
    async def main():
        full, dropped = os.open("/dev/full", os.O_WRONLY), []
        log = RequestLog([DescriptorSink(full, shared=False)], "info", 1000, lambda: dropped.append(1))
        for _ in range(3):
            log.put(record())
            log._flush()
        await until(lambda: log.failing)
        log.close(1.0)
        os.close(full)
        assert len(dropped) == 3

    run(main())
    assert caplog.text.count("cannot be written") == 1


def test_a_flood_of_records_takes_no_more_memory_than_the_queue():
    """None of them can be written; long ones count as several."""

    async def main():
        reading, writing = os.pipe()
        dropped = []
        log = RequestLog([DescriptorSink(writing, shared=False)], "info", 500, lambda: dropped.append(1))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(30):
            for _ in range(1000):
                log.put(record(message="x" * 40_000))
            await asyncio.sleep(0.01)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
        assert len(dropped) >= 29_000
        assert grown < 30_000, grown
        log.close(0.1)
        os.close(reading)
        await asyncio.sleep(0.1)
        os.close(writing)

    run(main())


@pytest.mark.parametrize(("level", "lines"), [("debug", 3), ("info", 3), ("warn", 2), ("error", 1)])
def test_levels(level, lines):
    async def main():
        reading, writing = os.pipe()
        log = RequestLog([DescriptorSink(writing, shared=False)], level, 10, lambda: None)
        for one in ("info", "warn", "error"):
            log.put(record(level=one))
        log.close(1.0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            assert len(pipe.readlines()) == lines

    run(main())


# -- strands -----------------------------------------------------------------------------------------------------------


def test_a_strand_runs_until_it_waits_and_goes_on_when_woken():
    signal, steps, ended = WakeEvent(), [], []

    async def body():
        steps.append(1)
        await signal
        steps.append(2)

    strand = CoroutineRunner(body(), ended.append)
    signal.wake()  # nobody waits yet: nothing
    strand.resume()
    assert steps == [1]
    signal.wake()
    signal.wake()
    assert (steps, ended, strand.done) == ([1, 2], [None], True)


def test_cancelling_runs_the_clean_up_which_may_wait_again():
    signal, after, steps = WakeEvent(), WakeEvent(), []

    async def body():
        try:
            await signal
        except RequestCancelled:
            await after
            steps.append("cleaned")
            raise

    strand = CoroutineRunner(body(), steps.append)
    strand.resume()
    strand.cancel()
    strand.cancel()
    assert steps == []
    signal.wake()  # the old wait is forgotten
    after.wake()
    assert steps == ["cleaned", None]


def test_a_crash_is_given_to_who_started_it_and_futures_can_be_awaited():
    async def main():
        ended = []
        future = asyncio.get_running_loop().create_future()

        async def body():
            raise ValueError(await future)

        CoroutineRunner(body(), ended.append).resume()
        future.set_result("x")
        await asyncio.sleep(0)
        assert str(ended[0]) == "x"

    run(main())
