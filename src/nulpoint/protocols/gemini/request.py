"""Writes a request for Gemini's generateContent (v1beta).

Sources: the request types of the `google-genai` SDK and recorded traffic. `capabilities` says what each model supports.
"""

from typing import Any

from nulpoint.conversation.emulation import custom_tools_as_functions
from nulpoint.conversation.parts import Members
from nulpoint.conversation.request import ConversationRequest, OutputFormat
from nulpoint.conversation.tools import CustomTool, FunctionTool, ToolChoice
from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.dropped import report_extra, sent_as_function
from nulpoint.protocols.gemini.capabilities import (
    EFFORTS,
    GeminiCapabilities,
    capabilities_of,
    check_model,
    thinking_config,
)
from nulpoint.protocols.gemini.contents import Contents, write_contents
from nulpoint.protocols.gemini.schema import response_schema
from nulpoint.protocols.json_schema import SchemaRewriter
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.openai.chat import (
    RequestFields,
    invalid,
    object_of,
    output_limit,
    stop_sequences,
    write_body,
)
from nulpoint.protocols.openai.response_format import format_instruction
from nulpoint.protocols.provider_protocol import RenderedRequest

_CONFIG_NAMES = {
    "temperature": "temperature", "top_p": "topP", "n": "candidateCount", "seed": "seed",
    "presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty", "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}  # fmt: skip
# Members of generationConfig that a client may put at the top level of the request.
_GEMINI_CONFIG = frozenset(
    {
        "topK", "responseModalities", "mediaResolution", "thinkingConfig", "speechConfig", "imageConfig",
        "responseMimeType", "responseSchema", "responseJsonSchema", "enableEnhancedCivicAnswers",
    }
)  # fmt: skip
_TIERS = ("flex", "priority", "standard")
_IGNORED_OF_TOOL = frozenset({"type"})
_IGNORED_OF_FORMAT = frozenset({"json_schema"})


def render(
    conversation: ConversationRequest, model: str, _facts: ModelFacts, limits: TranslationLimits
) -> RenderedRequest:
    """Write a request. Raises Failure (400) that names the member that is wrong or has no equivalent."""
    check_model(model)
    fields = RequestFields(conversation.settings, limits)
    capabilities = capabilities_of(model)
    fields.pop("stream")
    fields.pop("stream_options")
    contents = write_contents(conversation.messages, capabilities, fields)
    request: dict[str, Any] = {"contents": contents.turns}
    config = _sampling(fields)
    _tools(request, conversation, fields)
    _search(request, capabilities, fields)
    if conversation.output_format is not None:
        has_functions = bool(conversation.client_tools())
        _format(config, conversation.output_format, contents, capabilities, has_functions, fields)
    _thinking(config, capabilities, fields)
    _modalities(config, fields)
    if contents.system:
        request["systemInstruction"] = {"parts": contents.system}
    tier = fields.pop("service_tier")
    if tier in _TIERS:
        request["serviceTier"] = tier
    elif tier not in (None, "auto", "default"):
        fields.report_dropped("service_tier")
    for name, value in fields.leftovers().items():
        (config if name in _GEMINI_CONFIG else request)[name] = value
    if config:
        client_config = object_of(request.pop("generationConfig", None), "generationConfig")
        request["generationConfig"] = {**config, **client_config}
    return RenderedRequest(write_body(request), fields.dropped, custom_tools_as_functions(conversation.tools))


def _sampling(fields: RequestFields) -> dict[str, Any]:
    config: dict[str, Any] = {}
    limit = output_limit(fields)
    if limit is not None:
        config["maxOutputTokens"] = limit
    for name, value in fields.pop_all(_CONFIG_NAMES).items():
        config[_CONFIG_NAMES[name]] = value
    stops = stop_sequences(fields)
    if stops:
        config["stopSequences"] = stops
    return config


def _tools(request: dict[str, Any], conversation: ConversationRequest, fields: RequestFields) -> None:
    client_tools, choice = conversation.client_tools(), conversation.tool_choice
    if fields.pop("parallel_tool_calls") is False and client_tools:
        fields.report_dropped("parallel_tool_calls")
    required = choice is not None and choice.is_required()
    functions = client_tools if required else conversation.allowed_tools()
    declarations = [_declaration(tool, fields) for tool in functions]
    gemini_tools: list[Members] = [{"functionDeclarations": declarations}] if declarations else []
    gemini_tools += conversation.provider_tools()
    if gemini_tools:
        request["tools"] = gemini_tools
    strict = any(isinstance(tool, FunctionTool) and tool.strict for tool in functions)
    calling_config = _calling_config(choice, strict)
    if declarations and calling_config:
        request["toolConfig"] = {"functionCallingConfig": calling_config}


def _declaration(tool: FunctionTool | CustomTool, fields: RequestFields) -> dict[str, Any]:
    report_extra(fields, tool.extra, tool.path, _IGNORED_OF_TOOL)
    if isinstance(tool, CustomTool):
        tool = sent_as_function(tool, fields)
    declaration: dict[str, Any] = {"name": tool.name}
    if tool.description:
        declaration["description"] = tool.description
    if tool.parameters:
        declaration["parametersJsonSchema"] = tool.parameters
    return declaration


def _calling_config(choice: ToolChoice | None, strict: bool) -> dict[str, Any] | None:
    """Return the `functionCallingConfig`, or None for the default.

    The modes `ANY` and `VALIDATED` both enforce the schemas of calls. With `VALIDATED` the model may also respond with
    text.
    """
    mode = choice.mode if choice else None
    if choice is not None and choice.is_required():
        names = {"allowedFunctionNames": sorted(set(choice.names))} if choice.names is not None else {}
        return {"mode": "ANY", **names}
    if mode == "none":
        return {"mode": "NONE"}
    if strict:
        return {"mode": "VALIDATED"}
    return {"mode": "AUTO"} if mode else None


def _search(request: dict[str, Any], capabilities: GeminiCapabilities, fields: RequestFields) -> None:
    """Translate OpenAI's web search to Gemini's tool for it, which models before Gemini 3 reject beside functions."""
    value = fields.pop("web_search_options")
    if value is None:
        return
    options = object_of(value, "web_search_options")
    tools = request.get("tools", [])
    functions = any("functionDeclarations" in tool for tool in tools)
    if functions and not capabilities.gemini_3:
        fields.report_dropped("web_search_options")
        return
    report_extra(fields, options, "web_search_options")
    request["tools"] = [*tools, {"googleSearch": {}}]
    if functions:
        request["toolConfig"] = {**request.get("toolConfig", {}), "includeServerSideToolInvocations": True}


def _format(
    config: dict[str, Any],
    output_format: OutputFormat,
    contents: Contents,
    capabilities: GeminiCapabilities,
    has_functions: bool,
    fields: RequestFields,
) -> None:
    report_extra(fields, output_format.extra, output_format.path, _IGNORED_OF_FORMAT)
    if output_format.kind == "text":
        return
    schema = output_format.described_schema()
    if has_functions and not capabilities.gemini_3:  # these models reject a format beside functions
        contents.system.append({"text": format_instruction(schema)})
        fields.report_dropped(output_format.path)
        return
    config["responseMimeType"] = "application/json"
    if schema is None:
        return
    rewriter = SchemaRewriter(output_format.schema_path, fields.limits.schema_nodes)
    config["responseJsonSchema"] = response_schema(schema, rewriter)
    rewriter.report(fields)


def _thinking(config: dict[str, Any], capabilities: GeminiCapabilities, fields: RequestFields) -> None:
    effort = fields.pop("reasoning_effort")
    if effort is None:
        return
    if effort not in EFFORTS:
        raise invalid("reasoning_effort", f"must be {', '.join(EFFORTS)}")
    thinking, exact = thinking_config(effort, capabilities)
    if thinking is not None:
        config["thinkingConfig"] = thinking
    if not exact:
        fields.report_dropped("reasoning_effort")


def _modalities(config: dict[str, Any], fields: RequestFields) -> None:
    """Translate the output modalities and the audio options. Gemini returns speech only as raw PCM."""
    modalities = fields.pop("modalities")
    audio = fields.pop("audio")
    if isinstance(modalities, list) and modalities != ["text"]:
        config["responseModalities"] = [str(modality).upper() for modality in modalities]
    if not isinstance(audio, dict):
        return
    if audio.get("format") != "pcm16":
        raise invalid("audio.format", "must be pcm16: Gemini returns speech in no other format", "unsupported_value")
    translated = {"format"}
    if isinstance(audio.get("voice"), str):
        config["speechConfig"] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": audio["voice"]}}}
        translated.add("voice")
    report_extra(fields, audio, "audio", translated)
