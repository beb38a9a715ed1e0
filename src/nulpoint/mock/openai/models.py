"""What each of OpenAI's models accepts on `/v1/chat/completions`: one row for each model, from OpenAI's pages.

The pages were read on 30 November 2026; `source` names the page of each row, below https://developers.openai.com/.
Names of OpenAI that nobody knows count as the strictest current models. All other names have no rules, because this
mock also stands for the compatible hosts, whose rules are in `hosts`.
"""

import functools
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from nulpoint.mock.model_table import find_row

_FROM_GPT_5 = (
    "max_tokens", "stop", "presence_penalty", "frequency_penalty", "logit_bias", "prediction", "modalities", "audio",
    "web_search_options",
)  # fmt: skip
_UNLIKE_SEARCH = (
    "temperature", "top_p", "n", "seed", "stop", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs",
    "top_logprobs", "prediction", "modalities", "audio",
)  # fmt: skip
_WHILE_REASONING = ("top_p", "logprobs", "top_logprobs")
_UP_TO_XHIGH = ("low", "medium", "high", "xhigh")


class OpenAiModel(msgspec.Struct, frozen=True, kw_only=True):
    """What the models of one row accept. The defaults are those of the strictest current models.

    Fields:
        names: Patterns for the names.
        source: The page that the row was written down from.
        chat: Whether the model can be used here, and not on `/v1/responses` alone.
        efforts: The values of `reasoning_effort`; None if the model does not reason.
        default_effort: The effort of a request without one.
        functions: With which efforts functions may be declared: `always`, `without_reasoning` or `never`.
        refused: The members that the model does not accept.
        refused_while_reasoning: The members that it does not accept unless the effort is `none`.
        effort_null: Whether `reasoning_effort` may be null.
        cache_control: Whether `cache_control`, which is Anthropic's, may be anywhere in the request.
        dimensions: Whether an embedding model accepts `dimensions`.
        retires: The day on which the model ends at OpenAI.
    """

    names: tuple[str, ...]
    source: str
    chat: bool = True
    efforts: tuple[str, ...] | None = _UP_TO_XHIGH
    default_effort: str = "medium"
    functions: str = "never"
    refused: tuple[str, ...] = _FROM_GPT_5
    refused_while_reasoning: tuple[str, ...] = _WHILE_REASONING
    effort_null: bool = False
    cache_control: bool = False
    dimensions: bool = False
    retires: Mapping[str, str] = {}


def _until(day: str) -> dict[str, str]:
    return {"openai": day}


# Rows that others start from.
_NEWEST = OpenAiModel(names=(), source="")
_FROM_5_4 = replace(_NEWEST, efforts=("none", *_UP_TO_XHIGH), functions="without_reasoning")
_GPT_5 = replace(_NEWEST, efforts=("minimal", "low", "medium", "high"), functions="always")
_O_SERIES = replace(
    _NEWEST,
    efforts=("low", "medium", "high"),
    functions="always",
    refused=("max_tokens", "presence_penalty", "frequency_penalty", "logit_bias"),
)
_CLASSIC = replace(_NEWEST, efforts=None, functions="always", refused=(), refused_while_reasoning=())
_RESPONSES_ONLY = replace(_NEWEST, chat=False)
_NO_RULES = replace(_CLASSIC, efforts=("none", "minimal", "low", "medium", "high", "xhigh", "max"), default_effort="none", effort_null=True, cache_control=True, dimensions=True)  # fmt: skip

_MODELS, _ENDS, _CHANGES = "api/docs/models", "api/docs/deprecations", "api/docs/changelog"

