"""Reads `response_format`, and says it in words for models that cannot enforce a format."""

from typing import Any

from nulpoint.conversation.parts import Members
from nulpoint.conversation.request import OutputFormat
from nulpoint.protocols.openai.chat import invalid, json_text, object_of, optional_text

SCHEMA = "response_format.json_schema.schema"
_SCHEMA_MEMBERS = frozenset({"name", "description", "schema", "strict"})
_TYPES = ("text", "json_object", "json_schema")
JSON_ONLY = "Answer with one JSON value and nothing else: no words around it and no code fence."


def format_instruction(schema: Members | None) -> str:
    """Return an instruction in words to answer with JSON, for models that cannot enforce a format."""
    return JSON_ONLY if schema is None else f"{JSON_ONLY} It must follow this JSON Schema:\n{json_text(schema)}"


def read_output_format(request: dict[str, Any]) -> OutputFormat | None:
    """Return `response_format` as a value, or None if there is none. Raises Failure (400)."""
    response_format = request.get("response_format")
    if response_format is None:
        return None
    if not isinstance(response_format, dict) or response_format.get("type") not in _TYPES:
        raise invalid("response_format", "must be of type text, json_object or json_schema")
    kind = response_format["type"]
    extra = {name: value for name, value in response_format.items() if name != "type"}
    if kind != "json_schema" or extra.get("json_schema") is None:
        return OutputFormat(kind, "response_format", SCHEMA, extra=extra)
    json_schema = object_of(extra.pop("json_schema"), "response_format.json_schema")
    schema = json_schema.get("schema")
    if schema is not None and not isinstance(schema, dict):
        raise invalid(SCHEMA, "must be a JSON Schema")
    for member in ("name", "description"):
        optional_text(json_schema.get(member), f"response_format.json_schema.{member}")
    for member, value in json_schema.items():
        if member not in _SCHEMA_MEMBERS or value is None:
            extra[f"json_schema.{member}"] = value
    return OutputFormat(
        kind,
        "response_format",
        SCHEMA,
        schema,
        json_schema.get("name"),
        json_schema.get("description"),
        json_schema.get("strict"),
        extra,
    )
