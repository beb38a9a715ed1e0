"""Tests every fuzz target with a few fixed inputs; `make fuzz` tries more, and different ones each time."""

import pytest
from target import Target, run
from targets import TARGETS


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_a_few_inputs(target: Target):
    run(target, examples=25)
