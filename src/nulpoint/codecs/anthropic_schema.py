"""JSON Schemas as Anthropic takes them.

Facts: the `anthropic` SDK's own rewriting (`lib/_parse/_transform.py`) and Anthropic's documentation. Structured
outputs and strict tools know a part of JSON Schema: objects are closed, and limits of numbers, lengths and counts are
refused. What they do not know is told to the model in the description instead, and reported. Ordinary tools take any
schema whose top is an object, but no alternatives at the top.
"""

from typing import Any

from nulpoint.codecs.canonical import wrong
from nulpoint.codecs.json_schema import check_depth, describe, inner_schemas, lone_reference

_PLAIN = frozenset({"title", "default", "$ref", "$anchor", "required"})
_REMADE = frozenset({"type", "description", "additionalProperties", "$schema", "$id"})
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)  # fmt: skip


def strict_schema(schema: Any, where: str, lost: set[str], depth: int = 0) -> Any:
    """The schema within what structured outputs know; the keywords only told in descriptions are added to `lost`."""
    check_depth(depth, where)
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("type"), list):
        schema = _one_type_each(schema, schema["type"])
    schema = lone_reference(schema)
    made: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _REMADE:
            continue
        inner = inner_schemas(name, value, lambda one: strict_schema(one, where, lost, depth + 1))
        if inner is not None and name != "prefixItems":
            made["anyOf" if name == "oneOf" else name] = inner
        elif _is_known(name, value):
            made[name] = value
        else:
            told[name] = value
    _type(made, told, schema)
    lost.update(told)
    describe(made, schema.get("description"), told)
    return made


def _type(made: dict[str, Any], told: dict[str, Any], schema: dict[str, Any]) -> None:
    """The type, where no enumeration says it already. An object must be closed."""
    kind = schema.get("type", "object" if "properties" in schema else None)
    if kind is not None and "enum" not in made and "const" not in made:
        made["type"] = kind
    if kind == "object":
        made["additionalProperties"] = False
        if schema.get("additionalProperties"):
            told["additionalProperties"] = schema["additionalProperties"]


def _is_known(name: str, value: Any) -> bool:
    if name == "format":
        return value in _FORMATS
    if name == "minItems":
        return value in (0, 1)
    if name in ("enum", "const"):
        values = value if name == "enum" and isinstance(value, list) else [value]
        return not any(isinstance(one, dict | list) for one in values)
    return name in _PLAIN


def _one_type_each(schema: dict[str, Any], kinds: list[Any]) -> dict[str, Any]:
    """A list of types as alternatives: `{"type": ["string", "null"]}` is what OpenAI's strict mode has for optional.
    Beside an enumeration the types say nothing."""
    if "enum" in schema:
        return {name: value for name, value in schema.items() if name != "type"}
    shared: dict[str, Any] = {name: schema[name] for name in ("title", "description", "default") if name in schema}
    rest = {name: value for name, value in schema.items() if name not in shared}
    variants: list[dict[str, Any]] = [{"type": "null"} if kind == "null" else {**rest, "type": kind} for kind in kinds]
    return {**shared, "anyOf": variants}


def object_schema(schema: dict[str, Any], where: str, lost: set[str]) -> dict[str, Any]:
    """A tool's schema with an object at its top. Alternatives there are refused for the whole request; they become
    one object with the members of all, and `lost` gets their keyword. Raises Failure for another type."""
    if schema.get("type", "object") != "object":
        raise wrong(where, "must describe an object")
    combined = [name for name in ("anyOf", "oneOf", "allOf") if isinstance(schema.get(name), list)]
    if not combined:
        return {"type": "object", **schema}
    made = {name: value for name, value in schema.items() if name not in (*combined, "description")}
    properties: dict[str, Any] = {}
    _merge(properties, schema.get("properties"))
    required = _required(schema)
    told = {}
    for name in combined:
        variants = [_resolved(one, schema) for one in schema[name]]
        for variant in variants:
            _merge(properties, variant.get("properties"))
        demands = [_required(variant) for variant in variants]
        if name == "allOf":
            required |= set().union(*demands)
        else:
            required |= set.intersection(*demands) if demands else set()
            told[name] = schema[name]
    lost.update(told)
    made |= {"type": "object", "properties": properties, "required": sorted(required)}
    describe(made, schema.get("description"), told)
    return made


def _resolved(schema: Any, root: dict[str, Any]) -> dict[str, Any]:
    """The schema a local reference stands for."""
    if not isinstance(schema, dict):
        return {}
    ref = schema.get("$ref")
    if isinstance(ref, str) and ref.startswith(("#/$defs/", "#/definitions/")):
        _, section, name = ref.split("/", 2)
        found = (root.get(section) or {}).get(name)
        return found if isinstance(found, dict) else {}
    return schema


def _required(schema: dict[str, Any]) -> set[str]:
    names = schema.get("required")
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


def _merge(into: dict[str, Any], properties: Any) -> None:
    for name, schema in properties.items() if isinstance(properties, dict) else ():
        before = into.setdefault(name, schema)
        if before == schema:
            continue
        known = before["anyOf"] if isinstance(before, dict) and set(before) == {"anyOf"} else [before]
        if schema not in known:
            into[name] = {"anyOf": [*known, schema]}
