"""Tests of safe reloads: an empty configuration removes nothing, and no reload removes the keys that restrict access."""

import asyncio
import logging
import os
import signal
import threading

import pytest

from nulpoint.app.reload import MAX_UNFINISHED_READINGS
from nulpoint.config import ConfigError, ConfigSource
from nulpoint.config.document import UnreadableConfigError, read_document
from nulpoint.config.last_good import LastGoodConfig
from nulpoint.config.safeguards import ReloadGuard
from support.event_loop import run, until
from support.live_gateway import live

KEYS = {"gateway_api_keys": "one-key-of-a-caller", "rpm_limit": 5000}
NOTHING = {
    "empty": "",
    "white space": "  \n\n \t\n",
    "another space": "\u00a0\u2003\n",
    "a comment": "# my gateway\n",
    "a comment without its line end": "# my gateway",
    "comments and white space": "\n  # a\n\n# b\n   ",
    "CRLF": "# a\r\n\r\n",
    "the begin of a document": "---\n",
    "without a line end": "---",
    "begin and end": "---\n...\n",
    "begin, comment, end": "--- # c\n...\n",
    "a directive": "%YAML 1.1\n---\n",
    "directives": "%YAML 1.1\n%TAG ! tag:example.com,2000:\n--- # c\n",
    "null": "null\n",
    "Null": "Null",
    "NULL": "NULL # c\n",
    "a tilde": "~\n",
    "begin and null": "--- null\n",
    "begin and tilde": "--- ~\n...\n",
    "a null by its tag": "!!null\n",
    "a null by its tag, with text": "!!null ''\n",
    "a null by its long tag": "!<tag:yaml.org,2002:null> null",
    "an anchor at nothing": "&a\n",
    "an anchor at null": "&a null\n",
    "a byte order mark": "\ufeff",
    "a byte order mark and a comment": "\ufeff# c\n",
    "a byte order mark and a begin": "\ufeff---\n",
    "a name without a value": "rpm_limit:\n",
    "names without values": "gateway_api_keys:\nrpm_limit: ~\naliases: null\n",
}
# These hold no settings either; they were always rejected, with other messages.
ELSE = {
    "the end alone": "...\n",
    "several documents": "---\n---\n",
    "three documents": "--- null\n--- # b\n--- ~\n",
    "a text": "''\n",
    "a quoted null": '"null"',
    "a list": "[]",
    "NUL bytes": "\0\0\0\0",
    "a name that is null": "? \n",
    "two byte order marks": "\ufeff\ufeff",
}


@pytest.mark.parametrize("text", {**NOTHING, **ELSE}.values(), ids=[*NOTHING, *ELSE])
def test_a_reload_rejects_an_empty_file(tmp_path, text):
    async def main():
        async with live(tmp_path, file=KEYS) as running:
            running.write_text(text)
            status, page = await running.reload()
            assert status == 422, page
            assert "config.yaml: " in page["error"]["message"]
            assert len(page["error"]["problems"]) == 1
            if text in NOTHING.values():
                assert "config.yaml: is empty" in page["error"]["message"]
                assert "write {} if it is meant to hold no settings" in page["error"]["message"]
            assert (await running.chat())[0] == 401
            assert running.app.runtime.config.rpm_limit == 5000
            assert (await running.get("/health"))[1]["config"]["status"] == "refused"
            assert b"gateway_config_refused 1.0" in running.app.metrics.page()

    run(main())


