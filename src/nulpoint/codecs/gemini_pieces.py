"""Calls that Gemini streams in pieces, where the caller asked for that (`streamFunctionCallArguments`).

The first piece has the name; arguments follow as `partialArgs`, each a value at a JSON path, texts over several of
them; `willContinue` is absent on the last. Seen in a recording; the fields are those of the `google-genai` SDK.
"""

import re
from typing import Any

_STEP = re.compile(r"""\.?([^.\[\]'"$]+)|\[(\d+)\]|\[(?:'([^']*)'|"([^"]*)")\]""")
_LARGEST_GAP = 1024  # entries of a list that one piece may leave out
_VALUES = ("stringValue", "numberValue", "boolValue", "nullValue")


class OpenCall:
    """A call whose arguments are still coming. `part` is what has come, in the shape of a call that came whole."""

    def __init__(self, first: dict[str, Any]) -> None:
        self.part = {**first, "functionCall": {"args": {}}}
        self._unended: set[str] = set()  # paths of texts that go on

    def add(self, function: dict[str, Any]) -> bool:
        """Add a piece; says whether it was the last. Raises LookupError, TypeError or ValueError for a wrong path."""
        call = self.part["functionCall"]
        for name, value in function.items():
            if name not in ("args", "partialArgs", "willContinue"):
                call[name] = value
        call["args"].update(function.get("args") or {})
        for piece in function.get("partialArgs") or []:
            self._set(call, piece)
        return not function.get("willContinue")

    def _set(self, call: dict[str, Any], piece: dict[str, Any]) -> None:
        path = piece["jsonPath"]
        value = next((piece[name] for name in _VALUES if piece.get(name) is not None and name != "nullValue"), None)
        holder: Any = call
        key: Any = "args"
        for step in _steps(path):
            holder = _inside(holder, key, [] if isinstance(step, int) else {})
            key = step
        if path in self._unended:
            value = holder[key] + value
        if isinstance(holder, list):
            _lengthen(holder, key)
        holder[key] = value
        (self._unended.add if piece.get("willContinue") else self._unended.discard)(path)


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
