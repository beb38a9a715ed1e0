"""Translates a JSON Schema for a response to the keywords that Gemini supports.

Sources: the `google-genai` SDK's description of `response_json_schema`, which lists these keywords and says that no
other keyword may be beside `$ref`, and recorded traffic. The parameters of tools may be any JSON Schema.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from nulpoint.protocols.gemini.schema_cycles import without_required_cycles
from nulpoint.protocols.json_schema import SchemaRewriter, describe, rewrite_inner_schemas, wrap_lone_reference
from nulpoint.protocols.openai.chat import RequestFields, json_text
from nulpoint.protocols.schema_references import UnresolvableReferenceError, with_plain_references

_KNOWN = frozenset(
    {
        "$id", "$ref", "$anchor", "type", "format", "title", "minItems", "maxItems", "minimum", "maximum", "required",
        "propertyOrdering", "default", "description",
    }
)  # fmt: skip
_WITH_INNER_SCHEMAS = frozenset(
    {"$defs", "items", "prefixItems", "anyOf", "oneOf", "properties", "additionalProperties"}
)
_NULL = {"type": "null"}
_BOOLEAN = {"type": "boolean"}


def enforceable_schema(schema: Mapping[str, Any], path: str, fields: RequestFields) -> dict[str, Any] | None:
    """Return the schema as Gemini can enforce it, or None if it refers to something that is not in it.

    What cannot be enforced is reported as dropped. Raises Failure (400) for a schema that is malformed or too large.
    """
    rewriter = SchemaRewriter(path, fields.limits.schema_nodes)
    plain = dict(schema)
    if "$ref" in (text := json_text(plain)) or '"definitions"' in text:
        references = SchemaRewriter(path, fields.limits.schema_nodes)
        try:
            plain = with_plain_references(plain, references, may_recur=True)
        except UnresolvableReferenceError:
            return None
        plain = without_required_cycles(plain, rewriter)
    rewritten: dict[str, Any] = response_schema(plain, rewriter, 0)
    rewriter.report(fields)
    return rewritten


def response_schema(schema: Any, rewriter: SchemaRewriter, depth: int = 0) -> Any:
    """Return a schema in Gemini's keywords. Other keywords become part of its description.

    Raises Failure (400) for a schema that is malformed or too large.
    """
    rewriter.enter(depth)
    if not isinstance(schema, dict):
        return schema
    schema = wrap_lone_reference(schema)
    if isinstance(schema.get("allOf"), list) and len(schema["allOf"]) == 1 and "anyOf" not in schema:
        schema = {"anyOf" if name == "allOf" else name: value for name, value in schema.items()}
    schema = _with_values(_with_null(schema))
    translated: dict[str, Any] = {}
    described: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _WITH_INNER_SCHEMAS:
            translated[name] = rewrite_inner_schemas(
                name, value, rewriter.path, lambda inner: response_schema(inner, rewriter, depth + 1)
            )
        elif name == "enum" and _are_known(value):
            translated["enum"] = value
        elif name in _KNOWN:
            translated[name] = value
        elif name != "$schema":
            described[name] = value
    rewriter.lost.update(described)
    describe(translated, schema.get("description"), described, rewriter.path)
    return translated


def _with_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without OpenAPI's `nullable`, which says that the value may also be null."""
    if not isinstance(schema.get("nullable"), bool):
        return schema
    others = {name: value for name, value in schema.items() if name != "nullable"}
    if not schema["nullable"]:
        return others
    if isinstance(others.get("enum"), list):
        others["enum"] = [*others["enum"], *([] if None in others["enum"] else [None])]
    if isinstance(others.get("anyOf"), list):
        return {**others, "anyOf": [*others["anyOf"], _NULL]}
    types = others.get("type")
    if isinstance(types, str | list):
        listed = [types] if isinstance(types, str) else types
        others["type"] = listed if "null" in listed else [*listed, "null"]
    return others


def _with_values(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose `const` or `enum` is in the form that Gemini supports, as far as it has one.

    An `enum` may only have texts and numbers. Null becomes an alternative, and so does a boolean if both are allowed.
    """
    name = "const" if "const" in schema else "enum"
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(values, list) or not values or ("const" in schema and "enum" in schema):
        return schema
    alternatives = _alternatives(values, schema.get("type"))
    if alternatives is None or (len(alternatives) > 1 and "anyOf" in schema):
        return schema
    others = {keyword: value for keyword, value in schema.items() if keyword != name}
    if len(alternatives) > 1:
        others.pop("type", None)
        return {**others, "anyOf": alternatives}
    (only,) = alternatives
    return {**only, **others, **({"type": only["type"]} if only in (_NULL, _BOOLEAN) else {})}


def _alternatives(values: list[Any], types: Any) -> list[dict[str, Any]] | None:
    """Return a schema for each type of the values, or None if there is none for some of them."""
    plain = [value for value in values if value is not None and not isinstance(value, bool)]
    booleans = {value for value in values if isinstance(value, bool)}
    if not _are_known(plain) or len(booleans) == 1:
        return None
    kinds: dict[str, list[Any]] = {}
    for value in plain:
        kinds.setdefault(_type_of(value, types), []).append(value)
    several = len(kinds) + bool(booleans) + (None in values) > 1
    alternatives = [{**({"type": kind} if several else {}), "enum": listed} for kind, listed in kinds.items()]
    return [*alternatives, *([_BOOLEAN] if booleans else []), *([_NULL] if None in values else [])]


def _type_of(value: Any, types: Any) -> str:
    if isinstance(value, str):
        return "string"
    declared = [types] if isinstance(types, str) else types if isinstance(types, Sequence) else ()
    return "integer" if isinstance(value, int) and "number" not in declared else "number"


def _are_known(values: Any) -> bool:
    """Return whether Gemini supports these values in an `enum`."""
    return isinstance(values, list) and all(
        isinstance(value, str | int | float) and not isinstance(value, bool) for value in values
    )
