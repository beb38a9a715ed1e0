"""Mock providers, the gateway, and the official `openai` SDK talking through it: what `make demo` shows.

Everything runs on loopback with made-up keys. With `--redis` there are two gateways with one Redis between them. With
`--once` it ends by itself: exit code 0 if every step did what it should, else 1. Without, the gateways stay up for curl
until Ctrl-C.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import replicas
import tour
from processes import MOCKS, Programs, free_port, taken, wait_for

PORT = int(os.environ.get("PORT", "8080"))
NO_REDIS = """demo: redis-server is not installed, and REDIS=1 needs it. Install it (Debian, Ubuntu: apt-get install
      redis-server; Fedora: dnf install redis; macOS: brew install redis), or run `make demo` without it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the steps")
    parser.add_argument("--redis", action="store_true", help="two gateways, one Redis")
    asked = parser.parse_args()
    ports = (PORT, PORT + 1) if asked.redis else (PORT,)
    in_use = taken(*ports, *MOCKS.values())
    if in_use:
        print(f"demo: ports in use: {', '.join(map(str, in_use))}; stop what runs there (PORT=... moves the gateway)")
        return 1
    if asked.redis and shutil.which("redis-server") is None:
        print(NO_REDIS)
        return 1
    with tempfile.TemporaryDirectory(prefix="nulpoint-demo-") as folder:
        programs = Programs(Path(folder))
        failed = 1
        try:
            failed = show_replicas(programs, ports) if asked.redis else show_one(programs)
            show_figures(programs)
            if not asked.once and not failed:
                stay(ports, programs)
        except KeyboardInterrupt:
            failed = 0
        finally:
            well = programs.end()
    return 0 if well and not failed else 1


def show_one(programs: Programs) -> int:
    """Gives the number of steps that failed."""
    programs.mocks()
    log = programs.gateway(PORT)
    return tour.play(PORT, log) if wait_for(PORT, *MOCKS.values()) else 1


def show_replicas(programs: Programs, ports: tuple[int, ...]) -> int:
    redis = free_port()
    kill_redis = programs.redis(redis)
    programs.mocks()
    for port in ports:
        programs.gateway(port, replicas.settings(redis))
    return replicas.play(ports, kill_redis) if wait_for(redis, *ports, *MOCKS.values()) else 1


def show_figures(programs: Programs) -> None:
    """What the request log says of it all."""
    time.sleep(0.5)  # it is written in batches
    print("  $ nulpoint stats", flush=True)
    subprocess.run([sys.executable, "-m", "nulpoint", "stats", "--file", programs.database], check=False)
    print(flush=True)


def stay(ports: tuple[int, ...], programs: Programs) -> None:
    body = '{"model": "gpt-5.4", "messages": [{"role": "user", "content": "hi"}]}'
    urls = " and ".join(f"http://127.0.0.1:{port}/v1" for port in ports)
    print(f"  The gateway listens on {urls}. Try, in another terminal:\n")
    print(f"    curl http://127.0.0.1:{ports[-1]}/v1/chat/completions -H 'content-type: application/json' -d '{body}'")
    print(f"    curl http://127.0.0.1:{ports[-1]}/health")
    print(f"    {Path(sys.executable).with_name('nulpoint')} logs -f --file {programs.database}\n")
    print("  Ctrl-C ends it.", flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    sys.exit(main())
