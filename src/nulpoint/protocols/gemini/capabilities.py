"""Derives the capabilities of Gemini's models from the version in their names.

Sources: recorded traffic, the `google-genai` SDK and Google's documentation. A name without a version
(`gemini-flash-latest`) counts as the newest model.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from nulpoint.protocols.openai.chat import invalid

_NAME = re.compile(r"(?:[A-Za-z]{1,64}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,255}")
_VERSION_IN_NAME = re.compile(r"gemini-(\d)(?:\.(\d))?")
# The thinking budgets of Google's own OpenAI endpoint for OpenAI's levels. Higher levels get the model's maximum.
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576}
_MAX_BUDGET, _MAX_BUDGET_PRO, _MIN_BUDGET_PRO = 24_576, 32_768, 128
_LEVELS = {"none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH",
           "max": "HIGH"}  # fmt: skip
EFFORTS = tuple(_LEVELS)


class GeminiCapabilities(NamedTuple):
    """The capabilities of a Gemini model."""

    version: tuple[int, int]
    pro: bool
    # Whether it is Gemini 3 or newer. Such a model requires signatures with calls, accepts media in tool results and a
    # schema beside tools, and cannot continue an assistant message.
    gemini_3: bool
    fetches_urls: bool


@lru_cache(maxsize=256)
def capabilities_of(model: str) -> GeminiCapabilities:
    name = model.removeprefix("models/")
    match = _VERSION_IN_NAME.match(name)
    version = (int(match[1]), int(match[2] or 0)) if match else (99, 0)
    if name.startswith("gemma"):
        version = (2, 0)
    return GeminiCapabilities(version, "pro" in name, version >= (3, 0), version > (2, 0))


def check_model(model: str) -> None:
    """Raise Failure (400) for a name that could change the URL path it is put into."""
    if not _NAME.fullmatch(model) or ".." in model:
        text = "is not a valid Gemini model name: at most 256 letters, digits, `.`, `_` and `-` are allowed"
        raise invalid("model", text, "invalid_value")


def thinking_config(effort: str, capabilities: GeminiCapabilities) -> tuple[dict[str, object] | None, bool]:
    """Return the `thinkingConfig` for one of OpenAI's reasoning efforts, and whether it has exactly that meaning."""
    include_thoughts = effort != "none"
    if capabilities.version < (2, 5):
        return None, not include_thoughts
    if not capabilities.gemini_3:
        budget = _BUDGETS.get(effort, _MAX_BUDGET_PRO if capabilities.pro else _MAX_BUDGET)
        exact = not (capabilities.pro and effort == "none")  # thinking cannot be turned off in Pro models
        return {"thinkingBudget": budget if exact else _MIN_BUDGET_PRO, "includeThoughts": include_thoughts}, exact
    level = _LEVELS[effort]
    exact = effort.upper() == level
    if level == "MINIMAL" and (capabilities.pro or capabilities.version >= (3, 7)):  # their lowest level is LOW
        level, exact = "LOW", False
    if capabilities.pro and capabilities.version == (3, 0) and level == "MEDIUM":
        level, exact = "HIGH", False
    return {"thinkingLevel": level, "includeThoughts": include_thoughts}, exact
