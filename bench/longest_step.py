"""Measures how long one valid request can keep the gateway from serving others: the longest step of its event loop.

Each body is the costliest of its shape within the default limits. While the gateway processes it, another connection
requests /readiness without a pause. The longest step is the most CPU time that the gateway takes until it responds.
A body may be rejected; what counts is that other clients do not wait. Run it alone with `python bench/longest_step.py`.
"""

import gzip
import http.client
import socket
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from clocks import cpu_ns
from figures import Row
from formats import OPENAI, TRANSLATED
from subjects import Subject, nulpoint, response_server

BOUND = 50  # ms
_BYTES = 20 * 1024 * 1024 - 512  # slightly less than MAX_BODY_BYTES
_PROBE = b"GET /readiness HTTP/1.1\r\nHost: localhost\r\n\r\n"
# These settings turn on every part of the gateway that reads a body.
_SETTINGS = {"CACHE_MODE": "memory", "TPM_LIMIT": "1000000000", "FALLBACKS": "off", "CB_ERROR_THRESHOLD": "1000000"}


class Body(NamedTuple):
    """A body that is costly to read: its name, the path to send it to, and the function that makes it."""

    name: str
    path: str
    make: Callable[[], bytes]
    coding: str = "identity"


def request(middle: bytes, model: str = OPENAI.model, name: str = "messages") -> bytes:
    return b'{"model":"%b","%b":%b}' % (model.encode(), name.encode(), middle)


