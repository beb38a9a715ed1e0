"""Paths of the project's files, and of the recorded provider traffic that may lie beside the project."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
CORPUS = Path(os.environ.get("NULPOINT_CORPUS", ROOT.parent / "shared" / "corpus"))
