"""Finding what a path stands for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.api.path_table import PathTable, ServedPath, operation_spellings, spellings
from nulpoint.providers.operations import OPERATIONS

MODELS, ONE = ServedPath("/v1/models", ("GET", "HEAD")), ServedPath("/v1/models/{id}", ("GET", "HEAD"))
SERVED = {name: ServedPath("/v1" + row.path, (row.method,)) for name, row in OPERATIONS.items()}
PLAY = ServedPath("/v1/toys/{model}/play", ("POST",))
TABLE = PathTable(
    [
        *((path, SERVED[name]) for name, row in OPERATIONS.items() for path in operation_spellings(row.path)),
        *((path, PLAY) for path in operation_spellings("/toys/{model}/play")),
        *((path, MODELS) for path in spellings("/models")),
        *((path, ONE) for path in spellings("/models/{id}")),
    ]
)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_spelling_of_an_operation(name):
    path = OPERATIONS[name].path
    for prefix in ("/v1", "", "/openai/v1", "/openai"):
        assert TABLE.find(prefix + path) == (SERVED[name], None)
    assert TABLE.find(f"/openai/deployments/gpt-4o%2Fa{path}") == (SERVED[name], "gpt-4o%2Fa")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/models", (MODELS, None)),
        ("/openai/models", (MODELS, None)),
        ("/v1/models/a/b", (ONE, "a/b")),
        ("/models/a", (ONE, "a")),
        ("/openai/v1/models/", (ONE, "")),
        ("/v1/toys/bear/play", (PLAY, "bear")),
        ("/toys/bear/play", (PLAY, "bear")),
        ("/openai/deployments/bear/toys/bear/play", None),
        ("/v1/toys/a/b/play", None),
        ("/v1/toys//play", None),
        ("/openai/deployments//chat/completions", None),
        ("/openai/deployments/a/b/chat/completions", None),
        ("/openai/deployments/a/models", None),
        ("/v1/v1/chat/completions", None),
        ("/v1/chat/completions/", None),
        ("/V1/chat/completions", None),
        ("/v2/chat/completions", None),
        ("", None),
        ("/", None),
    ],
)
def test_patterns(path, expected):
    assert TABLE.find(path) == expected


@given(st.text(alphabet="/aovm1.%{}chat-", max_size=60))
def test_any_path_is_found_or_not(path):
    match = TABLE.find("/" + path)
    assert match is None or match.served in {*SERVED.values(), MODELS, ONE, PLAY}


def test_allowed_methods():
    assert (MODELS.allow, PLAY.allow) == (b"GET, HEAD, OPTIONS", b"POST, OPTIONS")