TABLE: tuple[OpenAiModel, ...] = (
    replace(_RESPONSES_ONLY, names=("gpt-5-codex", "gpt-5.1-codex*", "gpt-5.2-codex", "*-deep-research"), source=_ENDS, retires=_until("2026-07-23")),
    replace(_RESPONSES_ONLY, names=("gpt-5-pro", "o3-pro"), source=_ENDS, retires=_until("2026-12-11")),
    replace(_RESPONSES_ONLY, names=("gpt-5.3-codex",), source=_ENDS, retires=_until("2027-04-01")),
    replace(_RESPONSES_ONLY, names=("gpt-*-pro", "o*-pro", "gpt-*codex*", "codex-*", "computer-use-*", "gpt-*-cyber", "gpt-*-rosalind", "gpt-*-daybreak", "gpt-*-astra-law"), source=_MODELS),
    replace(_NEWEST, names=("gpt-6.2-*", "gpt-6.1-sol", "gpt-6-astra"), source=_CHANGES),
    replace(_FROM_5_4, names=("gpt-6.1-terra",), source=_CHANGES, functions="never"),
    replace(_FROM_5_4, names=("gpt-6-sol", "gpt-6-luna"), source=_CHANGES),
    replace(_FROM_5_4, names=("gpt-5.6*",), source=_MODELS, efforts=("none", *_UP_TO_XHIGH, "max")),
    replace(_FROM_5_4, names=("gpt-5.5",), source=_MODELS),
    replace(_FROM_5_4, names=("gpt-5.4-nano",), source=_ENDS, default_effort="none", retires=_until("2027-04-01")),
    replace(_FROM_5_4, names=("gpt-5.4", "gpt-5.4-mini"), source=_MODELS, default_effort="none"),
    replace(_GPT_5, names=("gpt-5.3-chat-latest", "gpt-5.2-chat-latest"), source=_ENDS, retires=_until("2026-08-10")),
    replace(_GPT_5, names=("chat-latest", "gpt-chat-latest", "gpt-5-chat"), source=_MODELS, efforts=("medium",)),
    replace(_CLASSIC, names=("gpt-5-search-api",), source=_MODELS, refused=_UNLIKE_SEARCH),
    replace(_GPT_5, names=("gpt-5.2",), source=_MODELS, efforts=("none", *_UP_TO_XHIGH), default_effort="none"),
    replace(_GPT_5, names=("gpt-5-chat-latest", "gpt-5.1-chat-latest"), source=_ENDS, retires=_until("2026-07-23")),
    replace(_GPT_5, names=("gpt-5.1",), source=_ENDS, efforts=("none", "low", "medium", "high"), default_effort="none", retires=_until("2027-04-01")),
    replace(_GPT_5, names=("gpt-5", "gpt-5-mini", "gpt-5-nano"), source=_ENDS, retires=_until("2026-12-11")),
    replace(_O_SERIES, names=("o3",), source=_ENDS, retires=_until("2026-12-11")),
    replace(_O_SERIES, names=("o1*", "o3-mini", "o4-mini"), source=_ENDS, retires=_until("2026-10-23")),
    replace(_CLASSIC, names=("gpt-4o-2024-05-13", "gpt-4.1-nano", "gpt-4-turbo*", "gpt-4", "gpt-4-0613", "gpt-4-1106-preview", "gpt-3.5-turbo"), source=_ENDS, retires=_until("2026-10-23")),
    replace(_CLASSIC, names=("gpt-3.5-turbo-instruct", "babbage-002", "davinci-002"), source=_ENDS, retires=_until("2026-09-28")),
    replace(_CLASSIC, names=("gpt-4o*-search-preview",), source=_ENDS, retires=_until("2026-07-23")),
    replace(_CLASSIC, names=("chatgpt-4o-latest",), source=_ENDS, retires=_until("2026-02-17")),
    replace(_CLASSIC, names=("gpt-audio", "gpt-audio-mini"), source=_ENDS, retires=_until("2027-01-20")),
    replace(_CLASSIC, names=("gpt-audio*", "gpt-4o-audio*", "gpt-4o-mini-audio*"), source=_MODELS),
    replace(_CLASSIC, names=("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini"), source=_ENDS, retires=_until("2027-01-14")),
    replace(_CLASSIC, names=("gpt-4*", "gpt-3*"), source=_MODELS),
    replace(_CLASSIC, names=("text-embedding-3-*",), source=_MODELS, dimensions=True),
    replace(_CLASSIC, names=("text-embedding-*",), source=_MODELS),
    replace(_NO_RULES, names=("gpt-oss*",), source="https://huggingface.co/openai"),
    replace(_NEWEST, names=("gpt-*", "o[1-9]*"), source=_MODELS),
    replace(_NO_RULES, names=("*",), source="see hosts"),
)  # fmt: skip


@functools.lru_cache(maxsize=1024)
def find_model(name: str) -> OpenAiModel:
    return find_row(TABLE, name)
