"""`make bench-against`: how turns are paired, what the interval says, and that a tree is run with its own code."""

import contextlib
import importlib
import subprocess
import sys
import urllib.request

import pytest

from support.paths import ROOT

BENCH = ROOT / "bench"
MODULES = {path.stem for path in BENCH.glob("*.py")}  # they are scripts beside each other, with names the tests use too


@pytest.fixture(scope="module")
def bench():
    """Imports a module of the bench; afterwards the names are free again."""
    before = {name: sys.modules.pop(name) for name in MODULES & sys.modules.keys()}
    sys.path.insert(0, str(BENCH))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(BENCH))
        for name in MODULES & sys.modules.keys():
            del sys.modules[name]
        sys.modules.update(before)


@pytest.fixture(scope="module")
def figures(bench):
    return bench("figures")


@pytest.fixture(scope="module")
def against(bench):
    return bench("against")


def pairs(*ratios, drift=1.0):
    """Rounds with these ratios of head to base, on a machine whose speed changes from round to round."""
    return [{"base": 50 * drift**number, "head": 50 * drift**number * ratio} for number, ratio in enumerate(ratios)]


def test_neighbours_take_turns_in_abba_order(figures):
    order = [name for number in range(4) for name in figures.abba_order(["A", "B"], number)]
    assert "".join(order) == "ABBAABBA"


def test_a_disturbed_pair_is_measured_anew_and_a_fault_that_stays_is_told(figures):
    results = iter([RuntimeError("starved"), 7, RuntimeError("first"), *[RuntimeError("last")] * 4])

    def measure():
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    assert figures.retry_if_disturbed(measure) == 7
    with pytest.raises(RuntimeError, match="last"):
        figures.retry_if_disturbed(measure)


def test_a_steady_drift_adds_the_same_to_both(figures):
    clock = iter(range(100))
    rounds = [
        {name: 50.0 + next(clock) for name in figures.abba_order(["base", "head"], number)} for number in range(40)
    ]
    compared = figures.compare("row", rounds, "base", "head")
    assert compared.low < 1.0 < compared.high


@pytest.mark.parametrize("drift", [0.9, 1.0, 1.2])
def test_only_figures_of_one_round_are_divided(figures, drift):
    compared = figures.compare("row", pairs(*[1.1] * 20, drift=drift), "base", "head")
    assert (compared.low, compared.ratio, compared.high) == pytest.approx((1.1, 1.1, 1.1))


def test_one_disturbed_pair_moves_neither_median_nor_interval(figures):
    compared = figures.compare("row", pairs(*[1.0] * 19, 9.0), "base", "head")
    assert (compared.low, compared.ratio, compared.high) == (1.0, 1.0, 1.0)


def test_the_interval_holds_the_true_ratio_and_shrinks_with_more_pairs(figures):
    noise = [0.96, 1.04, 0.99, 1.01, 1.02, 0.98, 1.0, 1.03, 0.97, 1.0]
    few = figures.compare("row", pairs(*(1.05 * one for one in noise)), "base", "head")
    many = figures.compare("row", pairs(*(1.05 * one for one in noise * 10)), "base", "head")
    assert few.low < 1.05 < few.high
    assert many.high - many.low < few.high - few.low


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([1.0] * 20, ""),
        ([1.02] * 20, ""),
        ([1.05] * 20, "ABOVE 1.03"),
        ([1.0] * 9 + [1.06] * 11, "perhaps above 1.03"),
        ([0.8] * 20, ""),
    ],
)
def test_a_row_is_above_the_limit_if_its_whole_interval_is(figures, ratios, verdict):
    compared = figures.compare("row", pairs(*ratios), "base", "head")
    assert compared.verdict(1.03) == verdict
    assert figures.comparison_table([compared], 1.03).endswith(f"| {verdict} |")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("", 9),
        ("chunk", 3),
        ("miss, anthropic CHUNK", 3),
        ("260 B", 4),
        ("nothing like it", 0),
    ],
)
def test_rows_are_selected_by_words_of_their_names(against, words, names):
    assert len(against.select_rows(words)) == names


SERVER = """
import http.server, os, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(__file__.encode())
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"""


def test_each_tree_is_served_by_its_own_code_however_it_is_laid_out(against, tmp_path):
    trees = {}
    for name in ("base", "head"):
        trees[name] = tmp_path / name
        package = trees[name] / "src" / "nulpoint"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        against.check_loads(trees[name])
        (package / "__main__.py").write_text(SERVER)
    with contextlib.ExitStack() as stack:
        for name, subject in against.Gateways(stack, trees, tmp_path).start(1, "none").items():
            with urllib.request.urlopen(f"http://127.0.0.1:{subject.port}/", timeout=30) as answer:
                assert answer.read().decode().startswith(str(trees[name]))


def test_a_tree_without_the_package_is_not_compared(against, tmp_path):
    with pytest.raises(RuntimeError, match="there is no package nulpoint"):
        against.check_loads(tmp_path)


@pytest.mark.skipif(not (BENCH.parent / ".git").exists(), reason="the source came without its history")
def test_the_source_of_a_commit_is_exported_beside_the_working_tree(against):
    with against.export_source(against.resolve("HEAD")) as tree:
        against.check_loads(tree)
        assert against.ROOT not in tree.parents


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([""], "say which commit to compare with: make bench-against BASE=HEAD~1"),
        (["no-such-commit"], "BASE=no-such-commit: there is no such commit here"),
        (
            ["HEAD", "--rows", "nothing"],
            "ROWS=nothing: no row has that in its name. The rows are: pass-through request",
        ),
        (["HEAD", "--pairs", "5"], "PAIRS=5: at least 6"),
    ],
)
def test_what_is_wrong_with_the_arguments_is_said(arguments, said):
    run = subprocess.run([sys.executable, BENCH / "against.py", *arguments], capture_output=True, text=True)
    assert run.returncode == 2
    assert said in run.stderr
