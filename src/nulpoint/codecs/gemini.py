"""Gemini's generateContent (v1beta) behind the OpenAI chat format.

Facts: the types of the `google-genai` SDK and recorded traffic. Parts that are more than text and calls (thoughts with
signatures, code that Google ran, media) stand as they came under `provider_specific_fields.gemini.parts` and are sent
again when the message is handed back unchanged. A call's signature also stands in
`tool_calls[].extra_content.google.thought_signature`, where Google's own OpenAI endpoint has it.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from nulpoint.codecs.canonical import (
    ChunkWriter,
    Encoded,
    Members,
    arguments_of,
    data_url,
    json_text,
    parts_of,
    read_request,
    wrong,
)
from nulpoint.errors import Failure, Kind
from nulpoint.wire import sse
from nulpoint.wire.provider_error import provider_failure
from nulpoint.wire.stream import DONE
from nulpoint.wire.usage import Facts, Usage

EXTRA = "provider_specific_fields"
_CONFIG = {
    "temperature": "temperature", "top_p": "topP", "n": "candidateCount", "seed": "seed",
    "presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty", "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}  # fmt: skip
# Members of generationConfig a caller may give by their own name.
_OWN_CONFIG = frozenset(
    {"topK", "responseModalities", "mediaResolution", "thinkingConfig", "speechConfig", "imageConfig"}
)
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 24_576, "max": 24_576}
_LEVELS = {"none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH",
           "max": "HIGH"}  # fmt: skip
_FILTERED = frozenset(
    {
        "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR", "ESCALATION", "PUP_LIMITED_DISABLED",
    }
)  # fmt: skip
# Where a history comes from another provider there is no signature; Google documents this one for that case.
_SKIP_SIGNATURE = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="


# -- requests ----------------------------------------------------------------------------------------------------------


def encode(body: bytes, model: str) -> Encoded:
    """Raises Failure (400) naming the member that is wrong or cannot be said at all."""
    members = Members(read_request(body))
    members.take("model")
    members.take("stream")
    members.take("stream_options")
    request: dict[str, Any] = {}
    system, contents = _contents(members.take("messages"), model, members)
    request["contents"] = contents or [{"role": "user", "parts": [{"text": " "}]}]
    if system:
        request["systemInstruction"] = {"parts": system}
    config: dict[str, Any] = {}
    limit = members.take("max_completion_tokens") or members.take("max_tokens")
    members.take("max_tokens")
    if limit is not None:
        config["maxOutputTokens"] = limit
    for name, there in _CONFIG.items():
        value = members.take(name)
        if value is not None:
            config[there] = value
    stop = members.take("stop")
    if stop:
        config["stopSequences"] = [stop] if isinstance(stop, str) else stop
    _format(config, members)
    _thinking(config, members, model)
    _tools(request, members)
    tier = members.take("service_tier")
    if tier in ("flex", "priority"):
        request["serviceTier"] = tier
    elif tier not in (None, "auto", "default"):
        members.drop("service_tier")
    for name, value in members.rest().items():
        (config if name in _OWN_CONFIG else request)[name] = value
    if config:
        own = request.pop("generationConfig", {})
        request["generationConfig"] = {**config, **own}
    return Encoded(msgspec.json.encode(request), members.dropped)


def _contents(
    messages: list[dict[str, Any]], model: str, members: Members
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    names: dict[str, str] = {}  # call id to function name
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = message["role"]
        if message.get("name") and role != "tool":
            members.drop("messages.name")
        if role in ("system", "developer"):
            system += [_part(part, where) for part in parts_of(message.get("content"), where)]
        elif role == "assistant":
            for call in message.get("tool_calls") or []:
                names[str(call.get("id"))] = str(call.get("function", {}).get("name"))
            if not turns:  # a conversation may not open with the model
                turns.append({"role": "user", "parts": [{"text": " "}]})
            _turn(turns, "model", _model_parts(message, where, model, members))
        elif role == "tool":
            _turn(turns, "user", [_function_response(message, names, where)])
        elif role == "user":
            _turn(turns, "user", [_part(part, where) for part in parts_of(message.get("content"), where)])
        else:
            raise wrong(f"{where}.role", "must be system, developer, user, assistant or tool")
    return system, turns


def _turn(turns: list[dict[str, Any]], role: str, parts: list[dict[str, Any]]) -> None:
    if not parts:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["parts"] = turns[-1]["parts"] + parts
    else:
        turns.append({"role": role, "parts": parts})


def _part(part: dict[str, Any], where: str) -> dict[str, Any]:
    """A part as Gemini has it; those in its own shape pass as they are."""
    kind = part.get("type")
    if kind == "text":
        return {"text": part["text"]}
    if kind == "refusal":
        return {"text": part.get("refusal", "")}
    if kind == "image_url":
        image = part.get("image_url")
        return _media(image.get("url") if isinstance(image, dict) else image, f"{where}.content.image_url")
    if kind == "file":
        file = part.get("file") or {}
        if file.get("file_id"):
            return {"fileData": {"fileUri": file["file_id"]}}
        return _media(file.get("file_data"), f"{where}.content.file.file_data")
    if kind == "input_audio":
        audio = part.get("input_audio") or {}
        return {"inlineData": {"mimeType": f"audio/{audio.get('format', 'wav')}", "data": audio.get("data")}}
    return part


def _media(url: Any, where: str) -> dict[str, Any]:
    if not isinstance(url, str):
        raise wrong(where, "must hold a URL")
    data = data_url(url, where)
    return {"inlineData": {"mimeType": data[0], "data": data[1]}} if data else {"fileData": {"fileUri": url}}


def _model_parts(message: dict[str, Any], where: str, model: str, members: Members) -> list[dict[str, Any]]:
    kept = _kept_parts(message)
    if kept is not None:
        return kept
    if message.get("reasoning_content"):
        members.drop("messages.reasoning_content")
    parts = [_part(part, where) for part in parts_of(message.get("content") or message.get("refusal"), where)]
    for number, call in enumerate(message.get("tool_calls") or []):
        at = f"{where}.tool_calls[{number}]"
        if call.get("type", "function") != "function":
            raise wrong(f"{at}.type", "must be function: Gemini has no custom tools", "unsupported_value")
        function = {"name": call.get("function", {}).get("name"), "args": arguments_of(call, at), "id": call.get("id")}
        signature = ((call.get("extra_content") or {}).get("google") or {}).get("thought_signature")
        part: dict[str, Any] = {"functionCall": function}
        if signature:
            part["thoughtSignature"] = signature
        elif number == 0 and not model.startswith(("gemini-1", "gemini-2")):
            part["thoughtSignature"] = _SKIP_SIGNATURE
        parts.append(part)
    return parts


def _kept_parts(message: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The parts of our own answer, handed back: used only if the caller has not changed text or calls since."""
    extra = message.get(EXTRA)
    parts = extra.get("gemini", {}).get("parts") if isinstance(extra, dict) else None
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        return None
    text = "".join(part.get("text", "") for part in parts_of(message.get("content"), "messages"))
    names = [call.get("function", {}).get("name") for call in message.get("tool_calls") or []]
    kept_names = [part["functionCall"].get("name") for part in parts if "functionCall" in part]
    return parts if (text, names) == (_text(parts), kept_names) else None


