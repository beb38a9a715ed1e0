"""What Anthropic's models can do, told by the version in their names.

Facts: recorded traffic, the `anthropic` SDK and Anthropic's documentation. A name that tells no version counts as the
newest model.
"""

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from nulpoint.protocols.openai.chat import invalid

_VERSION_IN_NAME = re.compile(r"claude-(?:[a-z]+-)*(\d)(?:[-.](\d{1,2}))?(?![0-9])")
# The most a model may answer, by the version in its name: what it gets when the caller sets no limit.
_CEILINGS = (((4, 6), 128_000), ((4, 2), 64_000), ((4, 0), 32_000), ((3, 7), 64_000), ((3, 5), 8_192), ((0, 0), 4_096))


_LONGEST_NAME = 512


class AnthropicCapabilities(NamedTuple):
    """`thinking`: `budget` takes a number of tokens, `adaptive` an effort.

    `always_thinks`: thinking cannot be turned off. `samples`: it takes temperature and top_p; `samples_both`: together.
    `prefill`: it continues an answer. `system_in_place`: it takes system messages among the others. `schemas`:
    structured outputs and strict tools. `searches`: the web search tool.
    """

    max_output_tokens: int
    thinking: Literal["none", "budget", "adaptive"]
    always_thinks: bool
    accepts_sampling: bool
    accepts_temperature_with_top_p: bool
    accepts_prefill: bool
    accepts_inline_system: bool
    structured_outputs: bool
    web_search: bool


@lru_cache(maxsize=256)
def capabilities_of(model: str) -> AnthropicCapabilities:
    """Raises Failure (400) for a name too long to look for a version in."""
    if len(model) > _LONGEST_NAME:
        raise invalid("model", f"is no name of a model of Anthropic's: it is over {_LONGEST_NAME} characters")
    version = _version(model)
    max_output_tokens = next(max_output_tokens for since, max_output_tokens in _CEILINGS if version >= since)
    if version == (4, 0) and "opus" not in model:  # Sonnet 4
        max_output_tokens = 64_000
    return AnthropicCapabilities(
        max_output_tokens=max_output_tokens,
        thinking="adaptive" if version >= (4, 6) else "budget" if version >= (3, 7) else "none",
        always_thinks="fable" in model or "mythos" in model or (version == (5, 5) and "haiku" not in model),
        accepts_sampling=version < (4, 7),
        accepts_temperature_with_top_p=version < (4, 1),
        accepts_prefill=version < (4, 6),
        accepts_inline_system=version >= (4, 8) and not (version == (5, 0) and "sonnet" in model),
        structured_outputs=version >= (4, 5),
        web_search=version >= (3, 5),
    )


def _version(model: str) -> tuple[int, int]:
    found = _VERSION_IN_NAME.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (99, 0)
