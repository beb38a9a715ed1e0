"""What each Claude model accepts, by host: one row for each model, written down from the providers' pages.

The hosts are `anthropic`, `vertexai` and `bedrock`. The pages were read on 30 November 2026; `source` names the page
of each row, below https://platform.claude.com/docs/en/ unless it is another site's.
"""

import functools
import re
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from nulpoint.mock.model_table import find_row

ALL_HOSTS = frozenset({"anthropic", "vertexai", "bedrock"})
NOT_BEDROCK = ALL_HOSTS - {"bedrock"}
ALL_EFFORTS = ("low", "medium", "high", "xhigh", "max")
UP_TO_HIGH = ("low", "medium", "high")
_REGION = re.compile(r"^(?:arn:aws[^/]*/)?(?:(?:us|eu|jp|au|apac|in|global|us-gov)\.)?anthropic\.")


class ClaudeModel(msgspec.Struct, frozen=True, kw_only=True):
    """What the models of one row accept. The defaults are those of the strictest current models.

    Fields:
        names: Patterns for the names, without region and date.
        source: The page that the row was written down from.
        max_tokens: The largest `max_tokens`.
        thinking: The values of `thinking.type`; empty for models that do not think.
        quiet_efforts: The efforts beside the thinking types `disabled` and `between_tools`.
        no_disabled_at: The hosts that refuse the type `disabled` for this model nevertheless.
        thinks_unasked: Whether a request without `thinking` thinks.
        shows_thoughts: Whether the text of thoughts is in the response unless the request asks to omit it.
        efforts: The values of `output_config.effort`.
        forced_tools: Whether `tool_choice` may be `any` or `tool`.
        forced_tools_while_adaptive: The hosts where that goes together with adaptive thinking. Recorded traffic shows
            that Anthropic's own API accepts it of Claude 4.6, while Bedrock has refused it of 4.6 and 4.7.
        sampling: Whether `temperature`, `top_p` and `top_k` may differ from their defaults.
        temperature_with_top_p: Whether both may be set.
        prefill: Whether the conversation may end with an assistant message.
        later_system_messages: Whether `messages` may contain the role `system`.
        output_format: The hosts that accept `output_config.format`.
        strict_tools: The hosts that accept `strict` in a tool.
        old_computer_tool: The hosts that accept the tool `computer_20251124`.
        binds_thoughts: Whether thoughts are valid only behind the conversation they were written in.
        binds_for_all_accounts: Whether that holds for accounts made before 31 August 2026 too.
        binds_account: Whether thoughts are readable only for the account they were written for.
        retires: The day on which each host stops serving the model.
    """

    names: tuple[str, ...]
    source: str
    max_tokens: int = 128_000
    thinking: tuple[str, ...] = ("adaptive",)
    quiet_efforts: tuple[str, ...] = UP_TO_HIGH
    no_disabled_at: frozenset[str] = frozenset()
    thinks_unasked: bool = True
    shows_thoughts: bool = False
    efforts: tuple[str, ...] = ALL_EFFORTS
    forced_tools: bool = False
    forced_tools_while_adaptive: frozenset[str] = ALL_HOSTS
    sampling: bool = False
    temperature_with_top_p: bool = False
    prefill: bool = False
    later_system_messages: bool = True
    output_format: frozenset[str] = NOT_BEDROCK
    strict_tools: frozenset[str] = NOT_BEDROCK
    old_computer_tool: frozenset[str] = frozenset({"bedrock"})
    binds_thoughts: bool = True
    binds_for_all_accounts: bool = False
    binds_account: bool = False
    retires: Mapping[str, str] = {}


# Rows that others start from.
_NEWEST = ClaudeModel(names=(), source="")
_FROM_5 = replace(_NEWEST, forced_tools=True, strict_tools=ALL_HOSTS, binds_thoughts=False, old_computer_tool=ALL_HOSTS)
_BEFORE_5 = replace(
    _FROM_5,
    thinks_unasked=False,
    quiet_efforts=ALL_EFFORTS,
    later_system_messages=False,
    forced_tools_while_adaptive=frozenset({"anthropic"}),
)
_BEFORE_4_7 = replace(_BEFORE_5, sampling=True, shows_thoughts=True, output_format=ALL_HOSTS, strict_tools=ALL_HOSTS)
_BEFORE_4_6 = replace(_BEFORE_4_7, max_tokens=64_000, thinking=("enabled", "disabled"), efforts=(), prefill=True)
_BEFORE_4_5 = replace(_BEFORE_4_6, output_format=frozenset[str](), strict_tools=frozenset[str]())
_BEFORE_4_1 = replace(_BEFORE_4_5, temperature_with_top_p=True)
_BEFORE_3_7 = replace(_BEFORE_4_1, thinking=())

_PAGE = "about-claude/models/overview"
_ENDS = "about-claude/model-deprecations"

