"""Starts the programs to be measured, each as a child process on loopback, and stops each by its process id."""

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from formats import FORMATS, OPENAI, PASSED_THROUGH, TRANSLATED, Format

LOAD_CPU, SUBJECT_CPU = "0", "1"
_NGINX = """worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log crit;
events {{ worker_connections 16384; }}
http {{ access_log off; keepalive_requests 1000000000; client_max_body_size 50m; client_body_buffer_size 1m;
client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
scgi_temp_path {folder}/s; {http} }}
"""


class Subject:
    """A running program: its port, the processes whose cost is measured, and the model to request from it."""

    def __init__(self, name: str, port: int, pids: list[int], model: str = OPENAI.model) -> None:
        self.name = name
        self.port = port
        self.pids = pids
        self.model = model


def allow_many_files() -> None:
    """Raise the limit on open files as far as this process may. Every child inherits it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pinned(cpu: str, *command: str) -> list[str]:
    return ["taskset", "-c", cpu, *command] if (os.cpu_count() or 1) > 1 and shutil.which("taskset") else list(command)


def wait_for(port: int, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.005)
    raise TimeoutError(f"nothing listens on port {port}")


@contextlib.contextmanager
def child(
    command: list[str], env: dict[str, str] | None = None, out: Path | None = None, directory: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a child process, and end it with SIGTERM, or kill it if it does not end."""
    with contextlib.ExitStack() as stack:
        stdout = stack.enter_context(out.open("wb")) if out else subprocess.DEVNULL
        process = subprocess.Popen(command, env=env, stdout=stdout, stderr=subprocess.DEVNULL, cwd=directory)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def run_nginx(folder: Path, http: str, port: int, cpu: str, name: str = "nginx") -> Iterator[Subject]:
    folder.mkdir()
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, http=http))
    with child(pinned(cpu, "nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"))) as master:
        wait_for(port)
        yield Subject(name, port, [master.pid, *children(master.pid)])


@contextlib.contextmanager
def response_server(folder: Path) -> Iterator[int]:
    """Run an nginx that answers every request at once with a whole response in the format that the path names."""
    port = free_port()
    others = "".join(_location(form.base_path + "/", form) for form in FORMATS[1:])
    server = f"server {{ listen 127.0.0.1:{port} backlog=4096; {_location('/', OPENAI)} {others} }}"
    with run_nginx(folder, server, port, LOAD_CPU):
        yield port


def _location(path: str, form: Format) -> str:
    return f"location {path} {{ default_type application/json; return 200 '{form.response}'; }}"


@contextlib.contextmanager
def nginx_proxy(folder: Path, upstream: int, name: str = "nginx") -> Iterator[Subject]:
    """Run an nginx that does nothing but proxy."""
    port = free_port()
    http = f"""upstream u {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000000; }}
server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://u; proxy_http_version 1.1;
proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 600s; }} }}"""
    with run_nginx(folder, http, port, SUBJECT_CPU, name) as subject:
        yield subject


def gateway_environment(port: int, upstream: int) -> dict[str, str]:
    """Return the environment of a gateway with all its defaults, the cache included."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    keys = {name: text for form in FORMATS for name, text in {form.key: "sk-bench", **form.variables}.items()}
    urls = {form.base_url: f"http://127.0.0.1:{upstream}{form.base_path}" for form in FORMATS}
    # All formats share one origin here, and 2,000 streams to it are more than the default allows.
    settings = {"PORT": str(port), "UPSTREAM_MAX_CONNECTIONS": "4096"}
    return {**inherited, **keys, **urls, **settings}


@contextlib.contextmanager
def nulpoint(
    folder: Path,
    upstream: int,
    name: str = "nulpoint",
    model: str = OPENAI.model,
    directory: Path | None = None,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Subject]:
    """Run the gateway with its request log in a file and all defaults, except for `settings`.

    `directory` is the one with its config.yaml.
    """
    port = free_port()
    command = pinned(SUBJECT_CPU, sys.executable, "-m", "nulpoint", "serve")
    environment = {**gateway_environment(port, upstream), **settings}
    with child(command, environment, folder / f"requests-{port}.jsonl", directory) as process:
        wait_for(port)
        yield Subject(name, port, [process.pid], model)


def translated_subjects(gateway: Subject) -> list[Subject]:
    """Return the same gateway once for each format that it has to translate."""
    return [Subject(form.name, gateway.port, gateway.pids, form.model) for form in TRANSLATED]


def pass_through_subjects(gateway: Subject) -> list[Subject]:
    """Return the same gateway once for each other host of OpenAI's format."""
    return [Subject(form.name, gateway.port, gateway.pids, form.model) for form in PASSED_THROUGH]


def children(pid: int) -> list[int]:
    time.sleep(0.2)
    return [int(child_pid) for child_pid in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
