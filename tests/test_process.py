"""The gateway as a process: start, stop, several workers, a port that is taken."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from conftest import STREAM, Caller, post, run
from nulpoint.mock import MockSettings, start


@contextlib.contextmanager
def process(*arguments, **environ):
    """`nulpoint ARGUMENTS` as a child, in an empty environment but for what it needs."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    child = subprocess.Popen(
        [sys.executable, "-m", "nulpoint", *arguments],
        env={**keep, **environ},
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port, path="/health"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return answer.read().decode()


def wait_until_up(port):
    end = time.monotonic() + 10
    while True:
        try:
            return get(port)
        except OSError:
            assert time.monotonic() < end, "it did not start"
            time.sleep(0.02)


SERVE = {"OPENAI_API_KEY": "sk-x", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "CONNECT_TIMEOUT": "1s"}


def test_sigterm_ends_it_with_0_and_the_log_is_whole():
    port = free_port()
    with process("serve", PORT=str(port), **SERVE) as child:
        wait_until_up(port)
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(port, "/nowhere")
        caught.value.close()
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=10)
        assert child.returncode == 0
        records = [json.loads(line) for line in out.splitlines()]
        assert [record["status"] for record in records][-1] == 404
        assert b"draining" in err


def test_a_port_that_is_taken_is_told_and_nothing_runs():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        for workers in ("1", "2"):
            with process("serve", PORT=port, WORKERS=workers, **SERVE) as child:
                _, err = child.communicate(timeout=10)
                assert child.returncode == 1
                assert f"cannot listen on 127.0.0.1:{port}" in err.decode()


def test_bad_configuration_exits_with_2_before_anything_listens():
    port = free_port()
    with process("serve", PORT=str(port), MAX_BODY_BYTES="lots", OPENAI_API_KEY="x") as child:
        _, err = child.communicate(timeout=10)
        assert child.returncode == 2
        assert b"MAX_BODY_BYTES = 'lots' (environment)" in err


def counted(port) -> float:
    lines = [line for line in get(port, "/metrics").splitlines() if line.startswith("gateway_http_requests_total")]
    return sum(float(line.split()[-1]) for line in lines if "other" in line)


@pytest.mark.slow
def test_workers_share_the_port_are_replaced_and_their_metrics_add_up():
    port = free_port()
    with process("serve", PORT=str(port), WORKERS="2", **SERVE) as child:
        wait_until_up(port)
        time.sleep(0.5)
        for _ in range(40):
            with pytest.raises(urllib.error.HTTPError) as caught:
                get(port, "/nowhere")
            caught.value.close()
        time.sleep(1.5)
        assert counted(port) == 40
        workers = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(child.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        assert len(workers) == 2
        os.kill(int(workers[0]), signal.SIGKILL)
        time.sleep(2.5)
        now = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(child.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        assert len(now) == 2
        assert workers[0] not in now
        assert counted(port) == 40
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=15)
        assert child.returncode == 0


async def streams_then(signals, workers, streams, **mock):
    """Open streams, send SIGTERM while they run, as often as said; gives the bodies and the process, ended."""
    provider = await start("openai", settings=MockSettings(**mock))
    port = free_port()
    environ = {
        "PORT": str(port),
        "WORKERS": str(workers),
        "OPENAI_API_KEY": "x",
        "OPENAI_BASE_URL": provider.url + "/v1",
    }
    with process("serve", **environ) as child:
        await asyncio.to_thread(wait_until_up, port)
        callers = [await Caller.connect(port) for _ in range(streams)]
        for caller in callers:
            caller.send(post(STREAM))
        for caller in callers:
            await caller.reader.readuntil(b"data: ")
        for _ in range(signals):
            child.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.2)
        with pytest.raises(OSError):
            await Caller.connect(port)
        bodies = await asyncio.gather(*(caller.rest() for caller in callers))
        await asyncio.to_thread(child.wait, 20)
    await provider.close()
    return bodies, child


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_200_streams_at_sigterm_all_end_whole(workers):
    bodies, child = run(streams_then(1, workers, 200, stream_words=40, chunk_ms=25.0))
    assert child.returncode == 0
    assert len([body for body in bodies if body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")]) == 200


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_signal_ends_it_at_once_and_no_stream_looks_whole(workers):
    began = time.monotonic()
    bodies, child = run(streams_then(2, workers, 20, stream_words=1000, chunk_ms=25.0))
    assert time.monotonic() - began < 10
    assert child.returncode == 0
    assert not [body for body in bodies if b"[DONE]" in body or body.endswith(b"0\r\n\r\n")]


def test_the_mock_providers_as_a_process():
    with process("mock", MOCK_ERROR_RATE="2", MOCK_SEED="x") as child:
        _, err = child.communicate(timeout=10)
        assert child.returncode == 2
        assert b"MOCK_ERROR_RATE" in err
        assert b"MOCK_SEED" in err
