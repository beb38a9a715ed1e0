"""Tests of running out of file descriptors."""

import asyncio
import errno
import json
import os
import sys
from pathlib import Path

from nulpoint.mock import start
from support.client_outcome import Outcome, ask
from support.event_loop import run, until
from support.http_client import CHAT, Caller, post
from support.ports import free_port
from support.processes import process, wait_until_up
from support.running_gateway import gateway, left_in
from support.scripted_provider import serve, silence

FILES = 256
LIMITED = ("sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh", sys.executable)


def cpu_seconds(pid):
    columns = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(columns[11]) + int(columns[12])) / os.sysconf("SC_CLK_TCK")


def test_clients_beyond_half_of_the_file_descriptors_get_an_error_and_nothing_spins_or_crashes():
    async def main():
        provider = await serve([silence()])
        port = free_port()
        environ = {"PORT": str(port), "OPENAI_API_KEY": "x", "OPENAI_BASE_URL": f"{provider.url}/v1"}
        with process("serve", command=LIMITED, COALESCE="false", SHUTDOWN_DELAY="0s", **environ) as child:
            await asyncio.to_thread(wait_until_up, port)
            clients = [await Caller.connect(port) for _ in range(400)]
            for client in clients:
                client.send(post(CHAT))
            served = FILES // 2 - 32
            await until(lambda: len(provider.requests) == served)
            responses = await asyncio.gather(*(client.rest() for client in clients[served:]))
            outcomes = [Outcome(raw) for raw in responses if raw]
            assert len(outcomes) >= 32
            assert {(outcome.status, outcome.error["code"]) for outcome in outcomes} == {(503, "too_many_connections")}
            assert all(outcome.headers["retry-after"] == "1" for outcome in outcomes)
            assert len(os.listdir(f"/proc/{child.pid}/fd")) < FILES
            before = cpu_seconds(child.pid)
            late = [await Caller.connect(port) for _ in range(50)]
            await asyncio.sleep(0.5)
            assert cpu_seconds(child.pid) - before <= 0.25
            for client in (*clients, *late):
                await client.close()
            Caller.opened.clear()
            await until(lambda: provider.open == 0)
            await provider.close()
            mock = await start("openai", port=provider.port)
            outcomes = await asyncio.gather(*(ask(port) for _ in range(20)))
            assert [outcome.verdict for outcome in outcomes] == ["answer"] * 20
            assert child.poll() is None
            await mock.close()

    run(main())


def test_no_file_descriptor_for_an_upstream_connection_does_not_count_against_the_provider(monkeypatch):
    async def main():
        async def refuse(*_, **__):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        async with gateway({"CB_ERROR_THRESHOLD": "1"}) as running:
            with monkeypatch.context() as patched:
                patched.setattr("aiohappyeyeballs.start_connection", refuse)
                outcome = await ask(running.port)
            assert (outcome.status, outcome.error["code"]) == (503, "too_many_connections")
            assert running.app.runtime.provider_health["openai"].breaker.state.name == "CLOSED"
            assert (await ask(running.port)).verdict == "answer"
            assert not left_in(running.app)
            assert json.loads(running.log().splitlines()[0])["error"] == "overloaded"

    run(main())