def _function_response(message: dict[str, Any], names: dict[str, str], where: str) -> dict[str, Any]:
    call_id = message.get("tool_call_id")
    name = names.get(str(call_id)) or message.get("name")
    if not name:
        raise wrong(f"{where}.tool_call_id", "must be the id of a call in an assistant message before it")
    text = "".join(part.get("text", "") for part in parts_of(message.get("content"), where))
    try:
        value: Any = msgspec.json.decode(text)
    except msgspec.DecodeError:
        value = text
    response = value if isinstance(value, dict) else {"output": value}
    return {"functionResponse": {"name": name, "id": call_id, "response": response}}


def _format(config: dict[str, Any], members: Members) -> None:
    wanted = members.take("response_format")
    if not isinstance(wanted, dict) or wanted.get("type") == "text":
        return
    config["responseMimeType"] = "application/json"
    schema = (wanted.get("json_schema") or {}).get("schema")
    if schema is not None:
        config["responseJsonSchema"] = schema


def _thinking(config: dict[str, Any], members: Members, model: str) -> None:
    effort = members.take("reasoning_effort")
    if effort is None:
        return
    if effort not in _BUDGETS:
        raise wrong("reasoning_effort", f"must be {', '.join(_BUDGETS)}")
    shown = effort != "none"
    if model.startswith("gemini-2.5"):
        config["thinkingConfig"] = {"thinkingBudget": _BUDGETS[effort], "includeThoughts": shown}
    elif model.startswith(("gemini-1", "gemini-2", "gemma")):
        if shown:
            members.drop("reasoning_effort")
    else:
        config["thinkingConfig"] = {"thinkingLevel": _LEVELS[effort], "includeThoughts": shown}


