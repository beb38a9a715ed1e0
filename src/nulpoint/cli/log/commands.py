"""The commands `nulpoint logs` and `nulpoint stats`."""

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from nulpoint.cli.log import filters, stats_table, waterfall
from nulpoint.cli.log.filters import Filters
from nulpoint.cli.log.listing import Listing
from nulpoint.cli.log.reader import RequestLogReader, UnreadableLogError, as_record, open_log
from nulpoint.cli.log.summary import GROUPS, summarise
from nulpoint.cli.log.table import Paint
from nulpoint.config import ConfigError, values
from nulpoint.config.sections.request_log import DEFAULT_DATABASE, configured_targets
from nulpoint.config.source import read_env_file

EXIT_UNREADABLE = 1
FOLLOW_SECONDS = 0.3
WIDE = 140  # columns, where the output is no terminal
_STYLES: dict[str, dict[str, Any]] = {
    "head": {"bold": True}, "dim": {"dim": True}, "good": {"fg": "green"}, "warn": {"fg": "yellow"},
    "bad": {"fg": "red"}, "mark": {"fg": "cyan"},
}  # fmt: skip
_TRIES = "json_array_length(attempts) AS tries"


def _checked(read: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    def callback(_: click.Context, __: click.Parameter, text: str | None) -> Any:
        try:
            return None if text is None else read(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return callback


_OPTIONS = (
    click.option("--file", "file", type=click.Path(path_type=Path),
                 help=f"The request log; - is standard input. Default: REQUEST_LOG if set, else {DEFAULT_DATABASE}."),
    click.option("--model", help="Asked for or answered; may be a pattern: 'gpt-*'."),
    click.option("--provider", help="Who answered."),
    click.option("--status", callback=_checked(filters.status), help="429, 5xx, or error."),
    click.option("--key", metavar="DIGEST", help="Of the caller, or its beginning."),
    click.option("--cache", type=click.Choice(["HIT", "MISS", "BYPASS"], case_sensitive=False),
                 help="What the cache did."),
    click.option("--since", callback=_checked(lambda text: filters.since(text, datetime.now(UTC))), metavar="WHEN",
                 help="30m, 24h, 7d, or a time in UTC: 2026-11-26T14:00."),
    click.option("--slower-than", callback=_checked(values.duration), metavar="DURATION", help="2s, 500ms."),
    click.option("--failed-over", is_flag=True, help="That took more than one attempt."),
    click.option("--all", "own_pages", is_flag=True, help="The gateway's own pages and malformed requests too."),
    click.option("--json", "as_json", is_flag=True, help="For programs."),
)  # fmt: skip


def _with_filters(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument("request", required=False)
@click.option("-n", "last", default=20, show_default=True, type=click.IntRange(0, 1_000_000), help="How many.")
@click.option("-f", "--follow", is_flag=True, help="Go on with those that come, until Ctrl-C.")
@_with_filters
def logs(request: str | None, last: int, follow: bool, file: Path | None, as_json: bool, **asked: Any) -> None:
    """The last requests, or one with all that is known of it.

    REQUEST is the number of a request in the list, or its x-nulpoint-request-id: its attempts are drawn along the time
    they took.

    \b
    Examples:
      nulpoint logs -f                              go on with those that come
      nulpoint logs 17                              one of them, with its attempts
      nulpoint logs --status error --since 1h
      nulpoint logs --model 'gpt-*' --slower-than 5s --json
    """
    with _opened(file) as log:
        if request is not None:
            _one(log, request, as_json)
            return
        where, given = Filters(**asked).condition()
        rows = log.rows(where, given, f"ORDER BY number DESC LIMIT {last}")[::-1]
        if not follow and not rows:
            raise UnreadableLogError(_nothing(log, where))
        if follow and not log.live:
            raise UnreadableLogError("only an SQLite log can be followed; for lines of a file use tail -f")
        show = _shower(rows, as_json)
        show(rows)
        if follow:
            _follow(log, where, given, show)


@click.command()
@click.option("--by", type=click.Choice(GROUPS), default="model", show_default=True, help="A line for each.")
@click.option("-n", "most", default=30, show_default=True, type=click.IntRange(1), help="How many of them are shown.")
@_with_filters
def stats(by: str, most: int, file: Path | None, as_json: bool, **asked: Any) -> None:
    """Requests in figures: errors, latency, tokens, cost, hit rate.

    P50, P95, P99 are of answers that went well, as callers saw them; TTFT is the time to a stream's first token. Tokens
    and cost are what was bought: what the cache or another caller's call answered is under SAVED.

    \b
    Examples:
      nulpoint stats --since 24h
      nulpoint stats --by provider --status error
      nulpoint stats --by hour --json
      docker logs gateway | nulpoint stats --file -
    """
    with _opened(file) as log:
        where, given = Filters(**asked).condition()
        rows = log.rows(where, given, columns=(*_COUNTED, _TRIES))
        if not rows and not as_json:
            raise UnreadableLogError(_nothing(log, where))
        total, groups = summarise(rows, by)
        if as_json:
            document = {"total": total.as_json(), "by": by, "groups": {k: v.as_json() for k, v in groups.items()}}
            click.echo(msgspec.json.encode(document))
            return
        names = list(groups)[-most:] if by == "hour" else list(groups)[:most]
        _echo(stats_table.lines(total, {name: groups[name] for name in names}, by, _columns(), _paint()))
        if len(names) < len(groups):
            click.echo(f"{len(groups) - len(names)} more are left out; -n {len(groups)} shows all")


_COUNTED = ("time", "model", "provider", "key", "status", "error", "total_us", "first_token_us", "cache", "coalesced",
            "prompt", "completion", "cached", "cost", "saved")  # fmt: skip


def _one(log: RequestLogReader, request: str, as_json: bool) -> None:
    number = request.removeprefix("#")
    rows = log.rows("number = ?", (int(number),)) if number.isdecimal() and len(number) < 19 else []
    rows = rows or log.rows("id = ?", (request,))
    if not rows:
        raise UnreadableLogError(f"there is no request {request!r} in {str(log.path)!r}")
    for row in rows:  # callers may send one id twice
        if as_json:
            click.echo(msgspec.json.encode(as_record(row)))
        else:
            _echo(waterfall.lines(row, _columns(), _paint()))


def _shower(rows: list[Any], as_json: bool) -> Callable[[list[Any]], None]:
    """What shows rows; the first of them decide on the layout."""
    if as_json:
        return lambda some: _echo(msgspec.json.encode(as_record(row)) for row in some)
    shown = Listing(rows, _columns(), _paint())
    click.echo(shown.head())
    return lambda some: _echo(map(shown.line, some))


def _echo(lines: Iterable[str | bytes]) -> None:
    for line in lines:
        click.echo(line)


def _follow(log: RequestLogReader, where: str, given: tuple[Any, ...], show: Callable[[list[Any]], None]) -> None:
    pause, last = threading.Event(), log.last()
    while not pause.wait(FOLLOW_SECONDS):
        log.look_again()
        newest = log.last()
        if newest < last:  # another file in its place
            last = 0
        if newest > last:
            show(log.rows(f"number > ? AND number <= ? AND {where}", (last, newest, *given)))
            last = newest


def _nothing(log: RequestLogReader, where: str) -> str:
    if where == filters.ROUTES:
        return f"no request has been logged in {str(log.path)!r} yet"
    return f"no request in {str(log.path)!r} is like that"


@contextmanager
def _opened(file: Path | None) -> Iterator[RequestLogReader]:
    """Says why not, and ends, where there is nothing to show."""
    log = None
    try:
        log = open_log(file or _configured_file())
        yield log
    except UnreadableLogError as error:
        click.echo(f"nulpoint: {error}", err=True)
        sys.exit(EXIT_UNREADABLE)
    except KeyboardInterrupt:  # of --follow, which has no other end
        click.echo()
    finally:
        if log is not None:
            log.close()


def _configured_file() -> Path:
    """Raises Unreadable."""
    try:
        given = read_env_file(Path(".env")) or {}
    except ConfigError as error:
        raise UnreadableLogError(f"{error}; name the request log with --file") from None
    targets = configured_targets({**given, **os.environ}, Path("config.yaml"))
    paths = [target.path for target in targets or () if target.path is not None]
    if paths:
        return paths[0]
    if targets is not None and not Path(DEFAULT_DATABASE).exists():
        text = "REQUEST_LOG names no file; set it to sqlite:PATH, or name one with --file (- is standard input)"
        raise UnreadableLogError(text)
    return Path(DEFAULT_DATABASE)


def _columns() -> int:
    return shutil.get_terminal_size((WIDE, 24)).columns if sys.stdout.isatty() else WIDE


def _paint() -> Paint:
    """In colour on a terminal, unless NO_COLOR (no-color.org) is set."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return lambda text, _: text
    return lambda text, style: click.style(text, **_STYLES.get(style, {}))
