"""Streams: the CPU time of a chunk beside nginx, the time added to it, and the memory of an idle stream.

All subjects hold their streams open all the time and take turns of half a second in getting events. So a disturbance
of the machine, which lasts seconds, meets all of them, and what is compared is neighbouring half seconds.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from clocks import cpu_ns, rss_kib
from figures import Row, interval, ratios, there_and_back, translated_row, undisturbed
from formats import TRANSLATED
from subjects import LOAD_CPU, Subject, free_port, nulpoint, pinned, proxying, wait_for

HERE = Path(__file__).parent
STREAMS, IDLE_STREAMS = 500, 2000
SETTLE, COUNTED = 0.1, 0.4  # seconds of a turn, before the count and in it
EVENTS = 400  # of one stream


class Pipe:
    """A child of the bench that is talked to by lines."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.stdin, self.stdout = process.stdin, process.stdout

    def say(self, line: str) -> None:
        self.stdin.write(line + "\n")
        self.stdin.flush()

    def hear(self) -> str:
        return self.stdout.readline()


@contextlib.contextmanager
def talking(*command: str) -> Any:
    process = subprocess.Popen(
        pinned(LOAD_CPU, sys.executable, *command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield Pipe(process)
        finally:
            process.kill()


@contextlib.contextmanager
def upstream(interval: float, groups: int) -> Any:
    port = free_port()
    with talking(str(HERE / "stream_upstream.py"), str(port), str(interval), str(EVENTS), str(groups)) as pipe:
        wait_for(port)
        yield port, pipe


def measure_streams(folder: Path, turns: int, rows: list[Row], raw: dict[str, Any]) -> None:
    """Events that come in bursts, as from a model server that works in batches, and events each at its own time."""
    for arrival, groups, target in (("bursts", 10, "<= 1.4"), ("spread", STREAMS, "")):
        place = folder / arrival
        place.mkdir(mode=0o755)
        with contextlib.ExitStack() as stack:
            port, pipe = stack.enter_context(upstream(0.05, groups))
            reference = stack.enter_context(proxying(place / "nginx", port))
            ours = stack.enter_context(nulpoint(place, port))
            rounds, ways = take_turns([Subject("direct", port, []), reference, ours], pipe, turns)
        raw[f"streams, {arrival}"] = {"us a chunk": rounds, "P50 us": ways}
        rows += stream_rows(f"{STREAMS} streams, {arrival}", rounds, ways, target)


def measure_translated_streams(folder: Path, turns: int, rows: list[Row], raw: dict[str, Any]) -> None:
    """A gateway for each format, so that what one has not done in its turn is not charged to the next."""
    place = folder / "translated"
    place.mkdir(mode=0o755)
    with contextlib.ExitStack() as stack:
        port, pipe = stack.enter_context(upstream(0.05, 10))
        ours = stack.enter_context(nulpoint(place, port))
        others = [stack.enter_context(nulpoint(place, port, one.name, one.model)) for one in TRANSLATED]
        rounds, _ = take_turns([ours, *others], pipe, turns)
    raw["streams, translated"] = {"us a chunk": rounds}
    for one in TRANSLATED:
        rows.append(translated_row(f"chunk, {STREAMS} streams, bursts", one.name, rounds, "<= 2.5"))


def take_turns(subjects: list[Subject], pipe: Pipe, turns: int) -> tuple[list[dict[str, float]], dict[str, int]]:
    """CPU us a chunk of every subject, turn by turn, and the P50 of its events' way (us)."""
    with talking(str(HERE / "stream_load.py"), str(STREAMS), *map(asked, subjects)) as load:
        load.hear()
        numbered = list(enumerate(subjects))

        def round_of(order: Sequence[tuple[int, Subject]]) -> dict[str, float]:
            return {subject.name: turn_of(subject, number, pipe) for number, subject in order}

        orders = [there_and_back(numbered, turn) for turn in range(turns)]
        rounds = [undisturbed(partial(round_of, order)) for order in orders]
        load.say("")
        ways = {subject.name: counted(subject.name, load.hear()) for subject in subjects}
    return rounds, ways


def asked(subject: Subject) -> str:
    return f"{subject.port}/{subject.model}"


def turn_of(subject: Subject, number: int, pipe: Pipe) -> float:
    def sent() -> int:
        pipe.say(str(number))
        return int(pipe.hear())

    sent()
    time.sleep(SETTLE)
    events, spent = sent(), cpu_ns(subject.pids)
    time.sleep(COUNTED)
    spent = cpu_ns(subject.pids) - spent
    events = sent() - events
    if not events:
        raise RuntimeError(f"{subject.name}: a turn without an event counts for nothing")
    return spent / events / 1000


def counted(name: str, line: str) -> int:
    """The P50 of a subject's line. Raises RuntimeError when a stream was lost."""
    events, lost, p50, _ = map(int, line.split())
    if lost or not events:
        raise RuntimeError(f"{name}: {lost} streams lost, {events} events")
    return p50


def stream_rows(what: str, rounds: list[dict[str, float]], ways: dict[str, int], target: str) -> list[Row]:
    low, mid, high = interval(ratios(rounds, "nulpoint", "nginx"))
    names = ("nginx", "nulpoint")
    return [
        *((f"CPU a chunk, {what}: {name}", f"{median(one[name] for one in rounds):.1f} us", "") for name in names),
        (f"CPU a chunk, {what}: nulpoint / nginx", f"{mid:.2f} ({low:.2f} to {high:.2f})", target),
        *((f"P50 added to a chunk, {what}: {name}", f"{ways[name] - ways['direct']} us", "") for name in names),
    ]


def measure_idle_streams(folder: Path, rows: list[Row], raw: dict[str, Any]) -> None:
    """Memory of streams that are open and get an event now and then."""
    with upstream(4.0, 100) as (port, _), nulpoint(folder, port) as ours:
        time.sleep(0.5)
        before = rss_kib(ours.pids)
        with talking(str(HERE / "stream_load.py"), str(IDLE_STREAMS), asked(ours)) as load:
            load.hear()
            time.sleep(6)
            after = rss_kib(ours.pids)
            load.say("")
            counted("nulpoint", load.hear())
    raw["idle streams"] = {"before": before, "after": after, "streams": IDLE_STREAMS}
    each = (after - before) / IDLE_STREAMS
    rows.append((f"Memory an idle stream, {IDLE_STREAMS} streams", f"{each:.1f} KiB", "<= 64 KiB"))
    rows.append(("Resident memory, idle", f"{before / 1024:.0f} MiB", "<= 80 MB"))
