"""Runs the commands of one page of the documentation in order in one shell, as a reader would.

Mock providers and gateways are real processes; the ports on the page are replaced by free ones. A gateway (`make run`,
`nulpoint serve`) runs until the page starts another one or ends.
"""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from nulpoint.mock.server import PORTS
from support.fenced_blocks import SHELL, Block, commands
from support.paths import ROOT
from support.ports import free_port

SERVES = re.compile(r"^((?:\w+=\S+\s+|\\\n\s*)*)(?:make run|nulpoint serve([^#\n]*))\s*(#.*)?$")
BESIDE = ("Makefile", "requirements", "src", "docs", "deploy", "examples", "bench", "demo", "config.example.yaml", ".env.example", ".venv", "pyproject.toml")  # fmt: skip
NEEDS_A_GATEWAY = re.compile(r":8080|^(nulpoint (logs|stats|explain)|(python|sh|sqlite3) )")
READS_THE_LOG = re.compile(r"nulpoint (logs|stats)|sqlite3 ")
EXPECTED = re.compile(r"\s+# -> (.+)$")  # what the documentation says a command prints
PREAMBLE = """set -eu
: "${OSTYPE=}"  # Python 3.12's `activate` reads it, which fails under `set -u` in a shell that does not set it
curl() { command curl -sS --fail-with-body "$@"; }
GATEWAY=
stop() { [ -z "$GATEWAY" ] || { kill "$GATEWAY"; wait "$GATEWAY" || true; GATEWAY=; }; }
trap stop EXIT
up() { i=0; until curl -o /dev/null "http://127.0.0.1:$PORT/readiness" 2>/dev/null; do
  i=$((i+1)); [ $i -lt 400 ] || { echo "the gateway did not start" >&2; exit 1; }; sleep 0.05; done; }
at() { echo "-- $1" >&2; }
"""


class Mocks(NamedTuple):
    """The ports of the mock providers by the ports in the documentation."""

    ports: Mapping[int, int]

    def environ(self) -> dict[str, str]:
        """Return the environment that makes a gateway use them. Other commands do not get it, as in another terminal."""
        port = {name: self.ports[documented] for name, documented in PORTS.items()}
        url = "http://127.0.0.1:{}"
        return {
            "OPENAI_API_KEY": "any", "OPENAI_BASE_URL": url.format(port["openai"]) + "/v1",
            "ANTHROPIC_API_KEY": "any", "ANTHROPIC_BASE_URL": url.format(port["anthropic"]) + "/v1",
            "GOOGLE_API_KEY": "any", "GEMINI_BASE_URL": url.format(port["gemini"]) + "/v1beta",
            "MISTRAL_API_KEY": "any", "MISTRAL_BASE_URL": url.format(port["mistral"]) + "/v1",
            "COHERE_API_KEY": "any", "COHERE_BASE_URL": url.format(port["cohere"]) + "/v2",
            "GROQ_API_KEY": "any", "GROQ_BASE_URL": url.format(port["openai"]) + "/v1",
        }  # fmt: skip


# Each server takes a free port and prints it, because a port chosen earlier could be taken in the meantime.
_MOCKS = """
import asyncio, json
from nulpoint.mock import start
from nulpoint.mock.server import PORTS
async def main():
    servers = {name: await start(name) for name in PORTS}
    print(json.dumps({PORTS[name]: server.port for name, server in servers.items()}), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@contextlib.contextmanager
def mocks() -> Iterator[Mocks]:
    with subprocess.Popen([sys.executable, "-c", _MOCKS], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            reported = json.loads(child.stdout.readline())
            yield Mocks({int(documented): port for documented, port in reported.items()})
        finally:
            child.kill()


def surroundings(folder: Path) -> None:
    """Link the files that a reader has in the project's folder."""
    for name in BESIDE:
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)


def run_page(page: list[Block], folder: Path, beside: Mocks, left_out: Iterable[str], seconds: float = 90) -> str:
    """Run the page's shell and Python blocks, except commands that match a pattern of `left_out`.

    Return what was written to both outputs. Raises AssertionError with the end of it if a command fails.
    """
    surroundings(folder)
    port = free_port()
    ports = {8080: port, 9009: free_port(), **beside.ports}
    serve = " ".join(f"{name}=${{{name}:-{value}}}" for name, value in beside.environ().items())
    script = "\n".join([PREAMBLE, f'with_mocks() {{ export {serve}; exec "$@"; }}', *_steps(page, left_out)])
    script = _substituted(script, ports)
    for block in page:
        if block.language == "python":
            (folder / _file(block)).write_text(_substituted(block.text, ports))
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "PORT": str(port),
        "SHUTDOWN_DELAY": "0",
    }
    output = folder / "output.log"  # no pipe, because background processes would keep it open
    with output.open("ab") as log:
        child = subprocess.Popen(
            ["sh", "-c", script],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,
        )
    try:
        code: int | str = child.wait(seconds)
    except subprocess.TimeoutExpired:
        code = "out of time"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    out = output.read_text(errors="replace")
    assert code == 0, f"a command of the documentation fails ({code}):\n{out[-3000:]}"
    return out


def _steps(page: list[Block], left_out: Iterable[str]) -> Iterator[str]:
    """Yield the lines of the script: each command with its place, and a gateway where one is needed and none runs."""
    serving = read = False
    for place, text in _commands(page):
        if any(re.search(pattern, text) for pattern in left_out):
            continue
        serves = SERVES.match(text)
        if serves is None and not serving and NEEDS_A_GATEWAY.search(text):
            yield f"{_serve('', _options_of_make())}"
            serving = True
        yield f"at {place}"
        if READS_THE_LOG.match(text) and not read:
            yield "sleep 1"  # the log is written in batches
        read = READS_THE_LOG.match(text) is not None
        if serves is not None:
            yield f"stop; {_serve(serves[1], _options_of_make() if serves[2] is None else serves[2])}"
            serving = True
        elif text.startswith("make "):
            yield f"make -n >/dev/null {text.removeprefix('make ')}"
        elif expected := EXPECTED.search(text):
            yield f"{{ {text[: expected.start()]}; }} | tee -a /dev/stderr | grep -iF -- {shlex.quote(expected[1])} >/dev/null"
        elif text.endswith("&"):
            yield f"{text} sleep 0.3"
        else:
            yield text


def _commands(page: list[Block]) -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each command."""
    for block in page:
        if block.language == "python":
            yield f"{block.page.name}:{block.line}", f"python {_file(block)}"
        elif block.language in SHELL:
            yield from ((command.place, command.text) for command in commands(block))


def _file(block: Block) -> str:
    return f"block_{block.line}.py"


def _serve(environ: str, options: str) -> str:
    return f"({environ}with_mocks nulpoint serve {options}) & GATEWAY=$!; up"


def _options_of_make() -> str:
    """Return the options that `make run` passes to `nulpoint serve`."""
    options: str
    (options,) = re.findall(r"-m nulpoint serve(.*)", (ROOT / "Makefile").read_text())
    return options


def _substituted(text: str, ports: Mapping[int, int]) -> str:
    for documented, real in ports.items():
        text = re.sub(rf"\b{documented}\b", str(real), text)
    return text
