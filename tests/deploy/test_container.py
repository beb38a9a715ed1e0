"""Dockerfile and compose file, as far as they can be judged without an engine."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from fnmatch import fnmatch

import pytest
import yaml

from support.dockerfile import ROOT, instructions, stages
from support.ports import free_port
from support.processes import SERVE, process, wait_until_up

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
GATEWAY, REDIS = COMPOSE["services"]["gateway"], COMPOSE["services"]["redis"]


# -- the image ---------------------------------------------------------------------------------------------------------


def test_two_stages_from_a_named_version_and_nothing_of_the_first_but_the_gateway():
    build, final = stages()
    assert build[0][1] == "python:${PYTHON}-slim AS build"
    assert final[0][1] == "python:${PYTHON}-slim"
    version = dict(instructions())["ARG"].removeprefix("PYTHON=")
    assert re.fullmatch(r"3\.(1[1-9])", version)
    assert [rest for word, rest in final if word == "COPY" and "--from" in rest] == [
        "--from=build /opt/nulpoint /opt/nulpoint"
    ]
    assert "RUN" not in dict(final)


def test_it_is_not_root_listens_to_all_and_says_how_it_is():
    final = dict(stages()[-1])
    user, group = final["USER"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert "HOST=0.0.0.0" in final["ENV"]
    assert json.loads(final["ENTRYPOINT"]) == ["nulpoint"]  # no shell between it and its signals
    assert json.loads(final["CMD"]) == ["serve"]
    assert final["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(final["HEALTHCHECK"].split("CMD ")[1])[1] in final["COPY"]


def test_everything_that_is_installed_has_a_hash_and_nothing_is_compiled():
    installs = [part for word, rest in instructions() if word == "RUN" for part in rest.split("&&") if "/pip " in part]
    assert len(installs) == 4
    for command in installs:
        assert ("--require-hashes" in command and "--only-binary :all:" in command) or "--no-deps" in command
        assert "--no-cache-dir" in command
    assert "ADD" not in dict(instructions())


def test_what_is_copied_is_there_and_nothing_else_gets_in():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    allowed = [line[1:] for line in lines if line.startswith("!")]
    copied = [rest.split()[:-1] for word, rest in instructions() if word == "COPY" and "--from" not in rest]
    for name in (name for names in copied for name in names):
        assert (ROOT / name).exists()
        assert name.split("/")[0] in allowed
    for name in (".env", "config.yaml", ".git", ".venv", "tests", "demo"):
        assert not any(fnmatch(name, pattern) for pattern in allowed)


@pytest.mark.parametrize(("up", "code"), [(True, 0), (False, 1)])
def test_the_health_check(up, code):
    port = free_port()

    def check():
        command = [sys.executable, ROOT / "docker" / "healthcheck.py"]
        environ = {**os.environ, "PORT": str(port)}
        return subprocess.run(command, env=environ, capture_output=True, check=False).returncode

    if not up:
        assert check() == code
        return
    with process("serve", PORT=str(port), ADMIN_API_KEY="a", ADMIN_PORT="0", SHUTDOWN_DELAY="20s", **SERVE) as child:
        wait_until_up(port, "/readiness")
        assert check() == code
        child.send_signal(signal.SIGTERM)
        while check() == 0:  # it drains: told, but still serving
            assert child.poll() is None


# -- compose -----------------------------------------------------------------------------------------------------------


def test_the_profile_of_the_brief():
    assert "profiles" not in GATEWAY
    assert REDIS["profiles"] == ["redis"]
    assert GATEWAY["depends_on"]["redis"] == {"condition": "service_healthy", "required": False}
    assert "ports" not in REDIS


def test_nobody_else_reaches_it_unless_told():
    assert GATEWAY["ports"] == ["${HOST:-127.0.0.1}:${PORT:-8080}:8080"]
    assert GATEWAY["environment"] == {"HOST": "0.0.0.0", "PORT": 8080}
    for service in (GATEWAY, REDIS):
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_it_has_time_to_drain():
    seconds = int(GATEWAY["stop_grace_period"].removesuffix("s"))
    shutdown = next(
        row for row in (ROOT / "docs/configuration.md").read_text().splitlines() if "`SHUTDOWN_TIMEOUT`" in row
    )
    assert seconds > int(re.search(r"`(\d+)s`", shutdown)[1])


@pytest.mark.parametrize(
    ("there", "given", "url", "mode"),
    [
        (False, {}, "", ""),
        (True, {}, "redis://nulpoint-redis:6379", "redis"),
        (True, {"CACHE_MODE": "memory"}, "redis://nulpoint-redis:6379", "memory"),
        (True, {"REDIS_URL": "rediss://mine", "CACHE_MODE": "redis"}, "rediss://mine", "redis"),
        (False, {"REDIS_URL": "rediss://mine"}, "rediss://mine", ""),
    ],
)
def test_the_gateway_uses_redis_where_its_profile_is_on(there, given, url, mode, tmp_path):
    """The entry point as it is, with stand-ins for the two programs it calls."""
    (name,) = REDIS["networks"]["default"]["aliases"]
    (tmp_path / "getent").write_text(f'#!/bin/sh\n[ "$1 $2" = "hosts {name}" ] && exit {0 if there else 2}\nexit 9\n')
    (tmp_path / "nulpoint").write_text('#!/bin/sh\necho "$1 $REDIS_URL $CACHE_MODE"\n')
    for program in tmp_path.iterdir():
        program.chmod(0o755)
    *shell, script = GATEWAY["entrypoint"]
    command = [*shell, script.replace("$$", "$")]
    done = subprocess.run(
        command, env={"PATH": f"{tmp_path}:/bin", **given}, capture_output=True, text=True, check=True
    )
    assert done.stdout.rstrip("\n") == f"serve {url} {mode}"


def compose(*arguments):
    return subprocess.run(["docker", "compose", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_compose_itself_can_read_it():
    if shutil.which("docker") is None or compose("version").returncode != 0:
        pytest.skip("docker compose is not installed, so compose.yaml was not read by it")
    done = compose("--profile", "redis", "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["services"]) == {"gateway", "redis"}
