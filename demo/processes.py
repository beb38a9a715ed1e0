"""Starts the programs of the demo in an empty folder, waits for them and stops them, and finds ports."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

START_SECONDS = 20.0
MOCKS = {"OPENAI": 19001, "ANTHROPIC": 19002, "GOOGLE": 19003, "MISTRAL": 19004, "COHERE": 19008}
PROVIDERS = {
    **{f"{name}_API_KEY": "demo-key" for name in MOCKS},
    "OPENAI_BASE_URL": "http://127.0.0.1:19001/v1",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:19002/v1",
    "GEMINI_BASE_URL": "http://127.0.0.1:19003/v1beta",
    "MISTRAL_BASE_URL": "http://127.0.0.1:19004/v1",
    "COHERE_BASE_URL": "http://127.0.0.1:19008/v2",
}


class Programs:
    """The programs of one run. Their folder is empty, so that no config.yaml of the user has an effect."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def database(self) -> Path:
        """The file in which all gateways log their requests."""
        return self.folder / "requests.db"

    def start_mocks(self) -> None:
        self._start([sys.executable, "-m", "nulpoint", "mock"], {}, self.folder / "mocks.log")

    def start_gateway(self, port: int, settings: Mapping[str, str] = {}) -> Path:
        """Start a gateway and return the path of its request log."""
        log = self.folder / f"requests-{port}.jsonl"
        environ = {
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "SHUTDOWN_DELAY": "0",
            "REQUEST_LOG": f"stdout,sqlite:{self.database}",
            **PROVIDERS,
            **settings,
        }
        self._start([sys.executable, "-m", "nulpoint", "serve"], environ, log)
        return log

    def start_redis(self, port: int) -> Callable[[], None]:
        """Start a Redis that stores nothing on disk. Return a function that kills it."""
        program = shutil.which("redis-server") or "redis-server"
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        server = self._start(command, {}, self.folder / "redis.log")

        def kill() -> None:
            server.kill()
            self._running.remove(server)
            server.wait()

        return kill

    def _start(self, command: list[str], environ: Mapping[str, str], out: Path) -> "subprocess.Popen[bytes]":
        inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        with out.open("wb") as stdout:
            program = subprocess.Popen(command, env={**inherited, **environ}, cwd=self.folder, stdout=stdout)
        self._running.append(program)
        return program

    def stop(self) -> bool:
        """Stop all programs. Return whether all of them exited with status 0."""
        for program in self._running:
            program.terminate()
        return not any([program.wait(15) for program in self._running])


def ports_in_use(*ports: int) -> list[int]:
    """Return those of the ports that another program uses."""
    return [port for port in ports if not _is_free(port)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_for(*ports: int) -> bool:
    """Return whether a program listens on each port within START_SECONDS."""
    end = time.monotonic() + START_SECONDS
    for port in ports:
        while not _is_listening(port):
            if time.monotonic() > end:
                print(f"demo: nothing listens on port {port} after {START_SECONDS:g} s")
                return False
            time.sleep(0.02)
    return True


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
