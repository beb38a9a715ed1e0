"""Writes a request for Mistral's chat API, which is similar to OpenAI's.

Mistral rejects unknown members at every level, so every object is built from the members that it knows. Only top-level
members and message parts in Mistral's own format are sent unchanged. Sources: the request types of the `mistralai` SDK
and recorded traffic.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from nulpoint.conversation.emulation import custom_tools_as_functions
from nulpoint.conversation.parts import (
    Audio,
    File,
    Image,
    Part,
    ProviderPart,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from nulpoint.conversation.request import ConversationRequest, Message, OutputFormat, Role
from nulpoint.conversation.tools import CustomTool, FunctionTool
from nulpoint.models.efforts import nearest_effort
from nulpoint.models.facts import EFFORTS, ModelFacts
from nulpoint.protocols.call_arguments import INVALID_JSON, tool_arguments
from nulpoint.protocols.dropped import report_cache_mark, report_extra, report_part, report_result, sent_as_function
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.media_types import normal_media_type
from nulpoint.protocols.mistral.call_id import call_id
from nulpoint.protocols.mistral.response import joined_text
from nulpoint.protocols.openai.chat import (
    EXTRA_FIELDS,
    RequestFields,
    data_url,
    end_user,
    invalid,
    object_of,
    original_parts,
    output_limit,
    parts_of,
    stop_sequences,
    write_body,
)
from nulpoint.protocols.provider_protocol import RenderedRequest

PROVIDER = "mistral"
# Members that have the same meaning in Mistral's API and are sent unchanged.
_SAME_MEMBERS = frozenset(
    {
        "temperature", "top_p", "presence_penalty", "frequency_penalty", "n", "logprobs", "top_logprobs",
        "prompt_cache_key",
    }
)  # fmt: skip
_OF_ACCOUNT = frozenset({"metadata", "safety_identifier", "user", "service_tier"})
_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
# Members of other providers that are known not to be Mistral's, which answers 422 to what it does not know. Any other
# member that is not OpenAI's may be one of Mistral's own, old or new, and is sent.
_OF_OTHERS = frozenset({"thinking", "enable_thinking", "reasoning", "cache_control"})
# Members that are not reported as dropped: the gateway itself put them into its responses, or they are sent otherwise.
_IGNORED_OF_MESSAGE = frozenset({"content"})
_IGNORED_OF_ASSISTANT = frozenset({"content", "prefix", EXTRA_FIELDS, "extra_content", "annotations"})
_IGNORED_OF_RESULT = frozenset({"content", "name"})
_IGNORED_OF_TOOL = frozenset({"type"})
_IGNORED_OF_FORMAT = frozenset({"json_schema"})
_DETAILS = ("low", "auto", "high")
_PDF = "application/pdf"


def render(
    conversation: ConversationRequest, model: str, facts: ModelFacts, limits: TranslationLimits
) -> RenderedRequest:
    """Write a request. Raises Failure (400) that names the member that is wrong or has no equivalent."""
    fields = RequestFields(conversation.settings, limits)
    request: dict[str, Any] = {"model": model, "messages": _messages(conversation.messages, facts, fields)}
    limit = output_limit(fields)
    if limit is not None:
        request["max_tokens"] = limit
    if fields.pop("stream"):
        request["stream"] = True
    fields.pop("stream_options")
    stops = stop_sequences(fields)
    if stops:
        request["stop"] = stops
    seed = fields.pop("seed")
    if seed is not None:
        request["random_seed"] = seed
    request |= fields.pop_all(_SAME_MEMBERS)
    _effort(request, facts, fields)
    _tools(request, conversation, fields)
    if conversation.has_legacy_functions() and "tools" in request:
        request["parallel_tool_calls"] = False
    _output(request, conversation.output_format, fields)
    if fields.has_any(_OF_ACCOUNT):
        _account(request, fields)
    for name in fields.pop_all(_OF_OTHERS):
        fields.report_dropped(name)
    request.update(fields.leftovers())
    return RenderedRequest(write_body(request), fields.dropped, custom_tools_as_functions(conversation.tools))


def _effort(request: dict[str, Any], facts: ModelFacts, fields: RequestFields) -> None:
    """Write the level of reasoning, which most models do not accept, and others only in some values."""
    effort = fields.pop("reasoning_effort")
    if effort is None or (effort == "none" and facts.reasoning == "none"):
        return
    if effort not in (*EFFORTS, "none") or facts.reasoning is None:
        request["reasoning_effort"] = effort
        return
    accepted = effort
    if facts.reasoning != "effort":
        accepted = None
    elif effort == "none":
        accepted = effort if facts.thinking_off == "effort" else next(iter(facts.efforts), None)
    elif effort not in facts.efforts:
        accepted = nearest_effort(effort, facts)
    if accepted is not None:
        request["reasoning_effort"] = accepted
    if accepted != effort:
        fields.report_dropped("reasoning_effort")


def _messages(messages: Iterable[Message], facts: ModelFacts, fields: RequestFields) -> list[dict[str, Any]]:
    translated: list[dict[str, Any]] = []
    # Media in tool results follow in a message of the user, since Mistral's results may only have text.
    media: list[dict[str, Any]] = []
    delayed: list[dict[str, Any]] = []  # messages between a call and its result, which are sent after all results
    pending_calls: set[str | None] = set()
    for message in messages:
        text = message.plain_text() if not pending_calls else None
        if text is not None:
            _add_plain(translated, message.role, text)
        elif message.role == "assistant":
            translated += _assistant(message, facts, fields)
            pending_calls = {part.unique_id for part in message.parts if isinstance(part, ToolCall)}
        elif message.role == "tool":
            (result,) = message.parts
            assert isinstance(result, ToolResult)
            translated.append(_result(result, message, fields, media))
            pending_calls.discard(result.unique_id)
            if not pending_calls:
                for prompt in [{"role": "user", "content": media}, *delayed] if media else delayed:
                    _add_prompt(translated, prompt)
                media, delayed = [], []
        else:
            if message.extra:
                report_extra(fields, message.extra, message.path, _IGNORED_OF_MESSAGE)
            content = _content(message.parts, message, fields)
            prompt = {"role": "user" if message.role == "user" else "system", "content": content}
            delayed.append(prompt) if pending_calls else _add_prompt(translated, prompt)
    _fix_last_message(translated)
    return translated


def _fix_last_message(translated: list[dict[str, Any]]) -> None:
    """Change the last message to what Mistral accepts: the user's, a result, or one that is marked as a prefix."""
    last: dict[str, Any] = translated[-1] if translated else {"role": "user"}
    if last["role"] == "assistant":
        last["prefix"] = True
    elif last["role"] == "system":
        last["role"] = "user"


