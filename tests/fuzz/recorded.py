"""Adds recorded traffic of providers, if present, to the documents to change. It is not part of the project."""

import json
from typing import Any

from support import samples
from support.corpus.records import Recording, recordings

_MAX_DOCUMENTS = 40  # of each kind
_MAX_BYTES = 4000


def add() -> None:
    """Add the recordings to the samples. This must come before the targets are built."""
    for recording in recordings():
        if len(recording.body) <= _MAX_BYTES and not recording.left_out():
            _add(recording)


def _add(recording: Recording) -> None:
    wire = recording.host.wire
    if recording.failed:
        found, into = _json(recording.body), samples.ERRORS
    elif recording.is_stream:
        found, into = _events(recording.body), samples.STREAMS.get(wire)
    elif recording.kind == "answer":
        found, into = _json(recording.body), samples.ANSWERS.get(wire, samples.OPENAI)
    else:
        return
    if found and into is not None and len(into) < _MAX_DOCUMENTS:
        into.append(found)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _events(body: bytes) -> list[Any]:
    lines = [line.removeprefix(b"data:") for line in body.splitlines() if line.startswith(b"data:")]
    events = [_json(line) for line in lines]
    return [event for event in events if event is not None]
