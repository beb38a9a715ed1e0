"""Schemas for requests, and a validator that reports what in a request violates its schema.

A schema is a Python type (`str`, `bool`, `int`, `float`, `dict`; `object` allows anything), a frozenset of the allowed
values, one of the classes below, or a tuple of alternatives of different JSON types. Null is allowed wherever a member
may be left out.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Path = tuple[str | int, ...]


class Record(NamedTuple):
    """An object with these members and no others."""

    members: Mapping[str, Any]
    required: frozenset[str] = frozenset()


class ListOf(NamedTuple):
    """A list whose items match one schema."""

    item: Any


class MapOf(NamedTuple):
    """An object with members of any name, whose values match one schema."""

    item: Any


class TaggedUnion(NamedTuple):
    """An object that matches one of several records; the value of its member `tag` says which."""

    tag: str
    records: Mapping[str, Record]


class Violation(NamedTuple):
    """A place where a request does not match its schema.

    `kind` is `unknown` (a member that does not exist), `missing` (a required member), `type` (the wrong JSON type) or
    `value` (not one of the allowed values).
    """

    kind: str
    path: Path
    name: str = ""
    value: Any = None
    expected: Any = None


def record(required: str = "", /, **members: Any) -> Record:
    """Make a record schema; `required` names the required members, separated by spaces."""
    return Record(members, frozenset(required.split()))


def violations(value: Any, schema: Any, path: Path = ()) -> Iterator[Violation]:
    """Yield everything that violates the schema, in the order of the request."""
    if type(schema) is tuple:
        alternatives = schema
        schema = next(
            (alternative for alternative in alternatives if _has_json_type(value, alternative)), alternatives[0]
        )
    if not _has_json_type(value, schema):
        yield Violation("type", path, value=value, expected=schema)
        return
    match schema:
        case frozenset() if value not in schema:
            yield Violation("value", path, value=value, expected=sorted(schema))
        case Record():
            yield from _record_violations(value, schema, path)
        case ListOf():
            for number, item in enumerate(value):
                yield from violations(item, schema.item, (*path, number))
        case MapOf():
            for name, item in value.items():
                yield from violations(item, schema.item, (*path, name))
        case TaggedUnion():
            yield from _union_violations(value, schema, path)


_JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array"}


def json_type(schema: Any) -> str:
    """Return the JSON type of a schema: `object`, `array`, `string`, `integer`, `number` or `boolean`."""
    if isinstance(schema, ListOf):
        return "array"
    if isinstance(schema, frozenset):
        return "string"
    return _JSON_TYPES.get(schema, "object") if isinstance(schema, type) else "object"


def _record_violations(value: dict[str, Any], schema: Record, path: Path) -> Iterator[Violation]:
    for name, member in value.items():
        if name not in schema.members:
            yield Violation("unknown", (*path, name), name, member)
        elif member is not None:
            yield from violations(member, schema.members[name], (*path, name))
    for name in sorted(schema.required):
        if value.get(name) is None:
            yield Violation("missing", (*path, name), name, value)


def _union_violations(value: dict[str, Any], schema: TaggedUnion, path: Path) -> Iterator[Violation]:
    tag = value.get(schema.tag)
    if tag is None:
        yield Violation("missing", (*path, schema.tag), schema.tag, value)
    elif not isinstance(tag, str) or tag not in schema.records:
        yield Violation("value", (*path, schema.tag), value=tag, expected=list(schema.records))
    else:
        yield from _record_violations(value, schema.records[tag], path)


def _has_json_type(value: Any, schema: Any) -> bool:
    """Return whether the value has the JSON type of the schema; its contents are not checked."""
    if isinstance(schema, Record | MapOf | TaggedUnion):
        return isinstance(value, dict)
    if isinstance(schema, ListOf):
        return isinstance(value, list)
    if isinstance(schema, frozenset):
        return isinstance(value, str)
    if schema in (int, float):
        return isinstance(value, int | schema) and not isinstance(value, bool)
    return isinstance(value, schema)
