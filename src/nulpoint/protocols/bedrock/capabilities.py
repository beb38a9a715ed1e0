"""Determines what a model behind Bedrock's Converse API can do from its id.

An id that does not name a model, such as that of an application inference profile, counts as the least capable model.
Sources: the "Supported models and model features" page of the Converse API, and Anthropic's documentation.
"""

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from nulpoint.protocols.anthropic import capabilities as anthropic_capabilities
from nulpoint.protocols.openai.chat import invalid

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._/-]{0,2047}")
_MAKER = re.compile(r"(?:^|[./])([a-z0-9]+)\.([a-z0-9-]+)")
_REGIONS = frozenset({"us", "eu", "apac", "us-gov", "global", "jp", "au", "ca", "sa"})  # of inference profiles


class BedrockCapabilities(NamedTuple):
    """The capabilities of one model.

    Fields:
        claude: the capabilities of an Anthropic model, or None for other models.
        forced_tool_choice: how the model can be made to call one tool: by its name, as any tool, or not at all.
        effort: how models other than Anthropic's are given an effort of reasoning.
    """

    claude: anthropic_capabilities.AnthropicCapabilities | None
    forced_tool_choice: Literal["none", "any", "tool"]
    effort: Literal["none", "nova", "openai"]


@lru_cache(maxsize=256)
def capabilities_of(model: str) -> BedrockCapabilities:
    maker, name = _maker(model)
    if maker == "anthropic":
        return BedrockCapabilities(anthropic_capabilities.capabilities_of(name), "tool", "none")
    if maker == "amazon" and name.startswith("nova"):
        return BedrockCapabilities(None, "tool", "nova" if name.startswith("nova-2") else "none")
    if maker == "mistral" and "large" in name:
        return BedrockCapabilities(None, "any", "none")
    return BedrockCapabilities(None, "none", "openai" if maker == "openai" else "none")


def _maker(model: str) -> tuple[str, str]:
    """Return maker and name, such as `anthropic` and `claude-...`, of a model, an inference profile or an ARN."""
    name = model.rpartition("/")[2]
    match = _MAKER.search(name)
    while match is not None and match[1] in _REGIONS:
        name = name[match.end(1) + 1 :]
        match = _MAKER.search(name)
    return (match[1], match[2]) if match is not None else ("", "")


def check_model(model: str) -> None:
    """Raise Failure (400) if a model's name is not one that may go into the URL path."""
    if not _ID.fullmatch(model):
        text = "must be the id of a Bedrock model, an inference profile or an ARN (letters, digits and `:._/-`)"
        raise invalid("model", text)
