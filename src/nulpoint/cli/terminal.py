"""What the terminal can show: its width and colours."""

import os
import shutil
import sys
from typing import Any

import click

from nulpoint.cli.log.table import Paint

DEFAULT_WIDTH = 140  # columns, if the output is not a terminal
_STYLES: dict[str, dict[str, Any]] = {
    "head": {"bold": True},
    "dim": {"dim": True},
    "good": {"fg": "green"},
    "warn": {"fg": "yellow"},
    "bad": {"fg": "red"},
    "mark": {"fg": "cyan"},
}


def terminal_width() -> int:
    return shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns if sys.stdout.isatty() else DEFAULT_WIDTH


def make_painter() -> Paint:
    """Return a painter that uses colour on a terminal, unless NO_COLOR (no-color.org) is set."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return lambda text, _: text
    return lambda text, style: click.style(text, **_STYLES.get(style, {}))
