"""Fits schemas that contain themselves to Gemini, which allows this only in properties that are not required."""

from collections.abc import Iterator, Mapping
from typing import Any

from nulpoint.protocols.json_schema import SchemaRewriter, contains_schemas
from nulpoint.protocols.schema_references import ROOT

_PREFIX = "#/$defs/"


def without_required_cycles(schema: dict[str, Any], rewriter: SchemaRewriter) -> dict[str, Any]:
    """Return a schema in which no property is required that leads back to where it is. What is lost is noted.

    All references must name entries of `$defs` at the top.
    """
    definitions = schema.get("$defs")
    if not isinstance(definitions, dict):
        return schema
    uses = {name: set(_used(definition)) & definitions.keys() for name, definition in definitions.items()}
    users: dict[str, set[str]] = {name: set() for name in uses}
    for name, used in uses.items():
        for other in used:
            users[other].add(name)
    cyclic = _not_ending(uses, users) & _not_ending(users, uses)
    if not cyclic:
        return schema
    relaxed = {
        name: _relaxed(definition, cyclic, rewriter) if name in cyclic else definition
        for name, definition in definitions.items()
    }
    top = {keyword: value for keyword, value in schema.items() if keyword != "$defs"}
    return {**(_relaxed(top, cyclic, rewriter) if ROOT in cyclic else top), "$defs": relaxed}


def _not_ending(following: Mapping[str, set[str]], before: Mapping[str, set[str]]) -> set[str]:
    """Return the names from which following leads into a cycle."""
    left = {name: len(names) for name, names in following.items()}
    ready = [name for name, count in left.items() if not count]
    while ready:
        for name in before[ready.pop()]:
            left[name] -= 1
            if not left[name]:
                ready.append(name)
    return {name for name, count in left.items() if count}


def _used(schema: Any) -> Iterator[str]:
    """Yield the names of the definitions to which a schema refers."""
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            reference = value.get("$ref")
            if isinstance(reference, str):
                yield reference.removeprefix(_PREFIX)
            waiting += [inner for keyword, inner in value.items() if keyword != "$ref"]
        elif isinstance(value, list):
            waiting += value


def _relaxed(schema: Any, cyclic: set[str], rewriter: SchemaRewriter) -> Any:
    """Return a schema in which the properties that refer to these definitions are not required."""
    if isinstance(schema, list):
        return [_relaxed(entry, cyclic, rewriter) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    relaxed = {
        keyword: {name: _relaxed(inner, cyclic, rewriter) for name, inner in value.items()}
        if keyword == "properties" and isinstance(value, dict)
        else _relaxed(value, cyclic, rewriter)
        if contains_schemas(keyword)
        else value
        for keyword, value in schema.items()
    }
    properties, required = schema.get("properties"), schema.get("required")
    if isinstance(properties, dict) and isinstance(required, list):
        kept = [name for name in required if cyclic.isdisjoint(_used(properties.get(name)))]
        if len(kept) < len(required):
            rewriter.lost.add("required")
            relaxed["required"] = kept
    return relaxed
