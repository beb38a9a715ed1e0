"""The Dockerfile, read as stages of instructions."""

import re

from support.paths import ROOT


def instructions():
    """(instruction, rest) of the Dockerfile, continued lines joined, comments left out."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text()))
    return [tuple(line.split(" ", 1)) for line in text.splitlines() if line.strip()]


def stages():
    """The instructions of each stage."""
    found = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest))
    return found
