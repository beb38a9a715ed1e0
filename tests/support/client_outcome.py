"""Parses a response that a client received, and says whether it was consistent."""

import contextlib
import json
from typing import Any

from support.http_client import CHAT, Caller, post

CLOSE = "Connection: close"
LAST_CHUNK = b"0\r\n\r\n"


class Outcome:
    """A response parsed from all raw bytes of a connection, as a client would parse it.

    `whole` says whether the HTTP message ended where its framing says. `error` is the error of the response or of an
    event in the stream.
    """

    def __init__(self, raw: bytes) -> None:
        head, _, rest = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.raw = raw
        self.status = int(first.split()[1]) if raw else 0
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.body, self.whole = self._unframed(rest)
        self.streamed = self.headers.get("content-type", "").startswith("text/event-stream")
        self.events = [line[6:] for line in self.body.splitlines() if line.startswith(b"data: ")]
        self.done = b"[DONE]" in self.events
        self.error = self._error()

    def _unframed(self, rest: bytes) -> tuple[bytes, bool]:
        if "transfer-encoding" not in self.headers:
            length = int(self.headers.get("content-length", -1))
            return rest, len(rest) == length
        body = b""
        while True:
            size, line_end, after = rest.partition(b"\r\n")
            if not line_end:
                return body, False
            if size == b"0":
                return body, after == b"\r\n"
            body += after[: int(size, 16)]
            rest = after[int(size, 16) + 2 :]

    def _error(self) -> dict[str, Any]:
        if not self.streamed:
            with contextlib.suppress(ValueError):
                return dict(json.loads(self.body).get("error") or {})
            return {}
        errors = [json.loads(event)["error"] for event in self.events if event.startswith(b'{"error"')]
        assert len(errors) <= 1, f"more than one error: {errors}"
        assert not errors or self.events[-1].startswith(b'{"error"'), "something follows the error"
        return errors[0] if errors else {}

    @property
    def deltas(self) -> list[dict[str, Any]]:
        chunks = [json.loads(event) for event in self.events if event.startswith(b"{") and b'"choices"' in event]
        return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]

    @property
    def text(self) -> str:
        """The text of the model as far as it was received."""
        if self.streamed:
            return "".join(delta.get("content") or "" for delta in self.deltas)
        return str(json.loads(self.body)["choices"][0]["message"]["content"]) if self.status == 200 else ""

    @property
    def verdict(self) -> str:
        """`answer` for a complete response and `error` for a proper error; anything else is inconsistent."""
        if self.streamed:
            signs = (self.done, self.whole, bool(self.error))
            return {(True, True, False): "answer", (False, False, True): "error"}.get(signs, f"a lie {signs}")
        if self.status == 200:
            return "answer" if self.whole and not self.error else "a lie"
        return "error" if self.whole and self.error.get("message") else f"a silence ({self.status})"


async def ask(port: int, body: bytes = CHAT, path: str = "/v1/chat/completions", *headers: str) -> Outcome:
    """Send a request on a new connection and read until the connection ends."""
    client = await Caller.connect(port)
    client.send(post(body, path, CLOSE, *headers))
    raw = await client.rest()
    await client.close()
    Caller.opened.remove(client)
    return Outcome(raw)
