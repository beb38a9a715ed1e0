"""A value that a JSON Schema accepts, always the same one for the same schema."""

from typing import Any

_DEPTH = 6  # of a schema that refers to itself
_FORMATS = {
    "date": "2026-11-25",
    "date-time": "2026-11-25T12:00:00Z",
    "time": "12:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example(schema: Any, definitions: Any = None, depth: int = 0) -> Any:
    """A schema's own `default` or first of `examples` goes before what is made up here; `pattern` is not looked at."""
    if not isinstance(schema, dict):
        return {}
    definitions = definitions or schema.get("$defs") or schema.get("definitions") or {}
    if "$ref" in schema:
        return example(definitions.get(str(schema["$ref"]).rpartition("/")[2]), definitions, depth + 1)
    for given in (schema.get("examples"), schema.get("enum")):
        if given:
            return given[0]
    for fixed in ("default", "example", "const"):
        if schema.get(fixed) is not None:
            return schema[fixed]
    if schema.get("allOf"):
        return _merged([example(one, definitions, depth) for one in schema["allOf"]])
    for union in ("anyOf", "oneOf"):
        if schema.get(union):
            simplest = schema[union][-1 if depth > _DEPTH else 0]
            return example(simplest, definitions, depth)
    return _by_type(schema, definitions, depth)


def _merged(values: list[Any]) -> Any:
    if all(isinstance(value, dict) for value in values):
        return {name: member for value in values for name, member in value.items()}
    return values[0]


def _by_type(schema: dict[str, Any], definitions: Any, depth: int) -> Any:
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = kind[0] if kind else "object"
    match str(kind).lower():  # Gemini writes types in capitals
        case "object":
            return _object(schema, definitions, depth)
        case "array":
            return _array(schema, definitions, depth)
        case "string":
            return _string(schema)
        case "integer":
            return _number(schema, 1)
        case "number":
            return _number(schema, 1.5)
        case "boolean":
            return True
    return None


def _object(schema: dict[str, Any], definitions: Any, depth: int) -> dict[str, Any]:
    given, required = schema.get("properties"), schema.get("required")
    members = given if isinstance(given, dict) else {}
    wanted = required if isinstance(required, list) and required else [] if depth > _DEPTH else list(members)
    return {name: example(members.get(name), definitions, depth + 1) for name in wanted}


def _array(schema: dict[str, Any], definitions: Any, depth: int) -> list[Any]:
    if schema.get("prefixItems"):
        return [example(item, definitions, depth + 1) for item in schema["prefixItems"]]
    count = schema.get("minItems", 0 if depth > _DEPTH else 1)
    return [example(schema.get("items"), definitions, depth + 1) for _ in range(int(count))]


def _string(schema: dict[str, Any]) -> str:
    text = _FORMATS.get(str(schema.get("format")), "text").ljust(int(schema.get("minLength", 0)), "x")
    return text[: int(schema["maxLength"])] if "maxLength" in schema else text


def _number(schema: dict[str, Any], usual: float) -> Any:
    if "exclusiveMinimum" in schema:
        usual = max(usual, schema["exclusiveMinimum"] + 1)
    usual = max(usual, schema.get("minimum", usual))
    if "multipleOf" in schema:
        usual = -(-usual // schema["multipleOf"]) * schema["multipleOf"]
    return min(usual, schema.get("maximum", usual))
