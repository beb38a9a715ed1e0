"""Gemini's generateContent (v1beta) behind the OpenAI chat format.

Facts: the types of the `google-genai` SDK and recorded traffic. Parts that are more than text and calls (thoughts with
signatures, code that Google ran, media) stand as they came under `provider_specific_fields.gemini.parts` and are sent
again when the message is handed back unchanged. A call's signature also stands in
`tool_calls[].extra_content.google.thought_signature`, where Google's own OpenAI endpoint has it.
"""

from typing import Any

import msgspec

from nulpoint.codecs.canonical import (
    ChunkWriter,
    Encoded,
    Members,
    arguments_of,
    data_url,
    parts_of,
    read_answer,
    read_request,
    wrong,
)
from nulpoint.codecs.gemini_answers import (
    EXTRA,
    answer_id,
    blocked_of,
    call_of,
    choice_of,
    extra_of,
    finish_of,
    is_made,
    logprobs_of,
    merge_candidate,
    notes_of,
    nothing_made,
    parts_of_candidate,
    rest_of,
    text_of,
    usage_of,
)
from nulpoint.codecs.gemini_pieces import OpenCall, in_pieces
from nulpoint.errors import Failure
from nulpoint.wire import sse
from nulpoint.wire.foreign import MISSHAPEN, unusable
from nulpoint.wire.provider_error import embedded_error, embedded_failure
from nulpoint.wire.stream import DONE
from nulpoint.wire.usage import Facts, Usage

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
    return parts if (text, names) == (text_of(parts), kept_names) else None


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
    answer = read_answer("gemini", body)
    try:
        return msgspec.json.encode(_completion(answer, answer_id(answer, body), created))
    except MISSHAPEN:
        raise unusable("the provider's answer cannot be used: it is none of Gemini's API") from None


def _completion(answer: dict[str, Any], made_id: str, created: int) -> dict[str, Any]:
    candidates = answer.get("candidates") or []
    usage = answer.get("usageMetadata") or {}
    more = rest_of(answer, usage)
    if candidates:
        _check_made(candidates)
        choices = [choice_of(one, number, made_id, {} if number else more) for number, one in enumerate(candidates)]
    else:
        choices = [_blocked_choice(answer, more)]
    return {
        "id": made_id,
        "object": "chat.completion",
        "created": created,
        "model": answer.get("modelVersion") or "",
        "choices": choices,
        "usage": usage_of(usage) if usage else None,
    }


def _check_made(candidates: list[dict[str, Any]]) -> None:
    """Raises Failure (502) where no candidate holds anything, and not because the model had nothing to say."""
    if any(is_made(part) for candidate in candidates for part in parts_of_candidate(candidate)):
        return
    failure = nothing_made([candidate.get("finishReason") for candidate in candidates])
    if failure is not None:
        raise failure


