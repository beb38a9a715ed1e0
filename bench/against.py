"""Compare what requests and chunks cost in the working tree (head) and in another commit (base), in one run.

Both gateways run all the time and take turns of about a second; a turn of one and the next turn of the other are a pair.
The ratio of each pair is taken, and the table has their median with its 95 % interval. So whatever disturbs the machine
for longer than a second meets both trees alike.

The base is started from an export of its commit, with the Python and the packages of this environment. Nothing is
imported from either tree: load and upstreams are those of the working tree, so the base may be laid out in another way.
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
from figures import Comparison, compare, comparison_table, there_and_back, undisturbed
from formats import ANTHROPIC, GEMINI, OPENAI, Format
from load import PROMPTS, lua, same_text, wrk
from streams import STREAMS, take_turns, upstream
from subjects import Subject, allow_many_files, answering, nulpoint

ROOT = Path(__file__).resolve().parent.parent
BASE, HEAD = "base", "head"
PAIRS, FEWEST_PAIRS, LIMIT = 20, 6, 1.03  # the median of fewer pairs has no interval of 95 %
CONNECTIONS, TURN_SECONDS = 64, 1
CHUNK_PAIRS = 2  # for each pair of the requests: their turns are half as long


class Row(NamedTuple):
    """One line of the table: the format whose provider is asked, and the size of the request (None: a stream's chunk).

    With `cache_mode=memory`, every request is a miss.
    """

    name: str
    form: Format
    size: str | None
    cache_mode: str = "none"


ROWS = (
    Row("pass-through request, 260 B", OPENAI, "260 B"),
    Row("pass-through request, 160 kB", OPENAI, "160 kB"),
    Row("Anthropic request, 260 B", ANTHROPIC, "260 B"),
    Row("Gemini request, 260 B", GEMINI, "260 B"),
    Row("cache miss, 260 B", OPENAI, "260 B", "memory"),
    Row("cache miss, 160 kB", OPENAI, "160 kB", "memory"),
    Row("pass-through chunk", OPENAI, None),
    Row("Anthropic chunk", ANTHROPIC, None),
    Row("Gemini chunk", GEMINI, None),
)


class Gateways:
    """Starts the gateways of both trees, each with its own code, and ends them with the stack."""

    def __init__(self, stack: contextlib.ExitStack, trees: dict[str, Path], folder: Path) -> None:
        self._stack, self._trees, self._folder = stack, trees, folder

    def start(self, upstream: int, cache_mode: str) -> dict[str, Subject]:
        """One gateway of each tree, by the name of the tree."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        return {
            name: self._stack.enter_context(
                nulpoint(folder, upstream, name, directory=folder, CACHE_MODE=cache_mode, PYTHONPATH=str(tree / "src"))
            )
            for name, tree in self._trees.items()
        }


def measure_requests(rows: list[Row], trees: dict[str, Path], pairs: int, folder: Path) -> list[Comparison]:
    """Every row in each round, so that a long disturbance spoils a part of all rows and not all of one."""
    with contextlib.ExitStack() as stack:
        answers = stack.enter_context(answering(folder / "upstream"))
        gateways = Gateways(stack, trees, folder)
        started = {mode: gateways.start(answers, mode) for mode in sorted({row.cache_mode for row in rows})}
        loads = {row.name: subjects_of(row, started[row.cache_mode]) for row in rows}
        scripts = {row.name: lua(folder, row.size or "", PROMPTS[row.size or ""], row.form.model) for row in rows}
        for name, subjects in loads.items():
            same_text(answers, subjects)
            for subject in subjects:
                undisturbed(partial(cost, subject, scripts[name]))  # the first requests fill caches and are not counted
        rounds: dict[str, list[dict[str, float]]] = {row.name: [] for row in rows}
        for number in range(pairs):
            for name, subjects in loads.items():
                order = there_and_back(subjects, number)
                rounds[name].append(undisturbed(partial(pair_of_costs, order, scripts[name])))
    return [compare(name, measured, BASE, HEAD) for name, measured in rounds.items()]


def subjects_of(row: Row, gateways: dict[str, Subject]) -> list[Subject]:
    return [Subject(name, one.port, one.pids, row.form.model) for name, one in gateways.items()]


def pair_of_costs(subjects: Sequence[Subject], script: Path) -> dict[str, float]:
    return {subject.name: cost(subject, script) for subject in subjects}


