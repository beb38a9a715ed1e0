"""Tests that processes end exactly when they should: blocked loops, stopped workers, dead supervisors, early signals.

Every process of the gateway runs our own `sitecustomize`. It sends signals at named points of the start, so that tests
need no exact timing, and blocks the event loop when it receives SIGUSR1.
"""

import asyncio
import os
import signal
import socket

import pytest

from nulpoint.mock import MockSettings, start
from support.event_loop import run
from support.http_client import STREAM, Caller, post
from support.ports import free_port
from support.processes import SERVE, get, process, wait_for, wait_until_up, workers_of

HOOKS = '''
import os, signal, sys

def hold(*_):
    with open(os.environ["HOLDS"], "w") as file:
        file.write("now")
    if os.environ.get("HELD_IN") == "C":
        sum(range(10**12))  # a call into C, during which neither signal handlers nor other threads run
    elif os.environ.get("HELD_IN") == "re":
        import re
        re.match(r"(a+)+$", "a" * 60 + "b")
    while True:
        pass

signal.signal(signal.SIGUSR1, hold)

def send(place):
    number = os.environ.get("SIGNAL_AT_" + place)
    if number:
        os.kill(os.getpid(), int(number))

class Finder:
    """Sends a signal just before the data plane is imported, when the configuration has been read."""
    def find_spec(self, name, path=None, target=None):
        if name == "nulpoint.app.process":
            send("IMPORT")

sys.meta_path.insert(0, Finder())

if any(name.startswith("SIGNAL_AT_") for name in os.environ):
    import atexit, subprocess, uvloop
    atexit.register(send, "EXIT")
    run, create_server, popen = uvloop.run, uvloop.Loop.create_server, subprocess.Popen.__init__

    def run_and_send(main, **more):
        send("RUN")
        return run(main, **more)

    async def create_server_and_send(self, *arguments, **more):
        send("LISTEN")
        server = await create_server(self, *arguments, **more)
        send("LISTENING")
        return server

    def popen_and_send(self, *arguments, **more):
        popen(self, *arguments, **more)
        send("POPEN")

    uvloop.run, uvloop.Loop.create_server, subprocess.Popen.__init__ = run_and_send, create_server_and_send, popen_and_send
'''


@pytest.fixture
def serve(tmp_path):
    """Return a function that starts `nulpoint serve` with these hooks."""
    (tmp_path / "sitecustomize.py").write_text(HOOKS)
    holds = tmp_path / "holds"

    def begin(*, port, **environ):
        hooked = {"PYTHONPATH": str(tmp_path), "HOLDS": str(holds), "SHUTDOWN_DELAY": "0", **SERVE, **environ}
        return process("serve", cwd=tmp_path, PORT=str(port), **hooked)

    begin.holds = holds
    return begin


def hold(pid, serve):
    """Block the event loop of the process; return when it is blocked."""
    os.kill(int(pid), signal.SIGUSR1)
    wait_for(lambda: serve.holds.exists() and serve.holds.read_text() == "now")


def both_workers(child, port):
    """Return the ids of both worker processes once both listen."""
    address = f"0100007F:{port:04X} 00000000:0000 0A "

    def listen():
        with open("/proc/net/tcp") as file:
            return sum(address in line for line in file) == 2

    wait_for(listen, 20.0)
    return workers_of(child)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# -- early signals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("place", ["RUN", "LISTEN", "LISTENING"])
def test_a_stop_signal_while_the_listener_opens(serve, place, number):
    with serve(port=free_port(), **{f"SIGNAL_AT_{place}": str(int(number))}) as child:
        _, err = child.communicate(timeout=60)
        assert child.returncode == 0, err
        assert b"Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_before_the_start_ends_the_process(serve, number):
    with serve(port=free_port(), SIGNAL_AT_IMPORT=str(int(number))) as child:
        _, err = child.communicate(timeout=60)
        assert child.returncode == -number
        assert err == b""


@pytest.mark.parametrize("place", ["IMPORT", "RUN", "LISTEN", "LISTENING"])
def test_a_reload_signal_during_the_start_is_handled_later(serve, place):
    port = free_port()
    hangup = {f"SIGNAL_AT_{place}": str(int(signal.SIGHUP)), "CONFIG_WATCH": "false"}
    with serve(port=port, **hangup) as child:
        wait_until_up(port)
        wait_for(lambda: 'gateway_config_reloads_total{result="unchanged"} 1.0' in get(port, "/metrics"))
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=60)
        assert child.returncode == 0, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_signal_after_the_shutdown_changes_nothing(serve, number):
    port = free_port()
    with serve(port=port, SIGNAL_AT_EXIT=str(int(number))) as child:
        wait_until_up(port)
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=60)
        assert child.returncode == 0, err
        assert b"Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_between_two_worker_starts(serve, number):
    with serve(port=free_port(), WORKERS="3", SIGNAL_AT_POPEN=str(int(number))) as child:
        _, err = child.communicate(timeout=60)
        assert child.returncode == 0, err
        assert b"Traceback" not in err


# -- held loops --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held_in", ["Python", "re"])
def test_a_single_process_with_a_blocked_loop_ends_after_the_timeout(serve, held_in):
    """The process ends and reports where it was blocked."""
    port = free_port()
    with serve(port=port, SHUTDOWN_TIMEOUT="100ms", HELD_IN=held_in) as child:
        wait_until_up(port)
        hold(child.pid, serve)
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=60)
        assert child.returncode == 1
        assert b"most recent call first" in err
        assert b"in hold" in err


