"""What the models of each provider can do, by their names.

The translation itself is tested with one model for each capability (`REPRESENTATIVES`), so these rows are all that is
needed to know that the other models are treated in the same way.
"""

import pytest

from nulpoint.protocols.gemini.capabilities import GeminiCapabilities
from nulpoint.protocols.gemini.capabilities import capabilities_of as gemini
from support.request_table import MODELS, REPRESENTATIVES

# version, pro, gemini_3, fetches_urls
GEMINI = {
    "gemini-2.0-flash": ((2, 0), False, False, False),
    "gemini-2.5-flash": ((2, 5), False, False, True),
    "gemini-2.5-pro": ((2, 5), True, False, True),
    "gemini-3-pro-preview": ((3, 0), True, True, True),
    "gemini-3.6-flash": ((3, 6), False, True, True),
}
CAPABILITIES = {"gemini": (gemini, GEMINI)}


@pytest.mark.parametrize(("model", "fields"), GEMINI.items())
def test_gemini(model, fields):
    assert gemini(model) == GeminiCapabilities(*fields)


@pytest.mark.parametrize("provider", CAPABILITIES)
def test_every_model_of_the_tables_has_a_row(provider):
    assert set(CAPABILITIES[provider][1]) == set(MODELS[provider])


@pytest.mark.parametrize("provider", ["gemini"])
def test_the_representatives_have_every_capability_and_lack_every_one(provider):
    capabilities_of, rows = CAPABILITIES[provider]
    for position, name in enumerate(capabilities_of(MODELS[provider][0])._fields):
        values = {fields[position] for fields in rows.values()}
        if values <= {True, False} or name == "thinking":
            assert {getattr(capabilities_of(model), name) for model in REPRESENTATIVES[provider]} == values, name
