"""The load on a gateway: wrk with a script for its requests, and the check that what it gets back is right."""

import json
import re
import subprocess
import urllib.request
from pathlib import Path

from formats import OPENAI
from subjects import LOAD_CPU, Subject, pinned

PROMPTS = {"260 B": 150, "160 kB": 160_000}  # size of the request: characters of its prompt


def wrk(port: int, connections: int, seconds: float, script: Path) -> dict[str, float]:
    """One run of wrk. Raises RuntimeError when any answer was not a 200, a connection failed, or nothing was answered."""
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds:g}s",
        "--latency",
        "-s",
        str(script),
        f"http://127.0.0.1:{port}/v1/chat/completions",
    ]
    printed = subprocess.run(pinned(LOAD_CPU, *command), capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in printed or "Socket errors" in printed:
        raise RuntimeError(f"a round with errors counts for nothing:\n{printed}")
    requests = re.search(r"([1-9]\d*) requests in", printed)
    if requests is None:
        raise RuntimeError(f"a round without an answer counts for nothing:\n{printed}")
    return {
        "requests": float(requests[1]),
        "p50": _microseconds(printed, "50"),
        "p99": _microseconds(printed, "99"),
    }


def _microseconds(printed: str, percentile: str) -> float:
    found = re.search(rf"{percentile}%\s+([\d.]+)(us|ms|s)", printed)
    return float(found[1]) * {"us": 1, "ms": 1e3, "s": 1e6}[found[2]] if found else 0.0


# A number that no other request of the bench has, so that the gateway can neither share a call nor remember an answer.
_SCRIPT = """wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer any"
local number, head, tail = os.time() * 1000000
request = function()
  if not head then
    local whole = wrk.format(nil, nil, nil, [[%s]])
    local place = whole:find("%s", 1, true)
    head, tail = whole:sub(1, place - 1), whole:sub(place + %d)
  end
  number = number + 1
  return head .. string.format("%%016d", number) .. tail
end
"""
_PLACE = "#" * 16


def lua(folder: Path, name: str, characters: int, model: str = OPENAI.model) -> Path:
    """The script for wrk: a prompt of this length, another one in every request."""
    body = json.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": (f"{_PLACE} " + "word " * characters)[:characters]}],
            "temperature": 0.7,
        }
    )
    path = folder / f"{name.replace(' ', '')}-{model}.lua"
    path.write_text(_SCRIPT % (body, _PLACE, len(_PLACE)))
    return path


def ask(port: int, model: str = OPENAI.model) -> bytes:
    data = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]}).encode()
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return bytes(answer.read())


def same_answer(direct: int, through: int) -> None:
    """The gateway's body must be the provider's, byte for byte."""
    if ask(direct) != ask(through):
        raise RuntimeError("the gateway's answer is not the provider's")


def same_text(direct: int, subjects: list[Subject]) -> None:
    """The translated answers must hold the same text as the one that is passed on: they were made that way."""

    def text(port: int, model: str) -> str:
        return str(json.loads(ask(port, model))["choices"][0]["message"]["content"])

    for subject in subjects:
        if text(subject.port, subject.model) != text(direct, OPENAI.model):
            raise RuntimeError(f"the answer translated from {subject.name} is not what was said")
