"""Imports point down, the core is pure, and the mock providers share nothing with the gateway."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent / "src" / "nulpoint"
LAYERS = [
    "errors",
    "files",
    "threads",
    "wire",
    "codecs",
    "providers",
    "routing",
    "stores",
    "credentials",
    "http",
    "gateway",
    "config",
    "analysis",
    "parts",
    "backing",
    "request_log",
    "runtime",
    "reload",
    "signals",
    "worker_link",
    "workers",
    "app",
    "process",
    "explaining",
    "cli",
]
PURE = {"errors", "wire", "codecs", "providers", "routing"}
IMPURE = {"asyncio", "uvloop", "socket", "ssl", "time", "random", "secrets", "os", "logging", "threading"}


def imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ([*node.module.split("."), alias.name] for alias in node.names)


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_every_room_has_a_layer():
    assert {room(path) for path in ROOT.rglob("*.py")} <= {*LAYERS, "mock", "__init__", "__main__"}


def test_arrows_point_down_and_the_core_is_pure():
    for path in ROOT.rglob("*.py"):
        here = room(path)
        if here not in LAYERS:
            continue
        for top, *rest in imports(path):
            if top == "nulpoint" and rest and rest[0] in LAYERS:
                assert LAYERS.index(rest[0]) <= LAYERS.index(here), f"{path}: imports upward ({rest[0]})"
            assert not (here in PURE and top in IMPURE), f"{path}: {here} is pure, imports {top}"


def test_the_mock_shares_no_code_with_the_gateway():
    for path in (ROOT / "mock").rglob("*.py"):
        for top, *rest in imports(path):
            assert top != "nulpoint" or rest[0] == "mock", f"{path}: imports {rest}"