def _blocked_choice(answer: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    blocked = blocked_of(answer)
    if blocked is None:
        raise unusable("the provider's answer cannot be used: it has no candidates")
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": blocked, EXTRA: {"gemini": more}}
    return {"index": 0, "message": message, "logprobs": None, "finish_reason": "content_filter"}


STRAY_BYTES = 65_536  # of what stands between the events


class GeminiStream:
    """A watcher that translates. The stream ends with its connection: what says it was whole is a finish reason."""

    def __init__(self, created: int, show_usage: bool) -> None:
        self._splitter = sse.Splitter()
        self._write = ChunkWriter(created)
        self._show_usage = show_usage
        self._id = self._model = ""
        self._usage: dict[str, Any] = {}
        self._answer: dict[str, Any] = {}  # members beside the candidates, the newest
        self._parts: dict[int, list[dict[str, Any]]] = {}  # of every candidate
        self._last: dict[int, dict[str, Any]] = {}  # a candidate's members
        self._counts: dict[int, int] = {}  # calls so far
        self._open: dict[int, OpenCall] = {}  # calls that come in pieces
        self._begun: set[int] = set()
        self._stray = b""  # lines that are none of an event
        self._finished = False
        self.failure: Failure | None = None

    def feed(self, data: bytes) -> bytes:
        return b"".join([self._block(block) for block in self._splitter.feed(data)])

    def close(self) -> bytes:
        out = self._block(self._splitter.rest())
        if self.failure is None and self._last and not self._begun and self._is_whole():
            self.failure = nothing_made([one.get("finishReason") for one in self._last.values()])
        return out + self._end() if self.failure is None and self._is_whole() else out

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

    def _is_whole(self) -> bool:
        if not self._last:
            return blocked_of(self._answer) is not None
        return all(one.get("finishReason") for one in self._last.values())

    def _block(self, block: bytes) -> bytes:
        """An error inside a stream comes as bare JSON, without `data:`, over several lines."""
        event = sse.parse(block)
        if event is not None:
            return self._event(event.data)
        if block.strip() and not block.startswith(b":") and self.failure is None:
            self._stray = (self._stray + block)[:STRAY_BYTES]
            if embedded_error(self._stray):
                self.failure = embedded_failure("gemini", self._stray)
        return b""

    def _event(self, data: bytes) -> bytes:
        if self.failure is not None:
            return b""
        try:
            return self._read(msgspec.json.decode(data), data)
        except Failure as failure:
            self.failure = failure
        except MISSHAPEN:
            if b"\n" in data:  # events that no empty line parts
                return b"".join([self._event(line) for line in data.split(b"\n")])
            self.failure = unusable("the provider sent an event that is none of Gemini's API")
        return b""

    def _read(self, event: dict[str, Any], data: bytes) -> bytes:
        if event.get("error"):
            raise embedded_failure("gemini", data)
        if not self._id:
            self._id = answer_id(event, data)
            self._model = event.get("modelVersion") or ""
            self._write.begin(self._id, self._model)
        self._usage.update(event.get("usageMetadata") or {})
        self._answer.update(event)
        candidates = enumerate(event.get("candidates") or [])
        return b"".join([self._candidate(one, one.get("index", number)) for number, one in candidates])

    def _candidate(self, candidate: dict[str, Any], index: int) -> bytes:
        merge_candidate(self._last.setdefault(index, {}), candidate)
        kept = self._parts.setdefault(index, [])
        out = b""
        for part in parts_of_candidate(candidate):
            text = part.get("text")
            if text:
                name = "reasoning_content" if part.get("thought") else "content"
                out += self._delta({name: text}, index)
            if "functionCall" in part:
                out += self._piece(part, index)
            else:
                kept.append(part)
        return out

    def _piece(self, part: dict[str, Any], index: int) -> bytes:
        """A part with a call, or with a piece of one: such a call is shown when it is whole."""
        function = part["functionCall"]
        opened = self._open.get(index)
        if opened is None and in_pieces(function):
            opened = self._open[index] = OpenCall(part)
        if opened is None:
            return self._call(part, index)
        return self._call(self._open.pop(index).part, index) if opened.add(function) else b""

    def _call(self, part: dict[str, Any], index: int) -> bytes:
        self._parts[index].append(part)
        if not part["functionCall"]:
            return b""
        number = self._counts.get(index, 0)
        self._counts[index] = number + 1
        call = {"index": number, **call_of(part, self._id, index, number)}
        return self._delta({"tool_calls": [call]}, index)

    def _delta(self, delta: dict[str, Any], index: int) -> bytes:
        """With the role before it, once. Until then a candidate without content may still be a failure."""
        if index in self._begun:
            return self._write.delta(delta, index=index)
        self._begun.add(index)
        first = {"role": "assistant", "content": "", "refusal": None}
        return self._write.delta(first, index=index) + (self._write.delta(delta, index=index) if delta else b"")

    def _end(self) -> bytes:
        self._finished = True
        more = rest_of(self._answer, self._usage)
        if self._last:
            out = b"".join([self._finish(index, {} if number else more) for number, index in enumerate(self._last)])
        else:
            first = {"role": "assistant", "content": None, "refusal": blocked_of(self._answer)}
            out = self._write.delta(first) + self._write.delta({EXTRA: {"gemini": more}}, "content_filter")
        if self._show_usage and self._usage:
            out += self._write.usage(usage_of(self._usage))
        return out + sse.encode(DONE)

    def _finish(self, index: int, more: dict[str, Any]) -> bytes:
        begin = self._call(self._open.pop(index).part, index) if index in self._open else b""  # the token limit cut it
        parts, candidate = self._parts[index], self._last[index]
        delta: dict[str, Any] = notes_of(text_of(parts), candidate)
        extra = {**extra_of(parts, candidate), **more}
        if extra:
            delta[EXTRA] = {"gemini": extra}
        begin += b"" if index in self._begun else self._delta({}, index)
        finish = finish_of(candidate.get("finishReason"), bool(self._counts.get(index)))
        return begin + self._write.delta(delta, finish, index, logprobs_of(candidate))