def cost(subject: Subject, script: Path) -> float:
    """CPU microseconds a request in one turn."""
    before = cpu_ns(subject.pids)
    run = wrk(subject.port, CONNECTIONS, TURN_SECONDS, script)
    return (cpu_ns(subject.pids) - before) / run["requests"] / 1000


def measure_chunks(rows: list[Row], trees: dict[str, Path], pairs: int, folder: Path) -> list[Comparison]:
    """A gateway for each row and tree: what one has not finished in its turn is not charged to the next row."""
    with contextlib.ExitStack() as stack:
        port, pipe = stack.enter_context(upstream(0.05, 10))
        gateways = Gateways(stack, trees, folder)
        subjects = [
            Subject(f"{row.name}, {tree}", one.port, one.pids, row.form.model)
            for row in rows
            for tree, one in gateways.start(port, row.cache_mode).items()
        ]
        rounds, _ = take_turns(subjects, pipe, CHUNK_PAIRS * pairs)
    return [compare(row.name, rounds, f"{row.name}, {BASE}", f"{row.name}, {HEAD}") for row in rows]


@contextlib.contextmanager
def export_source(commit: str) -> Iterator[Path]:
    """The source of a commit, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="nulpoint-base-") as name:
        archive = subprocess.run(["git", "archive", commit, "src"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        subprocess.run(["tar", "-x", "-C", name], input=archive, check=True)
        yield Path(name)


def check_loads(tree: Path) -> None:
    """Raise RuntimeError unless the tree's own code is what a gateway of it would run.

    A tree without the package would otherwise be served by the installed one, and be found to cost exactly the same.
    """
    command = [sys.executable, "-c", "import nulpoint; print(nulpoint.__file__)"]
    environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
    run = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=True)
    if not Path(run.stdout.strip()).is_relative_to(tree):
        raise RuntimeError(f"there is no package nulpoint in {tree / 'src'}")


def resolve(commit: str) -> str:
    """The commit's full hash. Raises ValueError if there is no such commit."""
    command = ["git", "rev-parse", "--quiet", "--verify", "--end-of-options", f"{commit}^{{commit}}"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        raise ValueError(f"BASE={commit}: there is no such commit here; try `git log --oneline`, or fetch it first")
    return run.stdout.strip()


def describe(commit: str) -> str:
    """Its short hash and subject."""
    command = ["git", "log", "-1", "--format=%h %s", commit, "--"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def describe_changes() -> str:
    run = subprocess.run(["git", "status", "--porcelain", "src"], cwd=ROOT, capture_output=True, text=True, check=True)
    return ", with uncommitted changes in src" if run.stdout else ""


def select_rows(words: str) -> list[Row]:
    """The rows whose name has one of these comma-separated words in it; all rows if there are none."""
    wanted = [word.strip().lower() for word in words.split(",") if word.strip()]
    return [row for row in ROWS if not wanted or any(word in row.name.lower() for word in wanted)]


def measure(rows: list[Row], commit: str, pairs: int) -> list[Comparison]:
    with export_source(commit) as base, tempfile.TemporaryDirectory(prefix="nulpoint-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx drops its rights
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
    given = parser.parse_args()
    if not given.base:
        parser.error("say which commit to compare with: make bench-against BASE=HEAD~1")
    if given.pairs < FEWEST_PAIRS:
        parser.error(f"PAIRS={given.pairs}: at least {FEWEST_PAIRS}, and 20 or more for figures that can be relied on")
    if not select_rows(given.rows):
        parser.error(
            f"ROWS={given.rows}: no row has that in its name; there are: {'; '.join(row.name for row in ROWS)}"
        )
    return given


def main() -> int:
    given = parse_options()
    try:
        base = resolve(given.base)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    allow_many_files()
    limit = given.limit or LIMIT
    print(f"base: {describe(base)}\nhead: {describe('HEAD')}{describe_changes()}", flush=True)
    comparisons = measure(select_rows(given.rows), base, given.pairs)
    print(
        f"{given.pairs} pairs of turns; {CONNECTIONS} connections, {STREAMS} streams; medians, the ratio's 95 % interval; "
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs"
    )
    print(f"\n{comparison_table(comparisons, limit)}")
    return int(given.limit is not None and any(one.low > given.limit for one in comparisons))


if __name__ == "__main__":
    sys.exit(main())
