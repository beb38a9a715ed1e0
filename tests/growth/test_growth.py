"""Tests that no request, response or log line makes the gateway do more than linear work."""

import pytest
from measure import Case, GrowthError, check
from other_cases import CASES as OTHERS
from request_cases import CASES as REQUESTS
from response_cases import CASES as ANSWERS
from stream_cases import CASES as STREAMS

CASES = [*REQUESTS, *ANSWERS, *STREAMS, *OTHERS]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_work_grows_no_faster_than_the_input(case: Case):
    check(case)


def _quadratic_in_python(size: int):
    def work():
        return [other for one in range(size) for other in range(size)]

    return work


def _quadratic_inside_the_interpreter(size: int):
    def work():
        copies = []
        for one in range(size):
            copies = [*copies, one]

    return work


@pytest.mark.parametrize(
    "case",
    [Case("lines", _quadratic_in_python, 2_000), Case("copies", _quadratic_inside_the_interpreter, 20_000)],
    ids=lambda case: case.name,
)
def test_quadratic_work_is_found(case: Case):
    with pytest.raises(GrowthError):
        check(case)
