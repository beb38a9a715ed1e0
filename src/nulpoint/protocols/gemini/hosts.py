"""What only one of the two hosts of Gemini's API accepts: the Developer API, or Vertex AI.

Source: google-genai 3.6.1, which raises an error for these members (`models.py`). A client that writes them for one of
the hosts may be served by the other.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from nulpoint.protocols.openai.chat import RequestFields

_MEANINGFUL_IF_EMPTY = frozenset({"googleSearch", "googleMaps"})


class GeminiHost(NamedTuple):
    """One host.

    Fields:
        refused: the members of a request that it rejects, by their paths.
        refused_parts: the members of a part that it rejects.
        server_calls_shown: whether it can be asked to show the calls of its own tools, as it must be if these stand
            beside functions.
    """

    refused: tuple[str, ...]
    refused_parts: frozenset[str] = frozenset()
    server_calls_shown: bool = True


DEVELOPER_API = GeminiHost(
    (
        "modelArmorConfig",
        "generationConfig.routingConfig",
        "generationConfig.modelConfig",
        "generationConfig.audioTimestamp",
        "generationConfig.outputConfig",
        "toolConfig.functionCallingConfig.streamFunctionCallArguments",
        "tools.retrieval",
        "tools.enterpriseWebSearch",
        "tools.parallelAiSearch",
        "tools.exaAiSearch",
        "tools.googleSearch.excludeDomains",
        "tools.googleSearch.blockingConfidence",
        "tools.googleMaps.groundingTypes",
        "safetySettings.method",
    )
)
VERTEX = GeminiHost(
    (
        "store",
        "generationConfig.enableEnhancedCivicAnswers",
        "toolConfig.includeServerSideToolInvocations",
        "tools.fileSearch",
        "tools.mcpServers",
    ),
    frozenset({"toolCall", "toolResponse", "partMetadata"}),
    server_calls_shown=False,
)


def without_refused(request: dict[str, Any], host: GeminiHost, fields: RequestFields) -> dict[str, Any]:
    """Return the request without the members that the host rejects. They are reported as dropped."""
    for path in host.refused:
        remaining = _without(request, path.split("."))
        if remaining is not request:
            fields.report_dropped(path)
            request = remaining
    return request


def _without(value: Any, steps: Sequence[str]) -> Any:
    """Return a value without the member at a path, and without what is empty then.

    The value itself is returned if it has no such member.
    """
    if isinstance(value, list):
        remaining = [(entry, _without(entry, steps)) for entry in value]
        if all(before is after for before, after in remaining):
            return value
        return [after for before, after in remaining if after or before is after]
    name = steps[0]
    if not isinstance(value, dict) or name not in value:
        return value
    others = {key: inner for key, inner in value.items() if key != name}
    if len(steps) == 1:
        return others
    inner = _without(value[name], steps[1:])
    if inner is value[name]:
        return value
    return {**value, name: inner} if inner or name in _MEANINGFUL_IF_EMPTY else others
