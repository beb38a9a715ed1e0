"""What each Mistral model accepts: one row for each family of models, written down from Mistral's pages.

The pages were read on 30 November 2026; `source` names the page of each row, below https://docs.mistral.ai/.
"""

import functools
from collections.abc import Mapping

import msgspec

from nulpoint.mock.model_table import find_row


class MistralModel(msgspec.Struct, frozen=True, kw_only=True):
    """What the models of one row accept. The defaults are those of models that do not reason.

    Fields:
        names: Patterns for the names.
        source: The page that the row was written down from.
        reasons: Whether assistant messages may contain thinking.
        efforts: The values of `reasoning_effort`.
        prompt_mode: Whether `prompt_mode` may be used.
        thinks_unasked: Whether a request without an effort thinks.
        user_after_tool: Whether a user message may follow a tool message (seen in recorded traffic).
        retires: The day on which the model ends.
    """

    names: tuple[str, ...]
    source: str
    reasons: bool = False
    efforts: tuple[str, ...] = ()
    prompt_mode: bool = False
    thinks_unasked: bool = False
    user_after_tool: bool = False
    retires: Mapping[str, str] = {}


_REASONING = "studio-api/conversations/reasoning"
_MODELS, _ENDS = "models/overview", "models/deprecations"

TABLE: tuple[MistralModel, ...] = (
    MistralModel(names=("mistral-large-4*",), source=_REASONING, reasons=True, efforts=("none", "high"), thinks_unasked=True),
    MistralModel(names=("mistral-medium-3-5",), source=_ENDS, reasons=True, efforts=("none", "high"), retires={"mistral": "2027-04-30"}),
    MistralModel(
        names=("mistral-medium", "mistral-medium-latest", "mistral-medium-3", "mistral-medium-3.5", "mistral-medium-2604", "mistral-vibe-cli-*"),
        source=_REASONING,
        reasons=True,
        efforts=("none", "high"),
    ),
    MistralModel(
        names=("mistral-small", "mistral-small-latest", "mistral-small-2603"),
        source=_REASONING,
        reasons=True,
        efforts=("none", "high"),
        user_after_tool=True,
    ),
    MistralModel(names=("mistral-small-*",), source=_MODELS, user_after_tool=True),
    MistralModel(
        names=("magistral-*",),
        source=_REASONING,
        reasons=True,
        efforts=("none", "high"),
        prompt_mode=True,
        thinks_unasked=True,
    ),
    MistralModel(names=("zai-glm-5-2", "glm-5-2"), source=_ENDS, reasons=True, efforts=("none", "high", "max"), retires={"mistral": "2026-10-31"}),
    MistralModel(names=("zai-glm-*",), source=_MODELS, reasons=True, efforts=("low", "high", "max"), thinks_unasked=True),
    MistralModel(names=("deepseek-*",), source=_MODELS, reasons=True, efforts=("none", "low", "high", "max")),
    MistralModel(names=("mistral-large-2411", "devstral-medium-2507"), source=_ENDS, retires={"mistral": "2026-05-31"}),
    MistralModel(names=("mistral-large-2512",), source=_ENDS, retires={"mistral": "2027-04-30"}),
    MistralModel(names=("*",), source=_MODELS),
)  # fmt: skip


@functools.lru_cache(maxsize=1024)
def find_model(name: str) -> MistralModel:
    return find_row(TABLE, name)
