"""Every example is run against the mock providers, as its reader would run it; Go's alone is text."""

import asyncio
import importlib.util
import os
import re
import shutil
import sys

import pytest

from nulpoint.mock import MockSettings
from support.event_loop import run
from support.paths import ROOT
from support.running_gateway import gateway

EXAMPLES = ROOT / "examples"
PROVIDERS = ("openai", "anthropic", "gemini", "mistral")
MOCK = MockSettings(stream_words=5, chunk_ms=0.0)
PYTHON = {
    "chat.py": r"\w+.*\n\d+ tokens in, \d+ out, answered by gpt-5\.4\S*\n",
    "stream.py": r"\w+.+\n",
    "several.py": "".join(
        rf"{model}, answered by {provider}: \w+.*\n"
        for model, provider in (
            ("gpt-5.4", "openai"),
            ("claude-sonnet-5", "anthropic"),
            ("gemini-3.8-flash", "gemini"),
            ("mistral-large-latest", "mistral"),
        )
    ),
    "tools.py": r"weather\(\{.*\}\) = 21 degrees and sunny in .*\n.+\n",
    "embeddings.py": r"\d+ dimensions, cosine similarity -?[01]\.\d{3}\n",
}


async def output(port, *command, cwd=EXAMPLES):
    """What it prints; it has to end well."""
    environ = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "NULPOINT_URL": f"http://127.0.0.1:{port}/v1",
        "PYTHONPATH": "",
    }
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*map(str, command), env=environ, cwd=cwd, stdout=pipe, stderr=pipe)
    out, err = await child.communicate()
    assert child.returncode == 0, err.decode()
    return out.decode()


def test_python():
    async def main():
        async with gateway(names=PROVIDERS, mock=MOCK) as running:
            asked = (output(running.port, sys.executable, EXAMPLES / "python" / name) for name in PYTHON)
            return dict(zip(PYTHON, await asyncio.gather(*asked), strict=True))

    for name, printed in run(main()).items():
        assert re.fullmatch(PYTHON[name], printed), (name, printed)


@pytest.mark.slow
def test_langchain():
    if importlib.util.find_spec("langchain_openai") is None:
        pytest.skip("langchain-openai is not installed (examples/python/requirements-langchain.txt): not run")

    async def main():
        async with gateway(names=PROVIDERS, mock=MOCK) as running:
            return await output(running.port, sys.executable, EXAMPLES / "python/langchain_chat.py")

    assert re.fullmatch(r"\w+.*\n\w+.*\n\d+ dimensions\n", run(main()))


@pytest.mark.slow
def test_javascript(tmp_path):
    if shutil.which("npm") is None:
        pytest.skip("Node.js with npm is not installed: the JavaScript example was not run")

    async def main():
        shutil.copytree(
            EXAMPLES / "javascript", tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules")
        )
        pipe = asyncio.subprocess.PIPE
        install = await asyncio.create_subprocess_exec("npm", "ci", cwd=tmp_path, stdout=pipe, stderr=pipe)
        _, err = await install.communicate()
        if install.returncode and re.search(rb"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|network", err):
            pytest.skip("npm cannot reach its registry: the JavaScript example was not run")
        assert install.returncode == 0, err.decode()
        async with gateway(names=PROVIDERS, mock=MOCK) as running:
            return await output(running.port, "node", "chat.js", cwd=tmp_path)

    printed = run(main())
    pattern = r"answer: \w+.*\nstream: \w+.*\ncall: weather\(\{.*\}\)\nvectors: 2 of \d+ dimensions\n"
    assert re.fullmatch(pattern, printed), printed


def test_the_lock_file_names_no_host_and_holds_what_is_asked_for():
    text = (EXAMPLES / "javascript/package-lock.json").read_text()
    assert "://" not in text
    (wanted,) = re.findall(r'"openai": "([\d.]+)"', (EXAMPLES / "javascript/package.json").read_text())
    assert f'"version": "{wanted}"' in text
    assert '"integrity": "sha512-' in text


def test_curl():
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed: its examples were not run")

    async def main():
        async with gateway(names=PROVIDERS, mock=MOCK) as running:
            return await output(running.port, "sh", EXAMPLES / "curl/examples.sh")

    parts = re.split(r"^# .*\n", run(main()), flags=re.MULTILINE)
    for part, expected in zip(
        parts,
        ("", '"chat.completion"', "data: [DONE]", '"text_completion"', '"embedding"', '"claude-sonnet-5"'),
        strict=True,
    ):
        assert expected in part


def test_the_readme_lists_every_example_and_nothing_else():
    listed = re.findall(r"\]\(([a-z_./]+)\)", (EXAMPLES / "README.md").read_text())
    there = {
        str(path.relative_to(EXAMPLES))
        for path in EXAMPLES.rglob("*")
        if path.suffix in (".py", ".js", ".sh", ".go") and "node_modules" not in path.parts
    }
    assert set(listed) == there
