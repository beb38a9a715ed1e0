"""How much work a call does as its input grows, by two measures.

Executed lines are counted exactly, so the count is the same on every machine; it sees every loop written in Python. It
does not see what one line does inside the interpreter: a regular expression that backtracks, a list that is copied, a
search in a list. That work is measured by the CPU time of this thread, as a ratio: on a busy machine the time of a
small and of a large input grow alike, and linear work is told from quadratic work by a factor of four.
"""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from time import thread_time
from typing import Any, NamedTuple

from nulpoint.errors import Failure

Work = Callable[[], object]
STEP = 4  # how much larger each input is than the one before, where time is measured
# Twice the input may cost up to so many times the lines: linear work costs twice as many, quadratic four times.
MOST_LINES = 2.3
HOPELESS = 50
# Four times the input may cost up to so many times the time: linear work costs four times as much, quadratic sixteen.
MOST_TIME = 7.0
FREE_LINES = 400  # what a call costs whatever its input, and caches that are filled on the way
SHORTEST = 0.02  # seconds; what takes less is not judged by its time
LEAST = SHORTEST / MOST_TIME
ROUNDS = 5  # a measurement that fails is repeated: noise only ever adds


class Case(NamedTuple):
    """`make` builds an input of about `size` units and gives the work to do with it; `largest` is the largest size.

    The largest size is chosen near what the default limits allow, or so that linear work takes about 0.1 s. `refused`:
    the input is meant to be refused. Any other must be taken while it is small, or the case would test nothing.
    """

    name: str
    make: Callable[[int], Work]
    largest: int
    refused: bool = False


class GrowsTooFast(AssertionError):
    """Four times the input costs far more than four times the work."""


class _TooManyLines(BaseException):
    """Ends a call whose count has left all bounds. No handler of the code under test may catch it."""


def check(case: Case) -> None:
    """Raise GrowsTooFast unless the work grows linearly."""
    if not case.refused:
        case.make(2)()
    _check_lines(case)
    _check_time(case)


def _check_lines(case: Case) -> None:
    """Twice the size must not cost far more than twice the lines. Once it may: longer inputs may be read in another
    way than short ones, and that other way may cost more."""
    size = max(2, case.largest // 100)
    counts = [lines_of(case.make(size), sys.maxsize)]
    for factor in (2, 4):
        try:
            counts.append(lines_of(case.make(size * factor), HOPELESS * counts[-1] + FREE_LINES))
        except _TooManyLines:
            counts.append(sys.maxsize)
            break
    if all(larger > MOST_LINES * smaller + FREE_LINES for smaller, larger in pairwise(counts)):
        text = (
            f"{case.name}: {' and '.join(map(str, counts))} lines run for a size of {size} and twice as much each time"
        )
        raise GrowsTooFast(text)


def lines_of(work: Work, most: int) -> int:
    """The lines and calls of Python code that `work` runs; it is ended when they are more than `most`."""
    count = 0

    def trace(_frame: Any, _event: str, _argument: Any) -> Any:
        nonlocal count
        count += 1
        if count > most:
            sys.settrace(None)
            raise _TooManyLines
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(Failure):  # large inputs may be refused
            work()
    finally:
        sys.settrace(before)
    return count


def _check_time(case: Case) -> None:
    """From small inputs to the largest, so that work that grows too fast is found before it takes minutes."""
    smaller = 0.0
    for size in _sizes(case.largest):
        taken = seconds_of(case.make(size))
        if taken >= SHORTEST and smaller and taken > MOST_TIME * smaller:
            taken, smaller = _compared(case, size, taken)
            if taken > MOST_TIME * smaller:
                text = (
                    f"{case.name}: {smaller * 1e3:.1f} ms for a size of {size // STEP}, {taken * 1e3:.1f} ms for {size}"
                )
                raise GrowsTooFast(text)
        smaller = max(taken, LEAST)


def _sizes(largest: int) -> Iterator[int]:
    for power in (2, 1, 0):
        size = largest // STEP**power
        if size >= 2 or power == 0:
            yield size


def _compared(case: Case, size: int, taken: float) -> tuple[float, float]:
    """The least time for this size and for a quarter of it, over several rounds."""
    smaller = float("inf")
    for _ in range(ROUNDS):
        smaller = min(smaller, *(seconds_of(case.make(size // STEP)) for _ in range(2)))
        taken = min(taken, seconds_of(case.make(size)))
        if not MOST_TIME < taken / max(smaller, LEAST) < 1.5 * MOST_TIME:  # it is clear by now
            break
    return taken, max(smaller, LEAST)


def seconds_of(work: Work) -> float:
    """The CPU time of this thread. The garbage of other tests is not collected meanwhile."""
    gc.disable()
    try:
        before = thread_time()
        with suppress(Failure):
            work()
        return thread_time() - before
    finally:
        gc.enable()
