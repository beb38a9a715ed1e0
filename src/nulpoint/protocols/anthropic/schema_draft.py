"""Rewrites keywords of older drafts of JSON Schema to draft 2020-12, in which Anthropic checks the schemas of tools.

Many tools have schemas of draft 4 or 7. Most keywords mean the same in all drafts; the others make Anthropic reject the
whole request. Source: the release notes of the drafts at json-schema.org.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

_OLD_KEYWORDS = re.compile(rb'"(?:exclusiveM(?:in|ax)imum|required)":[tf]|"items":\[|"type":"any"')
_BOUNDS = (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum"))
_MAPS = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SINGLE = frozenset(
    {
        "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames", "unevaluatedItems",
        "unevaluatedProperties",
    }
)  # fmt: skip


def in_current_draft(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema with the keywords of draft 2020-12. A schema without older ones is returned as it is."""
    return _rewritten(schema) if _OLD_KEYWORDS.search(msgspec.json.encode(schema)) else schema


def _rewritten(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    current = {keyword: _rewritten_value(keyword, value) for keyword, value in schema.items()}
    for exclusive, inclusive in _BOUNDS:
        if isinstance(current.get(exclusive), bool):
            is_exclusive = current.pop(exclusive)
            if is_exclusive and inclusive in current:
                current[exclusive] = current.pop(inclusive)
    if isinstance(current.get("items"), list):
        current["prefixItems"] = current.pop("items")
        if "additionalItems" in current:
            current["items"] = current.pop("additionalItems")
    if current.get("type") == "any":
        del current["type"]
    if isinstance(current.get("required"), bool):
        del current["required"]  # a property of draft 3, which its object has listed
    _list_required_properties(current, schema)
    return current


def _rewritten_value(keyword: str, value: Any) -> Any:
    if keyword in _MAPS and isinstance(value, Mapping):
        return {name: _rewritten(inner) for name, inner in value.items()}
    if (keyword in _LISTS or keyword == "items") and isinstance(value, list):
        return [_rewritten(inner) for inner in value]
    return _rewritten(value) if keyword in _SINGLE else value


def _list_required_properties(current: dict[str, Any], schema: Mapping[str, Any]) -> None:
    """Add to `required` of an object the properties that say it themselves, as in draft 3."""
    properties, required = schema.get("properties"), current.get("required", [])
    if isinstance(properties, Mapping) and isinstance(required, list):
        more = [
            name for name, inner in properties.items() if isinstance(inner, Mapping) and inner.get("required") is True
        ]
        if more:
            current["required"] = [*required, *[name for name in more if name not in required]]
