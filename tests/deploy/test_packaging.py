"""What the package says of itself, and the workflow that tests it, agree with each other."""

import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

import nulpoint
from support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
PREFIX = "Programming Language :: Python :: 3."


def test_the_package_says_that_it_has_types():
    assert (Path(nulpoint.__file__).parent / "py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["classifiers"]


def test_the_extra_all_has_every_other_extra():
    extras = PROJECT["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    assert everything.name == PROJECT["name"]
    assert everything.extras == set(extras) - {"all"}


def test_the_workflow_is_one_by_its_schema():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(WORKFLOW)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_lints_and_tests_every_python_that_the_package_supports():
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    tested = jobs["test"]["strategy"]["matrix"]["python-version"]
    supported = [
        one.removeprefix("Programming Language :: Python :: ")
        for one in PROJECT["classifiers"]
        if one.startswith(PREFIX)
    ]
    assert tested == supported
    assert PROJECT["requires-python"] == f">={supported[0]}"
    commands = [step["run"].split()[:2] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert ["make", "lint"] in commands
    assert ["make", "test"] in commands
