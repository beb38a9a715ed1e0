"""Tests the log records of requests over sockets to mock providers, and the statistics made from them."""

import asyncio
import json
import os
import signal
import sqlite3
from collections import Counter
from decimal import Decimal
from hashlib import sha256

import pytest
from click.testing import CliRunner

from nulpoint.cli.main import main as nulpoint
from nulpoint.mock import MockSettings, start
from support.event_loop import run, until
from support.http_client import CHAT, STREAM, Caller, post
from support.ports import free_port
from support.processes import get, process, wait_until_up
from support.running_gateway import gateway

KEY = "sk-of-a-caller-who-pays"


def chat(model="gpt-4o", content="hi", **members):
    return json.dumps({"model": model, "messages": [{"role": "user", "content": content}], **members}).encode()


async def ask(port, *bodies, path="/v1/chat/completions", fields=()):
    """Send requests one after the other on one connection. Return the response bodies."""
    caller = await Caller.connect(port)
    answers = []
    for body in bodies:
        caller.send(post(body, path, *fields))
        answers.append(await caller.answer())
    return answers


def records(running):
    return [json.loads(line) for line in running.log().splitlines()]


def logged(settings, *bodies, names=("openai",), fault=None, fields=(), mock=None, path="/v1/chat/completions"):
    async def main():
        async with gateway(settings, names=names, mock=mock) as running:
            if fault:
                running.mock.set_fault(fault[0], count=1, arg=fault[1])
            await ask(running.port, *bodies, fields=fields, path=path)
            return records(running)

    return run(main())


# -- the record --------------------------------------------------------------------------------------------------------


def test_a_plain_request_has_its_attempt_its_cost_and_no_key():
    (record,) = logged({}, CHAT)
    usage = record["usage"]
    assert [(one["provider"], one["model"], one["outcome"]) for one in record["attempts"]] == [
        ("openai", "gpt-4o", "ok")
    ]
    assert record["cost"] == float(Decimal("2.5e-6") * usage["prompt"] + Decimal("10e-6") * usage["completion"])
    assert "key" not in record
    assert "saved" not in record
    assert "request_body" not in record


def test_a_key_is_a_digest_and_nothing_else():
    (record,) = logged({"GATEWAY_API_KEYS": KEY}, CHAT, fields=(f"Authorization: Bearer {KEY}",))
    assert record["key"] == sha256(KEY.encode()).hexdigest()[:12]
    assert KEY not in json.dumps(record)


def test_every_attempt_is_recorded_in_order():
    settings = {"MAX_RETRIES": "2"}
    record = logged(settings, CHAT, names=("openai", "anthropic"), fault=("status", 503))[0]
    first, second = record["attempts"]
    assert (first["provider"], first["outcome"]) == ("openai", "upstream")
    assert (second["provider"], second["outcome"]) == ("anthropic", "ok")
    assert second.get("at", 0) >= first.get("at", 0) + first["ms"] - 1  # milliseconds are rounded down
    assert second.get("at", 0) + second["ms"] <= record["total_us"] / 1000 + 1
    assert record["cost"] > 0


def test_a_hit_costs_nothing_and_records_the_savings():
    bought, hit, again, third = logged({"CACHE_MODE": "memory"}, CHAT, CHAT, CHAT, CHAT)
    assert [one["cache"] for one in (bought, hit, again, third)] == ["MISS", "HIT", "HIT", "HIT"]
    for one in (hit, again, third):
        assert (one["cost"], one["saved"]) == (0, bought["cost"])
        assert "attempts" not in one


def test_a_shared_call_costs_nothing():
    async def main():
        settings = {"CACHE_MODE": "memory"}
        async with gateway(settings, mock=MockSettings(latency_ms=100)) as running:
            await asyncio.gather(*(ask(running.port, CHAT) for _ in range(3)))
            return records(running)

    found = run(main())
    assert sorted(one.get("coalesced", False) for one in found) == [False, True, True]
    paid = [one for one in found if not one.get("coalesced")]
    for one in found:
        if one.get("coalesced"):
            assert (one["cost"], one["saved"]) == (0, paid[0]["cost"])


def test_a_stream_records_the_time_of_its_first_token():
    (record,) = logged({}, STREAM, mock=MockSettings(latency_ms=30, chunk_ms=5, stream_words=10))
    assert 25_000 < record["first_byte_us"] <= record["first_token_us"] < record["total_us"]


def test_the_cost_of_an_unknown_model_is_unknown():
    (record,) = logged({}, chat("gpt-99"))
    assert record["usage"]["completion"] > 0
    assert "cost" not in record


# -- bodies ------------------------------------------------------------------------------------------------------------

SECRET = "sk-proj-abcdefgh12345678"
ASKED = chat(content=f"my key is {SECRET}")


