"""A configuration that says nothing takes nothing away, and no reload opens what a key has closed."""

import asyncio
import logging
import os
import signal
import threading

import pytest

from nulpoint.app.reload import MOST_READINGS
from nulpoint.config import ConfigError, ConfigSource
from nulpoint.config.document import UnreadableConfigError, read_document
from nulpoint.config.last_good import LastGood
from nulpoint.config.safeguards import InForce
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
# These hold no settings either, and were refused in other words all along.
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
def test_a_file_that_says_nothing_is_refused_by_a_reload(tmp_path, text):
    async def main():
        async with live(tmp_path, file=KEYS) as running:
            running.write_text(text)
            status, page = await running.reload()
            assert status == 422, page
            assert "config.yaml: " in page["error"]["message"]
            assert len(page["error"]["problems"]) == 1
            if text in NOTHING.values():
                assert "config.yaml: has nothing in it" in page["error"]["message"]
                assert "write {} if it is to hold no settings" in page["error"]["message"]
            assert (await running.chat())[0] == 401
            assert running.app.runtime.config.rpm_limit == 5000
            assert (await running.get("/health"))[1]["config"]["status"] == "refused"
            assert b"gateway_config_refused 1.0" in running.app.metrics.page()

    run(main())


@pytest.mark.parametrize("text", NOTHING.values(), ids=NOTHING)
def test_at_the_start_it_is_what_it_was(tmp_path, text):
    """No settings, or the mistake that YAML finds in it; nothing is taken away at a start."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    try:
        document = read_document(path, expected=False)
    except UnreadableConfigError as error:
        assert "has nothing in it" not in str(error)  # noqa: PT017 - either is right
    else:
        assert not [value for value in document.values() if value is not None]


@pytest.mark.parametrize("text", ["{}", "{}\n", "# none\n{}\n", "---\n{}\n...\n", "\ufeff{}", "!!map {}"])
def test_an_empty_mapping_says_that_there_are_no_settings(tmp_path, text):
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
def test_no_reload_takes_the_keys_away(tmp_path, caplog, text):
    async def main():
        file = {"gateway_api_keys": ["one-key-of-a-caller"], "admin_api_key": "the-key-of-operators"}
        async with live(tmp_path, file=file) as running:
            operator = "Authorization: Bearer the-key-of-operators"
            running.write_text(text)
            status, page = await running.reload(operator)
            assert status == 422, page
            told = "\n".join(page["error"]["problems"])
            assert (await running.chat())[0] == 401
            assert (await running.get("/admin/config"))[0] == 401
            health = (await running.get("/health", operator))[1]["config"]
            assert health["problems"] == page["error"]["problems"]
            for name in ("GATEWAY_API_KEYS", "ADMIN_API_KEY"):
                if text in NO_KEYS.values():
                    assert f"{name} is in force and would be gone" in told
                    assert "ALLOW_KEYLESS_RELOAD=true in the environment of the process" in told
                    assert "restart the gateway without it" in told
                    assert f"{name} is in force and would be gone" in caplog.text
            assert "one-key" not in told + caplog.text
            assert "the-key" not in told + caplog.text

    with caplog.at_level(logging.INFO, "nulpoint"):
        run(main())


@pytest.mark.parametrize("text", NO_KEYS.values(), ids=NO_KEYS)
def test_where_the_environment_allows_it_they_go(tmp_path, caplog, text):
    async def main():
        settings = {"ALLOW_KEYLESS_RELOAD": "true"}
        async with live(tmp_path, settings, file={"gateway_api_keys": ["one-key-of-a-caller"]}) as running:
            assert (await running.chat())[0] == 401
            running.write_text(text)
            assert (await running.reload())[0] == 200
            assert (await running.chat())[0] == 200
            assert "GATEWAY_API_KEYS is taken away, as ALLOW_KEYLESS_RELOAD=true allows" in caplog.text

    with caplog.at_level(logging.INFO, "nulpoint"):
        run(main())


def test_one_that_is_mended_otherwise_still_takes_no_key_away(tmp_path):
    """All that is wrong is told at once, and a key that is exchanged is no key that goes."""

    async def main():
        async with live(tmp_path, file={"gateway_api_keys": "one-key-of-a-caller"}) as running:
            running.write_text("rpm_limit: lots\n")
            problems = (await running.reload())[1]["error"]["problems"]
            assert [problem.partition(" ")[0] for problem in problems] == ["rpm_limit", "GATEWAY_API_KEYS"]
            assert (await running.change(gateway_api_keys="another-key"))["changed"] == ["GATEWAY_API_KEYS"]
            assert (await running.chat("gpt-4o", "hi", "Authorization: Bearer another-key"))[0] == 200

    run(main())


@pytest.mark.parametrize("value", ["true", "false", "null", "[true]"])
def test_the_file_does_not_say_how_far_it_is_trusted(tmp_path, value):
    async def main():
        async with live(tmp_path, file={"gateway_api_keys": "one-key-of-a-caller"}) as running:
            running.write_text(f"allow_keyless_reload: {value}\nrpm_limit: 5\n")
            status, page = await running.reload()
            assert status == 422
            told = "\n".join(page["error"]["problems"])
            assert "allow_keyless_reload (config.yaml): counts in the environment of the process alone" in told
            assert "GATEWAY_API_KEYS is in force and would be gone" in told
            assert (await running.chat())[0] == 401

    run(main())


ENVIRON = {"OPENAI_API_KEY": "sk-configured"}


def in_the_env_file(tmp_path, before, after, **environ):
    """The problems of a reload after the env file has changed."""
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
def test_the_keys_of_an_env_file_stay_too(tmp_path, after):
    (problem,) = in_the_env_file(tmp_path, ENV_FILE, after)
    assert problem.startswith("GATEWAY_API_KEYS is in force and would be gone")
    assert in_the_env_file(tmp_path, ENV_FILE, after, ALLOW_KEYLESS_RELOAD="true") == []


@pytest.mark.parametrize("after", ["", "\n \n", "# nothing\n", "GATEWAY_API_KEYS=\nRPM_LIMIT=\n", "\ufeff"])
def test_an_env_file_that_says_nothing_takes_nothing_away(tmp_path, after):
    for before in (ENV_FILE, "RPM_LIMIT=5000\n"):
        (problem,) = in_the_env_file(tmp_path, before, after)
        assert "has no variable in it any more" in problem
    assert in_the_env_file(tmp_path, "", after) == []  # nor did it before


def test_nor_does_the_env_file_say_how_far_it_is_trusted(tmp_path):
    text = "ALLOW_KEYLESS_RELOAD=true\n"
    told = in_the_env_file(tmp_path, ENV_FILE, f"RPM_LIMIT=lots\n{text}")
    assert told[0].startswith(f"ALLOW_KEYLESS_RELOAD ({tmp_path / 'env'}): counts in the environment of the process")
    assert [problem.partition(" ")[0] for problem in told[1:]] == ["RPM_LIMIT", "GATEWAY_API_KEYS"]
    assert len(in_the_env_file(tmp_path, ENV_FILE, ENV_FILE + text, ALLOW_KEYLESS_RELOAD="true")) == 1
    place = ConfigSource(ENVIRON, tmp_path, tmp_path / "env")
    with pytest.raises(ConfigError, match="ALLOW_KEYLESS_RELOAD"):
        place.load()  # at a start likewise


def test_keys_that_the_environment_holds_are_there_whatever_a_file_says(tmp_path):
    assert in_the_env_file(tmp_path, ENV_FILE, "RPM_LIMIT=5\n", GATEWAY_API_KEYS="one-key-of-a-caller") == []


def test_a_worker_that_takes_a_dead_one_s_place_is_no_way_round_it(tmp_path):
    """It reads the files anew, and is told of what is in force."""
    place = ConfigSource(ENVIRON, tmp_path)
    (tmp_path / "config.yaml").write_text("gateway_api_keys: one-key-of-a-caller\n")
    good = LastGood(place, place.load(), tmp_path / "last-good")
    in_force = InForce.decode(good.in_force.encode())
    for text in ("# nothing", "{}", ""):
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(ConfigError):
            place.load(in_force=in_force)
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(ConfigError, match="was there and is gone"):
        place.load(in_force=in_force)


def test_what_is_in_force_can_be_written_down_whatever_a_file_is_called():
    in_force = InForce(frozenset({"config.yaml", "/\udcff"}), frozenset({"environment"}), frozenset({"ADMIN_API_KEY"}))
    assert InForce.decode(in_force.encode()) == in_force


def test_a_pipe_in_the_place_of_the_file_keeps_nobody_waiting(tmp_path, monkeypatch):
    """Neither a reload, nor the watch, nor the end; and what is put there afterwards is read."""
    monkeypatch.setattr("nulpoint.app.reload.LOOK_SECONDS", 0.02)

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


def test_a_file_system_that_hangs_holds_up_nobody(tmp_path, monkeypatch):
    """The thread that waits for it is left to itself, and the next reading has one of its own."""
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
            for _ in range(MOST_READINGS):
                status, page = await running.reload()
                assert status == 422
                assert "could not be read within 0.02 s" in page["error"]["message"]
            assert "have not come back" in (await running.reload())[1]["error"]["message"]
            assert len(hung) == MOST_READINGS
            assert all(thread.daemon for thread in hung)  # so the end of the process does not wait for them
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


def test_after_one_that_went_well_those_that_hang_elsewhere_matter_no_more(tmp_path, monkeypatch):
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


def test_sighup_and_the_watch_are_refused_alike(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("nulpoint.app.reload.LOOK_SECONDS", 0.02)

    async def main():
        async with live(tmp_path, file=KEYS) as running:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, running.app.reloading.reload)
            for text, told in (("# nothing", "has nothing in it"), ("{}", "GATEWAY_API_KEYS is in force")):
                running.write_text(text)
                os.kill(os.getpid(), signal.SIGHUP)
                await until(lambda told=told: told in str(running.app.reloading.health()))
                running.write(**KEYS)
                assert (await running.reload())[0] == 200
            running.app.reloading.watch()
            running.write_text("---")
            await until(lambda: "has nothing in it" in str(running.app.reloading.health()))
            assert (await running.chat())[0] == 401
            assert caplog.text.count("GATEWAY_API_KEYS is in force") == 1
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)

    with caplog.at_level(logging.INFO, "nulpoint"):
        run(main())
