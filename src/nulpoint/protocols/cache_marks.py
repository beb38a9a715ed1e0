"""Reads the cache marks of messages, and keeps those of a request within the number that Claude accepts.

Source: Anthropic's documentation of prompt caching; a fifth mark is answered with 400.
"""

from collections.abc import Sequence
from typing import TypeVar

from nulpoint.conversation.parts import CacheMark
from nulpoint.conversation.request import Message

MAX_CACHE_MARKS = 4
_Mark = TypeVar("_Mark")


def surplus_marks(marks: Sequence[_Mark], limit: int = MAX_CACHE_MARKS) -> Sequence[_Mark]:
    """Return those of the marks, in their order, that are too many.

    The first one remains, which ends what is shared with other conversations (tools and instructions), and the last
    ones remain, from which the next turn of this conversation is continued.
    """
    if len(marks) <= limit:
        return ()
    return marks[1 : len(marks) - limit + 1] if limit > 1 else marks[limit:]


def message_mark(message: Message) -> CacheMark | None:
    """Return the cache mark that the client set on a whole message."""
    if not message.extra:
        return None
    control, breakpoint_ = message.extra.get("cache_control"), message.extra.get("prompt_cache_breakpoint")
    return CacheMark(control, breakpoint_) if control or breakpoint_ else None
