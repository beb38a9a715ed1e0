"""What each Gemini model accepts, by host: one row for each model, written down from Google's pages.

The hosts are `gemini`, the Developer API, and `vertexai`. The pages were read on 30 November 2026; `source` names the
page of each row, below https://ai.google.dev/gemini-api/docs/ unless it is another site's.
"""

import functools
from collections.abc import Mapping
from datetime import date

import msgspec
from msgspec.structs import replace

from nulpoint.mock.model_table import find_row

_VERTEX_ONLY = frozenset({"vertexai"})
_BOTH = frozenset({"gemini", "vertexai"})
_NO_HOST = frozenset[str]()


class GeminiModel(msgspec.Struct, frozen=True, kw_only=True):
    """What the models of one row accept. The defaults are those of the strictest current models.

    Fields:
        names: Patterns for the names.
        source: The page that the row was written down from.
        levels: The values of `thinkingLevel`.
        budget: The least and the largest `thinkingBudget`; None if there may be no budget.
        zero_budget: Whether the budget may be 0, which turns thinking off.
        penalties: The hosts that accept `presencePenalty` and `frequencyPenalty`.
        logprobs: The hosts that accept `responseLogprobs`.
        candidates: Whether `candidateCount` may be more than 1.
        ends_with_model: Whether the last turn may be the model's.
        functions_with_json: Whether functions may be declared beside JSON as the response type.
        functions_with_search: Whether functions may be declared beside tools that Google runs.
        signs_calls: Whether calls have signatures and ids, and must be sent back with their signatures.
        needs_response_ids: Whether each function response must have the id of its call, if the call has one.
        resolves_references: Whether `$ref` in a function response must name a part of it.
        continues: Whether a response may end with CONTINUATION.
        caches: Whether `cachedContent` may be used.
        max_output: The largest `maxOutputTokens`.
        embeds: The embedding methods at each host; empty for models that chat.
        served_by: From which day on the Developer API lets another model answer.
        retires: The day on which each host stops serving the model.
    """

    names: tuple[str, ...]
    source: str
    levels: tuple[str, ...] = ("LOW", "MEDIUM", "HIGH")
    budget: tuple[int, int] | None = None
    zero_budget: bool = False
    penalties: frozenset[str] = _NO_HOST
    logprobs: frozenset[str] = _NO_HOST
    candidates: bool = False
    ends_with_model: bool = False
    functions_with_json: bool = True
    functions_with_search: bool = True
    signs_calls: bool = True
    needs_response_ids: bool = True
    resolves_references: bool = True
    continues: bool = False
    caches: bool = True
    max_output: int = 65_536
    embeds: Mapping[str, tuple[str, ...]] = {}
    served_by: Mapping[str, str] = {}
    retires: Mapping[str, str] = {}

    @property
    def thinks(self) -> bool:
        return bool(self.levels or self.budget)


_ANY_BUDGET = (0, 65_536)  # models of Gemini 3 take budgets of callers that have not changed yet
_WITH_MINIMAL = ("MINIMAL", "LOW", "MEDIUM", "HIGH")

# Rows that others start from.
_FOUR = GeminiModel(names=(), source="", continues=True, caches=False, max_output=1_048_576)
_THREE = GeminiModel(names=(), source="", budget=_ANY_BUDGET)
_EARLY_THREE = replace(_THREE, ends_with_model=True, needs_response_ids=False)
_TWO_FIVE = GeminiModel(
    names=(),
    source="",
    levels=(),
    penalties=_VERTEX_ONLY,
    logprobs=_VERTEX_ONLY,
    candidates=True,
    ends_with_model=True,
    functions_with_json=False,
    functions_with_search=False,
    signs_calls=False,
    needs_response_ids=False,
    resolves_references=False,
)
_TWO = replace(_TWO_FIVE, penalties=_BOTH, logprobs=_BOTH)
_EMBEDDING = replace(_TWO, levels=())

_GUIDE, _ENDS, _THINKING = "gemini-3", "deprecations", "thinking"

