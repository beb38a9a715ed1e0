"""A JSON Schema for an answer as Gemini takes it.

Facts: the `google-genai` SDK's description of `response_json_schema`, which names the keywords it knows and says that
nothing may stand beside `$ref`; recorded traffic. A tool's parameters take any JSON Schema.
"""

from typing import Any

from nulpoint.protocols.json_schema import SchemaRewriter, describe, rewrite_inner_schemas, wrap_lone_reference

_KNOWN = frozenset(
    {
        "$id", "$ref", "$anchor", "type", "format", "title", "minItems", "maxItems", "minimum", "maximum", "required",
        "propertyOrdering", "default", "description",
    }
)  # fmt: skip
_HOLD_SCHEMAS = frozenset(
    {"$defs", "items", "prefixItems", "anyOf", "oneOf", "properties", "additionalProperties"}
)  # fmt: skip


def response_schema(schema: Any, rewriter: SchemaRewriter, depth: int = 0) -> Any:
    """The schema in keywords Gemini knows. Raises Failure (400) for one that is none or is too large."""
    rewriter.enter(depth)
    if not isinstance(schema, dict):
        return schema
    schema = wrap_lone_reference(schema)
    if isinstance(schema.get("allOf"), list) and len(schema["allOf"]) == 1 and "anyOf" not in schema:
        schema = {"anyOf" if name == "allOf" else name: value for name, value in schema.items()}
    made: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _HOLD_SCHEMAS:
            made[name] = rewrite_inner_schemas(
                name, value, rewriter.path, lambda one: response_schema(one, rewriter, depth + 1)
            )
        elif name in ("enum", "const"):
            _enumerate(made, told, name, value)
        elif name in _KNOWN:
            made[name] = value
        elif name != "$schema":
            told[name] = value
    rewriter.lost.update(told)
    describe(made, schema.get("description"), told, rewriter.path)
    return made


def _enumerate(made: dict[str, Any], told: dict[str, Any], name: str, value: Any) -> None:
    """Texts and numbers can be enumerated; a constant is one of one."""
    values = value if name == "enum" and isinstance(value, list) else [value]
    if all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in values):
        made["enum"] = values
    else:
        told[name] = value