def _add_plain(translated: list[dict[str, Any]], role: Role, text: str) -> None:
    """Add a message that is nothing but a text. An empty message of the assistant is left out: Mistral rejects it."""
    if role != "assistant":
        _add_prompt(translated, {"role": "user" if role == "user" else "system", "content": text})
    elif text:
        translated.append({"role": role, "content": text})


def _add_prompt(translated: list[dict[str, Any]], message: dict[str, Any]) -> None:
    """Add a message of the user or system.

    After a result, Mistral only accepts a message of the assistant, which must not be empty, so one is inserted.
    """
    if translated and translated[-1]["role"] == "tool":
        translated.append({"role": "assistant", "content": " "})
    translated.append(message)


def _result(result: ToolResult, message: Message, fields: RequestFields, media: list[dict[str, Any]]) -> dict[str, Any]:
    if message.extra:
        report_extra(fields, message.extra, message.path, _IGNORED_OF_RESULT)
    report_result(fields, result, message)
    mistral_id = call_id(result.unique_id)
    content = _content(result.parts, message, fields)
    if isinstance(content, list):
        others = [part for part in content if part.get("type") != "text"]
        if others:
            media += [{"type": "text", "text": f"From the result of call {mistral_id}:"}, *others]
        content = joined_text(content)
    return {"role": "tool", "name": result.name, "content": content, "tool_call_id": mistral_id}


