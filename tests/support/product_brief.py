"""Reads the product brief if it lies beside the project; otherwise tests that import this module are skipped."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.paths import ROOT

NAME = "nulpoint-llm-gateway.md"
BRIEF = Path(os.environ.get("NULPOINT_BRIEF", ROOT.parent / "shared" / "brief" / NAME))
if not BRIEF.is_file():
    pytest.skip(
        f"the product brief ({NAME}) is not beside the project, so its tests were skipped", allow_module_level=True
    )
TEXT = BRIEF.read_text(encoding="utf-8")


def sections() -> Any:
    """Return pairs of a heading and its text, in order."""
    parts = re.split(r"(?m)^#+ (.+)$", re.sub(r"(?ms)^```.*?^```$", _without_headings, TEXT))
    return list(zip(parts[1::2], parts[2::2], strict=True))


def _without_headings(block: Any) -> Any:
    return re.sub(r"(?m)^#", " #", block[0])


def tables() -> Iterator[Any]:
    """Yield heading, title of the first column, and rows of every table."""
    for heading, text in sections():
        for table in re.findall(r"(?m)(?:^\|.*\|\n?)+", text):
            head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
            yield heading, head[0], rows


def fenced(language: Any) -> Any:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", TEXT)


def names(cell: Any) -> Any:
    return re.findall(r"`([^`]+)`", cell)


def squeezed(text: Any) -> Any:
    return " ".join(text.split())


TABLES = list(tables())
