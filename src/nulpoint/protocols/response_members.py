"""Finds the members of a provider's response that a conversation has no place for."""

from collections.abc import Set
from typing import Any

from nulpoint.conversation.parts import Members


def other_members(value: Members, known: Set[str]) -> dict[str, Any]:
    """Return the members of an object that are not known and not null, in the order of their names."""
    if known >= value.keys():
        return {}
    names = value.keys() - known
    return {name: value[name] for name in sorted(names) if value[name] is not None}
