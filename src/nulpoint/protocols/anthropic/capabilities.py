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

    ceiling: int
    thinking: Literal["none", "budget", "adaptive"]
    always_thinks: bool
    samples: bool
    samples_both: bool
    prefill: bool
    system_in_place: bool
    schemas: bool
    searches: bool


@lru_cache(maxsize=256)
def capabilities_of(model: str) -> AnthropicCapabilities:
    """Raises Failure (400) for a name too long to look for a version in."""
    if len(model) > _LONGEST_NAME:
        raise invalid("model", f"is no name of a model of Anthropic's: it is over {_LONGEST_NAME} characters")
    version = _version(model)
    ceiling = next(ceiling for since, ceiling in _CEILINGS if version >= since)
    if version == (4, 0) and "opus" not in model:  # Sonnet 4
        ceiling = 64_000
    return AnthropicCapabilities(
        ceiling=ceiling,
        thinking="adaptive" if version >= (4, 6) else "budget" if version >= (3, 7) else "none",
        always_thinks="fable" in model or "mythos" in model or (version == (5, 5) and "haiku" not in model),
        samples=version < (4, 7),
        samples_both=version < (4, 1),
        prefill=version < (4, 6),
        system_in_place=version >= (4, 8) and not (version == (5, 0) and "sonnet" in model),
        schemas=version >= (4, 5),
        searches=version >= (3, 5),
    )


def _version(model: str) -> tuple[int, int]:
    found = _VERSION_IN_NAME.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (99, 0)
