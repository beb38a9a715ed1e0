"""Every fact is used by the gateway, and not only shown."""

import ast

from nulpoint.models.facts import FACT_NAMES
from support.paths import ROOT

SOURCE = ROOT / "src/nulpoint"
# What only prints facts, or reads the user's own.
SHOWN = ("models/", "cli/models.py", "config/sections/models.py", "config/model_reference.py", "mock/")
# The facts that nothing else reads, with the module in `models/` that uses them; None for what is only shown.
USED_IN_MODELS = {
    "price": "costs",
    "price_changes": "costs",
    "price_factor": "costs",
    "replacement": "retirement",
    # For the user, who chooses a model by it. Requests with other media are passed on, and the provider refuses them.
    "media": None,
}


def facts_read(path):
    """Return the attributes that a module reads of values whose name ends with `facts`."""
    reads = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
    return {node.attr for node in reads if ast.unparse(node.value).endswith("facts")}


def names_read():
    files = [path for path in SOURCE.rglob("*.py") if not str(path.relative_to(SOURCE)).startswith(SHOWN)]
    return {name for path in files for name in facts_read(path)}


def test_every_fact_is_read_outside_the_models():
    assert set(FACT_NAMES) - names_read() == USED_IN_MODELS.keys()


def test_the_other_facts_are_read_in_the_models():
    used = {name: module for name, module in USED_IN_MODELS.items() if module is not None}
    assert [name for name, module in used.items() if name not in facts_read(SOURCE / f"models/{module}.py")] == []
