"""The Dockerfile's steps, performed on a scratch root: what the image holds starts as nobody, writes nowhere, is small.

No engine is needed. The paths of the image stand below the scratch root; the Python of its base image is this one.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nulpoint import __version__
from support.dockerfile import ROOT, stages
from support.ports import free_port
from support.processes import SERVE, get, process, wait_until_up

BASE_BYTES = 130_000_000  # python:3.12-slim, unpacked
MOST_BYTES = 210_000_000
NOBODY = 65534
COMMANDS = re.compile(r"(?<![\w./])/(?:opt|build)\b")


def perform(step, root):
    """RUN and COPY as the first stage has them, with the scratch root before every path."""
    word, rest = step
    if word == "COPY":
        *names, target = rest.split()
        for name in names:
            place = root / "build" / target / (name if (ROOT / name).is_dir() and target == "." else "")
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            place.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, place, **({"dirs_exist_ok": True} if copy is shutil.copytree else {}))
    elif word == "RUN":
        command = COMMANDS.sub(lambda found: f"{root}{found[0]}", rest)
        path = f"{Path(sys._base_executable).parent}:{os.environ['PATH']}"
        environ = {**os.environ, "PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        environ.pop("VIRTUAL_ENV", None)
        # pip keeps what it has fetched: a developer's machine is no image
        command = command.replace(" --no-cache-dir", "").replace("python -m venv", "python3 -m venv")
        done = subprocess.run(
            command, shell=True, cwd=root / "build", env=environ, capture_output=True, text=True, check=False
        )
        if done.returncode and re.search("ConnectionError|Connection refused|resolution|Retrying", done.stderr):
            pytest.skip("the registry cannot be reached, so the image's steps were not performed")
        assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def image():
    """The scratch root, with what the last stage would hold, read-only."""
    root = Path(tempfile.mkdtemp(prefix="nulpoint-image-"))
    try:
        root.chmod(0o755)
        (root / "build").mkdir()
        first, last = stages()
        for step in first[1:]:
            perform(step, root)
        for word, rest in last:
            if word == "COPY" and "--from" not in rest:
                shutil.copy(ROOT / rest.split()[0], f"{root}{rest.split()[1]}")
        (root / "app").mkdir()
        shutil.rmtree(root / "build")
        shutil.rmtree(root / "opt/tools")
        subprocess.run(["chmod", "-R", "a-w,a+rX", root], check=True)
        yield root
    finally:
        subprocess.run(["chmod", "-R", "u+w", root], check=True)
        shutil.rmtree(root)


def files(root):
    return {str(path): path.lstat().st_mtime_ns for path in root.rglob("*")}


def confined():
    """What makes a program one that may write nowhere: a command to go before it, and how it is started.

    Nobody in particular, where this is root and the Python below the environment may be used by all; else root without
    its powers. Who is not root is left as he is.
    """
    if os.getuid() != 0:
        return (), {}
    nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    try:
        subprocess.run([sys._base_executable, "-c", ""], check=True, cwd="/", **nobody)
    except PermissionError:
        if shutil.which("setpriv") is None:
            pytest.skip("this Python is root's alone and setpriv is not installed: nobody else could be tried")
        return ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"), {}
    return (), nobody


@pytest.mark.slow
def test_it_is_small_and_holds_no_installer(image):
    size = sum(path.lstat().st_size for path in image.rglob("*") if path.is_file() and not path.is_symlink())
    assert BASE_BYTES + size < MOST_BYTES, size
    site = next((image / "opt/nulpoint/lib").glob("python3*/site-packages"))
    installed = {path.name.split("-")[0].lower() for path in site.glob("*.dist-info")}
    assert "nulpoint" in installed
    assert "redis" in installed
    assert not installed & {"pip", "setuptools", "hatchling", "prometheus_client"}


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_serves_as_nobody_and_writes_nowhere(image, workers):
    final = dict(stages()[-1])
    port, before = free_port(), files(image)
    environ = {"PORT": str(port), "WORKERS": workers, "HOST": "127.0.0.1", "PYTHONDONTWRITEBYTECODE": "1", **SERVE}
    assert "PYTHONDONTWRITEBYTECODE=1" in final["ENV"]
    python = str(image / "opt/nulpoint/bin/python")
    before_it, identity = confined()
    with process("serve", command=(*before_it, python), **environ, **identity) as child:
        wait_until_up(port)
        assert "CapEff:\t0000000000000000" in Path(f"/proc/{child.pid}/status").read_text()
        assert "gateway_build_info" in get(port, "/metrics")
        check = subprocess.run(
            [*before_it, python, image / "opt/healthcheck.py"],
            env={**os.environ, **environ},
            capture_output=True,
            check=False,
            **identity,
        )
        assert check.returncode == 0, check.stdout
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
        assert child.returncode == 0
    assert files(image) == before


@pytest.mark.slow
def test_the_entry_point_is_on_the_path_and_says_its_version(image):
    final = dict(stages()[-1])
    (folder,) = re.findall(r"PATH=(\S+):\$PATH", final["ENV"])
    program = shutil.which("nulpoint", path=f"{image}{folder}")
    assert program is not None
    before_it, identity = confined()
    done = subprocess.run(
        [*before_it, program, "version"], capture_output=True, check=False, cwd=image / "app", **identity
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().strip() == __version__
