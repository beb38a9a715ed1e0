"""Translates a JSON Schema for a response to the keywords that Gemini supports.

Sources: the `google-genai` SDK's description of `response_json_schema`, which lists these keywords and says that no
other keyword may be beside `$ref`, and recorded traffic. The parameters of tools may be any JSON Schema.
"""

from typing import Any

from nulpoint.protocols.json_schema import SchemaRewriter, describe, rewrite_inner_schemas, wrap_lone_reference

_KNOWN = frozenset(
    {
        "$id", "$ref", "$anchor", "type", "format", "title", "minItems", "maxItems", "minimum", "maximum", "required",
        "propertyOrdering", "default", "description",
    }
)  # fmt: skip
_WITH_INNER_SCHEMAS = frozenset(
    {"$defs", "items", "prefixItems", "anyOf", "oneOf", "properties", "additionalProperties"}
)


def response_schema(schema: Any, rewriter: SchemaRewriter, depth: int = 0) -> Any:
    """Return the schema in Gemini's keywords. Other keywords become part of its description.

    Raises Failure (400) for a schema that is malformed or too large.
    """
    rewriter.enter(depth)
    if not isinstance(schema, dict):
        return schema
    schema = wrap_lone_reference(schema)
    if isinstance(schema.get("allOf"), list) and len(schema["allOf"]) == 1 and "anyOf" not in schema:
        schema = {"anyOf" if name == "allOf" else name: value for name, value in schema.items()}
    translated: dict[str, Any] = {}
    described: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _WITH_INNER_SCHEMAS:
            translated[name] = rewrite_inner_schemas(
                name, value, rewriter.path, lambda inner: response_schema(inner, rewriter, depth + 1)
            )
        elif name in ("enum", "const"):
            _enumerate(translated, described, name, value)
        elif name in _KNOWN:
            translated[name] = value
        elif name != "$schema":
            described[name] = value
    rewriter.lost.update(described)
    describe(translated, schema.get("description"), described, rewriter.path)
    return translated


def _enumerate(translated: dict[str, Any], described: dict[str, Any], name: str, value: Any) -> None:
    """Translate `enum`, which may only contain texts and numbers, and `const`, which becomes an `enum` of one value."""
    values = value if name == "enum" and isinstance(value, list) else [value]
    if all(isinstance(entry, str | int | float) and not isinstance(entry, bool) for entry in values):
        translated["enum"] = values
    else:
        described[name] = value
