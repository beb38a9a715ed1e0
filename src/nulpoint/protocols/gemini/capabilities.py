"""What Gemini's models can do, told by the version in their names.

Facts: recorded traffic, the `google-genai` SDK and Google's documentation. A name that tells no version
(`gemini-flash-latest`) counts as the newest model.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from nulpoint.protocols.openai.chat import invalid

_NAME = re.compile(r"(?:[A-Za-z]{1,64}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,255}")
_VERSION_IN_NAME = re.compile(r"gemini-(\d)(?:\.(\d))?")
# Google's own numbers for OpenAI's levels, on its OpenAI endpoint; above `high` all the model may think.
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576}
_MOST, _MOST_PRO, _LEAST_PRO = 24_576, 32_768, 128
_LEVELS = {"none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH",
           "max": "HIGH"}  # fmt: skip
EFFORTS = tuple(_LEVELS)


class GeminiCapabilities(NamedTuple):
    """`newest`: from Gemini 3 on. It wants signatures with calls, takes media in results and a schema beside tools,
    and continues no answer. `fetches`: it fetches what a URL names."""

    version: tuple[int, int]
    pro: bool
    newest: bool
    fetches: bool


@lru_cache(maxsize=256)
def capabilities_of(model: str) -> GeminiCapabilities:
    name = model.removeprefix("models/")
    found = _VERSION_IN_NAME.match(name)
    version = (int(found[1]), int(found[2] or 0)) if found else (99, 0)
    if name.startswith("gemma"):
        version = (2, 0)
    return GeminiCapabilities(version, "pro" in name, version >= (3, 0), version > (2, 0))


def check_model(model: str) -> None:
    """Raises Failure (400) for a name that could change the path it stands in."""
    if not _NAME.fullmatch(model) or ".." in model:
        raise invalid(
            "model", "is no name of a Gemini model: letters, digits, `.`, `_` and `-`, at most 256", "invalid_value"
        )


def thinking_config(effort: str, capabilities: GeminiCapabilities) -> tuple[dict[str, object] | None, bool]:
    """What the model is told for one of OpenAI's efforts, and whether that is as exact as it can be said."""
    shown = effort != "none"
    if capabilities.version < (2, 5):
        return None, not shown
    if not capabilities.newest:
        budget = _BUDGETS.get(effort, _MOST_PRO if capabilities.pro else _MOST)
        exact = not (capabilities.pro and effort == "none")  # Pro cannot be kept from thinking
        return {"thinkingBudget": budget if exact else _LEAST_PRO, "includeThoughts": shown}, exact
    level = _LEVELS[effort]
    exact = effort.upper() == level
    if level == "MINIMAL" and (capabilities.pro or capabilities.version >= (3, 7)):  # these take LOW at the least
        level, exact = "LOW", False
    if capabilities.pro and capabilities.version == (3, 0) and level == "MEDIUM":
        level, exact = "HIGH", False
    return {"thinkingLevel": level, "includeThoughts": shown}, exact
