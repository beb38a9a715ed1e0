"""Measures how many requests fail while the configuration changes again and again under load."""

import json
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from figures import Row
from subjects import nulpoint, response_server

CONNECTIONS, PAUSE = 64, 0.1  # seconds between two changes
Wrk = Callable[[int, int, float, Path], dict[str, float]]


def measure_reloads(folder: Path, seconds: int, wrk: Wrk, script: Path, rows: list[Row], raw: dict[str, Any]) -> None:
    """Measure it. `wrk` raises an error if any request did not get a 200, so there is a row only if none failed."""
    directory = folder / "reloaded"
    directory.mkdir()
    _write(directory, 0)
    results: list[str] = []
    ended = threading.Event()
    with response_server(folder / "reload-up") as upstream, nulpoint(folder, upstream, directory=directory) as gateway:
        changing = threading.Thread(target=_change, args=(directory, gateway.port, ended, results))
        changing.start()
        try:
            run = wrk(gateway.port, CONNECTIONS, seconds, script)
        finally:
            ended.set()
            changing.join()
    if set(results) != {"changed"}:
        raise RuntimeError(f"a reload did not report a change: {set(results)}")
    raw["reloads"] = {"changes": len(results), "requests": run["requests"]}
    rows.append(
        (f"Requests that failed, of {run['requests']:.0f} during {len(results)} changes of config.yaml", "0", "0")
    )


def _change(directory: Path, port: int, ended: threading.Event, results: list[str]) -> None:
    """Change the settings of every part of the gateway again and again."""
    number = 0
    while not ended.wait(PAUSE):
        number += 1
        _write(directory, number)
        request = urllib.request.Request(f"http://127.0.0.1:{port}/admin/reload", method="POST")
        with urllib.request.urlopen(request, timeout=5) as response:
            results.append(json.load(response)["result"])


def _write(directory: Path, number: int) -> None:
    path = directory / "config.new"
    aliases = f"aliases: {{fast: openai/gpt-{number}}}\nfallbacks: {{gpt-4o: [mistral/m{number}]}}\n"
    path.write_text(f"max_requests: {1000 + number}\n{aliases}")
    path.replace(directory / "config.yaml")  # at once, so that no half-written file is read
