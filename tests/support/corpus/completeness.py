"""Checks that nothing recorded is lost: every value of a provider's response must be in what the client receives.

A value is found if its name and value are somewhere in the response (in extra members, or as an argument of a call), as
often as in the recording. Values that a codec maps to another name are listed by the judge of the format, which compares
them itself. The few values that may be dropped are listed there too, with the reason.
"""

import collections
import json
from collections.abc import Iterator, Mapping
from typing import Any

Leaf = tuple[str, Any]


def lost(recorded: Any, shown: Any, elsewhere: Mapping[str, str]) -> list[str]:
    """Return the missing values as `path = value`. `elsewhere` maps paths that are mapped or may be dropped to the reason.

    Paths are written `candidates[].content.parts[].text`; one that ends in `*` includes all below it.
    """
    available = collections.Counter((name, value) for _, name, value in _leaves(shown, arguments=True))
    missing = []
    for path, name, value in _leaves(recorded):
        if value in (None, "") or _listed(path, elsewhere):
            continue
        if available[name, value] > 0:
            available[name, value] -= 1
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
    """Return a key that keeps 1 and true apart, as JSON does."""
    return (type(value).__name__, value) if isinstance(value, bool) else value


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None