TABLE: tuple[ClaudeModel, ...] = (
    replace(_NEWEST, names=("claude-fable-5-2", "claude-mythos-5-2"), source=_PAGE, binds_for_all_accounts=True),
    replace(_NEWEST, names=("claude-fable-5-1", "claude-mythos-5-1"), source=_PAGE),
    replace(_FROM_5, names=("claude-fable-5", "claude-mythos-5"), source=_PAGE),
    replace(_NEWEST, names=("claude-opus-5-5",), source="models/opus-5-5/whats-new-opus-5-5"),
    replace(
        _NEWEST,
        names=("claude-sonnet-5-5",),
        source="models/sonnet-5-5/whats-new-sonnet-5-5",
        thinking=("adaptive", "between_tools"),
        binds_account=True,
    ),
    replace(
        _NEWEST,
        names=("claude-haiku-5-5",),
        source="models/haiku-5-5/whats-new-haiku-5-5",
        thinking=("adaptive", "disabled"),
        forced_tools=True,
        binds_account=True,
    ),
    replace(_FROM_5, names=("claude-opus-5",), source=_PAGE, thinking=("adaptive", "disabled")),
    replace(
        _FROM_5,
        names=("claude-sonnet-5",),
        source="models/sonnet-5/migration-guide",
        thinking=("adaptive", "disabled"),
        quiet_efforts=ALL_EFFORTS,
        no_disabled_at=frozenset({"bedrock"}),
        later_system_messages=False,
    ),
    replace(
        _BEFORE_5,
        names=("claude-opus-4-8",),
        source="about-claude/models/whats-new-claude-4-8",
        thinking=("adaptive", "disabled"),
        later_system_messages=True,
        forced_tools_while_adaptive=ALL_HOSTS,
    ),
    replace(
        _BEFORE_5,
        names=("claude-opus-4-7",),
        source="about-claude/models/whats-new-claude-4-7",
        thinking=("adaptive", "disabled"),
    ),
    replace(
        _BEFORE_4_7,
        names=("claude-opus-4-6", "claude-sonnet-4-6"),
        source="about-claude/models/whats-new-claude-4-6",
        thinking=("adaptive", "enabled", "disabled"),
        efforts=("low", "medium", "high", "max"),
    ),
    replace(
        _BEFORE_4_6,
        names=("claude-opus-4-5",),
        source=_ENDS,
        efforts=UP_TO_HIGH,
        retires={"anthropic": "2027-01-22", "vertexai": "2027-01-22"},
    ),
    replace(
        _BEFORE_4_6,
        names=("claude-sonnet-4-5",),
        source=_ENDS,
        retires={"anthropic": "2026-11-30", "bedrock": "2027-04-08"},
    ),
    replace(_BEFORE_4_6, names=("claude-haiku-4-5",), source=_PAGE),
    replace(
        _BEFORE_4_5,
        names=("claude-opus-4-1",),
        source=_ENDS,
        max_tokens=32_000,
        retires={"anthropic": "2026-08-05", "bedrock": "2027-01-08"},
    ),
    replace(
        _BEFORE_4_1,
        names=("claude-opus-4", "claude-opus-4-0"),
        source=_ENDS,
        max_tokens=32_000,
        retires={"anthropic": "2026-06-15"},
    ),
    replace(
        _BEFORE_4_1,
        names=("claude-sonnet-4", "claude-sonnet-4-0"),
        source=_ENDS,
        retires={"anthropic": "2026-06-15", "bedrock": "2026-10-14"},
    ),
    replace(_BEFORE_4_1, names=("claude-3-7-sonnet*",), source=_ENDS, retires={"anthropic": "2026-02-19"}),
    replace(_BEFORE_3_7, names=("claude-3-5-haiku*",), source=_ENDS, max_tokens=8_192, retires={"anthropic": "2026-02-19"}),
    replace(_BEFORE_3_7, names=("claude-3-5-*",), source=_ENDS, max_tokens=8_192, retires={"anthropic": "2025-10-28"}),
    replace(_BEFORE_3_7, names=("claude-3-haiku*",), source=_ENDS, max_tokens=4_096, retires={"anthropic": "2026-04-20"}),
    replace(_BEFORE_3_7, names=("claude-3-opus*",), source=_ENDS, max_tokens=4_096, retires={"anthropic": "2026-01-05"}),
    replace(
        _BEFORE_3_7,
        names=("claude-3-sonnet*", "claude-2*", "claude-instant*"),
        source=_ENDS,
        max_tokens=4_096,
        retires={"anthropic": "2025-07-21"},
    ),
    replace(_NEWEST, names=("*",), source=_PAGE, binds_for_all_accounts=True),
)  # fmt: skip


@functools.lru_cache(maxsize=1024)
def find_model(name: str) -> ClaudeModel:
    """Return the row of a model; the name may be one of Bedrock or Vertex AI."""
    return find_row(TABLE, _REGION.sub("", name))
