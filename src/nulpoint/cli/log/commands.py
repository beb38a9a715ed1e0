"""The commands `nulpoint logs` and `nulpoint stats`."""

import os
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
from nulpoint.cli.terminal import make_painter, terminal_width
from nulpoint.config import ConfigError, values
from nulpoint.config.sections.request_log import DEFAULT_DATABASE, configured_targets
from nulpoint.config.source import read_env_file

EXIT_UNREADABLE = 1
POLL_SECONDS = 0.3
_ATTEMPT_COUNT = "json_array_length(attempts) AS tries"


def _parse_with(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    def callback(_: click.Context, __: click.Parameter, text: str | None) -> Any:
        try:
            return None if text is None else parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return callback


_OPTIONS = (
    click.option(
        "--file",
        "file",
        type=click.Path(path_type=Path),
        help=f"The request log; - is standard input. Default: the file in REQUEST_LOG, else {DEFAULT_DATABASE}.",
    ),
    click.option("--model", help="Requested or responding model, or a pattern such as 'gpt-*'."),
    click.option("--provider", help="The provider that responded."),
    click.option(
        "--status", callback=_parse_with(filters.status), help="A status such as 429, a class such as 5xx, or error."
    ),
    click.option("--key", metavar="DIGEST", help="The digest of the client's key, or its beginning."),
    click.option(
        "--cache",
        type=click.Choice(["HIT", "MISS", "BYPASS"], case_sensitive=False),
        help="The result of the cache lookup.",
    ),
    click.option(
        "--since",
        callback=_parse_with(lambda text: filters.since(text, datetime.now(UTC))),
        metavar="WHEN",
        help="A duration such as 30m, 24h or 7d, or a time in UTC such as 2026-11-26T14:00.",
    ),
    click.option(
        "--slower-than",
        callback=_parse_with(values.duration),
        metavar="DURATION",
        help="Only requests that took longer, for example 2s or 500ms.",
    ),
    click.option("--failed-over", is_flag=True, help="Only requests that took more than one attempt."),
    click.option("--all", "all_routes", is_flag=True, help="Include the gateway's own pages and malformed requests."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
)


def _with_filters(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument("request", required=False)
@click.option(
    "-n", "last", default=20, show_default=True, type=click.IntRange(0, 1_000_000), help="How many requests to show."
)
@click.option("-f", "--follow", is_flag=True, help="Also show new requests as they are logged, until Ctrl-C.")
@_with_filters
def logs(request: str | None, last: int, follow: bool, file: Path | None, as_json: bool, **filter_options: Any) -> None:
    """Show the latest requests, or one request in detail.

    REQUEST is the number of a request in the list, or its x-nulpoint-request-id. Its attempts are drawn as bars on a
    time axis.

    \b
    Examples:
      nulpoint logs -f                              show new requests as they are logged
      nulpoint logs 17                              show request 17 with its attempts
      nulpoint logs --status error --since 1h
      nulpoint logs --model 'gpt-*' --slower-than 5s --json
    """
    with _open_or_exit(file) as log:
        if request is not None:
            _print_request(log, request, as_json)
            return
        condition, parameters = Filters(**filter_options).condition()
        newest_number = log.last_number()  # read before the rows, so that --follow misses none
        up_to_newest = f"number <= ? AND {condition}"
        rows = log.rows(up_to_newest, (newest_number, *parameters), f"ORDER BY number DESC LIMIT {last}")[::-1]
        if not follow and not rows:
            raise UnreadableLogError(_no_match_message(log, condition))
        if follow and not log.can_follow:
            raise UnreadableLogError("only an SQLite log can be followed; for a file of JSON lines use tail -f")
        print_rows = _row_printer(rows, as_json)
        print_rows(rows)
        if follow:
            _follow_log(log, newest_number, condition, parameters, print_rows)


@click.command()
@click.option("--by", type=click.Choice(GROUPS), default="model", show_default=True, help="What to group by.")
@click.option("-n", "limit", default=30, show_default=True, type=click.IntRange(1), help="How many groups to show.")
@_with_filters
def stats(by: str, limit: int, file: Path | None, as_json: bool, **filter_options: Any) -> None:
    """Show latency, errors, tokens, cost and cache hits of requests.

    P50, P95 and P99 are latency percentiles of successful requests, as the clients saw them. TTFT is the time to the
    first token of a stream. Tokens and cost count what the providers charged for; what the cache or a shared upstream
    call saved is under SAVED.

    \b
    Examples:
      nulpoint stats --since 24h
      nulpoint stats --by provider --status error
      nulpoint stats --by hour --json
      docker logs gateway | nulpoint stats --file -
    """
    with _open_or_exit(file) as log:
        condition, parameters = Filters(**filter_options).condition()
        rows = log.rows(condition, parameters, columns=(*_SUMMARY_COLUMNS, _ATTEMPT_COUNT))
        if not rows and not as_json:
            raise UnreadableLogError(_no_match_message(log, condition))
        total, groups = summarise(rows, by)
        if as_json:
            document = {"total": total.as_json(), "by": by, "groups": {k: v.as_json() for k, v in groups.items()}}
            click.echo(msgspec.json.encode(document))
            return
        names = list(groups)[-limit:] if by == "hour" else list(groups)[:limit]
        _echo(stats_table.lines(total, {name: groups[name] for name in names}, by, terminal_width(), make_painter()))
        if len(names) < len(groups):
            click.echo(f"{len(groups) - len(names)} more are left out; use -n {len(groups)} to show all")


_SUMMARY_COLUMNS = (
    "time",
    "model",
    "provider",
    "key",
    "status",
    "error",
    "total_us",
    "first_token_us",
    "cache",
    "coalesced",
    "prompt",
    "completion",
    "cached",
    "cost",
    "saved",
)


def _print_request(log: RequestLogReader, request: str, as_json: bool) -> None:
    number = request.removeprefix("#")
    rows = log.rows("number = ?", (int(number),)) if number.isdecimal() and len(number) < 19 else []
    rows = rows or log.rows("id = ?", (request,))
    if not rows:
        raise UnreadableLogError(f"there is no request {request!r} in {str(log.path)!r}")
    for row in rows:  # clients may send the same request id twice
        if as_json:
            click.echo(msgspec.json.encode(as_record(row)))
        else:
            _echo(waterfall.lines(row, terminal_width(), make_painter()))


def _row_printer(rows: list[Any], as_json: bool) -> Callable[[list[Any]], None]:
    """Return a function that prints rows. The layout is chosen to fit the first rows."""
    if as_json:
        return lambda new_rows: _echo(msgspec.json.encode(as_record(row)) for row in new_rows)
    listing = Listing(rows, terminal_width(), make_painter())
    click.echo(listing.head())
    return lambda new_rows: _echo(map(listing.line, new_rows))


def _echo(lines: Iterable[str | bytes]) -> None:
    for line in lines:
        click.echo(line)


def _follow_log(
    log: RequestLogReader,
    printed_number: int,
    condition: str,
    parameters: tuple[Any, ...],
    print_rows: Callable[[list[Any]], None],
) -> None:
    """Print new rows as they are logged, from the one after `printed_number` on."""
    pause = threading.Event()
    while not pause.wait(POLL_SECONDS):
        log.reopen_if_replaced()
        newest_number = log.last_number()
        if newest_number < printed_number:  # the file was replaced by another
            printed_number = 0
        if newest_number > printed_number:
            print_rows(
                log.rows(f"number > ? AND number <= ? AND {condition}", (printed_number, newest_number, *parameters))
            )
            printed_number = newest_number


def _no_match_message(log: RequestLogReader, condition: str) -> str:
    if condition == filters.ROUTES:
        return f"no request has been logged in {str(log.path)!r} yet"
    return f"no request in {str(log.path)!r} matches; change or remove the filters"


@contextmanager
def _open_or_exit(file: Path | None) -> Iterator[RequestLogReader]:
    """Open the request log for reading. If it cannot be read, print the reason and exit."""
    log = None
    try:
        log = open_log(file or _configured_file())
        yield log
    except UnreadableLogError as error:
        click.echo(f"nulpoint: {error}", err=True)
        sys.exit(EXIT_UNREADABLE)
    except KeyboardInterrupt:  # Ctrl-C is the regular end of --follow
        click.echo()
    finally:
        if log is not None:
            log.close()


def _configured_file() -> Path:
    """Return the path of the request log that the settings name. Raises UnreadableLogError."""
    try:
        file_values = read_env_file(Path(".env")) or {}
    except ConfigError as error:
        raise UnreadableLogError(f"{error}; name the request log with --file") from None
    targets = configured_targets({**file_values, **os.environ}, Path("config.yaml"))
    paths = [target.path for target in targets or () if target.path is not None]
    if paths:
        return paths[0]
    if targets is not None and not Path(DEFAULT_DATABASE).exists():
        text = "REQUEST_LOG names no file; set it to sqlite:PATH, or name a file with --file (- is standard input)"
        raise UnreadableLogError(text)
    return Path(DEFAULT_DATABASE)
