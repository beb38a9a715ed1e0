"""What a request may look like, written as tables, and what in a given one does not fit.

A shape is a Python type (`str`, `bool`, `int`, `float`, `dict`; `object` is anything), a frozenset of the allowed
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


class Rows(NamedTuple):
    item: Any


class Keyed(NamedTuple):
    """An object with members of any name."""

    item: Any


class Tagged(NamedTuple):
    """One of several records, told by the member `tag`."""

    tag: str
    records: Mapping[str, Record]


class Misfit(NamedTuple):
    """`kind`: `unknown` member, `missing` member, wrong `type`, or a `value` that is none of the allowed."""

    kind: str
    path: Path
    name: str = ""
    value: Any = None
    wanted: Any = None


def record(required: str = "", /, **members: Any) -> Record:
    """The names in `required` are separated by spaces."""
    return Record(members, frozenset(required.split()))


def misfits(value: Any, shape: Any, path: Path = ()) -> Iterator[Misfit]:
    """All that does not fit, in the order of the request."""
    if type(shape) is tuple:
        alternatives = shape
        shape = next((one for one in alternatives if _is(value, one)), alternatives[0])
    if not _is(value, shape):
        yield Misfit("type", path, value=value, wanted=shape)
        return
    match shape:
        case frozenset() if value not in shape:
            yield Misfit("value", path, value=value, wanted=sorted(shape))
        case Record():
            yield from _in_record(value, shape, path)
        case Rows():
            for number, item in enumerate(value):
                yield from misfits(item, shape.item, (*path, number))
        case Keyed():
            for name, item in value.items():
                yield from misfits(item, shape.item, (*path, name))
        case Tagged():
            yield from _in_tagged(value, shape, path)


_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array"}


def json_type(shape: Any) -> str:
    """What a shape is in JSON: `object`, `array`, `string`, `integer`, `number` or `boolean`."""
    if isinstance(shape, Rows):
        return "array"
    if isinstance(shape, frozenset):
        return "string"
    return _TYPES.get(shape, "object") if isinstance(shape, type) else "object"


def _in_record(value: dict[str, Any], shape: Record, path: Path) -> Iterator[Misfit]:
    for name, member in value.items():
        if name not in shape.members:
            yield Misfit("unknown", (*path, name), name, member)
        elif member is not None:
            yield from misfits(member, shape.members[name], (*path, name))
    for name in sorted(shape.required):
        if value.get(name) is None:
            yield Misfit("missing", (*path, name), name, value)


def _in_tagged(value: dict[str, Any], shape: Tagged, path: Path) -> Iterator[Misfit]:
    tag = value.get(shape.tag)
    if tag is None:
        yield Misfit("missing", (*path, shape.tag), shape.tag, value)
    elif not isinstance(tag, str) or tag not in shape.records:
        yield Misfit("value", (*path, shape.tag), value=tag, wanted=list(shape.records))
    else:
        yield from _in_record(value, shape.records[tag], path)


def _is(value: Any, shape: Any) -> bool:
    """Whether the JSON type is right; what is inside is looked at elsewhere."""
    if isinstance(shape, Record | Keyed | Tagged):
        return isinstance(value, dict)
    if isinstance(shape, Rows):
        return isinstance(value, list)
    if isinstance(shape, frozenset):
        return isinstance(value, str)
    if shape in (int, float):
        return isinstance(value, int | shape) and not isinstance(value, bool)
    return isinstance(value, shape)
