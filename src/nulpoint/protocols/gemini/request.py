"""Translates a chat request to Gemini's generateContent (v1beta).

Sources: the request types of the `google-genai` SDK and recorded traffic. `capabilities` says what each model supports.
"""

from typing import Any

from nulpoint.protocols.gemini.capabilities import (
    EFFORTS,
    GeminiCapabilities,
    capabilities_of,
    check_model,
    thinking_config,
)
from nulpoint.protocols.gemini.contents import Contents, read_contents
from nulpoint.protocols.gemini.schema import response_schema
from nulpoint.protocols.json_schema import SchemaRewriter
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.openai.chat import (
    EncodedRequest,
    RequestFields,
    invalid,
    object_of,
    output_limit,
    reject_deep_nesting,
    stop_sequences,
    write_body,
)
from nulpoint.protocols.openai.chat_request import read_request
from nulpoint.protocols.openai.response_format import SCHEMA, read_format
from nulpoint.protocols.openai.tools import ToolChoice, ToolSet

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
_FUNCTION_MEMBERS = frozenset({"name", "description", "parameters", "strict"})


@reject_deep_nesting
def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> EncodedRequest:
    """Translate a request. Raises Failure (400) that names the member that is wrong or has no equivalent."""
    check_model(model)
    fields, messages, tools, emulation = read_request(body, limits)
    capabilities = capabilities_of(model)
    fields.pop("stream")
    fields.pop("stream_options")
    contents = read_contents(messages, capabilities, fields)
    request: dict[str, Any] = {"contents": contents.turns}
    config = _sampling(fields)
    _tools(request, tools, fields)
    _search(request, capabilities, fields)
    _format(config, contents, capabilities, bool(tools.functions), fields)
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
    return EncodedRequest(write_body(request), fields.dropped, emulation)


def _sampling(fields: RequestFields) -> dict[str, Any]:
    config: dict[str, Any] = {}
    limit = output_limit(fields)
    if limit is not None:
        config["maxOutputTokens"] = limit
    for name, gemini_name in _CONFIG_NAMES.items():
        value = fields.pop(name)
        if value is not None:
            config[gemini_name] = value
    stops = stop_sequences(fields)
    if stops:
        config["stopSequences"] = stops
    return config


def _tools(request: dict[str, Any], tools: ToolSet, fields: RequestFields) -> None:
    if fields.pop("parallel_tool_calls") is False and tools.functions:
        fields.report_dropped("parallel_tool_calls")
    choice = tools.choice
    required = choice is not None and choice.mode == "required"
    functions = tools.functions if required else tools.allowed()
    declarations = [_declaration(tool, fields) for tool in functions]
    gemini_tools = [{"functionDeclarations": declarations}] if declarations else []
    gemini_tools += tools.provider_tools
    if gemini_tools:
        request["tools"] = gemini_tools
    strict = any(tool["function"].get("strict") for tool in functions)
    calling_config = _calling_config(choice, strict)
    if declarations and calling_config:
        request["toolConfig"] = {"functionCallingConfig": calling_config}


def _declaration(tool: dict[str, Any], fields: RequestFields) -> dict[str, Any]:
    function = tool["function"]
    fields.report_other_members(function, _FUNCTION_MEMBERS, "tools.function")
    if tool.get("cache_control"):
        fields.report_dropped("tools.cache_control")
    declaration: dict[str, Any] = {"name": function["name"]}
    if function.get("description"):
        declaration["description"] = function["description"]
    if function.get("parameters"):
        declaration["parametersJsonSchema"] = function["parameters"]
    return declaration


def _calling_config(choice: ToolChoice | None, strict: bool) -> dict[str, Any] | None:
    """Return the `functionCallingConfig`, or None for the default.

    The modes `ANY` and `VALIDATED` both enforce the schemas of calls. With `VALIDATED` the model may also respond with
    text.
    """
    mode = choice.mode if choice else None
    if choice is not None and mode == "required":
        names = {"allowedFunctionNames": sorted(choice.names)} if choice.names is not None else {}
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
    fields.report_other_members(options, set(), "web_search_options")
    request["tools"] = [*tools, {"googleSearch": {}}]
    if functions:
        request["toolConfig"] = {**request.get("toolConfig", {}), "includeServerSideToolInvocations": True}


def _format(
    config: dict[str, Any],
    contents: Contents,
    capabilities: GeminiCapabilities,
    has_functions: bool,
    fields: RequestFields,
) -> None:
    response_format = read_format(fields)
    if response_format is None:
        return
    if has_functions and not capabilities.gemini_3:  # these models reject a format beside functions
        contents.system.append({"text": response_format.as_instruction()})
        fields.report_dropped("response_format")
        return
    config["responseMimeType"] = "application/json"
    schema = response_format.described_schema()
    if schema is None:
        return
    rewriter = SchemaRewriter(SCHEMA, fields.limits.schema_nodes)
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
    fields.report_other_members(audio, translated, "audio")