@pytest.mark.slow
def test_a_second_signal_does_not_wait_for_the_timeout(serve):
    port = free_port()
    with serve(port=port, SHUTDOWN_TIMEOUT="1h") as child:
        wait_until_up(port)
        hold(child.pid, serve)
        child.send_signal(signal.SIGTERM)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
        assert child.returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("held_in", ["Python", "C"])
def test_a_worker_with_a_blocked_loop_ends_with_the_others(serve, held_in):
    port = free_port()
    with serve(port=port, WORKERS="2", SHUTDOWN_TIMEOUT="100ms", WORKER_TIMEOUT="0", HELD_IN=held_in) as child:
        workers = both_workers(child, port)
        hold(workers[0], serve)
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=60)
        assert child.returncode in (1, 9)
        assert not any(map(is_running, workers))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["Python", "C", "stopped"])
def test_an_unresponsive_worker_is_replaced(serve, how):
    port = free_port()
    with serve(port=port, WORKERS="2", WORKER_TIMEOUT="2s", HELD_IN=how) as child:
        silent, other = both_workers(child, port)
        if how == "stopped":
            os.kill(int(silent), signal.SIGSTOP)
        else:
            hold(silent, serve)
        wait_for(lambda: silent not in workers_of(child) and len(workers_of(child)) == 2, 30.0)
        assert other in workers_of(child)
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=60)
        text = err.decode()
        assert f"killing worker {silent}, which has not responded for" in text
        assert "(WORKER_TIMEOUT=2s)" in text
        assert text.count("has not responded") == text.count("died with exit code -9") == 1
        assert child.returncode == 0


# -- a supervisor that is gone -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_workers_end_with_their_supervisor_and_free_the_port(serve):
    port = free_port()
    with serve(port=port, WORKERS="2") as child:
        workers = both_workers(child, port)
        child.kill()
        child.wait()
        wait_for(lambda: not any(map(is_running, workers)))
    with serve(port=port) as child:
        wait_until_up(port)
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=60)
        assert child.returncode == 0


@pytest.mark.slow
def test_requests_in_flight_finish_after_the_supervisor_died(serve):
    """Meanwhile another gateway uses the port."""

    async def main():
        provider = await start("openai", settings=MockSettings(stream_words=60, chunk_ms=50.0))
        port = free_port()
        here = {"OPENAI_BASE_URL": provider.url + "/v1"}
        with serve(port=port, WORKERS="2", **here) as child:
            workers = await asyncio.to_thread(both_workers, child, port)
            caller = await Caller.connect(port)
            caller.send(post(STREAM))
            await caller.reader.readuntil(b"data: ")
            child.kill()
            child.wait()
            await asyncio.to_thread(wait_for, lambda: not _listens(port))
            with serve(port=port, **here) as next_one:
                await asyncio.to_thread(wait_until_up, port)
                assert (await caller.rest()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
                await asyncio.to_thread(wait_for, lambda: not any(map(is_running, workers)))
                next_one.send_signal(signal.SIGTERM)
                assert next_one.wait(20) == 0
        await provider.close()

    run(main())


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_a_worker_with_a_blocked_loop_ends_after_the_supervisor_died(serve):
    port = free_port()
    with serve(port=port, WORKERS="2", SHUTDOWN_TIMEOUT="100ms", WORKER_TIMEOUT="0") as child:
        workers = both_workers(child, port)
        hold(workers[0], serve)
        child.kill()
        child.wait()
        wait_for(lambda: not any(map(is_running, workers)), 30.0)


@pytest.mark.slow
def test_workers_end_if_the_supervisor_dies_while_starting_them(serve):
    with serve(port=free_port(), WORKERS="2", SIGNAL_AT_POPEN=str(int(signal.SIGKILL))) as child:
        child.wait(20)
        wait_for(lambda: not _orphans())


def _orphans():
    """Return the ids of workers whose environment says that they belong to the test above."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                environ = file.read()
        except OSError:
            continue
        if b"NULPOINT_WORKER=1\0" in environ and b"SIGNAL_AT_POPEN=9\0" in environ and is_running(pid):
            found.append(pid)
    return found


# -- files that are none -----------------------------------------------------------------------------------------------


def test_a_pipe_instead_of_a_file_is_reported_at_the_start(serve, tmp_path):
    os.mkfifo(tmp_path / "config.yaml")
    with serve(port=free_port()) as child:
        _, err = child.communicate(timeout=60)
        assert child.returncode == 2
        assert b"config.yaml: cannot be read: it is a pipe (FIFO), and only regular files are read" in err


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_pipe_instead_of_a_file_does_not_block_the_shutdown(serve, tmp_path, workers):
    (tmp_path / "config.yaml").write_text("max_retries: 7\n")
    port = free_port()
    with serve(port=port, WORKERS=workers) as child:
        wait_until_up(port)
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "pipe").replace(tmp_path / "config.yaml")
        wait_for(lambda: "it is a pipe (FIFO)" in get(port, "/health"))
        child.send_signal(signal.SIGHUP)
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=60)
        assert child.returncode == 0