def _assistant(message: Message, facts: ModelFacts, fields: RequestFields) -> list[dict[str, Any]]:
    """Return a list with the message, or an empty list for an empty message, which Mistral rejects."""
    if message.extra:
        report_extra(fields, message.extra, message.path, _IGNORED_OF_ASSISTANT)
    calls = [_call(part, message, fields) for part in message.parts if isinstance(part, ToolCall)]
    content: str | list[dict[str, Any]] | None = _unchanged_content(message, facts)
    if content is None:
        content = _assistant_content(message, facts, fields)
    if not content and not calls:
        return []
    translated: dict[str, Any] = {"role": "assistant", "content": content}
    return [{**translated, "tool_calls": calls}] if calls else [translated]


def _assistant_content(message: Message, facts: ModelFacts, fields: RequestFields) -> str | list[dict[str, Any]]:
    """Return the text, or else the refusal, after the reasoning, which a model that does not reason rejects."""
    thoughts = [part for part in message.parts if isinstance(part, Reasoning) and part.text]
    if facts.reasoning_history == "never":
        for part in thoughts:
            report_part(fields, part, message)
        thoughts = []
    reasoning = [part.text for part in thoughts]
    content = _content(_own_content(message, fields), message, fields) or message.refusal()
    if not reasoning:
        return content
    parts = [{"type": "text", "text": content}] if isinstance(content, str) and content else content or []
    return [{"type": "thinking", "thinking": [{"type": "text", "text": "".join(reasoning)}]}, *parts]


def _own_content(message: Message, fields: RequestFields) -> list[Part]:
    """Return the content without the parts that only another provider can read."""
    content = message.content()
    others = [part for part in content if isinstance(part, ProviderPart) and not part.is_of(PROVIDER)]
    for part in others:
        report_part(fields, part, message)
    return [part for part in content if part not in others] if others else content


def _call(call: ToolCall, message: Message, fields: RequestFields) -> dict[str, Any]:
    arguments = tool_arguments(call, message, fields)
    text = call.arguments or "{}"
    if call.kind == "custom" or INVALID_JSON in arguments or not isinstance(text, str):
        text = msgspec.json.encode(arguments).decode()
    function = {"name": call.name, "arguments": text}
    return {"id": call_id(call.unique_id or ""), "type": "function", "function": function}


def _unchanged_content(message: Message, facts: ModelFacts) -> list[dict[str, Any]] | None:
    """Return Mistral's original content of a message, or None if the client has changed its text since.

    It is also None if it has reasoning and the model accepts none.
    """
    if not message.provider_data:
        return None
    content = original_parts(message.provider_data, PROVIDER, "content", message.path)
    has_reasoning = content is not None and any(part.get("type") == "thinking" for part in content)
    if content is None or (has_reasoning and facts.reasoning_history == "never"):
        return None
    return content if joined_text(content) == message.text() else None


def _content(parts: Iterable[Part], message: Message, fields: RequestFields) -> str | list[dict[str, Any]]:
    """Return parts as a text if the client wrote a text, or else as a list without empty texts."""
    if message.is_plain:
        return "".join([part.text for part in parts if isinstance(part, Text)])
    return [_part(part, message, fields) for part in parts if not isinstance(part, Text) or part.text] or ""


def _part(part: Part, message: Message, fields: RequestFields) -> dict[str, Any]:
    """Write a message part. A part in Mistral's own format is returned as it is."""
    if isinstance(part, Text) and not part.extra and part.cache is None:
        return {"type": "text", "text": part.text}
    path = f"{message.path}.{part.where}"
    translated: dict[str, Any]
    match part:
        case Text() | Refusal():
            translated = {"type": "text", "text": part.text}
        case Image():
            translated = _image(part, path, fields)
        case Audio() if isinstance(part.audio, dict):
            report_extra(fields, part.audio, f"{path}.input_audio", {"data", "format"})
            translated = {"type": "input_audio", "input_audio": part.audio.get("data")}
        case Audio():
            translated = {"type": "input_audio", "input_audio": part.audio}
        case File():
            translated = _file(part, path, fields)
        case _:
            assert isinstance(part, ProviderPart)
            return dict(part.data)
    report_extra(fields, part.extra, f"{message.path}.content")
    report_cache_mark(fields, part.cache, f"{message.path}.content")
    return translated


