"""Another configuration again and again while the gateway is under load: how many requests fail."""

import json
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from figures import Row
from subjects import answering, nulpoint

CONNECTIONS, PAUSE = 64, 0.1  # seconds between two changes
Wrk = Callable[[int, int, float, Path], dict[str, float]]


def measure_reloads(folder: Path, seconds: int, wrk: Wrk, script: Path, rows: list[Row], raw: dict[str, Any]) -> None:
    """`wrk` raises where any request has not got a 200, so the row is only there when none has failed."""
    here = folder / "reloaded"
    here.mkdir()
    _write(here, 0)
    results: list[str] = []
    ended = threading.Event()
    with answering(folder / "reload-up") as upstream, nulpoint(folder, upstream, directory=here) as gateway:
        changing = threading.Thread(target=_change, args=(here, gateway.port, ended, results))
        changing.start()
        try:
            run = wrk(gateway.port, CONNECTIONS, seconds, script)
        finally:
            ended.set()
            changing.join()
    if set(results) != {"changed"}:
        raise RuntimeError(f"not every change was one: {set(results)}")
    raw["reloads"] = {"changes": len(results), "requests": run["requests"]}
    rows.append(
        (f"Requests that failed, of {run['requests']:.0f} during {len(results)} changes of config.yaml", "0", "0")
    )


def _change(here: Path, port: int, ended: threading.Event, results: list[str]) -> None:
    """What every part is built from changes each time."""
    number = 0
    while not ended.wait(PAUSE):
        number += 1
        _write(here, number)
        request = urllib.request.Request(f"http://127.0.0.1:{port}/admin/reload", method="POST")
        with urllib.request.urlopen(request, timeout=5) as answer:
            results.append(json.load(answer)["result"])


def _write(here: Path, number: int) -> None:
    fresh = here / "config.new"
    aliases = f"aliases: {{fast: openai/gpt-{number}}}\nfallbacks: {{gpt-4o: [mistral/m{number}]}}\n"
    fresh.write_text(f"max_requests: {1000 + number}\n{aliases}")
    fresh.replace(here / "config.yaml")
