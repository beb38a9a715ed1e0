"""Runs `make demo`: mock providers, a gateway, and the official `openai` SDK that talks to them through the gateway.

Everything runs on loopback with made-up keys. With `--redis` there are two gateways that share one Redis. With `--once`
the demo ends by itself, with exit code 0 if every step did what it should, and 1 otherwise. Without `--once` the
gateways stay up, for use with curl, until Ctrl-C.
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
from processes import MOCKS, Programs, free_port, ports_in_use, wait_for

PORT = int(os.environ.get("PORT", "8080"))
NO_REDIS = """demo: REDIS=1 needs redis-server, which is not installed. Install it (Debian, Ubuntu: apt-get install
      redis-server; Fedora: dnf install redis; macOS: brew install redis), or run `make demo` without it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="exit after the steps")
    parser.add_argument("--redis", action="store_true", help="run two gateways that share one Redis")
    options = parser.parse_args()
    ports = (PORT, PORT + 1) if options.redis else (PORT,)
    in_use = ports_in_use(*ports, *MOCKS.values())
    if in_use:
        print(
            f"demo: ports in use: {', '.join(map(str, in_use))}. "
            "Stop the programs that use them, or set PORT=... to move the gateway."
        )
        return 1
    if options.redis and shutil.which("redis-server") is None:
        print(NO_REDIS)
        return 1
    with tempfile.TemporaryDirectory(prefix="nulpoint-demo-") as folder:
        programs = Programs(Path(folder))
        failed = 1
        try:
            failed = run_replicas(programs, ports) if options.redis else run_tour(programs)
            print_stats(programs)
            if not options.once and not failed:
                stay_up(ports, programs)
        except KeyboardInterrupt:
            failed = 0
        finally:
            stopped = programs.stop()
    return 0 if stopped and not failed else 1


def run_tour(programs: Programs) -> int:
    """Run the steps with one gateway. Return the number of steps that failed."""
    programs.start_mocks()
    log = programs.start_gateway(PORT)
    return tour.play(PORT, log) if wait_for(PORT, *MOCKS.values()) else 1


def run_replicas(programs: Programs, ports: tuple[int, ...]) -> int:
    """Run the steps with two gateways and one Redis. Return the number of steps that failed."""
    redis_port = free_port()
    kill_redis = programs.start_redis(redis_port)
    programs.start_mocks()
    for port in ports:
        programs.start_gateway(port, replicas.settings(redis_port))
    return replicas.play(ports, kill_redis) if wait_for(redis_port, *ports, *MOCKS.values()) else 1


def print_stats(programs: Programs) -> None:
    """Print what the request log says about all the steps."""
    time.sleep(0.5)  # the log is written in batches
    print("  $ nulpoint stats", flush=True)
    subprocess.run([sys.executable, "-m", "nulpoint", "stats", "--file", programs.database], check=False)
    print(flush=True)


def stay_up(ports: tuple[int, ...], programs: Programs) -> None:
    """Print how to use the gateways, and keep them running until Ctrl-C."""
    body = '{"model": "gpt-5.4", "messages": [{"role": "user", "content": "hi"}]}'
    urls = " and ".join(f"http://127.0.0.1:{port}/v1" for port in ports)
    print(f"  The gateway listens on {urls}. Try in another terminal:\n")
    print(f"    curl http://127.0.0.1:{ports[-1]}/v1/chat/completions -H 'content-type: application/json' -d '{body}'")
    print(f"    curl http://127.0.0.1:{ports[-1]}/health")
    print(f"    {Path(sys.executable).with_name('nulpoint')} logs -f --file {programs.database}\n")
    print("  Press Ctrl-C to stop.", flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    sys.exit(main())
