"""Measures how much work a call does as its input grows, in two ways.

Executed lines are counted exactly, so the count is the same on every machine; it sees every loop written in Python. It
does not see what one line does inside the interpreter: a regular expression that backtracks, a list that is copied, a
search in a list. That work is measured by the CPU time of this thread, as a ratio: on a busy machine the time of a
small and of a large input grow alike, and linear and quadratic work differ by a factor of four.
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
STEP = 4  # the factor from one input size to the next when time is measured
# The limit of the factor in lines for twice the input. Linear work has a factor of two, quadratic work of four.
MAX_LINES_FACTOR = 2.3
GIVE_UP_FACTOR = 50
# The limit of the factor in time for four times the input. Linear work has a factor of four, quadratic work of sixteen.
MAX_TIME_FACTOR = 7.0
FREE_LINES = 400  # lines that do not depend on the input, such as filling a cache
MIN_SECONDS = 0.02  # shorter measurements are not judged
MIN_SMALLER_SECONDS = MIN_SECONDS / MAX_TIME_FACTOR
ROUNDS = 10  # a failed measurement is repeated, because noise only makes it longer


class Case(NamedTuple):
    """`make` builds an input of about `size` units and gives the work to do with it; `largest` is the largest size.

    The largest size is chosen near what the default limits allow, or so that linear work takes about 0.1 s. `refused`
    says that the gateway rejects the input. Any other input must be accepted while it is small, or it would test nothing.
    """

    name: str
    make: Callable[[int], Work]
    largest: int
    refused: bool = False


class GrowthError(AssertionError):
    """The work grows clearly faster than the input."""


class _TooManyLines(BaseException):
    """Ends a call that runs far too many lines. It is no Exception, so that the code under test does not catch it."""


def check(case: Case) -> None:
    """Raise GrowthError unless the work grows linearly."""
    if not case.refused:
        case.make(2)()
    _check_lines(case)
    _check_time(case)


def _check_lines(case: Case) -> None:
    """Check that twice the size does not cost far more than twice the lines.

    One of two steps may cost more, because long inputs may be read in another way than short ones.
    """
    size = max(2, case.largest // 100)
    counts = [lines_of(case.make(size), sys.maxsize)]
    for factor in (2, 4):
        try:
            counts.append(lines_of(case.make(size * factor), GIVE_UP_FACTOR * counts[-1] + FREE_LINES))
        except _TooManyLines:
            counts.append(sys.maxsize)
            break
    if all(larger > MAX_LINES_FACTOR * smaller + FREE_LINES for smaller, larger in pairwise(counts)):
        text = (
            f"{case.name}: {' and '.join(map(str, counts))} lines run for a size of {size} and twice as much each time"
        )
        raise GrowthError(text)


def lines_of(work: Work, limit: int) -> int:
    """Return the number of lines and calls of Python code that `work` runs. It is ended when they exceed `limit`."""
    count = 0

    def trace(_frame: Any, _event: str, _argument: Any) -> Any:
        nonlocal count
        count += 1
        if count > limit:
            sys.settrace(None)
            raise _TooManyLines
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(Failure):  # large inputs may be rejected
            work()
    finally:
        sys.settrace(before)
    return count


def _check_time(case: Case) -> None:
    """Check from small inputs to the largest, so that work that grows too fast is found before it takes minutes."""
    smaller = 0.0
    for size in _sizes(case.largest):
        taken = seconds_of(case.make(size))
        if taken >= MIN_SECONDS and smaller and taken > MAX_TIME_FACTOR * smaller:
            taken, smaller = _compared(case, size, taken)
            if taken > MAX_TIME_FACTOR * smaller:
                text = (
                    f"{case.name}: {smaller * 1e3:.1f} ms for a size of {size // STEP}, {taken * 1e3:.1f} ms for {size}"
                )
                raise GrowthError(text)
        smaller = max(taken, MIN_SMALLER_SECONDS)


def _sizes(largest: int) -> Iterator[int]:
    for power in (2, 1, 0):
        size = largest // STEP**power
        if size >= 2 or power == 0:
            yield size


def _compared(case: Case, size: int, taken: float) -> tuple[float, float]:
    """Return the shortest times for this size and for a quarter of it, over several rounds.

    The quarter is measured four times in a row, so that other processes disturb both measurements alike.
    """
    smaller = float("inf")
    for _ in range(ROUNDS):
        smaller = min(smaller, sum(seconds_of(case.make(size // STEP)) for _ in range(STEP)) / STEP)
        taken = min(taken, seconds_of(case.make(size)))
        if (
            not MAX_TIME_FACTOR < taken / max(smaller, MIN_SMALLER_SECONDS) < 1.5 * MAX_TIME_FACTOR
        ):  # the result is clear
            break
    return taken, max(smaller, MIN_SMALLER_SECONDS)


def seconds_of(work: Work) -> float:
    """Return the CPU time of this thread for the work, with garbage collection off."""
    gc.disable()
    try:
        before = thread_time()
        with suppress(Failure):
            work()
        return thread_time() - before
    finally:
        gc.enable()
