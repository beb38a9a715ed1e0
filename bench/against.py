"""Compare what requests and chunks cost in the working tree (head) and in another commit (base), in one run.

Both gateways run all the time and take turns of about a second. A turn of one and the next turn of the other are a
pair. The table shows the median of the pairs' ratios with its 95 % interval. A disturbance of the machine that lasts
longer than a second affects both trees alike.

The base is started from an export of its commit, with the Python and the packages of this environment. Nothing is
imported from either tree. Load and upstreams are those of the working tree, so the base may have another layout.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from clocks import cpu_ns
from figures import Comparison, abba_order, compare, comparison_table, retry_if_disturbed
from formats import ANTHROPIC, GEMINI, OPENAI, Format
from load import PROMPTS, check_same_text, lua, wrk
from streams import STREAMS, take_turns, upstream
from subjects import Subject, allow_many_files, nulpoint, response_server

ROOT = Path(__file__).resolve().parent.parent
BASE, HEAD = "base", "head"
PAIRS, FEWEST_PAIRS, LIMIT = 20, 6, 1.03  # the median of fewer pairs has no interval of 95 %
CONNECTIONS, TURN_SECONDS = 64, 1
CHUNK_PAIRS = 2  # for each pair of the requests: their turns are half as long


class Row(NamedTuple):
    """One line of the table: the format of the provider, and the size of the request, or None for a chunk of a stream.

    With `cache_mode=memory` every request is a miss.
    """

    name: str
    form: Format
    size: str | None
    cache_mode: str = "none"


ROWS = (
    Row("pass-through request, cache off, 260 B", OPENAI, "260 B"),
    Row("pass-through request, cache off, 160 kB", OPENAI, "160 kB"),
    Row("Anthropic request, cache off, 260 B", ANTHROPIC, "260 B"),
    Row("Gemini request, cache off, 260 B", GEMINI, "260 B"),
    Row("cache miss, 260 B", OPENAI, "260 B", "memory"),
    Row("cache miss, 160 kB", OPENAI, "160 kB", "memory"),
    Row("pass-through chunk, cache off", OPENAI, None),
    Row("Anthropic chunk, cache off", ANTHROPIC, None),
    Row("Gemini chunk, cache off", GEMINI, None),
)


class Gateways:
    """Starts the gateways of both trees, each with its own code, and stops them when the stack is closed."""

    def __init__(self, stack: contextlib.ExitStack, trees: dict[str, Path], folder: Path) -> None:
        self._stack, self._trees, self._folder = stack, trees, folder

    def start(self, upstream: int, cache_mode: str) -> dict[str, Subject]:
        """Start one gateway of each tree and return them by the name of the tree."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        return {
            name: self._stack.enter_context(
                nulpoint(
                    folder,
                    upstream,
                    name,
                    directory=folder,
                    settings={"CACHE_MODE": cache_mode, "PYTHONPATH": str(tree / "src")},
                )
            )
            for name, tree in self._trees.items()
        }


def measure_requests(rows: list[Row], trees: dict[str, Path], pairs: int, folder: Path) -> list[Comparison]:
    """Measure every row in each round, so that a long disturbance spoils a part of all rows and not all of one row."""
    with contextlib.ExitStack() as stack:
        upstream_port = stack.enter_context(response_server(folder / "upstream"))
        gateways = Gateways(stack, trees, folder)
        started = {mode: gateways.start(upstream_port, mode) for mode in sorted({row.cache_mode for row in rows})}
        loads = {row.name: subjects_of(row, started[row.cache_mode]) for row in rows}
        scripts = {row.name: lua(folder, row.size or "", PROMPTS[row.size or ""], row.form.model) for row in rows}
        for name, subjects in loads.items():
            check_same_text(upstream_port, subjects)
            for subject in subjects:
                # The first requests fill caches and do not count.
                retry_if_disturbed(partial(cost, subject, scripts[name]))
        rounds: dict[str, list[dict[str, float]]] = {row.name: [] for row in rows}
        for number in range(pairs):
            for name, subjects in loads.items():
                order = abba_order(subjects, number)
                rounds[name].append(retry_if_disturbed(partial(pair_of_costs, order, scripts[name])))
    return [compare(name, measured, BASE, HEAD) for name, measured in rounds.items()]


def subjects_of(row: Row, gateways: dict[str, Subject]) -> list[Subject]:
    return [Subject(name, gateway.port, gateway.pids, row.form.model) for name, gateway in gateways.items()]


def pair_of_costs(subjects: Sequence[Subject], script: Path) -> dict[str, float]:
    return {subject.name: cost(subject, script) for subject in subjects}


def cost(subject: Subject, script: Path) -> float:
    """Return the CPU time of a request in one turn, in microseconds."""
    before = cpu_ns(subject.pids)
    run = wrk(subject.port, CONNECTIONS, TURN_SECONDS, script)
    return (cpu_ns(subject.pids) - before) / run["requests"] / 1000


