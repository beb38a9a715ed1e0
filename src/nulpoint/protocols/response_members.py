"""Finds the members of a provider's response that a conversation has no place for."""

from collections.abc import Set
from typing import Any


def other_members(value: dict[str, Any], known: Set[str]) -> dict[str, Any]:
    """Return the members of an object that are not known and not null, in the order of their names."""
    names = value.keys() - known
    return {name: value[name] for name in sorted(names) if value[name] is not None} if names else {}