def _image(image: Image, path: str, fields: RequestFields) -> dict[str, Any]:
    url, media_type = _normal_url(image.url, path)
    if media_type == _PDF:
        report_extra(fields, {"detail": image.detail}, path)
        return {"type": "document_url", "document_url": url}
    if image.detail in _DETAILS:
        return {"type": "image_url", "image_url": {"url": url, "detail": image.detail}}
    report_extra(fields, {"detail": image.detail}, path)
    return {"type": "image_url", "image_url": {"url": url}}


def _file(file: File, path: str, fields: RequestFields) -> dict[str, Any]:
    if file.file_id:
        report_extra(fields, {"file_data": file.url, "filename": file.name}, path)
        return {"type": "file", "file_id": file.file_id}
    if file.url is None:
        raise invalid(path, "must have file_data or file_id")
    url, media_type = _normal_url(file.url, path)
    if media_type.startswith("image/"):
        report_extra(fields, {"filename": file.name}, path)
        return {"type": "image_url", "image_url": {"url": url}}
    document_name = {"document_name": file.name} if file.name else {}
    return {"type": "document_url", "document_url": url, **document_name}


def _normal_url(url: str, path: str) -> tuple[str, str]:
    """Return a URL, and the media type if it is a data URL, which is then written as Mistral compares it."""
    data = data_url(url, path)
    if data is None:
        return url, ""
    media_type = normal_media_type(data[0])
    return (url if media_type == data[0] else f"data:{media_type};base64,{data[1]}"), media_type


def _tools(request: dict[str, Any], conversation: ConversationRequest, fields: RequestFields) -> None:
    mistral_tools = [_tool(tool, fields) for tool in conversation.allowed_tools()] + conversation.provider_tools()
    parallel = fields.pop("parallel_tool_calls")
    if not mistral_tools:
        return
    request["tools"] = mistral_tools
    if parallel is not None:
        request["parallel_tool_calls"] = parallel
    choice = conversation.tool_choice
    if choice is None:
        return
    name = choice.only_name()
    if name is not None:
        request["tool_choice"] = {"type": "function", "function": {"name": name}}
    else:
        request["tool_choice"] = choice.mode if choice.mode in ("none", "auto") else "any"


def _tool(tool: FunctionTool | CustomTool, fields: RequestFields) -> dict[str, Any]:
    report_extra(fields, tool.extra, tool.path, _IGNORED_OF_TOOL)
    if isinstance(tool, CustomTool):
        tool = sent_as_function(tool, fields)
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.parameters or {}}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _output(request: dict[str, Any], output_format: OutputFormat | None, fields: RequestFields) -> None:
    prediction = fields.pop("prediction")
    if isinstance(prediction, dict):
        report_extra(fields, prediction, "prediction", {"type", "content"})
        text = joined_text(parts_of(prediction.get("content"), "prediction"))
        request["prediction"] = {"type": "content", "content": text}
    if output_format is None:
        return
    report_extra(fields, output_format.extra, output_format.path, _IGNORED_OF_FORMAT)
    members = {
        "name": output_format.name, "description": output_format.description, "schema": output_format.schema,
        "strict": output_format.strict,
    }  # fmt: skip
    known = {name: value for name, value in members.items() if value is not None}
    if known:
        request["response_format"] = {"type": "json_schema", "json_schema": {"schema": {}, **known}}
    elif output_format.kind != "text":
        request["response_format"] = {"type": "json_object"}


def _account(request: dict[str, Any], fields: RequestFields) -> None:
    metadata = object_of(fields.pop("metadata"), "metadata")
    user = end_user(fields)
    if user:  # Mistral has no member for it
        metadata = {"user": user, **metadata}
    if metadata:
        request["metadata"] = metadata
    tier = fields.pop("service_tier")
    if str(tier) in _TIERS:
        request["service_tier"] = _TIERS[str(tier)]
    elif tier is not None:
        fields.report_dropped("service_tier")