@pytest.mark.parametrize(
    ("bodies", "fault", "expected"),
    [("none", ("status", 400), False), ("errors", None, False), ("errors", ("status", 400), True), ("all", None, True)],
)
def test_bodies_are_logged_when_asked_for(bodies, fault, expected):
    (record,) = logged({"LOG_BODIES": bodies}, ASKED, fault=fault)
    assert ("request_body" in record, "response_body" in record) == (expected, expected)
    assert SECRET not in json.dumps(record)
    if expected:
        assert json.loads(record["request_body"])["messages"][0]["content"] == "my key is [redacted]"
        assert json.loads(record["response_body"]).keys() & {"error", "choices"}


def test_bodies_of_hits_and_streams_are_those_the_client_got():
    settings = {"LOG_BODIES": "all", "CACHE_MODE": "memory"}
    found = logged(settings, STREAM, STREAM, STREAM, CHAT, CHAT, CHAT)
    for one in found:
        assert json.loads(one["request_body"]).get("stream", False) == one.get("stream", False)
        assert one["response_body"].startswith("data: " if one.get("stream") else "{")
        assert ("[DONE]" in one["response_body"]) == one.get("stream", False)


@pytest.mark.parametrize("stream", [True, False])
def test_bodies_are_cut(stream):
    settings = {"LOG_BODIES": "all", "LOG_BODY_BYTES": "100"}
    (record,) = logged(settings, chat(content="x" * 5000, stream=stream), mock=MockSettings(stream_words=500))
    for name in ("request_body", "response_body"):
        assert len(record[name]) == 100 + len(" [cut]")
        assert record[name].endswith(" [cut]")


def test_a_credential_at_the_cut_is_not_shown_in_half():
    body = chat(content=SECRET)
    for most in range(body.index(b"sk-proj") + 1, len(body)):
        (record,) = logged({"LOG_BODIES": "all", "LOG_BODY_BYTES": str(most)}, body) if most % 7 == 0 else ({},)
        assert "sk-proj" not in record.get("request_body", "")


# -- the file and the statistics from it -------------------------------------------------------------------------------


def stats(path, *options):
    result = CliRunner().invoke(nulpoint, ["stats", "--file", str(path), "--json", *options])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_figures_are_exactly_those_of_the_requests(tmp_path):
    """A run with hits, errors, failover, embeddings and several keys, counted by the client and by `stats`."""
    path = tmp_path / "requests.db"
    keys = ["key-number-one-1", "key-number-two-2"]

    async def main():
        settings = {
            "REQUEST_LOG": f"stdout,sqlite:{path}", "CACHE_MODE": "memory", "GATEWAY_API_KEYS": ",".join(keys),
        }  # fmt: skip
        async with gateway(settings, names=("openai", "anthropic", "gemini")) as running:
            for key in keys:
                fields = (f"Authorization: Bearer {key}",)
                for number in range(4):
                    for model in ("gpt-4o", "claude-haiku-4-5", "gemini-2.5-flash"):
                        await ask(running.port, *[chat(model, f"{number % 3}")] * 2, fields=fields)
                        await ask(running.port, chat(model, f"{number}", stream=True), fields=fields)
                await ask(running.port, b'{"model":"text-embedding-3-small","input":["a","b"]}', path="/v1/embeddings",
                          fields=fields)  # fmt: skip
                running.mock.set_fault("status", count=1, arg=503)
                await ask(running.port, chat(content="moves"), fields=fields)
                await ask(running.port, b'{"model":5}', chat("gpt-4o", "", stream="perhaps"), fields=fields)
            await ask(running.port, CHAT, fields=("Authorization: Bearer wrong",))
            caller = await Caller.connect(running.port)
            caller.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            await caller.answer()
            return records(running)

    lines = run(main())
    asked = [one for one in lines if one["route"] in ("chat", "completions", "embeddings")]
    assert len(asked) == len(lines) - 1 == 2 * (4 * 3 * 3 + 1 + 1 + 2) + 1
    for by, name in (("model", "model"), ("provider", "provider"), ("key", "key")):
        found = stats(path, "--by", by)
        groups = {}
        for one in asked:
            groups.setdefault(one.get(name, ""), []).append(one)
        assert found["groups"].keys() == groups.keys()
        for group, members in {**groups, None: asked}.items():
            shown = found["total"] if group is None else found["groups"][group]
            assert shown == figures(members), group


