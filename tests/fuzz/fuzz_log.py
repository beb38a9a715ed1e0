"""A fuzz target for the request log: lines of JSON, some of them cut, and lines of other programs."""

from typing import Any

from hypothesis import strategies as st
from target import Target

from nulpoint.cli.log import reader
from nulpoint.cli.log.summary import summarise
from support.mutation import as_json, garbled, mutated

RECORDS: list[Any] = [
    {"time": "2026-11-30T12:00:00.000Z", "id": "r", "level": "info", "route": "chat", "method": "POST", "status": 200, "model": "gpt-4o",
     "provider": "openai", "answered_model": "gpt-4o-2024", "total_us": 1000, "added_us": 10, "stream": True, "first_byte_us": 5, "first_token_us": 7,
     "usage": {"prompt": 1, "completion": 1, "cached": 0}, "attempts": [{"provider": "openai", "status": 200}], "cost": 0.5, "cache": "MISS", "coalesced": False},
    {"time": "2026-11-30T12:00:01Z", "id": "s", "level": "error", "route": "chat", "status": 502, "error": "upstream", "message": "x", "total_us": 5, "added_us": 1},
]  # fmt: skip


def lines(data: bytes) -> None:
    try:
        connection = reader.load_lines(data, "here")
    except reader.UnreadableLogError:
        return
    log = reader.RequestLogReader(connection, reader.STDIN, can_follow=False)
    try:
        rows = log.rows("1", ())
        for row in rows:
            record = reader.as_record(row)
            as_json(record)
        if all(isinstance(dict(row).get("time"), str) for row in rows):
            summarise([{**dict(row), "tries": 0} for row in rows], "model")
    finally:
        log.close()


_lines = st.lists(
    st.builds(as_json, mutated(RECORDS)) | st.sampled_from((b"", b"hello", b"{}", b"[1]", b'{"time":"x","id":"y","route":"z","status":1}', b"\xff")), max_size=5
).map(b"\n".join)  # fmt: skip
_LINE = as_json(RECORDS[0])
# A line that is not JSON within a text, and counts that are missing or not numbers.
_SEEDS = (
    _LINE.replace(b"POST", b"\x80"), _LINE.replace(b'"completion": 1, ', b""), _LINE.replace(b'"cached": 0', b'"cached": null'),
    _LINE.replace(b'"coalesced": false', b'"coalesced": "x"'), _LINE.replace(b'"prompt": 1', b'"prompt": 1' + b"0" * 40),
)  # fmt: skip
TARGETS = (Target("request log", _lines | garbled(_lines), lines, _SEEDS),)
