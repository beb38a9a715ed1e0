"""Nothing recorded is lost: every value of a provider's answer is found again in what the caller got.

A value counts as found where its name and itself stand somewhere in the answer shown (in the extra fields, or as an
argument of a call), as often as in the recording. What a codec maps to a place of another name is listed by the judge
of its format, which compares it there; so is the little that may vanish, with its reason.
"""

import collections
import json
from collections.abc import Iterator, Mapping
from typing import Any

Leaf = tuple[str, Any]


def lost(recorded: Any, shown: Any, elsewhere: Mapping[str, str]) -> list[str]:
    """What is missing, as `path = value`. `elsewhere`: paths that are mapped or may vanish, and why.

    Paths are written `candidates[].content.parts[].text`; one that ends in `*` speaks for all below it.
    """
    there = collections.Counter((name, value) for _, name, value in _leaves(shown, arguments=True))
    missing = []
    for path, name, value in _leaves(recorded):
        if value in (None, "") or _listed(path, elsewhere):
            continue
        if there[name, value] > 0:
            there[name, value] -= 1
        else:
            missing.append(f"{path} = {str(value)[:60]!r}")
    return missing


def _listed(path: str, elsewhere: Mapping[str, str]) -> bool:
    return path in elsewhere or any(one[-1] == "*" and path.startswith(one[:-1]) for one in elsewhere)


def _leaves(value: Any, path: str = "", name: str = "", *, arguments: bool = False) -> Iterator[tuple[str, str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else key, key, arguments=arguments)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, f"{path}[]", name, arguments=arguments)
    else:
        yield path, name, _comparable(value)
        if arguments and name == "arguments" and isinstance(value, str):
            yield from _leaves(_json(value), path, name)


def _comparable(value: Any) -> Any:
    """Values that JSON tells apart stay apart: 1 and true."""
    return (type(value).__name__, value) if isinstance(value, bool) else value


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None
