"""Writes a request for Gemini's generateContent (v1beta), for the Developer API or for Vertex AI.

What each model accepts is in the facts about it (`models/`). Sources: the request types of the `google-genai` SDK and
recorded traffic.
"""

from typing import Any

from nulpoint.conversation.emulation import custom_tools_as_functions
from nulpoint.conversation.request import ConversationRequest, OutputFormat
from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.dropped import report_extra
from nulpoint.protocols.gemini.contents import Contents, write_contents
from nulpoint.protocols.gemini.hosts import DEVELOPER_API, GeminiHost, without_refused
from nulpoint.protocols.gemini.model_name import check_model
from nulpoint.protocols.gemini.reasoning import thinking_config
from nulpoint.protocols.gemini.schema import enforceable_schema
from nulpoint.protocols.gemini.tools import write_search, write_tools
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
    "temperature": "temperature", "top_p": "topP", "top_k": "topK", "n": "candidateCount", "seed": "seed",
    "presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty", "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}  # fmt: skip
# The values that a model uses anyway, or that have no effect, so that leaving them out loses nothing.
_NEUTRAL = {
    "temperature": 1, "top_p": 1, "n": 1, "presence_penalty": 0, "frequency_penalty": 0, "logprobs": False,
    "top_logprobs": 0,
}  # fmt: skip
# Members of generationConfig that a client may put at the top level of the request.
_GEMINI_CONFIG = frozenset(
    {
        "topK", "responseModalities", "mediaResolution", "thinkingConfig", "speechConfig", "imageConfig",
        "responseMimeType", "responseSchema", "responseJsonSchema", "enableEnhancedCivicAnswers",
    }
)  # fmt: skip
_TIERS = ("flex", "priority", "standard")
_IGNORED_OF_FORMAT = frozenset({"json_schema"})


def render(request: ConversationRequest, model: str, facts: ModelFacts, limits: TranslationLimits) -> RenderedRequest:
    """Write a request for the Developer API. Raises Failure (400) like `render_for`."""
    return render_for(DEVELOPER_API, request, model, facts, limits)


def render_for(
    host: GeminiHost, conversation: ConversationRequest, model: str, facts: ModelFacts, limits: TranslationLimits
) -> RenderedRequest:
    """Write a request. Raises Failure (400) that names the member that is wrong or has no equivalent."""
    check_model(model)
    fields = RequestFields(conversation.settings, limits)
    fields.pop("stream")
    fields.pop("stream_options")
    contents = write_contents(conversation.messages, facts, host, fields)
    request: dict[str, Any] = {"contents": contents.turns}
    config = _sampling(facts, fields)
    write_tools(request, conversation, fields)
    write_search(request, facts, host, fields)
    if conversation.output_format is not None:
        has_functions = bool(conversation.client_tools())
        _format(config, conversation.output_format, contents, facts, has_functions, fields)
    thinking = thinking_config(facts, fields)
    if thinking is not None:
        config["thinkingConfig"] = thinking
    _modalities(config, fields)
    if contents.system:
        request["systemInstruction"] = {"parts": contents.system}
    tier = fields.pop("service_tier")
    if tier in _TIERS:
        request["serviceTier"] = tier
    elif tier not in (None, "auto", "default"):
        fields.report_dropped("service_tier")
    if fields.pop("cache_control"):  # asks Claude to cache the whole request; Gemini does so unasked
        fields.report_dropped("cache_control")
    own_members = fields.leftovers()
    for name, value in own_members.items():
        (config if name in _GEMINI_CONFIG else request)[name] = value
    if config:
        client_config = object_of(request.pop("generationConfig", None), "generationConfig")
        request["generationConfig"] = {**config, **client_config}
    if own_members or conversation.provider_tools():
        request = without_refused(request, host, fields)
    return RenderedRequest(write_body(request), fields.dropped, custom_tools_as_functions(conversation.tools))


def _sampling(facts: ModelFacts, fields: RequestFields) -> dict[str, Any]:
    """Take the limit of tokens and the sampling parameters, and return those that the model accepts.

    Raises Failure (400), also for several responses from a model that gives only one.
    """
    config: dict[str, Any] = {}
    limit = output_limit(fields)
    if limit is not None:
        config["maxOutputTokens"] = limit
    for name, value in fields.pop_all(_CONFIG_NAMES).items():
        if name not in facts.refused:
            config[_CONFIG_NAMES[name]] = value
        elif name == "n" and value != 1:
            raise invalid("n", "must be 1: this model gives one response per request", "unsupported_value")
        elif name not in _NEUTRAL or value != _NEUTRAL[name]:
            fields.report_dropped(name)
    if "top_k" in facts.refused and fields.pop("topK") is not None:
        fields.report_dropped("topK")
    stops = stop_sequences(fields)
    if stops:
        config["stopSequences"] = stops
    return config


def _format(
    config: dict[str, Any],
    output_format: OutputFormat,
    contents: Contents,
    facts: ModelFacts,
    has_functions: bool,
    fields: RequestFields,
) -> None:
    report_extra(fields, output_format.extra, output_format.path, _IGNORED_OF_FORMAT)
    if output_format.kind == "text":
        return
    schema = output_format.described_schema()
    if has_functions and not facts.json_with_tools:
        contents.system.append({"text": format_instruction(schema)})
        fields.report_dropped(output_format.path)
        return
    enforced = None if schema is None else enforceable_schema(schema, output_format.schema_path, fields)
    config["responseMimeType"] = "application/json"
    if enforced is not None:
        config["responseJsonSchema"] = enforced
    elif schema is not None:  # it refers to something that is not in it
        contents.system.append({"text": format_instruction(schema)})
        fields.report_dropped(output_format.schema_path)


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
