"""JSON Schemas as Anthropic takes them.

Facts: the `anthropic` SDK's own rewriter (`lib/_parse/_transform.py`) and Anthropic's documentation. Structured
outputs and strict tools know a part of JSON Schema: objects are closed, and limits of numbers, lengths and counts are
refused. What they do not know is told to the model in the description instead, and reported. Ordinary tools take any
schema whose top is an object, but no alternatives at the top.

All of it takes time and memory in proportion to the schema: nothing that holds schemas is copied into two places.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from nulpoint.protocols.json_schema import (
    SchemaRewriter,
    contains_schemas,
    describe,
    rewrite_inner_schemas,
    wrap_lone_reference,
)
from nulpoint.protocols.openai.chat import invalid

_PLAIN = frozenset({"title", "default", "$ref", "$anchor", "required"})
_REMADE = frozenset({"type", "description", "additionalProperties", "$schema", "$id"})
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)  # fmt: skip
_DEFINITIONS = ("$defs", "definitions")
_ALTERNATIVES = ("anyOf", "oneOf")
_COMBINED = (*_ALTERNATIVES, "allOf")
# The keywords that say something of one type alone. Any other keyword holds for values of every type.
_KEYWORDS_OF = {
    "object": frozenset(
        {
            "properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties",
            "maxProperties", "dependentRequired", "dependentSchemas", "unevaluatedProperties",
        }
    ),
    "array": frozenset(
        {
            "items", "prefixItems", "additionalItems", "unevaluatedItems", "contains", "minContains", "maxContains",
            "minItems", "maxItems", "uniqueItems",
        }
    ),
    "string": frozenset(
        {"minLength", "maxLength", "pattern", "format", "contentEncoding", "contentMediaType", "contentSchema"}
    ),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "boolean": frozenset[str](),
    "null": frozenset[str](),
}  # fmt: skip
_KEYWORDS_OF["integer"] = _KEYWORDS_OF["number"]


def strict_schema(schema: Any, rewriter: SchemaRewriter, depth: int = 0) -> Any:
    """The schema within what structured outputs know. Raises Failure (400) for one that is none or is too large."""
    rewriter.enter(depth)
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("type"), list):
        schema = _one_type_each(schema, schema["type"], rewriter.path)
    schema = wrap_lone_reference(schema)
    made: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _REMADE:
            continue
        if contains_schemas(name) and name != "prefixItems":
            inner = rewrite_inner_schemas(
                name, value, rewriter.path, lambda one: strict_schema(one, rewriter, depth + 1)
            )
            _put(made, name, inner)
        elif _is_known(name, value):
            made[name] = value
        else:
            told[name] = value
    _type(made, told, schema)
    rewriter.lost.update(told)
    describe(made, schema.get("description"), told, rewriter.path)
    return made


def _put(made: dict[str, Any], name: str, inner: Any) -> None:
    """Set a keyword that holds schemas. `oneOf` becomes `anyOf`; beside another `anyOf`, one of `allOf`."""
    if name == "allOf":
        made["allOf"] = [*inner, *made.get("allOf", [])]
    elif name not in _ALTERNATIVES:
        made[name] = inner
    elif "anyOf" not in made:
        made["anyOf"] = inner
    else:
        made.setdefault("allOf", []).append({"anyOf": inner})


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
        return isinstance(value, str) and value in _FORMATS
    if name == "minItems":
        return value in (0, 1)
    if name in ("enum", "const"):
        values = value if name == "enum" and isinstance(value, list) else [value]
        return not any(isinstance(one, dict | list) for one in values)
    return name in _PLAIN


def _one_type_each(schema: dict[str, Any], kinds: list[Any], path: str) -> dict[str, Any]:
    """A list of types as alternatives: `{"type": ["string", "null"]}` is what OpenAI's strict mode has for optional.

    Beside an enumeration the types say nothing. With one type beside null, all that the schema says is said of it.
    With several, each gets the keywords that are about it, so that no keyword's schemas are there twice.
    """
    if not kinds or not all(isinstance(kind, str) and kind in _KEYWORDS_OF for kind in kinds):
        raise invalid(f"{path}.type", f"must be one of {', '.join(_KEYWORDS_OF)}, or a list of them")
    rest = {name: value for name, value in schema.items() if name != "type"}
    if "enum" in schema:
        return rest
    shared = {name: rest.pop(name) for name in ("title", "description", "default", *_DEFINITIONS) if name in rest}
    variants: dict[str, dict[str, Any]] = {kind: {"type": kind} for kind in kinds}
    said = [kind for kind in variants if kind != "null"] or ["null"]
    if len(said) > 1:
        shared |= {name: rest.pop(name) for name in [*rest] if not _is_about_a_type(name)}
    for name, value in rest.items():
        about = [kind for kind in said if name in _KEYWORDS_OF[kind]] if len(said) > 1 else []
        for kind in about or said[:1]:
            variants[kind][name] = value
    return {**_as_conditions(shared), "anyOf": list(variants.values())}


def _is_about_a_type(name: str) -> bool:
    return any(name in keywords for keywords in _KEYWORDS_OF.values())


def _as_conditions(shared: dict[str, Any]) -> dict[str, Any]:
    """Alternatives and references that hold beside others, which take the place of `anyOf`."""
    moved = [{name: shared.pop(name)} for name in ("$ref", *_ALTERNATIVES) if name in shared]
    given = shared.get("allOf", [])
    return {**shared, "allOf": [*given, *moved]} if moved and isinstance(given, list) else shared


# -- tools that are not strict -----------------------------------------------------------------------------------------


def object_schema(schema: dict[str, Any], rewriter: SchemaRewriter) -> dict[str, Any]:
    """A tool's schema with an object at its top. Alternatives there are refused for the whole request; they become
    one object with the members of all, and their keyword counts as lost. Raises Failure for another type."""
    if schema.get("type", "object") != "object":
        raise invalid(rewriter.path, "must describe an object")
    combined = [name for name in _COMBINED if isinstance(schema.get(name), list)]
    if not combined:
        return {"type": "object", **schema}
    made = {name: value for name, value in schema.items() if name not in (*combined, "description")}
    properties = _Properties()
    properties.add(schema.get("properties"))
    required = _required(schema)
    told = {}
    for name in combined:
        variants = _resolved(schema[name], schema, rewriter)
        for variant in variants:
            properties.add(variant.get("properties"))
        demands = [_required(variant) for variant in variants]
        if name == "allOf":
            required |= set().union(*demands)
        else:
            required |= set.intersection(*demands) if demands else set()
            told[name] = schema[name]
    rewriter.lost.update(told)
    made |= {"type": "object", "properties": properties.merged(), "required": sorted(required)}
    describe(made, schema.get("description"), told, rewriter.path)
    return made


def _resolved(variants: list[Any], root: dict[str, Any], rewriter: SchemaRewriter) -> Iterable[dict[str, Any]]:
    """The schemas the variants stand for, references followed, each of them once however often it is named."""
    found: dict[int, dict[str, Any]] = {}
    for variant in variants:
        rewriter.enter(0)
        schema = _referred(variant, root, rewriter.path) if isinstance(variant, dict) else {}
        found[id(schema) if schema else 0] = schema
    return found.values()


def _referred(schema: dict[str, Any], root: dict[str, Any], path: str) -> dict[str, Any]:
    """The schema a local reference stands for."""
    ref = schema.get("$ref")
    if isinstance(ref, str) and ref.startswith(("#/$defs/", "#/definitions/")):
        _, section, name = ref.split("/", 2)
        definitions = root.get(section, {})
        if not isinstance(definitions, dict):
            raise invalid(f"{path}.{section}", "must be an object of JSON Schemas")
        found = definitions.get(name)
        return found if isinstance(found, dict) else {}
    return schema


def _required(schema: dict[str, Any]) -> set[str]:
    names = schema.get("required")
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


class _Properties:
    """The properties of several objects as those of one: where they differ, any of the schemas will do."""

    def __init__(self) -> None:
        self._by_name: dict[str, dict[bytes, Any]] = {}  # each schema once, known by its JSON

    def add(self, properties: Any) -> None:
        for name, schema in properties.items() if isinstance(properties, dict) else ():
            known = self._by_name.setdefault(name, {})
            for one in _alternatives(schema):
                known.setdefault(msgspec.json.encode(one), one)

    def merged(self) -> dict[str, Any]:
        return {name: _any_of(list(known.values())) for name, known in self._by_name.items()}


def _alternatives(schema: Any) -> list[Any]:
    """The schemas of one that is nothing but a list of alternatives; else the schema itself."""
    if isinstance(schema, dict) and schema.keys() == {"anyOf"} and isinstance(schema["anyOf"], list):
        return schema["anyOf"]
    return [schema]


def _any_of(schemas: list[Any]) -> Any:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
