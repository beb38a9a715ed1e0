"""Tests of the gateway as a process: start, stop, several workers, and ports that are in use."""

import asyncio
import json
import os
import secrets
import signal
import socket
import time
import urllib.error
import urllib.request

import pytest

from nulpoint.mock import MockSettings, start
from support.event_loop import run
from support.http_client import STREAM, Caller, post
from support.ports import free_port
from support.processes import SERVE, get, process, wait_for, wait_until_up, workers_of


def test_a_signal_ends_the_process_with_0_and_the_log_is_complete():
    port = free_port()
    with process("serve", PORT=str(port), **SERVE) as child:
        wait_until_up(port)
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(port, "/nowhere")
        caught.value.close()
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
        assert child.returncode == 0
        records = [json.loads(line) for line in out.splitlines()]
        assert [record["status"] for record in records][-1] == 404
        assert b"draining" in err


def test_a_port_in_use_is_reported_and_nothing_runs():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        for workers in ("1", "2"):
            with process("serve", PORT=port, WORKERS=workers, **SERVE) as child:
                _, err = child.communicate(timeout=60)
                assert child.returncode == 1
                assert f"cannot listen on 127.0.0.1:{port}" in err.decode()


def test_bad_configuration_exits_with_2_before_anything_listens():
    port = free_port()
    with process("serve", PORT=str(port), MAX_BODY_BYTES="lots", OPENAI_API_KEY="x") as child:
        _, err = child.communicate(timeout=60)
        assert child.returncode == 2
        assert b"MAX_BODY_BYTES = 'lots' (environment)" in err


def counted(port) -> float:
    lines = [line for line in get(port, "/metrics").splitlines() if line.startswith("gateway_http_requests_total")]
    return sum(float(line.split()[-1]) for line in lines if "other" in line)


@pytest.mark.slow
def test_workers_share_the_port_and_are_replaced_and_their_metrics_add_up():
    port = free_port()
    with process("serve", PORT=str(port), WORKERS="2", **SERVE) as child:
        wait_until_up(port)
        time.sleep(0.5)
        for _ in range(40):
            with pytest.raises(urllib.error.HTTPError) as caught:
                get(port, "/nowhere")
            caught.value.close()
        wait_for(lambda: counted(port) == 40)
        workers = workers_of(child)
        assert len(workers) == 2
        os.kill(int(workers[0]), signal.SIGKILL)
        wait_for(lambda: workers[0] not in workers_of(child) and len(workers_of(child)) == 2)
        wait_for(lambda: counted(port) == 40)
        time.sleep(1.5)  # nothing is added when the new worker reports for the first time
        assert counted(port) == 40
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
        assert child.returncode == 0


def test_an_admin_port_in_use_is_reported():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = str(holder.getsockname()[1])
        for workers in ("1", "2"):
            with process("serve", PORT=str(free_port()), ADMIN_PORT=taken, WORKERS=workers, **SERVE) as child:
                _, err = child.communicate(timeout=60)
                assert child.returncode == 1
                assert f"cannot listen on 127.0.0.1:{taken}" in err.decode()
                assert "change ADMIN_PORT or ADMIN_HOST" in err.decode()


@pytest.mark.slow
def test_workers_share_the_admin_port_too():
    port, admin = free_port(), free_port()
    with process("serve", PORT=str(port), ADMIN_PORT=str(admin), WORKERS="2", **SERVE) as child:
        wait_until_up(admin)
        wait_until_up(port, "/readiness")
        for _ in range(20):
            with pytest.raises(urllib.error.HTTPError) as caught:
                get(port, "/nowhere")
            caught.value.close()
        wait_for(lambda: [counted(admin) for _ in range(10)] == [20] * 10)  # whichever worker responds
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=60) == 0


@pytest.mark.slow
def test_workers_read_the_env_file(tmp_path):
    port = free_port()
    lines = [f"{name}={value}" for name, value in {**SERVE, "PORT": str(port), "WORKERS": "2"}.items()]
    (tmp_path / "env").write_text("\n".join(lines))
    with process("serve", "--env-file", str(tmp_path / "env")) as child:
        wait_until_up(port)
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=60) == 0
        assert b"died" not in child.stderr.read()


def test_listening_beyond_loopback_without_keys_logs_a_warning():
    port = free_port()
    for host, warned in (("0.0.0.0", True), ("127.0.0.1", False)):
        with process("serve", PORT=str(port), HOST=host, **SERVE) as child:
            wait_until_up(port)
            child.send_signal(signal.SIGTERM)
            _, err = child.communicate(timeout=60)
            assert (b"set GATEWAY_API_KEYS" in err) == warned


async def streams_then(signals, workers, streams, **mock):
    """Open streams and send `signals`, 0.2 s apart, while they run.

    Return the bodies, the ended process, and the seconds from the last signal to its end.
    """
    provider = await start("openai", settings=MockSettings(**mock))
    port = free_port()
    environ = {
        "PORT": str(port),
        "WORKERS": str(workers),
        "OPENAI_API_KEY": "x",
        "OPENAI_BASE_URL": provider.url + "/v1",
        "SHUTDOWN_DELAY": "0s",
    }
    try:
        with process("serve", **environ) as child:
            await asyncio.to_thread(wait_until_up, port)
            callers = [await Caller.connect(port) for _ in range(streams)]
            for caller in callers:
                caller.send(post(STREAM.replace(b"hi", secrets.token_hex(8).encode())))
            for caller in callers:
                await caller.reader.readuntil(b"data: ")
            for number in signals:
                sent_at = time.monotonic()
                tell(child, number)
                await asyncio.sleep(0.2)
            with pytest.raises(OSError):
                while True:  # the signal may not have arrived yet
                    await (await Caller.connect(port)).close()
            bodies = await asyncio.gather(*(caller.rest() for caller in callers))
            await asyncio.to_thread(child.wait, 60)
            return bodies, child, time.monotonic() - sent_at
    finally:
        await provider.close()


def tell(child, number):
    """Send a signal; SIGINT goes to the whole process group, as from a terminal."""
    if number == signal.SIGINT:
        os.killpg(child.pid, number)
    else:
        child.send_signal(number)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_200_streams_finish_completely_after_a_signal(workers, number):
    bodies, child, _ = run(streams_then([number], workers, 200, stream_words=40, chunk_ms=25.0))
    assert child.returncode == 0
    assert len([body for body in bodies if body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")]) == 200


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once_and_no_stream_looks_complete(workers, second):
    signals = [signal.SIGTERM, second]
    bodies, child, seconds = run(streams_then(signals, workers, 20, stream_words=1000, chunk_ms=25.0))
    assert seconds <= 10  # the streams would take 25
    assert child.returncode == 0
    assert not [body for body in bodies if b"[DONE]" in body or body.endswith(b"0\r\n\r\n")]
    assert all(b'"code":"shutting_down"' in body for body in bodies)


def test_the_mock_providers_as_a_process():
    with process("mock", MOCK_ERROR_RATE="2", MOCK_SEED="x") as child:
        _, err = child.communicate(timeout=60)
        assert child.returncode == 2
        assert b"MOCK_ERROR_RATE" in err
        assert b"MOCK_SEED" in err
