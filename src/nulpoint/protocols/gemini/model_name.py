"""Checks names of Gemini's models, which are put into URL paths."""

import re

from nulpoint.protocols.openai.chat import invalid

_NAME = re.compile(r"(?:[A-Za-z]{1,64}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,255}")


def check_model(model: str) -> None:
    """Raise Failure (400) for a name that could change the URL path it is put into."""
    if not _NAME.fullmatch(model) or ".." in model:
        text = "is not a valid Gemini model name: at most 256 letters, digits, `.`, `_` and `-` are allowed"
        raise invalid("model", text, "invalid_value")
