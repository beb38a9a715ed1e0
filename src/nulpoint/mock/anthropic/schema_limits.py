"""The limits of Anthropic's structured outputs, for the schemas of `output_config.format` and of strict tools.

Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs (read 2026-11), and error messages that
users have reported.
"""

from collections.abc import Iterator
from typing import Any

MAX_STRICT_TOOLS, MAX_OPTIONAL, MAX_UNIONS = 20, 24, 16
_UNSUPPORTED_KEYWORDS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems",
    "uniqueItems",
)  # fmt: skip
_FORMATS = frozenset(("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"))
_MAPS = ("properties", "$defs", "definitions")  # keywords whose value maps names to schemas
_DATA = ("enum", "const", "default", "examples")  # keywords whose value is no schema


def schema_problems(path: str, schema: Any) -> Iterator[str]:
    """Yield what a schema has that structured outputs do not support."""
    for inner in subschemas(schema):
        yield from _keyword_problems(path, inner)
    if is_recursive(schema):
        yield "Circular reference detected in schema definitions"


def complexity_problems(schemas: list[Any], strict_tools: int) -> Iterator[str]:
    """Yield the limits that all schemas of one request exceed together."""
    if strict_tools > MAX_STRICT_TOOLS:
        text = "The maximum number of strict tools supported is"
        yield f"Too many strict tools ({strict_tools}). {text} {MAX_STRICT_TOOLS}."
    optional = sum(_optional_count(inner) for schema in schemas for inner in subschemas(schema))
    if optional > MAX_OPTIONAL:
        yield (
            f"Schemas contains too many optional parameters ({optional}), which would make grammar compilation"
            f" inefficient. Reduce the number of optional parameters in your tool schemas (limit: {MAX_OPTIONAL})."
        )
    unions = sum(_is_union(inner) for schema in schemas for inner in subschemas(schema))
    if unions > MAX_UNIONS:
        yield (
            f"Schemas contains too many parameters with union types ({unions} parameters with type arrays or anyOf)."
            f" This would cause exponential compilation cost. Reduce the number of nullable or union-typed parameters"
            f" (limit: {MAX_UNIONS} parameters with unions)."
        )


def subschemas(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield a schema and all schemas inside it."""
    if isinstance(schema, list):
        for item in schema:
            yield from subschemas(item)
    if not isinstance(schema, dict):
        return
    yield schema
    for name, inner in schema.items():
        if name in _MAPS and isinstance(inner, dict):
            yield from subschemas(list(inner.values()))
        elif name not in _DATA:
            yield from subschemas(inner)


def is_recursive(schema: Any) -> bool:
    """Return whether a `$ref` leads back to a schema that contains it."""
    return _leads_back(schema, schema, {"#": False})


def _leads_back(value: Any, root: Any, done: dict[str, bool]) -> bool:
    """Return whether a reference inside a value leads back.

    `done` has the references that have been met, and says which of them have been followed to the end.
    """
    if isinstance(value, list):
        return any(_leads_back(item, root, done) for item in value)
    if not isinstance(value, dict):
        return False
    reference = value.get("$ref")
    if isinstance(reference, str):
        if done.get(reference) is False:
            return True
        if reference not in done:
            done[reference] = False
            if _leads_back(_resolve(reference, root), root, done):
                return True
            done[reference] = True
    inner = [member for name, member in value.items() if name not in ("$defs", "definitions", *_DATA)]
    return any(_leads_back(member, root, done) for member in inner)


def _resolve(reference: str, root: Any) -> Any:
    for step in reference.removeprefix("#").strip("/").split("/"):
        root = root.get(step) if isinstance(root, dict) else None
    return root


def _keyword_problems(path: str, schema: dict[str, Any]) -> Iterator[str]:
    kind = schema.get("type")
    if kind == "object" and schema.get("additionalProperties") is not False:
        yield f"{path}.schema: For 'object' type, 'additionalProperties' must be explicitly set to false"
    for keyword in _UNSUPPORTED_KEYWORDS:
        if keyword in schema and isinstance(kind, str):
            yield f"{path}.schema: For '{kind}' type, property '{keyword}' is not supported"
    if schema.get("minItems", 0) not in (0, 1):
        yield f"{path}.schema: For 'array' type, 'minItems' values other than 0 or 1 are not supported"
    if kind == "string" and "format" in schema and str(schema["format"]) not in _FORMATS:
        yield f"{path}.schema: For 'string' type, 'format' value '{schema['format']}' is not supported"


def _optional_count(schema: dict[str, Any]) -> int:
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict):
        return 0
    return len(properties.keys() - set(required if isinstance(required, list) else ()))


def _is_union(schema: dict[str, Any]) -> bool:
    return isinstance(schema.get("type"), list) or isinstance(schema.get("anyOf"), list)
