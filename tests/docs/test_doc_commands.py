"""Every command of the documentation works, as it stands there, against a gateway on the mock providers."""

import contextlib
import re
import shutil
import tomllib
from concurrent.futures import ThreadPoolExecutor

import pytest

from nulpoint.config import load
from nulpoint.mock.server import parse_provider_fault
from nulpoint.providers.catalog import CATALOG
from support.documented_commands import mocks, run_page
from support.fenced_blocks import PAGES, ROOT, SHELL, blocks, commands

# Commands that cannot be run here, by a pattern: why, and what holds them to the code instead.
LEFT_OUT = {
    r"^(docker|kubectl) ": "needs an engine or a cluster; what it reads is checked in tests/deploy and tests/deploy/test_container.py",
    r"systemctl|/opt/nulpoint|^(into\(\)|into|install) ": "changes the machine; tests/deploy/test_scratch_image.py does the like on a scratch root",
    r"^git clone|^cd gateway$": "needs the network; the tests stand in what it gives",
    r"^nulpoint logs 17$": "a request of somebody's log; the first one is shown before it",
    r"\bpip install\b|^uv |^pipx |^npm |\bnpm ci\b": "installs from the registries; the extras it names are checked below",
    r"^(\w+=\S+ )*(nulpoint mock|make mock-providers)\b": "the mock providers run already, on other ports; their faults are checked below",
}  # fmt: skip
SHELLS = [page for page in PAGES if any(block.language in SHELL for block in blocks(page))]
PYTHON = re.compile(r"^from openai import", re.MULTILINE)
NEEDED = ("curl", "make")
OPTIONAL = ("sqlite3", "openssl")  # what begins with one of these is not run where it is not installed


def fences(page):
    """The page's blocks, without Python that is no program."""
    return [block for block in blocks(page) if block.language != "python" or PYTHON.search(block.text)]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What each page's session printed, or the error it ended with. Two at a time: they wait for each other's starts."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed: the commands of the documentation were not run")

    left_out = [*LEFT_OUT, *(f"^{name} " for name in OPTIONAL if shutil.which(name) is None)]
    if not (ROOT / ".venv").exists():  # whoever runs the tests without make has everything in reach already
        left_out.append(r"activate\b")

    def session(page):
        alone = "/mock/fault" in page.read_text(encoding="utf-8")  # what it breaks must not fail the others
        with mocks() if alone else contextlib.nullcontext(beside) as providers:
            try:
                return run_page(fences(page), folders[page], providers, left_out)
            except AssertionError as error:
                return error

    folders = {page: tmp_path_factory.mktemp("page") for page in SHELLS}
    with mocks() as beside, ThreadPoolExecutor(2) as pool:
        return dict(zip(SHELLS, pool.map(session, SHELLS), strict=True))


@pytest.mark.parametrize("page", SHELLS, ids=[str(page.relative_to(ROOT)) for page in SHELLS])
def test_every_command_works(page, outcomes):
    if isinstance(outcomes[page], AssertionError):
        raise outcomes[page]


def test_what_is_left_out_is_there():
    every = [command.text for page in SHELLS for block in blocks(page) if block.language in SHELL for command in commands(block)]  # fmt: skip
    for pattern in LEFT_OUT:
        assert any(re.search(pattern, text) for text in every), f"nothing is left out by {pattern!r} any more"
    assert sum(not any(re.search(pattern, text) for pattern in LEFT_OUT) for text in every) >= 30


def test_files_of_what_is_left_out_exist():
    every = [command.text for page in SHELLS for block in blocks(page) if block.language in SHELL for command in commands(block)]  # fmt: skip
    left_out = [text for text in every if any(re.search(pattern, text) for pattern in LEFT_OUT)]
    named = {
        name
        for text in left_out
        for name in re.findall(r"(?<= )(?:[\w.-]+/)*[\w.-]*\.(?:yaml|txt|service|example)\b", text)
    }
    assert len(named) > 4
    for name in named:
        assert (ROOT / name).exists(), name


def text_of_all():
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def test_extras_and_faults_that_are_named_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(re.findall(r"nulpoint\[(\w+)\]", text_of_all())) <= set(project["optional-dependencies"])
    for fault in re.findall(r"--fault '?([\w:=*]+)", text_of_all()):
        parse_provider_fault(fault)


def test_make_targets_that_are_named_exist():
    there = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    named = set(re.findall(r"(?:`|^|[A-Z]+=\S+ )make ([a-z-]+)", text_of_all(), re.MULTILINE))
    assert named <= there, named - there


YAML = [block for page in PAGES for block in blocks(page) if block.language == "yaml"]


@pytest.mark.parametrize("block", YAML, ids=[f"{block.page.name}:{block.line}" for block in YAML])
def test_pieces_of_config_yaml_are_good(block, tmp_path):
    (tmp_path / "config.yaml").write_text(block.text)
    keys = {name: "any" for spec in CATALOG.values() if (name := spec.key_env) and not spec.variables}
    places = {name: "https://cloud.example.com" for name in re.findall(r"\{([A-Z_]+)\}", block.text)}
    own = {name: "any" for name in re.findall(r"key_env: ([A-Z_]+)", block.text)}
    load({**keys, **places, **own}, tmp_path)
