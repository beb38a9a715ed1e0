"""One request with all that is known of it, its attempts drawn along the time it took."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec

from nulpoint.cli.log import formatting
from nulpoint.cli.log.listing import status_style
from nulpoint.cli.log.table import GAP, Paint

_LEAST_BAR, _MOST_BAR = 10, 60  # columns
_LABEL = 12


def lines(row: sqlite3.Row, most: int, paint: Paint) -> Iterator[str]:
    """In a terminal of `most` columns."""
    yield paint(f"#{row['number']}  {row['id']}", "head")
    yield _fact("status", paint(str(row["status"]), status_style(row["status"], row["error"])), paint)
    for label, text in _facts(row):
        if text:
            yield _fact(label, formatting.clean(text), paint)
    for label, column in (("request", "request_body"), ("answer", "response_body")):
        if row[column]:
            yield _fact(label, _printable(row[column]), paint)
    attempts: list[dict[str, Any]] = msgspec.json.decode(row["attempts"] or "[]")
    if attempts:
        yield ""
        yield from _drawn(attempts, row, most, paint)


def _fact(label: str, text: str, paint: Paint) -> str:
    return f"  {paint(f'{label:<{_LABEL}}', 'dim')}{text}"


def _facts(row: sqlite3.Row) -> Iterator[tuple[str, str]]:
    yield "error", row["message"] or row["error"] or ""
    yield "time", row["time"].replace("T", " ").replace("Z", " UTC")
    yield "route", f"{row['method']} {row['route']}{', stream' if row['stream'] else ''}"
    yield "model", row["model"] or ""
    answered = row["answered_model"] or ""
    yield "answered by", f"{row['provider']}/{answered}" if row["provider"] else ""
    yield "took", _times(row)
    yield "tokens", _tokens(row)
    yield "cost", _cost(row)
    yield "cache", (row["cache"] or "") + (" (another caller's call was shared)" if row["coalesced"] else "")
    yield "limits", row["limit"] or ""
    yield "key", row["key"] or ""
    yield "bytes", f"{row['bytes_in']} in, {row['bytes_out']} out"


def _times(row: sqlite3.Row) -> str:
    parts = [formatting.time_taken(row["total_us"])]
    several = len(msgspec.json.decode(row["attempts"] or "[]")) > 1  # then what they took counts as the gateway's
    for name, column in (("first byte", "first_byte_us"), ("first token", "first_token_us"), ("gateway", "added_us")):
        if row[column] and not (several and name == "gateway"):
            parts.append(f"{name} {formatting.time_taken(row[column])}")
    return ", ".join(parts)


def _tokens(row: sqlite3.Row) -> str:
    if row["prompt"] is None:
        return ""
    inside = [f"{row['cached']} cached"] if row["cached"] else []
    inside += [f"{row['written']} written to its cache"] if row["written"] else []
    text = f"{row['prompt']} in" + (f" ({', '.join(inside)})" if inside else "")
    text += f", {row['completion']} out"
    return text + (f" ({row['reasoning']} reasoning)" if row["reasoning"] else "")


def _cost(row: sqlite3.Row) -> str:
    if row["cost"] is None:
        return "not known: no price for this model" if row["prompt"] is not None else ""
    saved = f", {formatting.dollars(row['saved'])} saved" if row["saved"] else ""
    return formatting.dollars(row["cost"]) + saved


def _drawn(attempts: list[dict[str, Any]], row: sqlite3.Row, most: int, paint: Paint) -> Iterator[str]:
    names = [formatting.clean(f"{one['provider']}/{one['model']}") for one in attempts]
    ends = [_end(one) for one in attempts]
    name_width = min(max(map(formatting.width, names)), max(20, most // 3))
    end_width = max(map(len, ends))
    bar_width = max(_LEAST_BAR, min(_MOST_BAR, most - 2 - name_width - end_width - 2 * GAP))
    total = max([row["total_us"] / 1000, *(one.get("at", 0) + one["ms"] for one in attempts), 1])
    for one, name, end in zip(attempts, names, ends, strict=True):
        fitted = formatting.fit(name, name_width)
        style = "good" if one["outcome"] == "ok" else "bad" if one["ms"] or one.get("code") else "dim"
        bar = _bar(one, total, bar_width)
        padded = fitted + " " * (name_width - formatting.width(fitted))
        yield f"  {padded}{' ' * GAP}{paint(bar, style)}{' ' * GAP}{paint(end, style)}"
    scale = f"{formatting.time_taken(total * 1000):>{bar_width - 1}}"
    yield paint(f"  {' ' * name_width}{' ' * GAP}0{scale}", "dim")


def _bar(one: dict[str, Any], total: float, columns: int) -> str:
    """Where in the whole time it was; what took none is a point."""
    begin = min(columns - 1, int(one.get("at", 0) / total * columns))
    length = max(1, round(one["ms"] / total * columns))
    length = min(length, columns - begin)
    mark = "━" if one["ms"] else "·"
    return f"{' ' * begin}{mark * length}{' ' * (columns - begin - length)}"


def _end(one: dict[str, Any]) -> str:
    why: str = one["outcome"] + (f" ({one['code']})" if one.get("code") else "")
    return f"{why}, {one['ms']}ms" if one["ms"] or one["outcome"] == "ok" else why


def _printable(text: str) -> str:
    """A body, its line ends kept."""
    return "\n".join(formatting.clean(line) for line in text.splitlines())
