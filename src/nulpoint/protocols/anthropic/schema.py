"""Rewrites JSON Schemas for Anthropic.

Structured outputs and strict tools support a part of JSON Schema: objects must be closed, and limits on numbers,
lengths and counts are rejected. Unsupported keywords move into the description, where the model reads them, and are
reported as dropped. Ordinary tools accept any schema of draft 2020-12 that describes an object, also one that contains
itself, but no alternatives and no reference at its top level.

The time and memory that the rewriting takes are proportional to the schema, because no keyword that contains schemas is
copied into two places. Sources: the `anthropic` SDK's own rewriting (`lib/_parse/_transform.py`) and Anthropic's
documentation.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from nulpoint.protocols.anthropic.schema_draft import in_current_draft
from nulpoint.protocols.json_schema import (
    SchemaRewriter,
    contains_schemas,
    describe,
    rewrite_inner_schemas,
    wrap_lone_reference,
)
from nulpoint.protocols.openai.chat import invalid
from nulpoint.protocols.schema_references import UnresolvableReferenceError, resolve_pointer

_UNCHANGED = frozenset({"title", "default", "$ref", "$anchor", "required"})
_HANDLED_SEPARATELY = frozenset({"type", "description", "additionalProperties", "$schema", "$id"})
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_DEFINITIONS = ("$defs", "definitions")
_ALTERNATIVES = ("anyOf", "oneOf")
_COMBINED = (*_ALTERNATIVES, "allOf")
# The keywords that apply to values of one type only. Any other keyword applies to values of every type.
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
    """Rewrite a schema for structured outputs. Raises Failure (400) if it is not a schema or is too large."""
    rewriter.enter(depth)
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("type"), list):
        schema = _split_types(schema, schema["type"], rewriter.path)
    schema = wrap_lone_reference(schema)
    rewritten: dict[str, Any] = {}
    unsupported: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _HANDLED_SEPARATELY:
            continue
        if contains_schemas(name) and name != "prefixItems":
            inner = rewrite_inner_schemas(
                name, value, rewriter.path, lambda inner: strict_schema(inner, rewriter, depth + 1)
            )
            _set_inner(rewritten, name, inner)
        elif _is_supported(name, value):
            rewritten[name] = value
        else:
            unsupported[name] = value
    _set_type(rewritten, unsupported, schema)
    rewriter.lost.update(unsupported)
    describe(rewritten, schema.get("description"), unsupported, rewriter.path)
    return rewritten


def _set_inner(rewritten: dict[str, Any], name: str, inner: Any) -> None:
    """Set a keyword that contains schemas. `oneOf` becomes `anyOf`, or an entry of `allOf` beside another `anyOf`.

    A condition that stands alone becomes an `anyOf` of one, because Anthropic rejects references in `allOf`.
    """
    if name == "allOf" and len(inner) == 1 and "anyOf" not in rewritten:
        rewritten["anyOf"] = inner
    elif name == "allOf":
        rewritten["allOf"] = [*inner, *rewritten.get("allOf", [])]
    elif name not in _ALTERNATIVES:
        rewritten[name] = inner
    elif "anyOf" not in rewritten:
        rewritten["anyOf"] = inner
    else:
        rewritten.setdefault("allOf", []).append({"anyOf": inner})


def _set_type(rewritten: dict[str, Any], unsupported: dict[str, Any], schema: dict[str, Any]) -> None:
    """Set the type, unless an enumeration implies it, and close an object."""
    kind = schema.get("type", "object" if "properties" in schema else None)
    if kind is not None and "enum" not in rewritten and "const" not in rewritten:
        rewritten["type"] = kind
    if kind == "object":
        rewritten["additionalProperties"] = False
        if schema.get("additionalProperties"):
            unsupported["additionalProperties"] = schema["additionalProperties"]


def _is_supported(name: str, value: Any) -> bool:
    if name == "format":
        return isinstance(value, str) and value in _FORMATS
    if name == "minItems":
        return value in (0, 1)
    if name in ("enum", "const"):
        values = value if name == "enum" and isinstance(value, list) else [value]
        return not any(isinstance(entry, dict | list) for entry in values)
    return name in _UNCHANGED


def _split_types(schema: dict[str, Any], kinds: list[Any], path: str) -> dict[str, Any]:
    """Rewrite a schema with a list of types to alternatives with one type each.

    OpenAI's strict mode writes `{"type": ["string", "null"]}` for an optional value. Beside an enumeration the types
    are redundant and are removed. If there is one type beside null, all keywords go to it. If there are several, each
    gets the keywords that apply to it, so no keyword's schemas occur twice. Raises Failure (400) for unknown types.
    """
    if not kinds or not all(isinstance(kind, str) and kind in _KEYWORDS_OF for kind in kinds):
        raise invalid(f"{path}.type", f"must be one of {', '.join(_KEYWORDS_OF)}, or a list of them")
    rest = {name: value for name, value in schema.items() if name != "type"}
    if "enum" in schema:
        return rest
    shared = {name: rest.pop(name) for name in ("title", "description", "default", *_DEFINITIONS) if name in rest}
    variants: dict[str, dict[str, Any]] = {kind: {"type": kind} for kind in kinds}
    described = [kind for kind in variants if kind != "null"] or ["null"]
    if len(described) > 1:
        shared |= {name: rest.pop(name) for name in [*rest] if not _is_type_specific(name)}
    for name, value in rest.items():
        matching = [kind for kind in described if name in _KEYWORDS_OF[kind]] if len(described) > 1 else []
        for kind in matching or described[:1]:
            variants[kind][name] = value
    return {**_move_to_all_of(shared), "anyOf": list(variants.values())}


def _is_type_specific(name: str) -> bool:
    return any(name in keywords for keywords in _KEYWORDS_OF.values())


def _move_to_all_of(shared: dict[str, Any]) -> dict[str, Any]:
    """Move alternatives and references into `allOf`, to leave `anyOf` free for the types."""
    moved = [{name: shared.pop(name)} for name in ("$ref", *_ALTERNATIVES) if name in shared]
    conditions = shared.get("allOf", [])
    return {**shared, "allOf": [*conditions, *moved]} if moved and isinstance(conditions, list) else shared


# -- tools that are not strict -----------------------------------------------------------------------------------------


def object_schema(schema: Mapping[str, Any], rewriter: SchemaRewriter) -> dict[str, Any]:
    """Rewrite the schema of an ordinary tool, which must describe an object. Raises Failure (400) for another type.

    Anthropic rejects a request with alternatives at the top level of a tool's schema. They become one object with the
    properties of all alternatives, and the keyword is reported as lost.
    """
    schema = _with_target(in_current_draft(schema))
    kind = schema.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise invalid(rewriter.path, "must describe an object")
    combined = [name for name in _COMBINED if isinstance(schema.get(name), list)]
    if not combined:
        return {**schema, "type": "object"} if "type" in schema else {"type": "object", **schema}
    rewritten = {name: value for name, value in schema.items() if name not in (*combined, "description")}
    properties = _Properties()
    properties.add(schema.get("properties"))
    required = required_names(schema)
    unsupported = {}
    for name in combined:
        variants = _resolved(schema[name], schema, rewriter)
        for variant in variants:
            properties.add(variant.get("properties"))
        required_of_each = [required_names(variant) for variant in variants]
        if name == "allOf":
            required |= set().union(*required_of_each)
        else:
            required |= set.intersection(*required_of_each) if required_of_each else set()
            unsupported[name] = schema[name]
    rewriter.lost.update(unsupported)
    rewritten |= {"type": "object", "properties": properties.merged(), "required": sorted(required)}
    describe(rewritten, schema.get("description"), unsupported, rewriter.path)
    return rewritten


def _with_target(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema that is nothing but a reference with the members of what it refers to.

    References within it stay right, because everything else stays in its place.
    """
    if "$ref" not in schema:
        return schema
    try:
        target = resolve_pointer(schema, schema["$ref"])
    except UnresolvableReferenceError:
        return schema
    others = {name: value for name, value in schema.items() if name != "$ref"}
    if not isinstance(target, Mapping) or "$ref" in target:
        return schema
    return {**target, **others}


