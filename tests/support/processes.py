"""Runs the gateway as a separate process."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path


@contextlib.contextmanager
def process(
    *arguments: str,
    command: Sequence[str] = (sys.executable,),
    cwd: str | Path = "/",
    user: str | int | None = None,
    group: str | int | None = None,
    extra_groups: Sequence[str | int] | None = None,
    **environ: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `nulpoint ARGUMENTS` in a minimal environment; `command` is the command that runs Python."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    child = subprocess.Popen(
        [*command, "-m", "nulpoint", *arguments],
        env={**keep, **environ},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
        user=user,
        group=group,
        extra_groups=extra_groups,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()


def get(port: int, path: str = "/health") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
        return bytes(response.read()).decode()


def wait_until_up(port: int, path: str = "/health") -> str:
    end = time.monotonic() + 60
    while True:
        try:
            return get(port, path)
        except OSError:
            assert time.monotonic() < end, "the gateway did not start"
            time.sleep(0.02)


SERVE = {"OPENAI_API_KEY": "sk-x", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "CONNECT_TIMEOUT": "1s"}


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait until the condition holds because of another process."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def workers_of(child: subprocess.Popen[bytes]) -> list[str]:
    command = ["ps", "-o", "pid=", "--ppid", str(child.pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
