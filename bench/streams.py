"""Measures streams: the CPU time of a chunk next to nginx, the time added to it, and the memory of an idle stream.

All subjects keep their streams open all the time and take turns of half a second in getting events. A disturbance of
the machine, which lasts seconds, then affects all of them, and neighbouring half seconds are compared.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from clocks import cpu_ns, rss_kib
from figures import Row, abba_order, interval, ratios, retry_if_disturbed, translated_row
from formats import BEDROCK, TRANSLATED, Format
from subjects import LOAD_CPU, Subject, free_port, nginx_proxy, nulpoint, pinned, wait_for

HERE = Path(__file__).parent
STREAMS, IDLE_STREAMS = 500, 2000
SETTLE, COUNTED = 0.1, 0.4  # seconds of a turn before counting starts, and while counting
EVENTS = 400  # per stream


class Pipe:
    """Exchanges lines with a child process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.stdin, self.stdout = process.stdin, process.stdout

    def send_line(self, line: str) -> None:
        self.stdin.write(line + "\n")
        self.stdin.flush()

    def read_line(self) -> str:
        return self.stdout.readline()


@contextlib.contextmanager
def line_process(*command: str) -> Iterator[Pipe]:
    process = subprocess.Popen(
        pinned(LOAD_CPU, sys.executable, *command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield Pipe(process)
        finally:
            process.kill()


@contextlib.contextmanager
def upstream(interval: float, groups: int) -> Iterator[tuple[int, Pipe]]:
    port = free_port()
    with line_process(str(HERE / "stream_upstream.py"), str(port), str(interval), str(EVENTS), str(groups)) as pipe:
        wait_for(port)
        yield port, pipe


def measure_streams(folder: Path, turns: int, rows: list[Row], raw: dict[str, Any]) -> None:
    """Measure events that come in bursts, as from a model server that works in batches, and events that are spread."""
    for arrival, groups, target in (("bursts", 10, "<= 1.4"), ("spread", STREAMS, "")):
        place = folder / arrival
        place.mkdir(mode=0o755)
        with contextlib.ExitStack() as stack:
            port, pipe = stack.enter_context(upstream(0.05, groups))
            reference = stack.enter_context(nginx_proxy(place / "nginx", port))
            ours = stack.enter_context(nulpoint(place, port))
            rounds, delays = take_turns([Subject("direct", port, []), reference, ours], pipe, turns)
        raw[f"streams, {arrival}"] = {"us per chunk": rounds, "P50 us": delays}
        rows += stream_rows(f"{STREAMS} streams, {arrival}", rounds, delays, target)


def measure_translated_streams(folder: Path, turns: int, rows: list[Row], raw: dict[str, Any]) -> None:
    """Measure a gateway for each format, so that unfinished work is not charged to the next format."""
    place = folder / "translated"
    place.mkdir(mode=0o755)
    with contextlib.ExitStack() as stack:
        port, pipe = stack.enter_context(upstream(0.05, 10))
        ours = stack.enter_context(nulpoint(place, port))
        others = [stack.enter_context(nulpoint(place, port, form.name, form.model)) for form in TRANSLATED]
        rounds, _ = take_turns([ours, *others], pipe, turns)
    raw["streams, translated"] = {"us per chunk": rounds}
    for form in TRANSLATED:
        rows.append(translated_row(f"chunk, {STREAMS} streams, bursts", form.name, rounds, _chunk_bound(form)))


def _chunk_bound(form: Format) -> str:
    return "" if form is BEDROCK else "<= 1.6"  # a chunk of Bedrock's has a head and two checksums


def take_turns(subjects: list[Subject], pipe: Pipe, turns: int) -> tuple[list[dict[str, float]], dict[str, int]]:
    """Return the CPU time of a chunk for every subject and turn, and the P50 of its events' delay.

    Both are in microseconds.
    """
    with line_process(str(HERE / "stream_load.py"), str(STREAMS), *map(load_argument, subjects)) as load:
        load.read_line()
        numbered = list(enumerate(subjects))

        def round_of(order: Sequence[tuple[int, Subject]]) -> dict[str, float]:
            return {subject.name: measure_turn(subject, number, pipe) for number, subject in order}

        orders = [abba_order(numbered, turn) for turn in range(turns)]
        rounds = [retry_if_disturbed(partial(round_of, order)) for order in orders]
        load.send_line("")
        delays = {subject.name: median_delay(subject.name, load.read_line()) for subject in subjects}
    return rounds, delays


def load_argument(subject: Subject) -> str:
    return f"{subject.port}/{subject.model}"


def measure_turn(subject: Subject, number: int, pipe: Pipe) -> float:
    def sent() -> int:
        pipe.send_line(str(number))
        return int(pipe.read_line())

    sent()
    time.sleep(SETTLE)
    events, spent = sent(), cpu_ns(subject.pids)
    time.sleep(COUNTED)
    spent = cpu_ns(subject.pids) - spent
    events = sent() - events
    if not events:
        raise RuntimeError(f"{subject.name}: this turn does not count, because there was no event")
    if subject.pids and not spent:
        raise RuntimeError(f"{subject.name}: this turn does not count, because the gateway got no CPU time")
    return spent / events / 1000


def median_delay(name: str, line: str) -> int:
    """Return the P50 from a subject's line. Raises RuntimeError if a stream was lost."""
    events, lost, p50, _ = map(int, line.split())
    if lost or not events:
        raise RuntimeError(f"{name}: {lost} streams lost, {events} events")
    return p50


def stream_rows(what: str, rounds: list[dict[str, float]], delays: dict[str, int], target: str) -> list[Row]:
    low, mid, high = interval(ratios(rounds, "nulpoint", "nginx"))
    names = ("nginx", "nulpoint")
    return [
        *(
            (f"CPU per chunk, {what}: {name}", f"{median(costs[name] for costs in rounds):.1f} us", "")
            for name in names
        ),
        (f"CPU per chunk, {what}: nulpoint / nginx", f"{mid:.2f} ({low:.2f} to {high:.2f})", target),
        *((f"P50 added to a chunk, {what}: {name}", f"{delays[name] - delays['direct']} us", "") for name in names),
    ]


def measure_idle_streams(folder: Path, rows: list[Row], raw: dict[str, Any]) -> None:
    """Measure the memory of streams that are open and get an event now and then."""
    with upstream(4.0, 100) as (port, _), nulpoint(folder, port) as ours:
        time.sleep(0.5)
        before = rss_kib(ours.pids)
        with line_process(str(HERE / "stream_load.py"), str(IDLE_STREAMS), load_argument(ours)) as load:
            load.read_line()
            time.sleep(6)
            after = rss_kib(ours.pids)
            load.send_line("")
            median_delay("nulpoint", load.read_line())
    raw["idle streams"] = {"before": before, "after": after, "streams": IDLE_STREAMS}
    each = (after - before) / IDLE_STREAMS
    rows.append((f"Memory per idle stream, {IDLE_STREAMS} streams", f"{each:.1f} KiB", "<= 64 KiB"))
    rows.append(("Resident memory, idle", f"{before / 1024:.0f} MiB", "<= 80 MB"))
