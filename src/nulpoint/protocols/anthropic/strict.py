"""Decides which schemas Anthropic can enforce, and rewrites them for it.

Anthropic compiles the schemas of strict tools and of the output format of a request together, and rejects a request if
they are too complex, refer to themselves, or combine references by `allOf`. Sources: Anthropic's documentation of
structured outputs (read 2026-11).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from nulpoint.protocols.anthropic.schema import required_names, strict_schema
from nulpoint.protocols.anthropic.schema_draft import in_current_draft
from nulpoint.protocols.json_schema import SchemaRewriter
from nulpoint.protocols.openai.chat import RequestFields
from nulpoint.protocols.schema_references import UnresolvableReferenceError, with_plain_references

# The most that all schemas of a request may have together.
_MAX_STRICT_TOOLS = 20
_MAX_OPTIONAL_PROPERTIES = 24
_MAX_UNIONS = 16


class StrictSchemas:
    """Rewrites the schemas of one request that are to be enforced, as long as Anthropic can compile them together."""

    def __init__(self, fields: RequestFields) -> None:
        self._fields = fields
        self._tools = _MAX_STRICT_TOOLS
        self._optional = _MAX_OPTIONAL_PROPERTIES
        self._unions = _MAX_UNIONS

    def for_tool(self, schema: Mapping[str, Any], path: str) -> dict[str, Any] | None:
        """Return the schema of a strict tool as Anthropic accepts it, or None if it cannot be enforced.

        Raises Failure (400) if it is malformed or too large.
        """
        if self._tools == 0:
            return None
        rewritten = self.for_output(schema, path)
        if rewritten is not None:
            self._tools -= 1
        return rewritten

    def for_output(self, schema: Mapping[str, Any], path: str) -> dict[str, Any] | None:
        """Return the schema of the output format as `for_tool` does. Reports the keywords that are not enforced."""
        nodes = self._fields.limits.schema_nodes
        try:
            plain = with_plain_references(in_current_draft(schema), SchemaRewriter(path, nodes))
        except UnresolvableReferenceError:
            return None
        rewriter = SchemaRewriter(path, nodes)
        rewritten: dict[str, Any] = strict_schema(plain, rewriter)
        if not self._has_room_for(rewritten):
            return None
        rewriter.report(self._fields)
        return rewritten

    def _has_room_for(self, rewritten: dict[str, Any]) -> bool:
        """Subtract what a schema needs from the limits, if it fits into them."""
        optional = unions = 0
        for schema in _inner_schemas(rewritten):
            properties = schema.get("properties")
            if isinstance(properties, dict):
                optional += len(properties.keys() - required_names(schema))
            unions += len(schema.get("anyOf", ())) > 1
            if any(isinstance(entry, dict) and "$ref" in entry for entry in schema.get("allOf", ())):
                return False
        if optional > self._optional or unions > self._unions:
            return False
        self._optional -= optional
        self._unions -= unions
        return True


def _inner_schemas(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield a rewritten schema and all schemas in it."""
    waiting = [schema]
    while waiting:
        found = waiting.pop()
        if not isinstance(found, dict):
            continue
        yield found
        for keyword in ("properties", "$defs"):
            waiting += found.get(keyword, {}).values()
        for keyword in ("anyOf", "allOf"):
            waiting += found.get(keyword, ())
        waiting.append(found.get("items"))
