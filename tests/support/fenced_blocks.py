"""Reads the fenced blocks of the documentation and the commands in them."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from support.paths import ROOT

PAGES = sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md"), ROOT / "examples/README.md"])
SHELL = ("sh", "bash", "console")
_FENCE = re.compile(r"^(\s*)```(\w*)[^\n]*\n(.*?)^\s*```$", re.MULTILINE | re.DOTALL)
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")


class Block(NamedTuple):
    """A fenced block. `line` is the number of its first line, from 1. A block that begins with a prompt is a console."""

    page: Path
    line: int
    language: str
    text: str


class Command(NamedTuple):
    page: Path
    line: int
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return all fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for fence in _FENCE.finditer(text):
        language = fence[2] or ("console" if fence[3].startswith("$ ") else "")
        found.append(Block(page, text[: fence.start(3)].count("\n") + 1, language, fence[3]))
    return found


def commands(block: Block) -> list[Command]:
    """Return the commands of a shell block, each with its continued lines, open quotes and here-documents.

    In a console block only lines after a prompt are commands; the output is skipped.
    """
    found: list[Command] = []
    lines = block.text.splitlines()
    at = 0
    while at < len(lines):
        begin = at
        prompted = block.language == "console"
        if prompted and not lines[at].startswith("$ "):
            at += 1
            continue
        text = lines[at].removeprefix("$ ") if prompted else lines[at]
        while not _whole(text) and at + 1 < len(lines):
            at += 1
            text += "\n" + lines[at]
        at += 1
        if re.sub(r"^\s*#.*", "", text).strip():
            found.append(Command(block.page, block.line + begin, text))
    return found


def _whole(text: str) -> bool:
    heredoc = _HEREDOC.search(text)
    if heredoc is not None:
        return text.splitlines()[-1] == heredoc[2]
    try:
        shlex.split(text, comments=True)
    except ValueError:  # an open quote, or a backslash at the end
        return False
    return not text.endswith("\\")
