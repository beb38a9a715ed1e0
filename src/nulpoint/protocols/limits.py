"""Defines the bounds on how much work one request may cause in the protocol translation.

Requests that pass through the gateway without translation are not counted here.
"""

from typing import NamedTuple

from nulpoint.formats.json_nodes import DEFAULT_MAX_JSON_NODES


class TranslationLimits(NamedTuple):
    """The largest sizes of a request that is translated. Each limit is a setting and has that setting's default.

    Fields:
        messages: MAX_MESSAGES, the number of messages in a conversation.
        parts: MAX_CONTENT_PARTS, the number of content parts and tool calls in all messages together, or of texts to
            embed.
        tools: MAX_TOOLS, the number of tools and legacy functions together.
        schema_nodes: MAX_SCHEMA_NODES, the number of schemas within one JSON Schema as it is sent to the provider.
        json_nodes: MAX_JSON_NODES, the number of names and values in a JSON text within the request, such as the
            arguments of a tool call.
    """

    messages: int = 100_000
    parts: int = 100_000
    tools: int = 4096
    schema_nodes: int = 20_000
    json_nodes: int = DEFAULT_MAX_JSON_NODES


DEFAULT_LIMITS = TranslationLimits()
