"""The `models` section of config.yaml."""

import pytest

from nulpoint.config.sections.models import read_models
from nulpoint.models.catalog import Models
from nulpoint.providers.catalog import CATALOG


def test_a_users_facts_override_the_built_in_ones():
    rows, problems = read_models({"anthropic/claude-opus-5": {"context": 7, "retires": "2027-01-01"}}, CATALOG)
    assert problems == []
    assert Models(tuple(rows.values())).of("anthropic", "claude-opus-5").context == 7


@pytest.mark.parametrize(
    ("section", "where", "text"),
    [
        ([], "models", "must be a mapping"),
        ({"antropic/x": {}}, "models.antropic/x", "did you mean anthropic/x?"),
        ({"claude-opus-5": {}}, "models.claude-opus-5", "use provider/model"),
        ({"openai/x": 5}, "models.openai/x", "must be a mapping of facts"),
        ({"openai/x": {"contxt": 5}}, "models.openai/x.contxt", "did you mean context?"),
        ({"openai/x": {"hosts": ["a"]}}, "models.openai/x.hosts", "is not a fact"),
        ({"openai/x": {"context": "big"}}, "models.openai/x", "$.context"),
        ({"openai/x": {"efforts": ["huge"]}}, "models.openai/x", "huge"),
        ({"openai/x": {"like": "gpt"}}, "models.openai/x.like", "use provider/model"),
    ],
)
def test_mistakes_are_named_with_a_remedy(section, where, text):
    rows, (problem,) = read_models(section, CATALOG)
    assert not rows
    assert problem.key == where
    assert text in str(problem)
