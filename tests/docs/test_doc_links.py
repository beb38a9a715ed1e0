"""Every link of the documentation leads somewhere, every page is reached from the index, every file it names is there."""

import importlib.util
import re

import pytest

from support.fenced_blocks import PAGES, ROOT

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
NAMED_FILE = re.compile(r"`((?:[\w.-]+/)+[\w.*-]+\.(?:py|md|yaml|json|sh|lua|service|txt|in|go|js))`")
SOURCES = (ROOT, ROOT / "src/nulpoint", ROOT / "docs")


def prose(page):
    """The page's text without its fenced blocks and code spans that hold brackets."""
    return re.sub(r"(?ms)^\s*```.*?^\s*```$", "", page.read_text(encoding="utf-8"))


def anchors(page):
    """Those GitHub makes of a page's headings."""
    found = set()
    for heading in re.findall(r"(?m)^#+ (.+)$", prose(page)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(name)
    return found


def links(page):
    return [target for target in LINK.findall(prose(page)) if "://" not in target]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_and_anchors(page):
    for target in links(page):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert there.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(there), f"{target}; {there.name} has {sorted(anchors(there))}"


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_files_that_are_named(page):
    for name in NAMED_FILE.findall(prose(page)):
        if "NAME" in name:  # of whoever adds it
            continue
        assert any(list(folder.glob(name)) for folder in SOURCES), name


def test_every_page_is_reached_from_the_index_and_the_readme():
    index = ROOT / "docs/README.md"
    reached, todo = set(), [index]
    while todo:
        page = todo.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        todo += [(page.parent / target.partition("#")[0]).resolve() for target in links(page) if target[0] != "#"]
    assert set(ROOT.glob("docs/**/*.md")) <= reached
    assert "docs/README.md" in links(ROOT / "README.md")
    directly = {(index.parent / target).resolve() for target in links(index)}
    assert set(ROOT.glob("docs/*.md")) - {index} <= directly


def test_decisions_have_one_number_each_and_stand_in_their_list():
    pages = sorted(page for page in ROOT.glob("docs/decisions/*.md") if page.name != "README.md")
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    listed = (ROOT / "docs/decisions/README.md").read_text()
    for page in pages:
        number, title = re.fullmatch(r"# (\d+)\. (.+)", page.read_text().splitlines()[0]).groups()
        assert int(number) == int(page.name[:4])
        assert f"| [{number}]({page.name}) | {title} |" in listed


def test_the_figures_of_the_readme_are_those_of_the_performance_page():
    path = ROOT / "bench/published.py"
    spec = importlib.util.spec_from_file_location("published", path)
    published = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(published)
    there = (ROOT / "README.md").read_text().partition("<!-- figures")[2].partition("<!-- end of figures -->")[0]
    assert there.partition("-->")[2].strip() == published.shortened(published.published()), "python bench/published.py"