def measure_chunks(rows: list[Row], trees: dict[str, Path], pairs: int, folder: Path) -> list[Comparison]:
    """Measure the rows with a gateway for each row and tree, so that unfinished work is not charged to the next row."""
    with contextlib.ExitStack() as stack:
        port, pipe = stack.enter_context(upstream(0.05, 10))
        gateways = Gateways(stack, trees, folder)
        subjects = [
            Subject(f"{row.name}, {tree}", gateway.port, gateway.pids, row.form.model)
            for row in rows
            for tree, gateway in gateways.start(port, row.cache_mode).items()
        ]
        rounds, _ = take_turns(subjects, pipe, CHUNK_PAIRS * pairs)
    return [compare(row.name, rounds, f"{row.name}, {BASE}", f"{row.name}, {HEAD}") for row in rows]


@contextlib.contextmanager
def export_source(commit: str) -> Iterator[Path]:
    """Export the source of a commit into a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="nulpoint-base-") as name:
        archive = subprocess.run(["git", "archive", commit, "src"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        subprocess.run(["tar", "-x", "-C", name], input=archive, check=True)
        yield Path(name)


def check_loads(tree: Path) -> None:
    """Raise RuntimeError unless a gateway of the tree would run the tree's own code.

    Otherwise a tree without the package would be served by the installed one, and would seem to cost exactly the same.
    """
    command = [sys.executable, "-c", "import nulpoint; print(nulpoint.__file__)"]
    environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
    run = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=True)
    if not Path(run.stdout.strip()).is_relative_to(tree):
        raise RuntimeError(f"there is no package nulpoint in {tree / 'src'}")


def resolve(commit: str) -> str:
    """Return the commit's full hash. Raises ValueError if there is no such commit."""
    command = ["git", "rev-parse", "--quiet", "--verify", "--end-of-options", f"{commit}^{{commit}}"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        raise ValueError(f"BASE={commit}: there is no such commit here; try `git log --oneline`, or fetch it first")
    return run.stdout.strip()


def describe(commit: str) -> str:
    """Return the short hash and the subject of a commit."""
    command = ["git", "log", "-1", "--format=%h %s", commit, "--"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def describe_changes() -> str:
    run = subprocess.run(["git", "status", "--porcelain", "src"], cwd=ROOT, capture_output=True, text=True, check=True)
    return ", with uncommitted changes in src" if run.stdout else ""


def select_rows(words: str) -> list[Row]:
    """Return the rows whose name contains one of these comma-separated words, or all rows if there are no words."""
    wanted = [word.strip().lower() for word in words.split(",") if word.strip()]
    return [row for row in ROWS if not wanted or any(word in row.name.lower() for word in wanted)]


def measure(rows: list[Row], commit: str, pairs: int) -> list[Comparison]:
    with export_source(commit) as base, tempfile.TemporaryDirectory(prefix="nulpoint-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx drops its privileges and must still read it
        trees = {BASE: base, HEAD: ROOT}
        for tree in trees.values():
            check_loads(tree)
        requests, chunks = [row for row in rows if row.size], [row for row in rows if not row.size]
        return [
            *(measure_requests(requests, trees, pairs, folder) if requests else []),
            *(measure_chunks(chunks, trees, pairs, folder) if chunks else []),
        ]


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-against", description=__doc__)
    parser.add_argument("base", help="the commit to compare with")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--rows", default="", help="only rows with one of these comma-separated words in their name")
    parser.add_argument("--limit", type=float, help="exit with 1 if the whole interval of a row is above this ratio")
    options = parser.parse_args()
    if not options.base:
        parser.error("say which commit to compare with: make bench-against BASE=HEAD~1")
    if options.pairs < FEWEST_PAIRS:
        parser.error(
            f"PAIRS={options.pairs}: at least {FEWEST_PAIRS}, and 20 or more for figures that can be relied on"
        )
    if not select_rows(options.rows):
        parser.error(
            f"ROWS={options.rows}: no row has that in its name. The rows are: {'; '.join(row.name for row in ROWS)}"
        )
    return options


def main() -> int:
    options = parse_options()
    try:
        base = resolve(options.base)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    allow_many_files()
    limit = options.limit or LIMIT
    print(f"base: {describe(base)}\nhead: {describe('HEAD')}{describe_changes()}", flush=True)
    comparisons = measure(select_rows(options.rows), base, options.pairs)
    print(
        f"{options.pairs} pairs of turns; {CONNECTIONS} connections, {STREAMS} streams; medians, the ratio's 95 % interval; "
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs"
    )
    print(f"\n{comparison_table(comparisons, limit)}")
    return int(options.limit is not None and any(row.low > options.limit for row in comparisons))


if __name__ == "__main__":
    sys.exit(main())
