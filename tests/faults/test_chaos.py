"""A short run of the chaos test; `make chaos` runs a long one."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_ten_seconds_of_chaos():
    command = [sys.executable, str(Path(__file__).with_name("chaos.py")), "--seconds", "10", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
