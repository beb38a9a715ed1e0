"""Calls that Gemini streams in pieces, where the caller asked for that (`streamFunctionCallArguments`).

The first piece has the name; arguments follow as `partialArgs`, each a value at a JSON path, texts over several of
them; `willContinue` is absent on the last. Seen in a recording; the fields are those of the `google-genai` SDK.
"""

import re
from io import StringIO
from typing import Any, NamedTuple

_STEP = re.compile(r"""\.?([^.\[\]'"$]+)|\[(\d+)\]|\[(?:'([^']*)'|"([^"]*)")\]""")
_LARGEST_GAP = 64  # entries of a list that one piece may leave out
_VALUES = ("stringValue", "numberValue", "boolValue", "nullValue")


class _OpenText(NamedTuple):
    """A text that goes on: where it belongs, and what has come of it."""

    holder: Any
    key: Any
    text: StringIO

    def put(self) -> None:
        self.holder[self.key] = self.text.getvalue()


class OpenCall:
    """A call whose arguments are still coming, in the shape of a call that came whole."""

    def __init__(self, first: dict[str, Any]) -> None:
        self._part = {**first, "functionCall": {"args": {}}}
        self._texts: dict[str, _OpenText] = {}  # by path

    def add(self, function: dict[str, Any]) -> bool:
        """Add a piece; says whether it was the last. Raises LookupError, TypeError or ValueError for a wrong path."""
        call = self._part["functionCall"]
        for name, value in function.items():
            if name not in ("args", "partialArgs", "willContinue"):
                call[name] = value
        call["args"].update(function.get("args") or {})
        for piece in function.get("partialArgs") or []:
            self._set(call, piece)
        return not function.get("willContinue")

    def whole(self) -> dict[str, Any]:
        """The part, with as much of its texts as has come."""
        for text in self._texts.values():
            text.put()
        return self._part

    def _set(self, call: dict[str, Any], piece: dict[str, Any]) -> None:
        path = piece["jsonPath"]
        value = next((piece[name] for name in _VALUES if piece.get(name) is not None and name != "nullValue"), None)
        begun = self._texts.get(path)
        if begun is not None:
            begun.text.write("" if value is None else value)
            if not piece.get("willContinue"):
                self._texts.pop(path).put()
            return
        holder: Any = call
        key: Any = "args"
        for step in _steps(path):
            holder = _inside(holder, key, [] if isinstance(step, int) else {})
            key = step
        if isinstance(holder, list):
            _lengthen(holder, key)
        holder[key] = value
        if piece.get("willContinue"):
            begun = self._texts[path] = _OpenText(holder, key, StringIO())
            begun.text.write("" if value is None else value)


def _steps(path: str) -> list[str | int]:
    """The keys and indexes of `$.a.b[0]['c']`."""
    return [int(found[2]) if found[2] else found[1] or found[3] or found[4] for found in _STEP.finditer(path)]


def _inside(holder: Any, key: Any, empty: Any) -> Any:
    """The container at `key`, made where it is missing."""
    if isinstance(holder, list):
        _lengthen(holder, key)
        if holder[key] is None:
            holder[key] = empty
        return holder[key]
    return holder.setdefault(key, empty)


def _lengthen(holder: list[Any], index: int) -> None:
    """Make room for an index. Raises LookupError where a path leaves a gap that no list of arguments has."""
    if index > len(holder) + _LARGEST_GAP:
        raise LookupError(index)
    holder.extend([None] * (index + 1 - len(holder)))


def in_pieces(function: dict[str, Any]) -> bool:
    """Whether this begins a call that comes in pieces."""
    return bool(function.get("willContinue") or function.get("partialArgs"))
