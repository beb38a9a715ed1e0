"""What models behind Bedrock's Converse can be asked, told by their ids.

Facts: the "Supported models and model features" page of the Converse API, and what Anthropic says of its models. An id
that does not tell its model (an application inference profile, say) counts as one that can do the least.
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
    """`claude`: what is known of Anthropic's models, for one of them. `forces`: how one tool can be made to be called.

    `effort`: where an effort of reasoning is said, beside Claude's two ways.
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
    """`anthropic` and `claude-...`, of an id, an inference profile or the ARN of either."""
    name = model.rpartition("/")[2]
    found = _MAKER.search(name)
    while found is not None and found[1] in _REGIONS:
        name = name[found.end(1) + 1 :]
        found = _MAKER.search(name)
    return (found[1], found[2]) if found is not None else ("", "")


def check_model(model: str) -> None:
    """Raises Failure (400): the name goes into the path."""
    if not _ID.fullmatch(model):
        text = "must be the id of a Bedrock model, an inference profile or an ARN (letters, digits and `:._/-`)"
        raise invalid("model", text)
