"""Joins function calls that Gemini streams in pieces if the client asks for it (`streamFunctionCallArguments`).

The first piece has the name. The arguments follow as `partialArgs`, each of which sets a value at a JSON path, and a
text may be split over several of them. `willContinue` is absent from the last piece. Sources: recorded traffic and the
types of the `google-genai` SDK.
"""

import re
from io import StringIO
from typing import Any, NamedTuple

_STEP = re.compile(r"""\.?([^.\[\]'"$]+)|\[(\d+)\]|\[(?:'([^']*)'|"([^"]*)")\]""")
_MAX_GAP = 64  # entries of a list that a path may skip
_VALUES = ("stringValue", "numberValue", "boolValue", "nullValue")


class _PartialText(NamedTuple):
    """The beginning of a text, and the container and key where it belongs."""

    container: Any
    key: Any
    text: StringIO

    def store(self) -> None:
        self.container[self.key] = self.text.getvalue()


class PartialCall:
    """A call whose arguments are incomplete. It is built as the part that a complete call would have."""

    def __init__(self, first: dict[str, Any]) -> None:
        self._part = {**first, "functionCall": {"args": {}}}
        self._texts: dict[str, _PartialText] = {}  # by path

    def add(self, function: dict[str, Any]) -> bool:
        """Add a piece and return whether it was the last. Raises LookupError, TypeError or ValueError."""
        call = self._part["functionCall"]
        for name, value in function.items():
            if name not in ("args", "partialArgs", "willContinue"):
                call[name] = value
        call["args"].update(function.get("args") or {})
        for piece in function.get("partialArgs") or []:
            self._set(call, piece)
        return not function.get("willContinue")

    def to_part(self) -> dict[str, Any]:
        """Return the part with all texts so far."""
        for text in self._texts.values():
            text.store()
        return self._part

    def _set(self, call: dict[str, Any], piece: dict[str, Any]) -> None:
        path = piece["jsonPath"]
        value = next((piece[name] for name in _VALUES if piece.get(name) is not None and name != "nullValue"), None)
        partial = self._texts.get(path)
        if partial is not None:
            partial.text.write("" if value is None else value)
            if not piece.get("willContinue"):
                self._texts.pop(path).store()
            return
        container: Any = call
        key: Any = "args"
        for step in _steps(path):
            container = _get_or_add(container, key, [] if isinstance(step, int) else {})
            key = step
        if isinstance(container, list):
            _extend(container, key)
        container[key] = value
        if piece.get("willContinue"):
            partial = self._texts[path] = _PartialText(container, key, StringIO())
            partial.text.write("" if value is None else value)


def _steps(path: str) -> list[str | int]:
    """Return the keys and indexes of a path such as `$.a.b[0]['c']`."""
    return [int(step[2]) if step[2] else step[1] or step[3] or step[4] for step in _STEP.finditer(path)]


def _get_or_add(container: Any, key: Any, default: Any) -> Any:
    """Return the value at `key`, after setting it to `default` if it is missing."""
    if isinstance(container, list):
        _extend(container, key)
        if container[key] is None:
            container[key] = default
        return container[key]
    return container.setdefault(key, default)


def _extend(values: list[Any], index: int) -> None:
    """Extend a list to contain an index. Raises LookupError if that skips more entries than real arguments do."""
    if index > len(values) + _MAX_GAP:
        raise LookupError(index)
    values.extend([None] * (index + 1 - len(values)))


def begins_partial_call(function: dict[str, Any]) -> bool:
    """Return whether a function call is the first piece of several."""
    return bool(function.get("willContinue") or function.get("partialArgs"))
