"""Publishes figures: all of them in docs/performance.md, and the most important ones in README.md.

`python bench/run.py --write-docs` renews both. `python bench/published.py` renews README.md from docs/performance.md.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PERFORMANCE, README = ROOT / "docs/performance.md", ROOT / "README.md"
# Rows of the table in docs/performance.md, and their names in README.md. A row that was not measured is left out.
ROWS = {
    "CPU per request, 260 B: nginx": "CPU per request: nginx, doing nothing but proxying",
    "CPU per request, 260 B: nulpoint": "CPU per request: nulpoint",
    "CPU per request, 260 B: Portkey": "CPU per request: Portkey",
    "CPU per request, 260 B: LiteLLM": "CPU per request: LiteLLM",
    "CPU per request, 260 B: nulpoint / nginx": "CPU per request: nulpoint / nginx",
    "CPU per chunk, 500 streams, bursts: nulpoint / nginx": "CPU per chunk of a stream: nulpoint / nginx",
    "P50 added at one connection: nulpoint": "Latency added, median",
    "First proxied answer after start, median": "First answer after start",
    "Memory per idle stream, 2000 streams": "Memory per open stream",
    "Resident memory, idle": "Memory, idle",
}


def publish(text: str) -> None:
    """Write the figures. `text` is a line that says what was measured where, an empty line, and the table."""
    _put(PERFORMANCE, "<!-- table -->", "<!-- end of table -->", text)
    _put(README, _begin(README.read_text()), "<!-- end of figures -->", shortened(text))


def published() -> str:
    """Return the figures in docs/performance.md."""
    return PERFORMANCE.read_text().partition("<!-- table -->")[2].partition("<!-- end of table -->")[0].strip()


def shortened(text: str) -> str:
    """Return the part of the figures for README.md."""
    measured: dict[str, str] = dict(re.findall(r"(?m)^\| (.+?) \| (.+?) \|", text))
    rows = [f"| {name} | {measured[row]} |" for row, name in ROWS.items() if row in measured]
    return "\n".join([text.partition("\n")[0], "", "| What | Measured |", "|---|---|", *rows])


def _begin(readme: str) -> str:
    begin: str
    (begin,) = re.findall(r"<!-- figures: .*? -->", readme)
    return begin


def _put(path: Path, begin: str, end: str, text: str) -> None:
    page = path.read_text()
    path.write_text(page[: page.index(begin) + len(begin)] + f"\n\n{text}\n\n" + page[page.index(end) :])


if __name__ == "__main__":
    publish(published())