def _resolved(variants: list[Any], root: Mapping[str, Any], rewriter: SchemaRewriter) -> Iterable[dict[str, Any]]:
    """Resolve references among the variants, and return each distinct schema once."""
    resolved: dict[int, dict[str, Any]] = {}
    for variant in variants:
        rewriter.enter(0)
        schema = _dereferenced(variant, root, rewriter.path) if isinstance(variant, dict) else {}
        resolved[id(schema) if schema else 0] = schema
    return resolved.values()


def _dereferenced(schema: dict[str, Any], root: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the target of a local reference, or the schema itself if it is not one. Raises Failure (400)."""
    ref = schema.get("$ref")
    if isinstance(ref, str) and ref.startswith(("#/$defs/", "#/definitions/")):
        _, section, name = ref.split("/", 2)
        definitions = root.get(section, {})
        if not isinstance(definitions, dict):
            raise invalid(f"{path}.{section}", "must be an object of JSON Schemas")
        target = definitions.get(name)
        return target if isinstance(target, dict) else {}
    return schema


def required_names(schema: Mapping[str, Any]) -> set[str]:
    """Return the properties that an object must have."""
    names = schema.get("required")
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


class _Properties:
    """The union of the properties of several objects. A property with different schemas may match any of them."""

    def __init__(self) -> None:
        self._by_name: dict[str, dict[bytes, Any]] = {}  # each distinct schema of a property, by its JSON

    def add(self, properties: Any) -> None:
        for name, schema in properties.items() if isinstance(properties, dict) else ():
            schemas = self._by_name.setdefault(name, {})
            for alternative in _alternatives(schema):
                schemas.setdefault(msgspec.json.encode(alternative), alternative)

    def merged(self) -> dict[str, Any]:
        return {name: _any_of(list(schemas.values())) for name, schemas in self._by_name.items()}


def _alternatives(schema: Any) -> list[Any]:
    """Return the alternatives of a schema that has only `anyOf`, or else the schema itself."""
    if isinstance(schema, dict) and schema.keys() == {"anyOf"} and isinstance(schema["anyOf"], list):
        return schema["anyOf"]
    return [schema]


def _any_of(schemas: list[Any]) -> Any:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
