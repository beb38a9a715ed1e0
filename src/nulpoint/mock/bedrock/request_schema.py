"""The schema of requests to Converse, written down from the service model of `bedrock-runtime`."""

from nulpoint.mock.request_schema import ListOf, MapOf, record

CACHE_POINT = record("type", type=frozenset({"default"}), ttl=frozenset({"5m", "1h"}))
_S3 = record("uri", uri=str, bucketOwner=str)
_BYTES = record("", bytes=str, s3Location=_S3)
_IMAGE = record("format source", format=frozenset({"png", "jpeg", "gif", "webp"}), source=_BYTES, error=dict)
_DOCUMENT = record(
    "name source",
    format=frozenset({"pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"}),
    name=str,
    source=record("", bytes=str, s3Location=_S3, text=str, content=ListOf(record("", text=str))),
    context=str,
    citations=record("enabled", enabled=bool),
)
_VIDEO = record(
    "format source",
    format=frozenset({"mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv", "three_gp"}),
    source=_BYTES,
)
_AUDIO = record("format source", format=str, source=_BYTES, error=dict)
_SEARCH_RESULT = record(
    "source title content", source=str, title=str, content=ListOf(record("text", text=str)), citations=dict
)
_TOOL_RESULT = record(
    "toolUseId content",
    toolUseId=str,
    status=frozenset({"success", "error"}),
    type=str,
    content=ListOf(
        record("", json=dict, text=str, image=_IMAGE, document=_DOCUMENT, video=_VIDEO, searchResult=_SEARCH_RESULT)
    ),
)
_GUARD_CONTENT = record("", text=record("text", text=str, qualifiers=ListOf(str)), image=dict)
_REASONING = record("", reasoningText=record("text", text=str, signature=str), redactedContent=str)
_BLOCK = record(
    "",
    text=str,
    image=_IMAGE,
    document=_DOCUMENT,
    video=_VIDEO,
    audio=_AUDIO,
    toolResult=_TOOL_RESULT,
    toolUse=record("toolUseId name input", toolUseId=str, name=str, input=dict, type=str),
    guardContent=_GUARD_CONTENT,
    cachePoint=CACHE_POINT,
    reasoningContent=_REASONING,
    citationsContent=record("", content=ListOf(record("", text=str)), citations=ListOf(dict)),
    searchResult=_SEARCH_RESULT,
    toolAddition=dict,
    toolRemoval=dict,
)
_SYSTEM = record("", text=str, guardContent=_GUARD_CONTENT, cachePoint=CACHE_POINT)
_MESSAGE = record("role content", role=frozenset({"user", "assistant", "system"}), content=ListOf(_BLOCK))
_TOOL_SPEC = record("name inputSchema", name=str, description=str, inputSchema=record("json", json=dict), strict=bool)
_TOOL = record("", toolSpec=_TOOL_SPEC, systemTool=record("name", name=str), cachePoint=CACHE_POINT)
_TOOL_CHOICE = record("", auto=record(), any=record(), tool=record("name", name=str))
_OUTPUT_FORMAT = record(
    "type structure",
    type=frozenset({"json_schema"}),
    structure=record("jsonSchema", jsonSchema=record("schema", schema=str, name=str, description=str)),
)
REQUEST = record(
    "",
    messages=ListOf(_MESSAGE),
    system=ListOf(_SYSTEM),
    inferenceConfig=record("", maxTokens=int, temperature=float, topP=float, stopSequences=ListOf(str)),
    toolConfig=record("tools", tools=ListOf(_TOOL), toolChoice=_TOOL_CHOICE),
    guardrailConfig=record(
        "",
        guardrailIdentifier=str,
        guardrailVersion=str,
        trace=frozenset({"enabled", "disabled", "enabled_full"}),
        streamProcessingMode=frozenset({"sync", "async"}),
    ),
    projectIdentifier=str,
    additionalModelRequestFields=dict,
    promptVariables=dict,
    additionalModelResponseFieldPaths=ListOf(str),
    requestMetadata=MapOf(str),
    performanceConfig=record("", latency=frozenset({"standard", "optimized"})),
    serviceTier=record("type", type=frozenset({"priority", "default", "flex", "reserved"})),
    outputConfig=record("", textFormat=_OUTPUT_FORMAT, effort=str),
)
# Members whose record stands for a union. The blocks under `content` are unions too.
UNIONS = frozenset({"source", "toolChoice", "reasoningContent", "guardContent"})
