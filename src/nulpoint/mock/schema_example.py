"""Makes an example value for a JSON schema; the same schema always gives the same value."""

from typing import Any

_MAX_DEPTH = 6  # nesting at which a schema that refers to itself is cut off
_FORMAT_EXAMPLES = {
    "date": "2026-11-25",
    "date-time": "2026-11-25T12:00:00Z",
    "time": "12:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example(schema: Any, definitions: Any = None, depth: int = 0) -> Any:
    """Return a value that the schema accepts.

    The first of `examples` or `enum`, or the `default` is used if the schema has one. `pattern` is ignored.
    """
    if not isinstance(schema, dict):
        return {}
    definitions = definitions or schema.get("$defs") or schema.get("definitions") or {}
    if "$ref" in schema:
        return example(definitions.get(str(schema["$ref"]).rpartition("/")[2]), definitions, depth + 1)
    for values in (schema.get("examples"), schema.get("enum")):
        if values:
            return values[0]
    for keyword in ("default", "example", "const"):
        if schema.get(keyword) is not None:
            return schema[keyword]
    if schema.get("allOf"):
        return _merge_examples([example(branch, definitions, depth) for branch in schema["allOf"]])
    for keyword in ("anyOf", "oneOf"):
        if schema.get(keyword):
            branch = schema[keyword][-1 if depth > _MAX_DEPTH else 0]
            return example(branch, definitions, depth)
    return _example_by_type(schema, definitions, depth)


def _merge_examples(values: list[Any]) -> Any:
    if all(isinstance(value, dict) for value in values):
        return {name: member for value in values for name, member in value.items()}
    return values[0]


def _example_by_type(schema: dict[str, Any], definitions: Any, depth: int) -> Any:
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = kind[0] if kind else "object"
    match str(kind).lower():  # Gemini writes types in capitals
        case "object":
            return _example_object(schema, definitions, depth)
        case "array":
            return _example_array(schema, definitions, depth)
        case "string":
            return _example_string(schema)
        case "integer":
            return _example_number(schema, 1)
        case "number":
            return _example_number(schema, 1.5)
        case "boolean":
            return True
    return None


def _example_object(schema: dict[str, Any], definitions: Any, depth: int) -> dict[str, Any]:
    properties, required = schema.get("properties"), schema.get("required")
    members = properties if isinstance(properties, dict) else {}
    names = required if isinstance(required, list) and required else [] if depth > _MAX_DEPTH else list(members)
    return {name: example(members.get(name), definitions, depth + 1) for name in names}


def _example_array(schema: dict[str, Any], definitions: Any, depth: int) -> list[Any]:
    if schema.get("prefixItems"):
        return [example(item, definitions, depth + 1) for item in schema["prefixItems"]]
    count = schema.get("minItems", 0 if depth > _MAX_DEPTH else 1)
    return [example(schema.get("items"), definitions, depth + 1) for _ in range(int(count))]


def _example_string(schema: dict[str, Any]) -> str:
    text = _FORMAT_EXAMPLES.get(str(schema.get("format")), "text").ljust(int(schema.get("minLength", 0)), "x")
    return text[: int(schema["maxLength"])] if "maxLength" in schema else text


def _example_number(schema: dict[str, Any], default: float) -> Any:
    if "exclusiveMinimum" in schema:
        default = max(default, schema["exclusiveMinimum"] + 1)
    default = max(default, schema.get("minimum", default))
    if "multipleOf" in schema:
        default = -(-default // schema["multipleOf"]) * schema["multipleOf"]
    return min(default, schema.get("maximum", default))
