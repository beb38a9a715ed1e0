"""Rewrites a JSON Schema for a provider that supports only a part of JSON Schema.

Keywords that the provider does not support move into the description, where the model can read them.
"""

from collections.abc import Callable
from typing import Any

from nulpoint.protocols.openai.chat import RequestFields, invalid, json_text

_MAX_DEPTH = 64
_LISTS_OF_SCHEMAS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_MAPS_OF_SCHEMAS = frozenset({"properties", "$defs", "definitions"})
_SINGLE_SCHEMAS = frozenset({"items", "additionalProperties"})


class SchemaRewriter:
    """The state of rewriting one schema.

    `path` names the schema in error messages, `lost` collects the keywords that are only mentioned in descriptions, and
    `max_nodes` is how many schemas the result may contain.
    """

    def __init__(self, path: str, max_nodes: int) -> None:
        self.path = path
        self.lost: set[str] = set()
        self._max_nodes = max_nodes
        self._nodes = 0

    def enter(self, depth: int) -> None:
        """Count one schema at this depth before it is rewritten.

        Raises Failure (400) if there are too many schemas, or if they nest so deeply that reading them could fail.
        """
        self._nodes += 1
        if depth > _MAX_DEPTH:
            raise invalid(self.path, f"is nested more than {_MAX_DEPTH} levels deep")
        if self._nodes > self._max_nodes:
            text = (
                f"needs a schema of more than {self._max_nodes} nodes, which is not translated; "
                "make it smaller (the gateway's operator can raise MAX_SCHEMA_NODES)"
            )
            raise invalid(self.path, text, code="schema_too_large")

    def report(self, fields: RequestFields) -> None:
        """Report the lost keywords as dropped."""
        for keyword in sorted(self.lost):
            fields.report_dropped(f"{self.path}.{keyword}")


def wrap_lone_reference(schema: dict[str, Any]) -> dict[str, Any]:
    """Move a `$ref` that has other keywords beside it into an `anyOf`.

    Some providers accept a `$ref` only alone, or with nothing but definitions beside it.
    """
    siblings = {name: value for name, value in schema.items() if name != "$ref"}
    if "$ref" not in schema or siblings.keys() <= {"$defs", "definitions"} or "anyOf" in siblings:
        return schema
    return {**siblings, "anyOf": [{"$ref": schema["$ref"]}]}


def contains_schemas(keyword: str) -> bool:
    """Return whether the value of this keyword contains schemas that are to be rewritten."""
    return keyword in _LISTS_OF_SCHEMAS or keyword in _MAPS_OF_SCHEMAS or keyword in _SINGLE_SCHEMAS


def rewrite_inner_schemas(keyword: str, value: Any, path: str, rewrite: Callable[[Any], Any]) -> Any:
    """Rewrite each schema in the value of a keyword. Raises Failure (400) if the value cannot contain schemas."""
    if keyword in _LISTS_OF_SCHEMAS:
        if not isinstance(value, list):
            raise invalid(f"{path}.{keyword}", "must be a list of JSON Schemas")
        return [rewrite(schema) for schema in value]
    if keyword in _MAPS_OF_SCHEMAS:
        if not isinstance(value, dict):
            raise invalid(f"{path}.{keyword}", "must be an object of JSON Schemas")
        return {name: rewrite(schema) for name, schema in value.items()}
    return rewrite(value)


def describe(schema: dict[str, Any], description: Any, unsupported: dict[str, Any], path: str) -> None:
    """Set the description of a schema, followed by the unsupported keywords as JSON. Raises Failure (400)."""
    if description is not None and not isinstance(description, str):
        raise invalid(f"{path}.description", "must be text")
    notes = json_text(unsupported) if unsupported else ""
    text = "\n\n".join(piece for piece in (description, notes) if piece)
    if text:
        schema["description"] = text
