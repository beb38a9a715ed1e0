"""Rewriting a JSON Schema for a provider that knows a part of it: what it does not know is told in the description."""

from collections.abc import Callable
from typing import Any

from nulpoint.protocols.openai.chat import RequestFields, invalid, json_text

_DEEPEST = 64
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_MAPS = frozenset({"properties", "$defs", "definitions"})
_ONES = frozenset({"items", "additionalProperties"})


class Rewriting:
    """One schema that is being rewritten.

    `where` names it to the caller, `lost` holds the keywords that are only told in descriptions, and `most_nodes` is
    how many schemas there may be in what is made of it.
    """

    def __init__(self, where: str, most_nodes: int) -> None:
        self.where = where
        self.lost: set[str] = set()
        self._most_nodes = most_nodes
        self._nodes = 0

    def enter(self, depth: int) -> None:
        """Begin one of the schemas. Raises Failure (400) where they are too many, or nested so deeply that reading
        them could fail."""
        self._nodes += 1
        if depth > _DEEPEST:
            raise invalid(self.where, f"is nested more than {_DEEPEST} levels deep")
        if self._nodes > self._most_nodes:
            text = (
                f"makes a schema of more than {self._most_nodes} nodes, which is not translated; "
                "make it smaller (the gateway's operator can raise MAX_SCHEMA_NODES)"
            )
            raise invalid(self.where, text, code="schema_too_large")

    def report(self, members: RequestFields) -> None:
        """Note the keywords that were lost."""
        for keyword in sorted(self.lost):
            members.report_dropped(f"{self.where}.{keyword}")


def lone_reference(schema: dict[str, Any]) -> dict[str, Any]:
    """With nothing beside a `$ref` but definitions: what stands there moves around the reference."""
    beside = {name: value for name, value in schema.items() if name != "$ref"}
    if "$ref" not in schema or beside.keys() <= {"$defs", "definitions"} or "anyOf" in beside:
        return schema
    return {**beside, "anyOf": [{"$ref": schema["$ref"]}]}


def holds_schemas(name: str) -> bool:
    """Whether a keyword of that name holds schemas that are rewritten."""
    return name in _LISTS or name in _MAPS or name in _ONES


def inner_schemas(name: str, value: Any, where: str, rewrite: Callable[[Any], Any]) -> Any:
    """The value of a keyword that holds schemas, each rewritten. Raises Failure (400) where it cannot hold any."""
    if name in _LISTS:
        if not isinstance(value, list):
            raise invalid(f"{where}.{name}", "must be a list of JSON Schemas")
        return [rewrite(one) for one in value]
    if name in _MAPS:
        if not isinstance(value, dict):
            raise invalid(f"{where}.{name}", "must be an object of JSON Schemas")
        return {key: rewrite(one) for key, one in value.items()}
    return rewrite(value)


def describe(schema: dict[str, Any], description: Any, told: dict[str, Any], where: str) -> None:
    """Put the description, and as JSON the keywords that can only be told, into the schema."""
    if description is not None and not isinstance(description, str):
        raise invalid(f"{where}.description", "must be text")
    notes = json_text(told) if told else ""
    text = "\n\n".join(piece for piece in (description, notes) if piece)
    if text:
        schema["description"] = text