def figures(members):
    """Compute the same statistics in another way, with decimals and the standard library."""
    good = sorted(one["total_us"] for one in members if one["status"] < 400 and "error" not in one)
    bought = [one for one in members if one.get("cache") != "HIT" and not one.get("coalesced")]
    tokens = sorted(one["first_token_us"] for one in bought if "first_token_us" in one)
    used = [one for one in bought if "usage" in one]
    caches = Counter(one.get("cache") for one in members)

    def money(name):
        return float(sum((Decimal(repr(one.get(name) or 0.0)) for one in members), Decimal(0)))

    def ranks(values):
        return {f"p{p}": values[-(-len(values) * p // 100) - 1] if values else None for p in (50, 95, 99)}

    return {
        "requests": len(members),
        "errors": sum(one["status"] >= 400 for one in members),
        "callers_left": 0,
        "latency_us": ranks(good),
        "first_token_us": ranks(tokens),
        "tokens": {name: sum(one["usage"][name] for one in used) for name in ("prompt", "completion", "cached")},
        "cost": money("cost"),
        "saved": money("saved"),
        "unpriced_requests": sum("cost" not in one for one in used),
        "cache": {"asked": caches["HIT"] + caches["MISS"], "hits": caches["HIT"]},
        "coalesced": 0,
        "failed_over": sum(len(one.get("attempts", [])) > 1 for one in members),
    }


# -- failures while running --------------------------------------------------------------------------------------------


def serving(mock, port, **settings):
    return process(
        "serve", PORT=str(port), OPENAI_API_KEY="sk-x", OPENAI_BASE_URL=f"{mock.url}/v1", CACHE_MODE="none",
        SHUTDOWN_DELAY="0", **settings,
    )  # fmt: skip


def ids(path):
    """Return the number of requests in the file; 0 while it is being created."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return [row[0] for row in connection.execute("SELECT id FROM requests WHERE route = 'chat'")]
    except sqlite3.OperationalError:
        return []
    finally:
        connection.close()


def health(port):
    page = json.loads(get(port))
    return page["status"], page["request_log"][0]["status"]


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_a_full_disk_stops_no_request_and_is_written_when_there_is_room(tmp_path, kind):
    """RLIMIT_FSIZE simulates a full disk: SQLite and write(2) fail at the same point."""
    import resource

    path = tmp_path / "requests"

    async def main():
        mock, port = await start("openai"), free_port()
        with serving(mock, port, REQUEST_LOG=f"{kind}:{path}") as child:
            await asyncio.to_thread(wait_until_up, port)
            await until(lambda: path.exists() and path.stat().st_size > 0)
            size = max(one.stat().st_size for one in tmp_path.iterdir())
            limits = resource.prlimit(child.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (size, limits[1]))
            answers = await ask(port, *[CHAT] * 50, fields=("x-request-id: full",))
            assert {status for status, _, _ in answers} == {200}
            await asyncio.to_thread(wait_for_health, port, ("degraded", "failing"))
            resource.prlimit(child.pid, resource.RLIMIT_FSIZE, limits)
            await asyncio.to_thread(wait_for_health, port, ("ok", "ok"))
            child.send_signal(signal.SIGTERM)
            _, err = await asyncio.to_thread(child.communicate, timeout=60)
        await mock.close()
        assert err.count(b"cannot be written") == 1
        assert b"can be written again; 0 records were dropped" in err
        found = ids(path) if kind == "sqlite" else [one["id"] for one in whole_lines(path) if one["route"] == "chat"]
        assert found == ["full"] * 50

    run(main())


def whole_lines(path):
    for line in path.read_bytes().splitlines():
        try:
            yield json.loads(line)
        except ValueError:  # a line cut off by the full disk; it is written again
            continue


def wait_for_health(port, expected, seconds=30.0):
    import time

    end = time.monotonic() + seconds
    while (found := health(port)) != expected:
        assert time.monotonic() < end, found
        time.sleep(0.05)


def test_workers_continue_when_their_file_is_removed(tmp_path):
    path = tmp_path / "requests.db"

    async def main():
        mock, port = await start("openai"), free_port()
        with serving(mock, port, REQUEST_LOG=f"sqlite:{path}", WORKERS="2") as child:
            try:
                await asyncio.to_thread(wait_until_up, port)
                for _ in range(4):
                    await ask(port, CHAT)
                await until(lambda: path.exists() and len(ids(path)) == 4)
                for end in ("", "-wal", "-shm"):
                    path.with_name(path.name + end).unlink(missing_ok=True)
                for number in range(10):
                    await ask(port, CHAT, fields=(f"x-request-id: again-{number}",))
                await until(lambda: path.exists() and len(ids(path)) == 10)
            finally:
                child.send_signal(signal.SIGTERM)  # stops the workers too; SIGKILL would leave them running
                await asyncio.to_thread(child.communicate, timeout=60)
        await mock.close()
        assert sorted(ids(path)) == [f"again-{number}" for number in range(10)]

    run(main())


def test_an_unwritable_directory_is_reported_at_the_start(tmp_path):
    folder = tmp_path / "readonly"
    folder.mkdir()
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    folder.chmod(0o500)
    with process("check", OPENAI_API_KEY="sk-x", REQUEST_LOG=f"sqlite:{folder}/x.db") as child:
        _, err = child.communicate(timeout=60)
    assert child.returncode == 2
    assert b"may not create files in" in err
