"""Puts load on a gateway with wrk, and checks that its responses are right."""

import json
import re
import subprocess
import urllib.request
from pathlib import Path

from formats import OPENAI
from subjects import LOAD_CPU, Subject, pinned

PROMPTS = {"260 B": 150, "160 kB": 160_000}  # by the size of the request, the number of characters of its prompt


def wrk(port: int, connections: int, seconds: float, script: Path) -> dict[str, float]:
    """Run wrk once and return its figures.

    Raises RuntimeError if any response was not a 200, if a connection failed, or if there was no response.
    """
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
        raise RuntimeError(f"this round does not count, because it had errors:\n{printed}")
    requests = re.search(r"([1-9]\d*) requests in", printed)
    if requests is None:
        raise RuntimeError(f"this round does not count, because there was no response:\n{printed}")
    return {
        "requests": float(requests[1]),
        "p50": _microseconds(printed, "50"),
        "p99": _microseconds(printed, "99"),
    }


def _microseconds(printed: str, percentile: str) -> float:
    match = re.search(rf"{percentile}%\s+([\d.]+)(us|ms|s)", printed)
    return float(match[1]) * {"us": 1, "ms": 1e3, "s": 1e6}[match[2]] if match else 0.0


# Every request has a number that no other request has, so that the gateway can neither share a call nor use its cache.
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
_PLACEHOLDER = "#" * 16


def lua(folder: Path, name: str, characters: int, model: str = OPENAI.model) -> Path:
    """Write the script for wrk: every request has a different prompt of this length."""
    body = json.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": (f"{_PLACEHOLDER} " + "word " * characters)[:characters]}],
            "temperature": 0.7,
        }
    )
    path = folder / f"{name.replace(' ', '')}-{model}.lua"
    path.write_text(_SCRIPT % (body, _PLACEHOLDER, len(_PLACEHOLDER)))
    return path


def ask(port: int, model: str = OPENAI.model) -> bytes:
    data = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]}).encode()
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as response:
        return bytes(response.read())


def check_same_response(direct: int, through: int) -> None:
    """Raise RuntimeError unless the gateway's response is the provider's, byte for byte."""
    if ask(direct) != ask(through):
        raise RuntimeError("the gateway's response differs from the provider's")


def check_same_text(direct: int, subjects: list[Subject]) -> None:
    """Raise RuntimeError unless the translated responses contain the same text as the provider's responses."""

    def text(port: int, model: str) -> str:
        return str(json.loads(ask(port, model))["choices"][0]["message"]["content"])

    for subject in subjects:
        if text(subject.port, subject.model) != text(direct, OPENAI.model):
            raise RuntimeError(f"the text translated from {subject.name} differs from the provider's")
