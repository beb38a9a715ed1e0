"""Determines what an Anthropic model can do from the version in its name.

A name without a version counts as the newest model. Sources: recorded traffic, the `anthropic` SDK and Anthropic's
documentation.
"""

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from nulpoint.protocols.openai.chat import invalid

_VERSION_IN_NAME = re.compile(r"claude-(?:[a-z]+-)*(\d)(?:[-.](\d{1,2}))?(?![0-9])")
# The largest `max_tokens` by the version in the model's name. It is sent when the client sets no limit.
_MAX_OUTPUT_TOKENS = (
    ((4, 6), 128_000),
    ((4, 2), 64_000),
    ((4, 0), 32_000),
    ((3, 7), 64_000),
    ((3, 5), 8_192),
    ((0, 0), 4_096),
)


_MAX_NAME_LENGTH = 512


class AnthropicCapabilities(NamedTuple):
    """The capabilities of one model.

    Fields:
        max_output_tokens: the largest `max_tokens`.
        thinking: how much to think is said as a number of tokens (`budget`) or as an effort (`adaptive`).
        always_thinks: thinking cannot be turned off.
        accepts_sampling: the model accepts `temperature` and `top_p`.
        accepts_temperature_with_top_p: the model accepts both of them in one request.
        accepts_prefill: the last message may be the assistant's; the model continues it.
        accepts_inline_system: system messages may stand among the other messages.
        structured_outputs: the model supports structured outputs and strict tools.
        web_search: the model supports the web search tool.
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
    """Return the capabilities of a model. Raises Failure (400) if the name is too long to search for a version."""
    if len(model) > _MAX_NAME_LENGTH:
        raise invalid("model", f"is not the name of an Anthropic model: it has over {_MAX_NAME_LENGTH} characters")
    version = _version(model)
    max_output_tokens = next(tokens for since, tokens in _MAX_OUTPUT_TOKENS if version >= since)
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
    match = _VERSION_IN_NAME.search(model)
    return (int(match[1]), int(match[2] or 0)) if match else (99, 0)