def _tools(request: dict[str, Any], members: Members) -> None:
    for legacy in ("functions", "function_call"):
        if members.take(legacy):
            raise wrong(legacy, "is the form of before `tools`, which Gemini needs", "unsupported_parameter")
    tools = members.take("tools") or []
    choice = members.take("tool_choice")
    if members.take("parallel_tool_calls") is False and tools:
        members.drop("parallel_tool_calls")
    declared = [_declaration(tool["function"]) for tool in tools if isinstance(tool.get("function"), dict)]
    own = [tool for tool in tools if not isinstance(tool.get("function"), dict)]
    mode, names = _mode(choice)
    if names is not None and mode == "AUTO":
        declared = [one for one in declared if one["name"] in names]
    if declared:
        own = [{"functionDeclarations": declared}, *own]
    if own:
        request["tools"] = own
    if declared and mode:
        calling: dict[str, Any] = {"mode": mode}
        if names is not None and mode == "ANY":
            calling["allowedFunctionNames"] = sorted(names)
        request["toolConfig"] = {"functionCallingConfig": calling}


def _declaration(function: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"name": function.get("name")}
    if function.get("description"):
        made["description"] = function["description"]
    if function.get("parameters"):
        made["parametersJsonSchema"] = function["parameters"]
    return made


def _mode(choice: Any) -> tuple[str | None, set[str] | None]:
    modes = {"none": "NONE", "auto": "AUTO", "required": "ANY"}
    if choice is None:
        return None, None
    if isinstance(choice, str) and choice in modes:
        return modes[choice], None
    if isinstance(choice, dict) and choice.get("type") == "function":
        return "ANY", {choice.get("function", {}).get("name")}
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools") or {}
        names = {tool.get("function", {}).get("name") for tool in allowed.get("tools") or []}
        return modes.get(allowed.get("mode", "auto"), "AUTO"), names
    raise wrong("tool_choice", "must be none, auto, required, a function or allowed_tools")


# -- answers -----------------------------------------------------------------------------------------------------------


def decode(body: bytes, created: int) -> bytes:
    """A whole answer in the OpenAI shape. Raises Failure (502) for what is no answer."""
    try:
        answer: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = None
    blocked = _block_reason(answer) if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not (answer.get("candidates") or blocked):
        text = "the provider's answer cannot be used: it has no candidates"
        raise Failure(Kind.UPSTREAM, 502, text, code="provider_malformed")
    answer_id = f"chatcmpl-{answer.get('responseId', '')}"
    choices = [_choice(candidate, number, answer_id) for number, candidate in enumerate(answer.get("candidates") or [])]
    if not choices:
        message = {"role": "assistant", "content": None, "refusal": blocked}
        choices = [{"index": 0, "message": message, "logprobs": None, "finish_reason": "content_filter"}]
    extra = {name: answer[name] for name in sorted(set(answer) - _MAPPED) if answer[name] is not None}
    completion = {
        "id": answer_id,
        "object": "chat.completion",
        "created": created,
        "model": answer.get("modelVersion", ""),
        "choices": choices,
        "usage": usage_of(answer.get("usageMetadata") or {}),
        **({EXTRA: {"gemini": extra}} if extra else {}),
    }
    return msgspec.json.encode(completion)


