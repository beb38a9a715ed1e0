"""A chat request as Gemini's generateContent (v1beta) takes it.

Facts: the request types of the `google-genai` SDK and recorded traffic; what a model can do is in `gemini_models`.
"""

from typing import Any

from nulpoint.protocols.openai.chat import (
    Encoded,
    Members,
    deep_nesting_refused,
    object_of,
    output_limit,
    stop_sequences,
    write_body,
    wrong,
)
from nulpoint.protocols.openai.chat_request import read_request
from nulpoint.protocols.gemini.contents import Contents, read_contents
from nulpoint.protocols.gemini.capabilities import EFFORTS, Abilities, abilities, check_model, thinking_config
from nulpoint.protocols.gemini.schema import response_schema
from nulpoint.protocols.json_schema import Rewriting
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.openai.response_format import SCHEMA, read_format
from nulpoint.protocols.openai.tools import Choice, Tools

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


@deep_nesting_refused
def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> Encoded:
    """Raises Failure (400) naming the member that is wrong or cannot be said at all."""
    check_model(model)
    members, messages, tools, wrapped = read_request(body, limits)
    able = abilities(model)
    members.take("stream")
    members.take("stream_options")
    talk = read_contents(messages, able, members)
    request: dict[str, Any] = {"contents": talk.turns}
    config = _sampling(members)
    _tools(request, tools, members)
    _search(request, able, members)
    _format(config, talk, able, bool(tools.functions), members)
    _thinking(config, able, members)
    _modalities(config, members)
    if talk.system:
        request["systemInstruction"] = {"parts": talk.system}
    tier = members.take("service_tier")
    if tier in _TIERS:
        request["serviceTier"] = tier
    elif tier not in (None, "auto", "default"):
        members.drop("service_tier")
    for name, value in members.rest().items():
        (config if name in _OWN_CONFIG else request)[name] = value
    if config:
        own = object_of(request.pop("generationConfig", None), "generationConfig")
        request["generationConfig"] = {**config, **own}
    return Encoded(write_body(request), members.dropped, wrapped)


def _sampling(members: Members) -> dict[str, Any]:
    config: dict[str, Any] = {}
    limit = output_limit(members)
    if limit is not None:
        config["maxOutputTokens"] = limit
    for name, there in _CONFIG.items():
        value = members.take(name)
        if value is not None:
            config[there] = value
    stops = stop_sequences(members)
    if stops:
        config["stopSequences"] = stops
    return config


def _tools(request: dict[str, Any], tools: Tools, members: Members) -> None:
    if members.take("parallel_tool_calls") is False and tools.functions:
        members.drop("parallel_tool_calls")
    choice = tools.choice
    required = choice is not None and choice.mode == "required"
    functions = tools.functions if required else tools.allowed()
    declared = [_declaration(tool, members) for tool in functions]
    own = [{"functionDeclarations": declared}, *tools.own] if declared else tools.own
    if own:
        request["tools"] = own
    strict = any(tool["function"].get("strict") for tool in functions)
    calling = _calling(choice, strict)
    if declared and calling:
        request["toolConfig"] = {"functionCallingConfig": calling}


def _declaration(tool: dict[str, Any], members: Members) -> dict[str, Any]:
    function = tool["function"]
    members.drop_others(function, _OF_FUNCTION, "tools.function")
    if tool.get("cache_control"):
        members.drop("tools.cache_control")
    made: dict[str, Any] = {"name": function["name"]}
    if function.get("description"):
        made["description"] = function["description"]
    if function.get("parameters"):
        made["parametersJsonSchema"] = function["parameters"]
    return made


def _calling(choice: Choice | None, strict: bool) -> dict[str, Any] | None:
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


def _search(request: dict[str, Any], able: Abilities, members: Members) -> None:
    """OpenAI's web search is a tool there that Google runs itself; before Gemini 3 it stands beside no function."""
    given = members.take("web_search_options")
    if given is None:
        return
    options = object_of(given, "web_search_options")
    tools = request.get("tools", [])
    functions = any("functionDeclarations" in tool for tool in tools)
    if functions and not able.newest:
        members.drop("web_search_options")
        return
    members.drop_others(options, set(), "web_search_options")
    request["tools"] = [*tools, {"googleSearch": {}}]
    if functions:
        request["toolConfig"] = {**request.get("toolConfig", {}), "includeServerSideToolInvocations": True}


def _format(config: dict[str, Any], talk: Contents, able: Abilities, functions: bool, members: Members) -> None:
    wanted = read_format(members)
    if wanted is None:
        return
    if functions and not able.newest:  # refused there beside functions, so it is asked for in words
        talk.system.append({"text": wanted.in_words()})
        members.drop("response_format")
        return
    config["responseMimeType"] = "application/json"
    schema = wanted.described()
    if schema is None:
        return
    rewriting = Rewriting(SCHEMA, members.limits.schema_nodes)
    config["responseJsonSchema"] = response_schema(schema, rewriting)
    rewriting.report(members)


def _thinking(config: dict[str, Any], able: Abilities, members: Members) -> None:
    effort = members.take("reasoning_effort")
    if effort is None:
        return
    if effort not in EFFORTS:
        raise wrong("reasoning_effort", f"must be {', '.join(EFFORTS)}")
    told, exact = thinking_config(effort, able)
    if told is not None:
        config["thinkingConfig"] = told
    if not exact:
        members.drop("reasoning_effort")


def _modalities(config: dict[str, Any], members: Members) -> None:
    """Images and speech. Speech is raw PCM there, so no other format can be asked for."""
    wanted = members.take("modalities")
    audio = members.take("audio")
    if isinstance(wanted, list) and wanted != ["text"]:
        config["responseModalities"] = [str(one).upper() for one in wanted]
    if not isinstance(audio, dict):
        return
    if audio.get("format") != "pcm16":
        raise wrong("audio.format", "must be pcm16: Gemini speaks in no other format", "unsupported_value")
    told = {"format"}
    if isinstance(audio.get("voice"), str):
        config["speechConfig"] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": audio["voice"]}}}
        told.add("voice")
    members.drop_others(audio, told, "audio")
