"""Reads the ids of Bedrock's models: whether they are valid, and who made the model."""

import re

from nulpoint.models.facts import ModelFacts
from nulpoint.models.names import plain_name
from nulpoint.protocols.openai.chat import invalid

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._/-]{0,2047}")
_MAKER = re.compile(r"([a-z0-9]+)\.[a-z0-9]")


def check_model(model: str) -> None:
    """Raise Failure (400) if a model's name is not one that may go into the URL path."""
    if not _ID.fullmatch(model):
        text = "must be the id of a Bedrock model, an inference profile or an ARN (letters, digits and `:._/-`)"
        raise invalid("model", text)


def maker_of(model: str, facts: ModelFacts) -> str:
    """Return who made a model, such as `anthropic`, because each maker has reasoning parameters of their own.

    The id of an application inference profile does not say it. If config.yaml knows how such a model reasons, the model
    is taken for one of Anthropic's. Otherwise the result is empty.
    """
    match = _MAKER.match(plain_name("bedrock", model))
    if match is not None:
        return match[1]
    return "anthropic" if facts.reasoning in ("budget", "effort") else ""
