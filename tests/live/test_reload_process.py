"""Tests of reloads in real processes: SIGHUP, watched files, one or several workers, and `nulpoint explain`."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
import yaml

from support.ports import free_port
from support.processes import SERVE, get, process, wait_for, wait_until_up, workers_of

NUDGE = {"LOG_LEVEL": "info", "SHUTDOWN_DELAY": "0", **SERVE}


def config_of(port):
    return json.loads(get(port, "/admin/config"))


def reload(port):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/admin/reload", method="POST", data=b"")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


class Running:
    """A `nulpoint serve` process in a folder whose config.yaml the test changes."""

    def __init__(self, folder, **environ):
        self.folder = folder
        self.port = free_port()
        self.environ = {**NUDGE, "PORT": str(self.port), **environ}

    def write(self, **settings):
        (self.folder / "fresh").write_text(yaml.safe_dump(settings))
        (self.folder / "fresh").replace(self.folder / "config.yaml")

    def serve(self, *arguments):
        return process("serve", *arguments, cwd=self.folder, **self.environ)

    def limit(self):
        return config_of(self.port)["settings"]["RPM_LIMIT"]["value"]


def test_sighup_and_the_watch(tmp_path):
    running = Running(tmp_path)
    running.write(rpm_limit=1000, config_watch=False)
    with running.serve() as child:
        wait_until_up(running.port)
        running.write(rpm_limit=2000, config_watch=False)
        child.send_signal(signal.SIGHUP)
        wait_for(lambda: running.limit() == 2000)
        running.write(rpm_limit="lots")
        child.send_signal(signal.SIGHUP)
        wait_for(lambda: config_of(running.port)["reload"]["status"] == "refused")
        assert running.limit() == 2000
        running.write(rpm_limit=3000)
        child.send_signal(signal.SIGHUP)
        wait_for(lambda: running.limit() == 3000)
        running.write(rpm_limit=4000, port=1)  # the file is watched from now on
        wait_for(lambda: running.limit() == 4000)
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=60)
        assert child.returncode == 0
        text = err.decode()
        assert "the configuration has changed: RPM_LIMIT" in text
        assert "rpm_limit = 'lots' (config.yaml): use a whole number" in text
        assert "Traceback" not in text


def test_the_env_file_is_reloaded_and_the_environment_is_not(tmp_path):
    running = Running(tmp_path, TPM_LIMIT="5")
    (tmp_path / "env").write_text("RPM_LIMIT=1000\nTPM_LIMIT=9\n")
    with running.serve("--env-file", str(tmp_path / "env")) as child:
        wait_until_up(running.port)
        settings = config_of(running.port)["settings"]
        assert settings["RPM_LIMIT"] == {"value": 1000, "origin": str(tmp_path / "env")}
        assert settings["TPM_LIMIT"] == {"value": 5, "origin": "environment"}
        (tmp_path / "env").write_text("RPM_LIMIT=2000\nTPM_LIMIT=10\nGROQ_API_KEY=sk-groq\n")
        wait_for(lambda: running.limit() == 2000)
        page = config_of(running.port)
        assert page["settings"]["TPM_LIMIT"]["value"] == 5
        assert "groq" in page["providers"]
        (tmp_path / "env").unlink()
        with pytest.raises(urllib.error.HTTPError) as caught:
            reload(running.port)
        assert "has been removed" in caught.value.read().decode()
        caught.value.close()
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=60) == 0


@pytest.mark.slow
def test_all_workers_reload(tmp_path):
    """SIGHUP to the supervisor and a request to any worker reload all of them; none dies, even while it starts."""
    running = Running(tmp_path, WORKERS="2")
    (tmp_path / "env").write_text("LOG_LEVEL=info\n")

    running.write(rpm_limit_per_key=0, config_watch=False, max_retries=1)
    with running.serve("--env-file", "env") as child:
        wait_until_up(running.port)
        time.sleep(0.5)
        os.kill(int(workers_of(child)[0]), signal.SIGKILL)
        for _ in range(60):  # while its successor starts and cannot react to signals yet
            child.send_signal(signal.SIGHUP)
            time.sleep(0.02)
        pids = workers_of(child)
        assert len(pids) == 2

        def retries():
            return {config_of(running.port)["settings"]["MAX_RETRIES"]["value"] for _ in range(12)}

        for limit, how in ((2, "signal"), (3, "request"), (4, "signal"), (5, "request")):
            running.write(config_watch=False, max_retries=limit)
            if how == "signal":
                child.send_signal(signal.SIGHUP)
            else:
                assert reload(running.port)["result"] == "changed"
            wait_for(lambda limit=limit: retries() == {limit})
        running.write(config_watch=False, max_retries=6, workers=3, log_queue=7)
        assert reload(running.port)["after_restart"] == [
            "LOG_QUEUE"
        ]  # the environment sets WORKERS and takes precedence
        assert workers_of(child) == pids
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=60)
        assert child.returncode == 0
        assert err.count(b"died") == 1


@pytest.mark.slow
def test_a_worker_that_dies_while_the_file_is_invalid_is_replaced(tmp_path):
    running = Running(tmp_path, WORKERS="2")
    running.write(max_retries=7, gateway_api_keys=["a-key"])
    (tmp_path / "env").write_text("OPENAI_API_KEYS=sk-a,sk-b\n")
    with running.serve("--env-file", "env") as child:
        wait_until_up(running.port)
        running.write(max_retries=8, gateway_api_keys=["a-key"])
        wait_for(lambda: {_retries(running) for _ in range(8)} == {8})
        time.sleep(0.5)
        running.write(max_retries="many")
        wait_for(lambda: config_of(running.port)["reload"]["status"] == "refused")
        (tmp_path / "env").write_bytes(b"\xff")  # a starting worker cannot read this file either
        time.sleep(1.0)
        for pid in workers_of(child):
            os.kill(int(pid), signal.SIGKILL)
        wait_until_up(running.port)
        wait_for(lambda: {config_of(running.port)["reload"]["status"] for _ in range(8)} == {"refused"})
        page = config_of(running.port)
        assert page["settings"]["MAX_RETRIES"] == {"value": 8, "origin": "config.yaml"}
        assert page["files"] == ["config.yaml", "env"]
        assert len(page["providers"]["openai"]["keys"]) == 3
        (tmp_path / "env").write_text("OPENAI_API_KEYS=sk-a,sk-b\n")
        running.write(max_retries=9, gateway_api_keys=["a-key"])
        wait_for(lambda: {_retries(running) for _ in range(8)} == {9})
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=60)
        assert child.returncode == 0
        assert err.count(b"died with exit code -9") == 2
        assert b"died with exit code 2" not in err


def _retries(running):
    return config_of(running.port)["settings"]["MAX_RETRIES"]["value"]


@pytest.mark.slow
def test_a_thousand_reload_signals(tmp_path):
    """The signals arrive within a few seconds, while the file changes and requests are sent."""
    running = Running(tmp_path)
    running.write(rpm_limit=1)
    with running.serve() as child:
        wait_until_up(running.port)
        before = _open_files(child.pid)
        for number in range(1000):
            if number % 50 == 0:
                running.write(rpm_limit=1000 + number)
                get(running.port, "/readiness")
            child.send_signal(signal.SIGHUP)
            time.sleep(0.002)
        running.write(rpm_limit=5)
        child.send_signal(signal.SIGHUP)
        wait_for(lambda: running.limit() == 5)
        assert _open_files(child.pid) <= before + 2
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=60) == 0


def _open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def explain(running, *arguments, **environ):
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [sys.executable, "-m", "nulpoint", "explain", *arguments]
    settings = {**keep, **running.environ, **environ}
    return subprocess.run(command, cwd=running.folder, env=settings, capture_output=True, text=True, check=False)


def test_explain_with_and_without_a_running_gateway(tmp_path):
    running = Running(tmp_path, ADMIN_API_KEY="op-77aa")
    running.write(aliases={"fast": "openai/gpt-4o-mini"})
    alone = explain(running, "fast")
    assert alone.returncode == 0
    assert "fast (chat) resolves to openai/gpt-4o-mini: by an alias of config.yaml" in alone.stdout
    assert "no gateway answers at" in alone.stdout
    with running.serve() as child:
        wait_until_up(running.port, "/readiness")
        result = explain(running, "fast")
        assert f"as the gateway at http://127.0.0.1:{running.port} sees it now" in result.stdout
        assert json.loads(explain(running, "fast", "--json").stdout)["outcome"] == "openai/gpt-4o-mini is tried"
        refused = explain(running, "fast", ADMIN_API_KEY="wrong-key-1")
        assert refused.returncode == 1
        assert "answers 401" in refused.stderr
        assert "wrong-key-1" not in refused.stderr
        keyless = {name: "" for name in running.environ if name.endswith(("_API_KEY", "_BASE_URL"))}
        other = explain(
            running, "fast", **{**keyless, "ADMIN_API_KEY": "op-77aa"}
        )  # run in a terminal without the gateway's settings
        assert f"as the gateway at http://127.0.0.1:{running.port} sees it now" in other.stdout
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=60)
    unset = explain(running, "fast", **keyless)
    assert (unset.returncode, "none is configured" in unset.stderr) == (2, True)
    nobody = explain(running, "fast", "--url", "http://127.0.0.1:1")
    assert (nobody.returncode, "nothing listens at" in nobody.stderr) == (1, True)
