"""The pinned lists are whole for every Python that nulpoint runs on, not just for the one they were made with."""

from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.paths import ROOT

REQUIREMENTS = ROOT / "requirements"
PYTHONS = ("3.11.0", "3.11.2", "3.11.9", "3.12.3", "3.13.1", "3.14.0")  # Debian 12 has 3.11.2


def pinned(name):
    lines = (REQUIREMENTS / name).read_text().splitlines()
    return [Requirement(line.rstrip("\\ ")) for line in lines if line and not line.startswith((" ", "#"))]


def environment(version):
    return {**default_environment(), "python_full_version": version, "python_version": version.rpartition(".")[0]}


@pytest.mark.parametrize("version", PYTHONS)
@pytest.mark.parametrize("name", ["run.txt", "build.txt", "dev.txt"])
def test_what_a_pinned_package_needs_is_pinned_too(name, version):
    where = environment(version)
    here = {
        canonicalize_name(one.name): one.specifier
        for one in pinned(name)
        if one.marker is None or one.marker.evaluate(where)
    }
    missing = set()
    for package in here:
        try:
            needs = requires(package) or []
        except PackageNotFoundError:  # it is for another Python than this one
            continue
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({**where, "extra": ""}):
                found = here.get(canonicalize_name(need.name))
                if found is None or not need.specifier.contains(next(iter(found)).version, prereleases=True):
                    missing.add(f"{package} needs {need}")
    assert not missing


@pytest.mark.parametrize("name", ["run.txt", "build.txt", "dev.txt"])
def test_everything_has_its_version_and_its_hashes_and_no_address(name):
    text = (REQUIREMENTS / name).read_text()
    assert all(str(one.specifier).startswith("==") for one in pinned(name))
    assert all("--hash=sha256:" in block for block in text.split("\n    # via")[:-1])
    assert "://" not in text