@pytest.mark.parametrize("text", NOTHING.values(), ids=NOTHING)
def test_an_empty_file_at_the_start(tmp_path, text):
    """At a start there is nothing to remove, so the file has no settings or a YAML error."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    try:
        document = read_document(path, expected=False)
    except UnreadableConfigError as error:
        assert "is empty" not in str(error)  # noqa: PT017 - success is right too
    else:
        assert not [value for value in document.values() if value is not None]


@pytest.mark.parametrize("text", ["{}", "{}\n", "# none\n{}\n", "---\n{}\n...\n", "\ufeff{}", "!!map {}"])
def test_an_empty_mapping_is_accepted(tmp_path, text):
    async def main():
        async with live(tmp_path, file={"rpm_limit": 5000}) as running:
            running.write_text(text)
            assert (await running.reload())[0] == 200
            assert running.app.runtime.config.rpm_limit == 0

    run(main())


NO_KEYS = {
    "left out": "rpm_limit: 5\n",
    "an empty mapping": "{}",
    "null": "gateway_api_keys: null\nadmin_api_key: null\nrpm_limit: 5\n",
    "a tilde": "gateway_api_keys: ~\nadmin_api_key: ~\nrpm_limit: 5\n",
    "nothing": "gateway_api_keys:\nadmin_api_key:\nrpm_limit: 5\n",
    "empty text": "gateway_api_keys: ''\nadmin_api_key: ''\n",
    "white space": "gateway_api_keys: '  '\nadmin_api_key: '  '\n",
    "an empty list": "gateway_api_keys: []\nadmin_api_key: []\n",
    "a list of an empty text": "gateway_api_keys: ['']\nadmin_api_key: ['']\n",
}
WRONG_KEYS = {
    "a list of nothing": "gateway_api_keys: [~]\nadmin_api_key: [~]\n",
    "a list of lists": "gateway_api_keys: [[]]\nadmin_api_key: [[]]\n",
    "a mapping": "gateway_api_keys: {}\nadmin_api_key: {}\n",
    "commas": "gateway_api_keys: ',,'\nadmin_api_key: ',,'\n",
    "false": "gateway_api_keys: false\nadmin_api_key: no\n",
    "a variable": "gateway_api_keys: ${GATEWAY_KEYS}\nadmin_api_key: $ADMIN\n",
    "half of the file": "gateway_api_keys:\nadmin_api_key: ['']\nrpm_li",
}


@pytest.mark.parametrize("text", {**NO_KEYS, **WRONG_KEYS}.values(), ids=[*NO_KEYS, *WRONG_KEYS])
def test_a_reload_does_not_remove_the_keys(tmp_path, caplog, text):
    async def main():
        file = {"gateway_api_keys": ["one-key-of-a-caller"], "admin_api_key": "the-key-of-operators"}
        async with live(tmp_path, file=file) as running:
            operator = "Authorization: Bearer the-key-of-operators"
            running.write_text(text)
            status, page = await running.reload(operator)
            assert status == 422, page
            messages = "\n".join(page["error"]["problems"])
            assert (await running.chat())[0] == 401
            assert (await running.get("/admin/config"))[0] == 401
            health = (await running.get("/health", operator))[1]["config"]
            assert health["problems"] == page["error"]["problems"]
            for name in ("GATEWAY_API_KEYS", "ADMIN_API_KEY"):
                if text in NO_KEYS.values():
                    assert f"{name} is in force and would be removed" in messages
                    assert "ALLOW_KEYLESS_RELOAD=true in its environment" in messages
                    assert "restart the gateway without it" in messages
                    assert f"{name} is in force and would be removed" in caplog.text
            assert "one-key" not in messages + caplog.text
            assert "the-key" not in messages + caplog.text

    with caplog.at_level(logging.INFO, "nulpoint"):
        run(main())


@pytest.mark.parametrize("text", NO_KEYS.values(), ids=NO_KEYS)
def test_a_reload_removes_the_keys_if_the_environment_allows_it(tmp_path, caplog, text):
    async def main():
        settings = {"ALLOW_KEYLESS_RELOAD": "true"}
        async with live(tmp_path, settings, file={"gateway_api_keys": ["one-key-of-a-caller"]}) as running:
            assert (await running.chat())[0] == 401
            running.write_text(text)
            assert (await running.reload())[0] == 200
            assert (await running.chat())[0] == 200
            assert "GATEWAY_API_KEYS has been removed, as ALLOW_KEYLESS_RELOAD=true allows" in caplog.text

    with caplog.at_level(logging.INFO, "nulpoint"):
        run(main())


def test_fixing_other_problems_does_not_remove_the_keys(tmp_path):
    """All problems are reported at once, and replacing a key does not count as removing it."""

    async def main():
        async with live(tmp_path, file={"gateway_api_keys": "one-key-of-a-caller"}) as running:
            running.write_text("rpm_limit: lots\n")
            problems = (await running.reload())[1]["error"]["problems"]
            assert [problem.partition(" ")[0] for problem in problems] == ["rpm_limit", "GATEWAY_API_KEYS"]
            assert (await running.change(gateway_api_keys="another-key"))["changed"] == ["GATEWAY_API_KEYS"]
            assert (await running.chat("gpt-4o", "hi", "Authorization: Bearer another-key"))[0] == 200

    run(main())


@pytest.mark.parametrize("value", ["true", "false", "null", "[true]"])
def test_config_yaml_cannot_allow_keyless_reloads(tmp_path, value):
    async def main():
        async with live(tmp_path, file={"gateway_api_keys": "one-key-of-a-caller"}) as running:
            running.write_text(f"allow_keyless_reload: {value}\nrpm_limit: 5\n")
            status, page = await running.reload()
            assert status == 422
            messages = "\n".join(page["error"]["problems"])
            assert "allow_keyless_reload (config.yaml): can only be set in the environment of the process" in messages
            assert "GATEWAY_API_KEYS is in force and would be removed" in messages
            assert (await running.chat())[0] == 401

    run(main())


ENVIRON = {"OPENAI_API_KEY": "sk-configured"}


def in_the_env_file(tmp_path, before, after, **environ):
    """Return the problems of a reload after the env file has changed."""
    place = ConfigSource({**ENVIRON, **environ}, tmp_path, tmp_path / "env")
    place.env_file.write_text(before)
    config = place.load()
    place.env_file.write_text(after)
    try:
        place.load(config)
    except ConfigError as error:
        return list(map(str, error.problems))
    return []


ENV_FILE = "GATEWAY_API_KEYS=one-key-of-a-caller\nRPM_LIMIT=5000\n"


@pytest.mark.parametrize(
    "after",
    [
        "RPM_LIMIT=5\n",
        "GATEWAY_API_KEYS=\nRPM_LIMIT=5\n",
        "GATEWAY_API_KEYS\nRPM_LIMIT=5\n",
        "GATEWAY_API_KEYS=${NOT_SET_ANYWHERE}\nRPM_LIMIT=5\n",
        "# GATEWAY_API_KEYS=one-key-of-a-caller\nRPM_LIMIT=5\n",
        "GATEWAY_API_KEYS=''\nRPM_LIMIT=5\n",
    ],
)
def test_a_reload_does_not_remove_the_keys_of_an_env_file(tmp_path, after):
    (problem,) = in_the_env_file(tmp_path, ENV_FILE, after)
    assert problem.startswith("GATEWAY_API_KEYS is in force and would be removed")
    assert in_the_env_file(tmp_path, ENV_FILE, after, ALLOW_KEYLESS_RELOAD="true") == []


@pytest.mark.parametrize("after", ["", "\n \n", "# nothing\n", "GATEWAY_API_KEYS=\nRPM_LIMIT=\n", "\ufeff"])
def test_an_empty_env_file_removes_nothing(tmp_path, after):
    for before in (ENV_FILE, "RPM_LIMIT=5000\n"):
        (problem,) = in_the_env_file(tmp_path, before, after)
        assert "no longer sets any variable" in problem
    assert in_the_env_file(tmp_path, "", after) == []  # it was empty before too


def test_the_env_file_cannot_allow_keyless_reloads(tmp_path):
    text = "ALLOW_KEYLESS_RELOAD=true\n"
    messages = in_the_env_file(tmp_path, ENV_FILE, f"RPM_LIMIT=lots\n{text}")
    assert messages[0].startswith(
        f"ALLOW_KEYLESS_RELOAD ({tmp_path / 'env'}): can only be set in the environment of the process"
    )
    assert [problem.partition(" ")[0] for problem in messages[1:]] == ["RPM_LIMIT", "GATEWAY_API_KEYS"]
    assert len(in_the_env_file(tmp_path, ENV_FILE, ENV_FILE + text, ALLOW_KEYLESS_RELOAD="true")) == 1
    place = ConfigSource(ENVIRON, tmp_path, tmp_path / "env")
    with pytest.raises(ConfigError, match="ALLOW_KEYLESS_RELOAD"):
        place.load()  # a start rejects it too


def test_keys_in_the_environment_cannot_be_removed_by_files(tmp_path):
    assert in_the_env_file(tmp_path, ENV_FILE, "RPM_LIMIT=5\n", GATEWAY_API_KEYS="one-key-of-a-caller") == []


def test_a_replaced_worker_does_not_remove_the_keys(tmp_path):
    """A new worker reads the files again, but is also given what is in force."""
    place = ConfigSource(ENVIRON, tmp_path)
    (tmp_path / "config.yaml").write_text("gateway_api_keys: one-key-of-a-caller\n")
    good = LastGoodConfig(place, place.load(), tmp_path / "last-good")
    guard = ReloadGuard.decode(good.guard.encode())
    for text in ("# nothing", "{}", ""):
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(ConfigError):
            place.load(guard=guard)
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(ConfigError, match="has been removed"):
        place.load(guard=guard)


def test_the_reload_guard_encodes_any_file_name():
    guard = ReloadGuard(frozenset({"config.yaml", "/\udcff"}), frozenset({"environment"}), frozenset({"ADMIN_API_KEY"}))
    assert ReloadGuard.decode(guard.encode()) == guard


def test_a_pipe_instead_of_the_file_blocks_nothing(tmp_path, monkeypatch):
    """A pipe blocks neither a reload, nor the watch, nor the shutdown, and a file that replaces it is read."""
    monkeypatch.setattr("nulpoint.app.reload.POLL_SECONDS", 0.02)

    async def main():
        async with live(tmp_path, file=KEYS) as running:
            running.app.reloading.watch()
            os.mkfifo(tmp_path / "pipe")
            (tmp_path / "pipe").replace(tmp_path / "config.yaml")
            await until(lambda: running.app.reloading.health()["status"] == "refused")
            status, page = await running.reload()
            assert status == 422
            assert "it is a pipe (FIFO), and only regular files are read" in page["error"]["message"]
            running.write(**KEYS, max_retries=7)
            await until(lambda: running.app.runtime.config.max_retries == 7)

    run(main())


def test_a_hanging_file_system_blocks_nothing(tmp_path, monkeypatch):
    """The thread that waits for the file system is abandoned, and the next reading uses another thread."""
    hanging, released, hung = threading.Event(), threading.Event(), []
    hanging.set()
    load = ConfigSource.load

    def hangs(self, *arguments):
        if hanging.is_set():
            hung.append(threading.current_thread())
            released.wait()
        return load(self, *arguments)

    async def main():
        async with live(tmp_path, file=KEYS) as running:
            monkeypatch.setattr(ConfigSource, "load", hangs)
            monkeypatch.setattr(running.app.reloading._readings, "_seconds", 0.02)
            for _ in range(MAX_UNFINISHED_READINGS):
                status, page = await running.reload()
                assert status == 422
                assert "could not be read within 0.02 s" in page["error"]["message"]
            assert "have not returned" in (await running.reload())[1]["error"]["message"]
            assert len(hung) == MAX_UNFINISHED_READINGS
            assert all(thread.daemon for thread in hung)  # so that the process can end without them
            assert (await running.chat())[0] == 401
            hanging.clear()
            released.set()
            await until(lambda: not running.app.reloading._readings.unfinished)
            monkeypatch.setattr(running.app.reloading._readings, "_seconds", 60.0)
            assert (await running.change(**KEYS, max_retries=7))["result"] == "changed"

    try:
        run(main())
    finally:
        released.set()


def test_after_a_successful_reading_hanging_ones_no_longer_count(tmp_path, monkeypatch):
    released = threading.Event()

    async def main():
        async with live(tmp_path, file=KEYS) as running:
            readings = running.app.reloading._readings
            monkeypatch.setattr(readings, "_seconds", 0.02)
            with pytest.raises(Exception, match="could not be read"):
                await readings.run(released.wait)
            assert readings.unfinished
            monkeypatch.setattr(readings, "_seconds", 60.0)
            assert await readings.run(lambda: 7) == 7
            assert not readings.unfinished

    try:
        run(main())
    finally:
        released.set()


def test_sighup_and_the_watch_reject_the_same_files(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("nulpoint.app.reload.POLL_SECONDS", 0.02)

    async def main():
        async with live(tmp_path, file=KEYS) as running:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, running.app.reloading.reload)
            for text, message in (("# nothing", "is empty"), ("{}", "GATEWAY_API_KEYS is in force")):
                running.write_text(text)
                os.kill(os.getpid(), signal.SIGHUP)
                await until(lambda message=message: message in str(running.app.reloading.health()))
                running.write(**KEYS)
                assert (await running.reload())[0] == 200
            running.app.reloading.watch()
            running.write_text("---")
            await until(lambda: "is empty" in str(running.app.reloading.health()))
            assert (await running.chat())[0] == 401
            assert caplog.text.count("GATEWAY_API_KEYS is in force") == 1
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)

    with caplog.at_level(logging.INFO, "nulpoint"):
        run(main())
