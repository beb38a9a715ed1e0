"""Processes handwritten variants of responses with the gateway's code."""

import json
from typing import Any

from support.corpus.cuts import cuts
from support.corpus.gateway import show_stream, show_whole
from support.corpus.openai_client import read_stream, read_whole
from support.corpus.records import HOSTS

NO_ANSWERS: list[Any] = [{}, [], "x", None, 7, b"", b"\xff", b"<html>", b'{"content":', b"[" * 5000]  # of any provider


def whole(wire: Any, answer: Any) -> Any:
    """Return the first choice, the extra members of its message, and the response."""
    shown = show_whole(HOSTS[wire], "chat", json.dumps(answer).encode())
    assert shown.failure is None, shown.failure
    answer = read_whole(shown.body)
    choice = answer.choices[0]
    return choice, (choice["message"].get("provider_specific_fields") or {}).get(wire, {}), answer


def refused(wire: Any, body: Any) -> Any:
    shown = show_whole(HOSTS[wire], "chat", body if isinstance(body, bytes) else json.dumps(body).encode())
    assert shown.failure is not None
    return shown.failure


def streamed(wire: Any, body: Any, *, usage: Any = True) -> Any:
    """Return the response, which must be the same in whatever pieces it arrives."""
    ways = [show_stream(HOSTS[wire], pieces, usage=usage) for pieces in cuts(body)]
    assert len({one.body for one in ways}) == 1
    shown = ways[0]
    assert shown.failure is None, shown.failure
    return read_stream(shown.body, usage=usage)


def broken(wire: Any, body: Any) -> Any:
    """Return the failure and whether content was sent before it; the role alone is held back."""
    shown = [show_stream(HOSTS[wire], pieces, usage=True) for pieces in cuts(body)]
    assert len({(str(one.failure), one.began) for one in shown}) == 1
    assert shown[0].failure is not None
    assert b"[DONE]" not in shown[0].body
    return shown[0].failure, shown[0].began


def framed(*events: Any) -> Any:
    return "".join(f"data: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events).encode()
