"""Rewriting a JSON Schema for a provider that knows a part of it: what it does not know is told in the description."""

from collections.abc import Callable
from typing import Any

from nulpoint.codecs.canonical import json_text, wrong

_DEEPEST = 64
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_MAPS = frozenset({"properties", "$defs", "definitions"})
_ONES = frozenset({"items", "additionalProperties"})


def check_depth(depth: int, where: str) -> None:
    """Raises Failure (400) for a schema nested so deeply that reading it could fail."""
    if depth > _DEEPEST:
        raise wrong(where, f"is nested more than {_DEEPEST} levels deep")


def lone_reference(schema: dict[str, Any]) -> dict[str, Any]:
    """With nothing beside a `$ref` but definitions: what stands there moves around the reference."""
    beside = {name: value for name, value in schema.items() if name != "$ref"}
    if "$ref" not in schema or beside.keys() <= {"$defs", "definitions"} or "anyOf" in beside:
        return schema
    return {**beside, "anyOf": [{"$ref": schema["$ref"]}]}


def inner_schemas(name: str, value: Any, rewrite: Callable[[Any], Any]) -> Any:
    """The value of a keyword that holds schemas, each rewritten; None for other keywords."""
    if name in _LISTS and isinstance(value, list):
        return [rewrite(one) for one in value]
    if name in _MAPS and isinstance(value, dict):
        return {key: rewrite(one) for key, one in value.items()}
    return rewrite(value) if name in _ONES else None


def describe(schema: dict[str, Any], description: Any, told: dict[str, Any]) -> None:
    """Put the description, and as JSON the keywords that can only be told, into the schema."""
    notes = json_text(told) if told else ""
    text = "\n\n".join(str(piece) for piece in (description, notes) if piece)
    if text:
        schema["description"] = text
