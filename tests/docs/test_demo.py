"""`make demo` does what it shows, with one gateway and with two and a Redis."""

import subprocess
import sys

import pytest

from support.paths import ROOT
from support.ports import free_port
from support.redis_server import needs_redis

DEMO = ROOT / "demo" / "demo.py"


def demo(*arguments, **environ):
    return subprocess.run(
        [sys.executable, DEMO, "--once", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [((), "11 of 11 steps"), pytest.param(("--redis",), "all steps did what they should", marks=needs_redis)],
)
def test_every_step_does_what_it_should(arguments, said):
    done = demo(*arguments, PATH="/usr/bin:/bin", PORT=str(free_port()))
    if "ports in use" in done.stdout:
        pytest.skip("the ports of the mock providers are in use")
    assert said in done.stdout
    assert "FAILED" not in done.stdout
    assert done.returncode == 0, done.stderr


def test_without_redis_server_it_says_how_to_get_it():
    done = demo("--redis", PATH="/nonexistent", PORT=str(free_port()))
    if "ports in use" in done.stdout:
        pytest.skip("the ports of the mock providers are in use")
    assert "apt-get install" in done.stdout
    assert done.returncode == 1
