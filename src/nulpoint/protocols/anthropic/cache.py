"""Keeps the cache marks of a request to Anthropic within their limit."""

from collections.abc import Callable, Iterator
from typing import Any

from nulpoint.protocols.cache_marks import MAX_CACHE_MARKS, surplus_marks
from nulpoint.protocols.openai.chat import RequestFields, write_body

_MARK = "cache_control"
_MARK_IN_BODY = b'"cache_control":'


def write_within_limit(message: dict[str, Any], fields: RequestFields) -> bytes:
    """Return the body of a request without the cache marks that are too many, and report those. Raises Failure (400).

    Nearly all requests have few, which is seen at once in the body.
    """
    body = write_body(message)
    if body.count(_MARK_IN_BODY) <= MAX_CACHE_MARKS or not _remove_surplus(message):
        return body
    fields.report_dropped(_MARK)
    return write_body(message)


def _remove_surplus(message: dict[str, Any]) -> bool:
    """Remove the cache marks that are too many. Return whether there were any."""
    marked = [*_marked(message.get("tools")), *_marked(message.get("system"))]
    for turn in message["messages"]:
        marked += _marked(turn["content"])
    limit = MAX_CACHE_MARKS - (1 if message.get(_MARK) else 0)  # a mark of the whole request counts too
    surplus = surplus_marks(marked, limit)
    for remove in surplus:
        remove()
    return bool(surplus)


def _marked(blocks: Any) -> Iterator[Callable[[], None]]:
    """Yield for each mark in these blocks what removes it."""
    if not isinstance(blocks, list):
        return
    for position, block in enumerate(blocks):
        if not isinstance(block, dict):
            continue
        inner = block.get("content")
        if isinstance(inner, list) and any(isinstance(entry, dict) and _MARK in entry for entry in inner):
            copy = blocks[position] = {**block, "content": list(inner)}
            yield from _marked(copy["content"])
        if _MARK in block:
            yield _Removal(blocks, position)


class _Removal:
    """Removes the mark of one block. The block is copied, because it may belong to the client's request."""

    def __init__(self, blocks: list[Any], position: int) -> None:
        self._blocks = blocks
        self._position = position

    def __call__(self) -> None:
        block = self._blocks[self._position]
        self._blocks[self._position] = {name: value for name, value in block.items() if name != _MARK}
