"""The demo's programs: started in an empty folder, waited for, ended; and the ports they need."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

START_SECONDS = 20.0
MOCKS = {"OPENAI": 19001, "ANTHROPIC": 19002, "GOOGLE": 19003, "MISTRAL": 19004}
PROVIDERS = {
    **{f"{name}_API_KEY": "demo-key" for name in MOCKS},
    "OPENAI_BASE_URL": "http://127.0.0.1:19001/v1",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:19002/v1",
    "GEMINI_BASE_URL": "http://127.0.0.1:19003/v1beta",
    "MISTRAL_BASE_URL": "http://127.0.0.1:19004/v1",
}


class Programs:
    """Those of one run. The folder is empty, so that no config.yaml of the user plays a part."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def database(self) -> Path:
        """Where all gateways log their requests."""
        return self.folder / "requests.db"

    def mocks(self) -> None:
        self._start([sys.executable, "-m", "nulpoint", "mock"], {}, self.folder / "mocks.log")

    def gateway(self, port: int, settings: Mapping[str, str] = {}) -> Path:
        """Gives its request log."""
        log = self.folder / f"requests-{port}.jsonl"
        places = f"stdout,sqlite:{self.database}"
        own = {"HOST": "127.0.0.1", "PORT": str(port), "SHUTDOWN_DELAY": "0", "REQUEST_LOG": places}
        environ = {**own, **PROVIDERS, **settings}
        self._start([sys.executable, "-m", "nulpoint", "serve"], environ, log)
        return log

    def redis(self, port: int) -> Callable[[], None]:
        """A server that keeps nothing on disk; gives what kills it."""
        command = [shutil.which("redis-server") or "redis-server", "--port", str(port), "--bind", "127.0.0.1",
                   "--save", "", "--appendonly", "no"]  # fmt: skip
        server = self._start(command, {}, self.folder / "redis.log")

        def kill() -> None:
            server.kill()
            self._running.remove(server)
            server.wait()

        return kill

    def _start(self, command: list[str], environ: Mapping[str, str], out: Path) -> "subprocess.Popen[bytes]":
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        with out.open("wb") as stdout:
            program = subprocess.Popen(command, env={**kept, **environ}, cwd=self.folder, stdout=stdout)
        self._running.append(program)
        return program

    def end(self) -> bool:
        """Whether all of them ended as they should."""
        for program in self._running:
            program.terminate()
        return not any([program.wait(15) for program in self._running])


def taken(*ports: int) -> list[int]:
    """Those of the ports where somebody listens already."""
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
    """Whether somebody listens on each within START_SECONDS."""
    end = time.monotonic() + START_SECONDS
    for port in ports:
        while not _listens(port):
            if time.monotonic() > end:
                print(f"demo: nothing listens on port {port}")
                return False
            time.sleep(0.02)
    return True


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