_MAPPED = frozenset({"candidates", "usageMetadata", "modelVersion", "responseId"})
_CANDIDATE_MAPPED = frozenset({"content", "index"})


def _block_reason(answer: dict[str, Any]) -> str | None:
    reason = (answer.get("promptFeedback") or {}).get("blockReason")
    return f"the prompt was blocked: {reason}" if reason else None


def _choice(candidate: dict[str, Any], number: int, answer_id: str) -> dict[str, Any]:
    parts = (candidate.get("content") or {}).get("parts") or []
    index = candidate.get("index", number)
    calls = [call_of(part, answer_id, index, count) for count, part in enumerate(_calls(parts))]
    text = _text(parts)
    message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    thoughts = _text(parts, thought=True)
    if thoughts:
        message["reasoning_content"] = thoughts
    extra = extra_of(parts, candidate)
    if extra:
        message[EXTRA] = {"gemini": extra}
    finish = finish_of(candidate.get("finishReason"), bool(calls))
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}


def _calls(parts: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    return [part for part in parts if "functionCall" in part]


def _text(parts: list[dict[str, Any]], *, thought: bool = False) -> str:
    return "".join(part.get("text", "") for part in parts if bool(part.get("thought")) == thought)


def call_of(part: dict[str, Any], answer_id: str, choice: int, number: int) -> dict[str, Any]:
    """A call; older models give none an id, so it gets one that is the same for the same answer."""
    function = part["functionCall"]
    made = hashlib.sha256(f"{answer_id}/{choice}/{number}".encode()).hexdigest()[:24]
    call: dict[str, Any] = {
        "id": function.get("id") or f"call_{made}",
        "type": "function",
        "function": {"name": function.get("name"), "arguments": json_text(function.get("args") or {})},
    }
    if part.get("thoughtSignature"):
        call["extra_content"] = {"google": {"thought_signature": part["thoughtSignature"]}}
    return call


def finish_of(reason: str | None, called: bool) -> str:
    if reason in ("MAX_TOKENS", "CONTINUATION"):
        return "length"
    if reason in _FILTERED:
        return "content_filter"
    return "tool_calls" if called else "stop"


def extra_of(parts: list[dict[str, Any]], candidate: dict[str, Any]) -> dict[str, Any]:
    """What the OpenAI shape has no place for."""
    extra = {name: value for name, value in candidate.items() if name not in _CANDIDATE_MAPPED and value is not None}
    if extra.get("finishReason") in ("STOP", "MAX_TOKENS"):
        del extra["finishReason"]
    if any(set(part) - {"text"} for part in parts):
        extra["parts"] = parts
    return extra


def usage_of(usage: dict[str, Any]) -> dict[str, Any]:
    """Gemini counts thoughts beside the candidates; OpenAI's completion counts both."""
    thoughts = usage.get("thoughtsTokenCount") or 0
    prompt = (usage.get("promptTokenCount") or 0) + (usage.get("toolUsePromptTokenCount") or 0)
    completion = (usage.get("candidatesTokenCount") or 0) + thoughts
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": usage.get("totalTokenCount") or prompt + completion,
        "prompt_tokens_details": {"cached_tokens": usage.get("cachedContentTokenCount") or 0},
        "completion_tokens_details": {"reasoning_tokens": thoughts},
    }