TABLE: tuple[GeminiModel, ...] = (
    replace(_FOUR, names=("gemini-4-neon*", "gemini-4-hydrogen*"), source=_THINKING, levels=("LOW", "MEDIUM", "HIGH", "XHIGH")),
    replace(_FOUR, names=("gemini-4-*",), source=_THINKING),
    replace(_THREE, names=("gemini-3.8-flash*",), source=_THINKING),
    replace(
        _THREE,
        names=("gemini-3.7-flash*",),
        source=_ENDS,
        served_by={"2026-10-08": "gemini-3.8-flash"},
        retires={"vertexai": "2027-01-28"},
    ),
    replace(_THREE, names=("gemini-3.6-flash*",), source=_THINKING, levels=_WITH_MINIMAL),
    replace(_THREE, names=("gemini-3.5-flash-lite*",), source=_THINKING, levels=_WITH_MINIMAL),
    replace(
        _THREE,
        names=("gemini-3.5-flash*",),
        source=_ENDS,
        levels=_WITH_MINIMAL,
        ends_with_model=True,
        served_by={"2026-10-08": "gemini-3.6-flash"},
    ),
    replace(_EARLY_THREE, names=("gemini-3.1-flash-image*", "gemini-3.1-flash-lite-image*"), source="image-generation", levels=("MINIMAL", "HIGH")),
    replace(_EARLY_THREE, names=("gemini-3.1-flash-lite*",), source=_THINKING, levels=_WITH_MINIMAL, retires={"gemini": "2027-05-07"}),
    replace(_EARLY_THREE, names=("gemini-3.1-pro*", "gemini-pro-latest"), source=_THINKING),
    replace(_EARLY_THREE, names=("gemini-3-pro-image*",), source="image-generation", levels=("HIGH",)),
    replace(_EARLY_THREE, names=("gemini-3-pro*",), source=_ENDS, levels=("LOW", "HIGH"), retires={"gemini": "2026-03-09"}),
    replace(_EARLY_THREE, names=("gemini-3-flash*",), source=_THINKING, levels=_WITH_MINIMAL),
    replace(_THREE, names=("gemini-flash-lite-latest",), source="models", levels=_WITH_MINIMAL),
    replace(_THREE, names=("gemini-flash-latest",), source="models"),
    replace(_TWO_FIVE, names=("gemini-2.5-flash-image*",), source=_ENDS, retires={"gemini": "2027-03-15", "vertexai": "2027-03-15"}),
    replace(
        _TWO_FIVE,
        names=("gemini-2.5-pro*",),
        source=_ENDS,
        budget=(128, 32_768),
        served_by={"2026-12-01": "gemini-3.8-flash"},
    ),
    replace(_TWO_FIVE, names=("gemini-2.5-computer-use*",), source=_ENDS, budget=(128, 32_768), zero_budget=True, retires={"gemini": "2026-07-28"}),
    replace(_TWO_FIVE, names=("gemini-2.5-flash-lite*",), source=_THINKING, budget=(512, 24_576), zero_budget=True),
    replace(
        _TWO_FIVE,
        names=("gemini-2.5-flash*",),
        source=_ENDS,
        budget=(1, 24_576),
        zero_budget=True,
        served_by={"2026-12-01": "gemini-3.5-flash-lite"},
    ),
    replace(_TWO, names=("gemini-2.0-*",), source=_ENDS, retires={"gemini": "2026-06-01", "vertexai": "2026-06-01"}),
    replace(_TWO, names=("gemini-1.*", "gemini-pro*"), source=_ENDS, retires={"gemini": "2025-09-29", "vertexai": "2025-09-24"}),
    replace(_TWO, names=("gemma-4-*",), source="gemma", levels=("MINIMAL", "HIGH")),
    replace(_TWO, names=("gemma-*", "learnlm-*"), source="gemma"),
    replace(
        _EMBEDDING,
        names=("gemini-embedding-2-preview",),
        source="embeddings",
        embeds={"gemini": ("embedContent", "batchEmbedContents"), "vertexai": ("embedContent", "batchEmbedContents")},
        retires={"gemini": "2026-11-06"},
    ),
    replace(
        _EMBEDDING,
        names=("gemini-embedding-001",),
        source="embeddings",
        embeds={
            "gemini": ("embedContent", "batchEmbedContents"),
            "vertexai": ("predict", "embedContent", "batchEmbedContents"),
        },
        retires={"gemini": "2028-05-14"},
    ),
    replace(
        _EMBEDDING,
        names=("gemini-embedding-*",),
        source="embeddings",
        embeds={"gemini": ("embedContent", "batchEmbedContents"), "vertexai": ("embedContent", "batchEmbedContents")},
    ),
    replace(
        _EMBEDDING,
        names=("text-embedding-004", "embedding-*"),
        source=_ENDS,
        embeds={"gemini": ("embedContent", "batchEmbedContents"), "vertexai": ("predict",)},
        retires={"gemini": "2026-01-14", "vertexai": "2026-01-14"},
    ),
    replace(
        _EMBEDDING,
        names=("text-embedding-*", "text-multilingual-embedding-*"),
        source="https://cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings",
        embeds={"vertexai": ("predict",)},
    ),
    replace(_FOUR, names=("*",), source=_GUIDE),
)  # fmt: skip


@functools.lru_cache(maxsize=1024)
def find_model(name: str) -> GeminiModel:
    """Return the row of a model; the name may begin with `models/`."""
    return find_row(TABLE, name.removeprefix("models/"))


def serving_model(name: str, host: str, today: date) -> str:
    """Return the model that answers when `name` is asked for."""
    later = find_model(name).served_by if host == "gemini" else {}
    return next((model for day, model in later.items() if today >= date.fromisoformat(day)), name)
