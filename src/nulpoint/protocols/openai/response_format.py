"""Reads `response_format` for the codecs."""

from typing import Any, NamedTuple

from nulpoint.protocols.openai.chat import RequestFields, invalid, json_text, object_of, optional_text

SCHEMA = "response_format.json_schema.schema"
_SCHEMA_MEMBERS = frozenset({"name", "description", "schema", "strict"})
_TYPES = ("text", "json_object", "json_schema")
JSON_ONLY = "Answer with one JSON value and nothing else: no words around it and no code fence."


class ResponseFormat(NamedTuple):
    """A request for JSON output, with a schema if there is one. `json_schema` has the known members of the client's."""

    json_schema: dict[str, Any]
    schema: dict[str, Any] | None

    def described_schema(self) -> dict[str, Any] | None:
        """Return the schema with its description, which in OpenAI's API is a separate member."""
        description = self.json_schema.get("description")
        if self.schema is None or not description:
            return self.schema
        return {"description": description, **self.schema}

    def as_instruction(self) -> str:
        """Return an instruction in words, for models that cannot enforce a format."""
        if self.schema is None:
            return JSON_ONLY
        return f"{JSON_ONLY} It must follow this JSON Schema:\n{json_text(self.described_schema())}"


def read_format(fields: RequestFields) -> ResponseFormat | None:
    """Take `response_format` and return it, or None for text. Raises Failure (400)."""
    response_format = fields.pop("response_format")
    if response_format is None:
        return None
    if not isinstance(response_format, dict) or response_format.get("type") not in _TYPES:
        raise invalid("response_format", "must be of type text, json_object or json_schema")
    fields.report_other_members(response_format, {"type", "json_schema"}, "response_format")
    if response_format["type"] == "text":
        return None
    json_schema = response_format.get("json_schema") if response_format["type"] == "json_schema" else None
    if json_schema is None:
        return ResponseFormat({}, None)
    json_schema = object_of(json_schema, "response_format.json_schema")
    fields.report_other_members(json_schema, _SCHEMA_MEMBERS, "response_format.json_schema")
    schema = json_schema.get("schema")
    if schema is not None and not isinstance(schema, dict):
        raise invalid(SCHEMA, "must be a JSON Schema")
    for name in ("name", "description"):
        optional_text(json_schema.get(name), f"response_format.json_schema.{name}")
    known = {name: value for name, value in json_schema.items() if name in _SCHEMA_MEMBERS and value is not None}
    return ResponseFormat(known, schema)