class GeminiStream:
    """A watcher that translates. The stream ends with its connection: what says it was whole is a finish reason."""

    def __init__(self, created: int, show_usage: bool) -> None:
        self._decoder = sse.Decoder()
        self._write = ChunkWriter(created)
        self._show_usage = show_usage
        self._id = self._model = ""
        self._usage: dict[str, Any] = {}
        self._parts: dict[int, list[dict[str, Any]]] = {}  # of every candidate
        self._last: dict[int, dict[str, Any]] = {}  # a candidate's members, the newest
        self._counts: dict[int, int] = {}  # calls so far
        self._blocked: str | None = None
        self._finished = False
        self.failure: Failure | None = None

    def feed(self, data: bytes) -> bytes:
        return b"".join([self._event(event.data) for event in self._decoder.feed(data)])

    def close(self) -> bytes:
        out = b"".join([self._event(event.data) for event in self._decoder.close()])
        whole = self._last and all(one.get("finishReason") for one in self._last.values())
        return out + (self._end() if (whole or self._blocked) and self.failure is None else b"")

    def finished(self) -> bool:
        return self._finished

    def has_finish_reason(self) -> bool:
        return self._finished

    def facts(self) -> Facts:
        if not self._usage:
            return Facts(None, self._model or None)
        seen = usage_of(self._usage)
        cached = seen["prompt_tokens_details"]["cached_tokens"]
        reasoning = seen["completion_tokens_details"]["reasoning_tokens"]
        return Facts(Usage(seen["prompt_tokens"], seen["completion_tokens"], cached, reasoning), self._model)

    def _event(self, data: bytes) -> bytes:
        if self.failure is not None:
            return b""
        try:
            event = msgspec.json.decode(data)
            if "error" in event:
                code = event["error"].get("code")
                raise provider_failure("gemini", code if isinstance(code, int) else 500, data, None)
            return self._read(event)
        except Failure as failure:
            self.failure = failure
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            text = "the provider sent an event that is none of Gemini's API"
            self.failure = Failure(Kind.UPSTREAM, 502, text, code="provider_malformed")
        return b""

    def _read(self, event: dict[str, Any]) -> bytes:
        if not self._id:
            self._id = f"chatcmpl-{event.get('responseId', '')}"
            self._model = event.get("modelVersion", "")
            self._write.begin(self._id, self._model)
        self._usage.update(event.get("usageMetadata") or {})
        self._blocked = self._blocked or _block_reason(event)
        candidates = enumerate(event.get("candidates") or [])
        return b"".join([self._candidate(one, one.get("index", number)) for number, one in candidates])

    def _candidate(self, candidate: dict[str, Any], index: int) -> bytes:
        out = b""
        if index not in self._last:
            self._last[index] = {}
            self._parts[index] = []
            out = self._write.delta({"role": "assistant", "content": "", "refusal": None}, index=index)
        self._last[index].update({name: value for name, value in candidate.items() if name != "content"})
        parts = (candidate.get("content") or {}).get("parts") or []
        self._parts[index] += parts
        for part in parts:
            text = part.get("text")
            if text:
                name = "reasoning_content" if part.get("thought") else "content"
                out += self._write.delta({name: text}, index=index)
            if "functionCall" in part:
                number = self._counts.get(index, 0)
                self._counts[index] = number + 1
                call = {"index": number, **call_of(part, self._id, index, number)}
                out += self._write.delta({"tool_calls": [call]}, index=index)
        return out

    def _end(self) -> bytes:
        self._finished = True
        if not self._last:
            first = {"role": "assistant", "content": None, "refusal": self._blocked}
            out = self._write.delta(first) + self._write.delta({}, "content_filter")
        else:
            out = b"".join([self._finish(index) for index in self._last])
        if self._show_usage:
            out += self._write.usage(usage_of(self._usage))
        return out + sse.encode(DONE)

    def _finish(self, index: int) -> bytes:
        extra = extra_of(self._parts[index], self._last[index])
        delta = {EXTRA: {"gemini": extra}} if extra else {}
        finish = finish_of(self._last[index].get("finishReason"), bool(self._counts.get(index)))
        return self._write.delta(delta, finish, index)
