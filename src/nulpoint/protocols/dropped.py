"""Reports what a provider protocol does not pass on, by its place in the client's request."""

import re
from collections.abc import Set

from msgspec import UNSET

from nulpoint.conversation.emulation import as_function
from nulpoint.conversation.parts import CacheMark, Members, Part, ToolResult
from nulpoint.conversation.request import Message
from nulpoint.conversation.tools import CustomTool, FunctionTool
from nulpoint.protocols.openai.chat import NO_EFFECT, RequestFields

_INDEX = re.compile(r"\[\d+\]")
_NOTHING: frozenset[str] = frozenset()


def place_of(path: str) -> str:
    """Return a path without the numbers of list entries: one name stands for all of them."""
    return _INDEX.sub("", path)


def sent_as_function(tool: CustomTool, fields: RequestFields) -> FunctionTool:
    """Return a custom tool as a function, and report its grammar as dropped, which a function cannot enforce."""
    if tool.grammar is not None:
        fields.report_dropped(tool.format_path)
    return as_function(tool)


def report_cache_mark(fields: RequestFields, mark: CacheMark | None, path: str) -> None:
    """Report the cache mark of a part at `path`, for providers that have none."""
    if mark is not None:
        report_extra(fields, {"cache_control": mark.control, "prompt_cache_breakpoint": mark.breakpoint}, path)


def report_result(fields: RequestFields, result: ToolResult, message: Message) -> None:
    """Report the error and the cache mark of a tool result, for providers that have neither."""
    if result.is_error:
        report_extra(fields, {"is_error": result.is_error}, message.path)
    report_cache_mark(fields, result.cache, message.path)


def report_part(fields: RequestFields, part: Part, message: Message) -> None:
    """Report a part of a message that is not sent, such as reasoning without its signature."""
    fields.report_dropped(f"{place_of(message.path)}.{part.where}")


def report_extra(fields: RequestFields, extra: Members, path: str, known: Set[str] = _NOTHING) -> None:
    """Report the members of a value at `path` as dropped, except the known ones and those that have no effect."""
    for name, value in extra.items():
        if name not in known and value is not UNSET and value not in NO_EFFECT:
            fields.report_dropped(f"{place_of(path)}.{name}")
