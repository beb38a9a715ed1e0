"""Measures other gateways with the same harness, in rounds of their own.

LiteLLM is installed from its Python package into an environment of its own, and Portkey from its npm package. A gateway
that cannot be installed is left out with a message.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from clocks import cpu_ns, rss_kib
from subjects import SUBJECT_CPU, Subject, child, children, free_port, pinned, response_server, wait_for

HERE = Path(__file__).parent
INSTALLED = HERE / ".peers"
LITELLM, PORTKEY = "litellm[proxy]==1.106.2", "@portkey-ai/gateway@1.15.2"
START_SECONDS = 60.0


@contextlib.contextmanager
def litellm(folder: Path, upstream: int) -> Iterator[Subject]:
    """Run LiteLLM with one worker and its default configuration for one model."""
    home = INSTALLED / "litellm"
    if not (home / "bin" / "litellm").exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(home / "bin" / "pip"), "install", "-q", LITELLM], check=True)
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list:\n  - model_name: gpt-4o\n    litellm_params:\n      model: openai/gpt-4o\n"
        f"      api_base: http://127.0.0.1:{upstream}/v1\n      api_key: sk-bench\n"
    )
    port = free_port()
    command = [str(home / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    environment = {
        **os.environ,
        "LITELLM_LOG": "ERROR",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # only on loopback and during the benchmark
    }
    with child(pinned(SUBJECT_CPU, *command), environment) as process:
        wait_for(port, START_SECONDS)
        yield Subject("LiteLLM", port, [process.pid, *children(process.pid)])


@contextlib.contextmanager
def portkey(folder: Path, upstream: int) -> Iterator[Subject]:
    """Run Portkey's Node server. Request headers name the target."""
    home = INSTALLED / "portkey"
    server = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not server.exists():
        home.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--prefix", str(home), PORTKEY], check=True)
    port = free_port()
    with child(pinned(SUBJECT_CPU, "node", str(server), f"--port={port}", "--headless")) as process:
        wait_for(port, START_SECONDS)
        yield Subject("Portkey", port, [process.pid])


def measure_peers(
    folder: Path, raw: dict[str, Any], seconds: float, wrk: Callable[..., dict[str, float]], lua: Callable[..., Path]
) -> list[tuple[str, str, str]]:
    rows = []
    with response_server(folder / "peers") as upstream:
        for start in (litellm, portkey):
            try:
                with start(folder, upstream) as subject:
                    script = lua(folder, subject.name, 150)
                    if subject.name == "Portkey":
                        target = f'http://127.0.0.1:{upstream}/v1"\n'
                        extra = f'wrk.headers["x-portkey-provider"] = "openai"\nwrk.headers["x-portkey-custom-host"] = "{target}'
                        script.write_text(script.read_text() + extra)
                    rows += measure(subject, script, raw, seconds, wrk)
            except (OSError, subprocess.CalledProcessError, TimeoutError, RuntimeError) as error:
                print(f"bench: {start.__name__} is left out: {str(error)[:200]}")
    return rows


def measure(
    subject: Subject, script: Path, raw: dict[str, Any], seconds: float, wrk: Callable[..., dict[str, float]]
) -> list[tuple[str, str, str]]:
    wrk(subject.port, 16, 2, script)
    before = cpu_ns(subject.pids)
    run = wrk(subject.port, 16, max(seconds, 5), script)
    cpu = (cpu_ns(subject.pids) - before) / run["requests"] / 1000
    memory = rss_kib(subject.pids) / 1024
    raw[subject.name] = {"cpu us per request": cpu, "rss MiB": memory, **run}
    return [
        (f"CPU per request, 260 B: {subject.name}", f"{cpu:.0f} us", ""),
        (f"Resident memory: {subject.name}", f"{memory:.0f} MiB", ""),
    ]
