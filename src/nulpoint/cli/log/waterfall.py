"""The details of one request, with its attempts drawn as bars on a time axis."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec

from nulpoint.cli.log import formatting
from nulpoint.cli.log.listing import status_style
from nulpoint.cli.log.table import GAP, Paint

_MIN_BAR_WIDTH, _MAX_BAR_WIDTH = 10, 60  # columns
_LABEL_WIDTH = 12


def lines(row: sqlite3.Row, width: int, paint: Paint) -> Iterator[str]:
    """Lay the request out for a terminal of `width` columns."""
    yield paint(f"#{row['number']}  {row['id']}", "head")
    yield _labelled_line("status", paint(str(row["status"]), status_style(row["status"], row["error"])), paint)
    for label, text in _labelled_facts(row):
        if text:
            yield _labelled_line(label, formatting.clean(text), paint)
    for label, column in (("request", "request_body"), ("response", "response_body")):
        if row[column]:
            yield _labelled_line(label, _printable(row[column]), paint)
    attempts: list[dict[str, Any]] = msgspec.json.decode(row["attempts"] or "[]")
    if attempts:
        yield ""
        yield from _draw_attempts(attempts, row, width, paint)


def _labelled_line(label: str, text: str, paint: Paint) -> str:
    return f"  {paint(f'{label:<{_LABEL_WIDTH}}', 'dim')}{text}"


def _labelled_facts(row: sqlite3.Row) -> Iterator[tuple[str, str]]:
    yield "error", row["message"] or row["error"] or ""
    yield "time", row["time"].replace("T", " ").replace("Z", " UTC")
    yield "route", f"{row['method']} {row['route']}{', stream' if row['stream'] else ''}"
    yield "model", row["model"] or ""
    answered = row["answered_model"] or ""
    yield "answered by", f"{row['provider']}/{answered}" if row["provider"] else ""
    yield "took", _format_times(row)
    yield "tokens", _format_tokens(row)
    yield "cost", _format_cost(row)
    yield (
        "cache",
        (row["cache"] or "") + (" (shared the upstream call of an identical request)" if row["coalesced"] else ""),
    )
    yield "limits", row["limit"] or ""
    yield "key", row["key"] or ""
    yield "bytes", f"{row['bytes_in']} in, {row['bytes_out']} out"


def _format_times(row: sqlite3.Row) -> str:
    parts = [formatting.duration(row["total_us"])]
    failed_over = len(msgspec.json.decode(row["attempts"] or "[]")) > 1  # failed attempts count as time of the gateway
    for name, column in (("first byte", "first_byte_us"), ("first token", "first_token_us"), ("gateway", "added_us")):
        if row[column] and not (failed_over and name == "gateway"):
            parts.append(f"{name} {formatting.duration(row[column])}")
    return ", ".join(parts)


def _format_tokens(row: sqlite3.Row) -> str:
    if row["prompt"] is None:
        return ""
    cache_counts = [f"{row['cached']} cached"] if row["cached"] else []
    cache_counts += [f"{row['written']} written to its cache"] if row["written"] else []
    text = f"{row['prompt']} in" + (f" ({', '.join(cache_counts)})" if cache_counts else "")
    text += f", {row['completion']} out"
    return text + (f" ({row['reasoning']} reasoning)" if row["reasoning"] else "")


def _format_cost(row: sqlite3.Row) -> str:
    if row["cost"] is None:
        return "not known: no price for this model" if row["prompt"] is not None else ""
    saved = f", {formatting.dollars(row['saved'])} saved" if row["saved"] else ""
    return formatting.dollars(row["cost"]) + saved


def _draw_attempts(attempts: list[dict[str, Any]], row: sqlite3.Row, width: int, paint: Paint) -> Iterator[str]:
    names = [formatting.clean(f"{attempt['provider']}/{attempt['model']}") for attempt in attempts]
    outcomes = [_format_outcome(attempt) for attempt in attempts]
    name_width = min(max(map(formatting.width, names)), max(20, width // 3))
    outcome_width = max(map(len, outcomes))
    bar_width = max(_MIN_BAR_WIDTH, min(_MAX_BAR_WIDTH, width - 2 - name_width - outcome_width - 2 * GAP))
    total = max([row["total_us"] / 1000, *(attempt.get("at", 0) + attempt["ms"] for attempt in attempts), 1])
    for attempt, name, outcome in zip(attempts, names, outcomes, strict=True):
        fitted = formatting.fit(name, name_width)
        style = "good" if attempt["outcome"] == "ok" else "bad" if attempt["ms"] or attempt.get("code") else "dim"
        bar = _draw_bar(attempt, total, bar_width)
        padded = fitted + " " * (name_width - formatting.width(fitted))
        yield f"  {padded}{' ' * GAP}{paint(bar, style)}{' ' * GAP}{paint(outcome, style)}"
    scale = f"{formatting.duration(total * 1000):>{bar_width - 1}}"
    yield paint(f"  {' ' * name_width}{' ' * GAP}0{scale}", "dim")


def _draw_bar(attempt: dict[str, Any], total: float, columns: int) -> str:
    """Draw an attempt at its place on the time axis; an attempt that took no time is a dot."""
    start = min(columns - 1, int(attempt.get("at", 0) / total * columns))
    length = max(1, round(attempt["ms"] / total * columns))
    length = min(length, columns - start)
    mark = "━" if attempt["ms"] else "·"
    return f"{' ' * start}{mark * length}{' ' * (columns - start - length)}"


def _format_outcome(attempt: dict[str, Any]) -> str:
    outcome: str = attempt["outcome"] + (f" ({attempt['code']})" if attempt.get("code") else "")
    return f"{outcome}, {attempt['ms']}ms" if attempt["ms"] or attempt["outcome"] == "ok" else outcome


def _printable(text: str) -> str:
    """Make a body safe to print, keeping its line breaks."""
    return "\n".join(formatting.clean(line) for line in text.splitlines())
