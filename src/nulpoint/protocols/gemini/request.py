"""A chat request as Gemini's generateContent (v1beta) takes it.

Facts: the request types of the `google-genai` SDK and recorded traffic; what a model can do is in `gemini_models`.
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
from nulpoint.protocols.json_schema import Rewriting
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

_CONFIG = {
    "temperature": "temperature", "top_p": "topP", "n": "candidateCount", "seed": "seed",
    "presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty", "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}  # fmt: skip
# Members of generationConfig a caller may give by their own name.
_OWN_CONFIG = frozenset(
    {
        "topK", "responseModalities", "mediaResolution", "thinkingConfig", "speechConfig", "imageConfig",
        "responseMimeType", "responseSchema", "responseJsonSchema", "enableEnhancedCivicAnswers",
    }
)  # fmt: skip
_TIERS = ("flex", "priority", "standard")
_OF_FUNCTION = frozenset({"name", "description", "parameters", "strict"})


@reject_deep_nesting
def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> EncodedRequest:
    """Raises Failure (400) naming the member that is wrong or cannot be said at all."""
    check_model(model)
    fields, messages, tools, emulation = read_request(body, limits)
    capabilities = capabilities_of(model)
    fields.pop("stream")
    fields.pop("stream_options")
    talk = read_contents(messages, capabilities, fields)
    request: dict[str, Any] = {"contents": talk.turns}
    config = _sampling(fields)
    _tools(request, tools, fields)
    _search(request, capabilities, fields)
    _format(config, talk, capabilities, bool(tools.functions), fields)
    _thinking(config, capabilities, fields)
    _modalities(config, fields)
    if talk.system:
        request["systemInstruction"] = {"parts": talk.system}
    tier = fields.pop("service_tier")
    if tier in _TIERS:
        request["serviceTier"] = tier
    elif tier not in (None, "auto", "default"):
        fields.report_dropped("service_tier")
    for name, value in fields.leftovers().items():
        (config if name in _OWN_CONFIG else request)[name] = value
    if config:
        own = object_of(request.pop("generationConfig", None), "generationConfig")
        request["generationConfig"] = {**config, **own}
    return EncodedRequest(write_body(request), fields.dropped, emulation)


def _sampling(fields: RequestFields) -> dict[str, Any]:
    config: dict[str, Any] = {}
    limit = output_limit(fields)
    if limit is not None:
        config["maxOutputTokens"] = limit
    for name, there in _CONFIG.items():
        value = fields.pop(name)
        if value is not None:
            config[there] = value
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
    declared = [_declaration(tool, fields) for tool in functions]
    own = [{"functionDeclarations": declared}, *tools.provider_tools] if declared else tools.provider_tools
    if own:
        request["tools"] = own
    strict = any(tool["function"].get("strict") for tool in functions)
    calling = _calling(choice, strict)
    if declared and calling:
        request["toolConfig"] = {"functionCallingConfig": calling}


def _declaration(tool: dict[str, Any], fields: RequestFields) -> dict[str, Any]:
    function = tool["function"]
    fields.report_other_members(function, _OF_FUNCTION, "tools.function")
    if tool.get("cache_control"):
        fields.report_dropped("tools.cache_control")
    made: dict[str, Any] = {"name": function["name"]}
    if function.get("description"):
        made["description"] = function["description"]
    if function.get("parameters"):
        made["parametersJsonSchema"] = function["parameters"]
    return made


def _calling(choice: ToolChoice | None, strict: bool) -> dict[str, Any] | None:
    """`ANY` holds calls to their schemas; so does `VALIDATED`, which leaves the model free to answer in words."""
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
    """OpenAI's web search is a tool there that Google runs itself; before Gemini 3 it stands beside no function."""
    given = fields.pop("web_search_options")
    if given is None:
        return
    options = object_of(given, "web_search_options")
    tools = request.get("tools", [])
    functions = any("functionDeclarations" in tool for tool in tools)
    if functions and not capabilities.newest:
        fields.report_dropped("web_search_options")
        return
    fields.report_other_members(options, set(), "web_search_options")
    request["tools"] = [*tools, {"googleSearch": {}}]
    if functions:
        request["toolConfig"] = {**request.get("toolConfig", {}), "includeServerSideToolInvocations": True}


def _format(
    config: dict[str, Any], talk: Contents, capabilities: GeminiCapabilities, functions: bool, fields: RequestFields
) -> None:
    wanted = read_format(fields)
    if wanted is None:
        return
    if functions and not capabilities.newest:  # refused there beside functions, so it is asked for in words
        talk.system.append({"text": wanted.as_instruction()})
        fields.report_dropped("response_format")
        return
    config["responseMimeType"] = "application/json"
    schema = wanted.described_schema()
    if schema is None:
        return
    rewriting = Rewriting(SCHEMA, fields.limits.schema_nodes)
    config["responseJsonSchema"] = response_schema(schema, rewriting)
    rewriting.report(fields)


def _thinking(config: dict[str, Any], capabilities: GeminiCapabilities, fields: RequestFields) -> None:
    effort = fields.pop("reasoning_effort")
    if effort is None:
        return
    if effort not in EFFORTS:
        raise invalid("reasoning_effort", f"must be {', '.join(EFFORTS)}")
    told, exact = thinking_config(effort, capabilities)
    if told is not None:
        config["thinkingConfig"] = told
    if not exact:
        fields.report_dropped("reasoning_effort")


def _modalities(config: dict[str, Any], fields: RequestFields) -> None:
    """Images and speech. Speech is raw PCM there, so no other format can be asked for."""
    wanted = fields.pop("modalities")
    audio = fields.pop("audio")
    if isinstance(wanted, list) and wanted != ["text"]:
        config["responseModalities"] = [str(one).upper() for one in wanted]
    if not isinstance(audio, dict):
        return
    if audio.get("format") != "pcm16":
        raise invalid("audio.format", "must be pcm16: Gemini speaks in no other format", "unsupported_value")
    told = {"format"}
    if isinstance(audio.get("voice"), str):
        config["speechConfig"] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": audio["voice"]}}}
        told.add("voice")
    fields.report_other_members(audio, told, "audio")
