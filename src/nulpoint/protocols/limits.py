"""How much one request may have the codecs make. What only passes through the gateway is not counted here."""

from typing import NamedTuple

from nulpoint.formats.json_nodes import DEFAULT_MAX_JSON_NODES


class TranslationLimits(NamedTuple):
    """The most a translated request may hold. Each bound is a setting; the defaults here are those of the settings.

    Fields:
        messages: MAX_MESSAGES, the messages of a conversation.
        parts: MAX_CONTENT_PARTS, content parts and tool calls of all messages together, or texts to embed.
        tools: MAX_TOOLS, tools and legacy functions together.
        schema_nodes: MAX_SCHEMA_NODES, the schemas within one JSON Schema as it is sent.
        json_nodes: MAX_JSON_NODES, names and values of a JSON text within the request, such as a call's arguments.
    """

    messages: int = 100_000
    parts: int = 100_000
    tools: int = 4096
    schema_nodes: int = 20_000
    json_nodes: int = DEFAULT_MAX_JSON_NODES


DEFAULT_LIMITS = TranslationLimits()
