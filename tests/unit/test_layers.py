"""Imports point down, the core is pure, and the mock providers share nothing with the gateway."""

import ast
from pathlib import Path

from support.paths import ROOT, TESTS

SOURCE = ROOT / "src" / "nulpoint"
LAYERS = [
    "errors",
    "files",
    "threads",
    "formats",
    "redaction",
    "conversation",
    "models",
    "protocols",
    "providers",
    "routing",
    "redis_client",
    "credentials",
    "http",
    "ratelimit",
    "telemetry",
    "request",
    "cache",
    "proxy",
    "config",
    "api",
    "app",
    "cli",
]
PURE = {"errors", "formats", "redaction", "conversation", "models", "protocols", "providers", "routing"}
# Files that decide, in packages that also do I/O: the same rule holds for them.
PURE_FILES = {
    "cache/embeddings.py", "cache/entry.py", "cache/exclusions.py", "cache/fingerprint.py", "cache/recorder.py",
    "proxy/admission/overload.py", "ratelimit/headers.py", "ratelimit/limiter.py", "ratelimit/token_estimate.py",
    "request/client_auth.py",
}  # fmt: skip
IMPURE = {"asyncio", "uvloop", "socket", "ssl", "time", "random", "secrets", "os", "logging", "threading"}


def imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ([*node.module.split("."), alias.name] for alias in node.names)


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def test_every_room_has_a_layer():
    assert {room(path) for path in SOURCE.rglob("*.py")} <= {*LAYERS, "mock", "__init__", "__main__"}


def test_arrows_point_down_and_the_core_is_pure():
    for path in SOURCE.rglob("*.py"):
        here = room(path)
        if here not in LAYERS:
            continue
        for top, *rest in imports(path):
            if top == "nulpoint" and rest and rest[0] in LAYERS:
                assert LAYERS.index(rest[0]) <= LAYERS.index(here), f"{path}: imports upward ({rest[0]})"
            pure = here in PURE or path.relative_to(SOURCE).as_posix() in PURE_FILES
            assert not (pure and top in IMPURE), f"{path}: {here} is pure, imports {top}"


def test_the_mock_shares_no_code_with_the_gateway():
    for path in (SOURCE / "mock").rglob("*.py"):
        for top, *rest in imports(path):
            assert top != "nulpoint" or rest[0] == "mock", f"{path}: imports {rest}"


def test_only_the_request_context_changes_itself():
    """Other modules report what happened by calling its methods."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                if isinstance(target, ast.Attribute) and ast.unparse(target.value).split(".")[-1] in _CONTEXTS:
                    assert path.parts[-2] in ("cli", "credentials"), (
                        f"{path}:{node.lineno} assigns {ast.unparse(target)}"
                    )


def test_nothing_is_imported_from_a_test_or_a_conftest():
    modules = {path.stem for path in TESTS.rglob("*.py") if path.stem.startswith("test_") or path.stem == "conftest"}
    for path in (path for folder in ("tests", "bench", "demo") for path in (ROOT / folder).rglob("*.py")):
        for names in imports(path):
            assert not modules.intersection(names), f"{path}: imports {names}"


_CONTEXTS = {"context", "_context"}
