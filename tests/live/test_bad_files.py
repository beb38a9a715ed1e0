"""Tests of invalid configuration files: the gateway keeps its configuration and reports every problem everywhere."""

import asyncio
import logging
import os

import pytest

from support.event_loop import run, until
from support.live_gateway import live

GOOD = {"aliases": {"fast": "openai/gpt-4o-mini"}}
BAD = {
    "values": ("rpm_limit: lots\ncache_ttl: 5\naliases: {x: nowhere/y}\n", ("rpm_limit = 'lots'", "cache_ttl = '5'", "aliases.x")),
    "no yaml": ("a: b: c", ("config.yaml: is not valid YAML at line 1, column 5",)),
    "unknown key": ("rpm_limits: 5", ("rpm_limits (config.yaml): unknown key; did you mean rpm_limit?",)),
    "twice": ("rpm_limit: 5\nrpm_limit: 6", ("the key rpm_limit appears twice",)),
    "a list": ("- rpm_limit", ("must be a mapping",)),
    "empty": ("", ("is empty",)),
    "comments": (None, ("is not valid YAML",)),
    "deep": ("[" * 3000, ("nested too deeply",)),
    "a long number": ("rpm_limit: 0x" + "f" * 5000, ("at line 1, column 12: the number has more than 100 digits",)),
    "half a character": ('"\\ud800": x', ("at line 1, column 1: the text contains half",)),
    "no date": ("no_proxy: 2024-13-45", ("config.yaml: cannot be read",)),
    "chains": ("fallbacks: {gpt-4o: [openai]}", ("fallbacks.gpt-4o[0]",)),
    "rows": ("providers: [{name: poe}]", ("providers[0]",)),
    "idle times": (
        "providers: [{name: groq, idle_timeout: -1}, {name: xai, idle_timeout: .nan}]",
        ("providers[0].idle_timeout = -1", "providers[1].idle_timeout = nan"),
    ),
    "patterns": ("cache_exclude_patterns: ['(']", ("cache_exclude_patterns",)),
    "limits that need Redis": ("cache_mode: redis", ("REDIS_URL is not set",)),
    "certificates": ("tls_cert: /nowhere/cert.pem", ("TLS_KEY is not set",)),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_the_old_configuration_stays_and_problems_are_reported_everywhere(tmp_path, caplog, what):
    text, reasons = BAD[what]

    async def main():
        async with live(tmp_path, {"CACHE_MODE": ""}, file={**GOOD, "cache_mode": "none"}) as running:
            running.write_text("a: {" if text is None else text)
            status, page = await running.reload()
            assert status == 422
            error = page["error"]
            assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_configuration")
            health = (await running.get("/health"))[1]["config"]
            assert (health["status"], health["problems"]) == ("refused", error["problems"])
            for reason in reasons:
                assert reason in "\n".join(error["problems"])
                assert reason in error["message"]
                assert reason in caplog.text
            assert len(error["problems"]) == len(reasons)
            _, headers, _ = await running.chat("fast")
            assert headers["x-nulpoint-model"] == "gpt-4o-mini"
            assert b"gateway_config_refused 1.0" in running.app.metrics.page()
            assert (await running.change(**GOOD, cache_mode="none"))["result"] == "unchanged"
            health = (await running.get("/health"))[1]["config"]
            assert health["status"] == "ok"
            assert "problems" not in health
            assert b"gateway_config_refused 0.0" in running.app.metrics.page()

    with caplog.at_level(logging.INFO, "nulpoint"):
        run(main())


def test_a_missing_file_is_not_an_empty_file(tmp_path):
    """Without the file, the gateway would be open to everybody."""

    async def main():
        async with live(tmp_path, {"ALLOW_KEYLESS_RELOAD": "true"}, file={"gateway_api_keys": "one-key"}) as running:
            (tmp_path / "config.yaml").unlink()
            status, page = await running.reload()
            assert status == 422
            assert "has been removed" in page["error"]["message"]
            assert (await running.chat())[0] == 401
            running.write_text("{}")
            assert (await running.reload())[0] == 200
            assert (await running.chat())[0] == 200

    run(main())


def test_an_unreadable_file(tmp_path):
    async def main():
        async with live(tmp_path, file=GOOD) as running:
            (tmp_path / "config.yaml").unlink()
            (tmp_path / "config.yaml").mkdir()
            status, page = await running.reload()
            assert status == 422
            assert "cannot be read" in page["error"]["message"]
            assert (await running.chat())[0] == 200
            (tmp_path / "config.yaml").rmdir()
            (tmp_path / "config.yaml").write_bytes(b"rpm_limit: \xff")
            assert "not UTF-8" in (await running.reload())[1]["error"]["message"]

    run(main())


def test_a_bug_during_a_reload_changes_nothing(tmp_path, monkeypatch):
    async def main():
        async with live(tmp_path, file=GOOD) as running:
            runtime = running.app.runtime

            async def broken(backing):
                raise RuntimeError("a bug")

            monkeypatch.setattr("nulpoint.app.backends.Backends.start", broken)
            running.write(rpm_limit=1)
            status, page = await running.reload()
            assert (status, len(page["error"]["problems"])) == (422, 1)
            assert "a bug in nulpoint" in page["error"]["message"]
            assert running.app.runtime is runtime
            assert [(await running.chat())[0] for _ in range(3)] == [200] * 3
            monkeypatch.undo()
            assert (await running.reload())[1]["result"] == "changed"

    run(main())


def in_place(folder, text):
    with (folder / "config.yaml").open("w") as file:
        file.write(text)


def by_rename(folder, text):
    (folder / "new").write_text(text)
    (folder / "new").replace(folder / "config.yaml")


def as_vim_does(folder, text):
    (folder / "config.yaml").rename(folder / "config.yaml~")
    (folder / "config.yaml").write_text(text)
    (folder / "config.yaml~").unlink()


def as_kubernetes_does(folder, text):
    """Replace the link to the directory that the file's link points into."""
    version = folder / f"..{len(list(folder.iterdir()))}"
    version.mkdir()
    (version / "config.yaml").write_text(text)
    (folder / "..new").symlink_to(version.name)
    (folder / "..new").replace(folder / "..data")
    if not (folder / "config.yaml").is_symlink():
        (folder / "config.yaml").unlink()
        (folder / "config.yaml").symlink_to("..data/config.yaml")


@pytest.mark.parametrize("write", [in_place, by_rename, as_vim_does, as_kubernetes_does])
def test_every_way_of_writing_the_file_is_noticed(tmp_path, monkeypatch, write):
    monkeypatch.setattr("nulpoint.app.reload.POLL_SECONDS", 0.03)

    async def main():
        async with live(tmp_path, file={"rpm_limit": 1}) as running:
            running.app.reloading.watch()
            for number in (2, 3, 4):
                write(tmp_path, f"rpm_limit: {number}")
                await until(lambda number=number: running.app.runtime.config.rpm_limit == number)
            assert running.app.reloading.health()["changes"] == 3

    run(main())


def test_a_file_is_not_read_while_it_is_being_written(tmp_path, monkeypatch):
    monkeypatch.setattr("nulpoint.app.reload.POLL_SECONDS", 0.4)

    async def main():
        async with live(tmp_path, file={"rpm_limit": 1}) as running:
            running.app.reloading.watch()
            await asyncio.sleep(1.0)
            with (tmp_path / "config.yaml").open("w") as file:
                for line in range(40):
                    file.write("aliases: {\n" if line == 0 else f"  a{line}: openai/x,\n")
                    file.flush()
                    os.fsync(file.fileno())
                    await asyncio.sleep(0.02)
                file.write("}\nrpm_limit: 2\n")
            await until(lambda: running.app.runtime.config.rpm_limit == 2)
            assert len(running.app.runtime.config.aliases) == 39
            page = running.app.metrics.page().decode()
            assert 'gateway_config_reloads_total{result="refused"}' not in page

    run(main())


def test_watching_can_be_turned_off_and_on(tmp_path, monkeypatch):
    monkeypatch.setattr("nulpoint.app.reload.POLL_SECONDS", 0.02)

    async def main():
        async with live(tmp_path, file={"config_watch": False}) as running:
            running.app.reloading.watch()
            running.write(config_watch=False, rpm_limit=5)
            await asyncio.sleep(0.2)
            assert running.app.runtime.config.rpm_limit == 0
            await running.change(config_watch=True)
            running.write(rpm_limit=6)
            await until(lambda: running.app.runtime.config.rpm_limit == 6)

    run(main())


def test_an_invalid_file_is_reported_once_and_recovers(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("nulpoint.app.reload.POLL_SECONDS", 0.02)

    async def main():
        async with live(tmp_path, file={"rpm_limit": 1}) as running:
            running.app.reloading.watch()
            running.write(rpm_limit="lots")
            await until(lambda: running.app.reloading.health()["status"] == "refused")
            await asyncio.sleep(0.3)
            assert caplog.text.count("the new configuration is rejected") == 1
            running.write(rpm_limit=2)
            await until(lambda: running.app.reloading.health()["status"] == "ok")

    run(main())
