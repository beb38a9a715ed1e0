"""`response_format` as every codec reads it."""

from typing import Any, NamedTuple

from nulpoint.protocols.openai.chat import RequestFields, invalid, json_text, object_of, optional_text

SCHEMA = "response_format.json_schema.schema"
_OF_SCHEMA = frozenset({"name", "description", "schema", "strict"})
JSON_ONLY = "Answer with one JSON value and nothing else: no words around it and no code fence."


class ResponseFormat(NamedTuple):
    """JSON, of a schema where there is one. `given` is `json_schema` as the caller wrote it, less what is unknown."""

    json_schema: dict[str, Any]
    schema: dict[str, Any] | None

    def described_schema(self) -> dict[str, Any] | None:
        """The schema with the description that OpenAI has beside it."""
        description = self.json_schema.get("description")
        if self.schema is None or not description:
            return self.schema
        return {"description": description, **self.schema}

    def as_instruction(self) -> str:
        """An instruction, for models that cannot be held to it."""
        if self.schema is None:
            return JSON_ONLY
        return f"{JSON_ONLY} It must follow this JSON Schema:\n{json_text(self.described_schema())}"


def read_format(fields: RequestFields) -> ResponseFormat | None:
    """Takes `response_format`; None for text. Raises Failure (400)."""
    wanted = fields.pop("response_format")
    if wanted is None:
        return None
    if not isinstance(wanted, dict) or wanted.get("type") not in ("text", "json_object", "json_schema"):
        raise invalid("response_format", "must be of type text, json_object or json_schema")
    fields.report_other_members(wanted, {"type", "json_schema"}, "response_format")
    if wanted["type"] == "text":
        return None
    given = wanted.get("json_schema") if wanted["type"] == "json_schema" else None
    if given is None:
        return ResponseFormat({}, None)
    given = object_of(given, "response_format.json_schema")
    fields.report_other_members(given, _OF_SCHEMA, "response_format.json_schema")
    schema = given.get("schema")
    if schema is not None and not isinstance(schema, dict):
        raise invalid(SCHEMA, "must be a JSON Schema")
    for name in ("name", "description"):
        optional_text(given.get(name), f"response_format.json_schema.{name}")
    return ResponseFormat(
        {name: value for name, value in given.items() if name in _OF_SCHEMA and value is not None}, schema
    )