def repeated(unit: bytes, size: int = _BYTES, begin: bytes = b"[", end: bytes = b"0]") -> bytes:
    """Return an array that repeats one unit, or another JSON value if `begin` and `end` are given."""
    return begin + unit * (size // len(unit)) + end


def text(unit: bytes) -> bytes:
    return repeated(unit, begin=b'[{"role":"user","content":"', end=b'"}]')


def names(count: int) -> bytes:
    return b"[{%b}]" % b",".join(b'"%x":1' % (number * 2654435761 % 2**32) for number in range(count))


def top_level(member: bytes) -> bytes:
    return repeated(member, begin=b'{"model":"%b"' % OPENAI.model.encode(), end=b',"\\u006d":1}')


CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
BODIES = [
    Body("long text", CHAT, lambda: request(text(b"word, "))),
    Body("text of escapes", CHAT, lambda: request(text(b"\\n"))),
    Body("text in base64", CHAT, lambda: request(text(b"data:image/png;base64,AAAA "))),
    Body("small numbers", CHAT, lambda: request(repeated(b"0,"))),
    Body("one number of 20 MB", CHAT, lambda: request(repeated(b"1"))),
    Body("decimals", CHAT, lambda: request(repeated(b"0.5,"))),
    Body("empty arrays", CHAT, lambda: request(repeated(b"[],"))),
    Body("empty objects", CHAT, lambda: request(repeated(b"{},"))),
    Body("messages", CHAT, lambda: request(repeated(b'{"role":"user","content":"hi"},', end=b"{}]"))),
    Body("objects with a model", CHAT, lambda: request(repeated(b'{"model":1},'))),
    Body("white space", CHAT, lambda: request(repeated(b" "))),
    Body("white space, compressed", CHAT, lambda: gzip.compress(request(repeated(b" ")), 1), "gzip"),
    Body("text in base64, compressed", CHAT, lambda: gzip.compress(request(text(b"AAAA")), 1), "gzip"),
    Body("different names", CHAT, lambda: request(names(1_500_000))),
    Body("top-level members", CHAT, lambda: top_level(b',"a":1')),
    Body("top-level members with spaces", CHAT, lambda: top_level(b',"a" : [ ]')),
    Body("names in a body that is cached", CHAT, lambda: request(names(39_000))),
    Body("messages in a body that is cached", CHAT, lambda: request(repeated(b'{"role":"user","content":"hi"},', 900_000))),
    Body("decimals in a body that is cached", CHAT, lambda: request(repeated(b"0.5,", 4 * 9_990))),
    Body("inputs", EMBEDDINGS, lambda: request(repeated(b'"a",', 4 * 2040, end=b'"a"]'), "text-embedding-3-small", "input")),
    Body("token ids", EMBEDDINGS, lambda: request(repeated(b"1,"), "text-embedding-3-small", "input")),
]  # fmt: skip

# Bodies that are translated have as many messages, parts, tools, schemas or JSON values as the limits allow, or
# slightly fewer.
_MESSAGE, _PART = b'{"role":"user","content":"x"},', b'{"type":"text","text":"x"},'
_TOOL_RESULT = b'{"role":"tool","tool_call_id":"c%d","content":"r"},'
_CALL = b'{"id":"c%d","type":"function","function":{"name":"f","arguments":"{}"}},'
_STRICT = (
    b'{"type":"function","function":{"name":"f%d","strict":true,"parameters":{"type":"object","properties":'
    b'{"a":{"type":["object","array","string"],"properties":{"b":{"type":["string","null"]}}}}}}},'
)
_HI = b'[{"role":"user","content":"hi"}'


def many(entry: bytes, count: int) -> bytes:
    """Return the numbered entries of an array, without a comma at the end."""
    return b"".join([entry % number if b"%d" in entry else entry for number in range(count)])[:-1]


def calls(count: int) -> bytes:
    message = b'{"role":"assistant","content":null,"tool_calls":[%b]}' % many(_CALL, count)
    return b"%b,%b,%b]" % (_HI, message, many(_TOOL_RESULT, count))


def tools(entries: bytes) -> bytes:
    return b'%b],"tools":[%b]' % (_HI, entries)


def alternatives(count: int) -> bytes:
    schemas = many(b'{"properties":{"a":{"const":%d}}},', count)
    return tools(b'{"type":"function","function":{"name":"f","parameters":{"anyOf":[%b]}}}' % schemas)


def arguments(count: int) -> bytes:
    text = b'{\\"a\\":[%b0]}' % (b"[]," * count)
    call = b'{"id":"c0","type":"function","function":{"name":"f","arguments":"%b"}}' % text
    return b'%b,{"role":"assistant","content":null,"tool_calls":[%b]},%b]' % (_HI, call, many(_TOOL_RESULT, 1))


def translated_request(make: Callable[[], bytes], model: str) -> bytes:
    return request(make(), model)


TRANSLATED_SHAPES: dict[str, Callable[[], bytes]] = {
    "messages": lambda: b"[%b]" % many(_MESSAGE, 100_000),
    "parts": lambda: b'[{"role":"user","content":[%b]}]' % many(_PART, 100_000),
    "calls": lambda: calls(25_000),
    "strict tools": lambda: tools(many(_STRICT, 4096)),
    "alternatives in a schema": lambda: alternatives(19_000),
    "arguments": lambda: arguments(250_000),
    "an image": lambda: text(b"A" * 1024),
}
BODIES += [
    Body(f"{shape} for {form.name}", CHAT, partial(translated_request, make, form.model))
    for shape, make in TRANSLATED_SHAPES.items()
    for form in TRANSLATED
]


def measure_longest_steps(folder: Path, rounds: int, rows: list[Row], raw: dict[str, Any]) -> None:
    """Measure every body. The row has the worst of the medians and names the body that causes it."""
    steps_of: dict[str, list[float]] = {}
    statuses: dict[str, int] = {}
    with (
        response_server(folder / "steps-up") as upstream,
        nulpoint(folder, upstream, settings=_SETTINGS) as gateway,
    ):
        for body in BODIES:
            data = body.make()
            steps_of[body.name] = []
            for _ in range(rounds):
                statuses[body.name], step = _longest_step(gateway, body, data)
                steps_of[body.name].append(step)
    raw["longest steps"] = {name: {"ms": steps, "status": statuses[name]} for name, steps in steps_of.items()}
    worst = max(steps_of, key=lambda name: median(steps_of[name]))
    text = f"Longest step of the event loop, of {len(BODIES)} costly requests ({worst})"
    rows.append((text, f"{median(steps_of[worst]):.0f} ms", f"<= {BOUND} ms"))


def _longest_step(gateway: Subject, body: Body, data: bytes) -> tuple[int, float]:
    """Return the status of a response, and the longest wait of another client, in milliseconds of CPU time."""
    ended, steps = threading.Event(), [0.0]
    watching = threading.Thread(target=_watch, args=(gateway, ended, steps))
    watching.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
        headers = {"Content-Type": "application/json", "Content-Encoding": body.coding}
        connection.request("POST", body.path, data, headers)
        status = connection.getresponse().status
        connection.close()
    finally:
        ended.set()
        watching.join()
    return status, max(steps)


def _watch(gateway: Subject, ended: threading.Event, steps: list[float]) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), 60) as probe:
        while not ended.is_set():
            began = cpu_ns(gateway.pids)
            probe.sendall(_PROBE)
            if not probe.recv(65536):
                raise ConnectionError("the gateway closed the connection that requests /readiness")
            steps.append((cpu_ns(gateway.pids) - began) / 1e6)


def main() -> None:
    raw: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        measure_longest_steps(Path(folder), 5, [], raw)
    for name, result in raw["longest steps"].items():
        print(f"{name:36} {result['status']}  {median(result['ms']):6.1f} ms")


if __name__ == "__main__":
    main()
