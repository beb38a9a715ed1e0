"""Writes responses for clients of the legacy completions API, complete or as a stream.

The members that a chat message has beside its text become members of the choice, and what a host of OpenAI's format
adds to its responses stands where the host put it, so that nothing is lost. Source: OpenAI's API description, `POST
/completions`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from nulpoint.conversation.parts import NO_MEMBERS, Members
from nulpoint.conversation.response import ConversationResponse
from nulpoint.formats.malformed import unusable_response
from nulpoint.protocols.openai.chat import EXTRA_FIELDS, ChunkWriter
from nulpoint.protocols.openai.chat_client.writer import ChatStreamWriter, chat_choice, chat_usage
from nulpoint.protocols.openai.chat_provider.response import PROVIDER

# Finish reasons that completions do not have.
_CALL_FINISH_REASONS = frozenset({"tool_calls", "function_call"})
_NOT_IN_CHOICES = frozenset({"role", "content"})
_AFTER_TEXT = b',"logprobs":null,"finish_reason":null}]}\n\n'
_encode = msgspec.json.encode


def write_completion(response: ConversationResponse, created: int, *, legacy_functions: bool = False) -> bytes:
    """Return a response as a completion of the date `created`, if the provider has given none.

    With `legacy_functions` the client used `functions`. Raises Failure (502) if the response cannot be written.
    """
    completion: dict[str, Any] = {
        "id": _completion_id(response.id),
        "object": "text_completion",
        "created": created if response.created is None else response.created,
        "model": response.model,
        "choices": [],
        "usage": chat_usage(response.usage) if response.usage else None,
    }
    for choice in response.choices:
        chat = chat_choice(choice, legacy_functions=legacy_functions)
        written = _choice(chat["message"], chat["finish_reason"], chat["index"])
        _place_others(written, completion, completion["usage"])
        completion["choices"].append(written)
    try:
        return _encode(completion)
    except RecursionError:
        raise unusable_response("it is nested too deeply") from None


def _completion_id(response_id: str) -> str:
    return response_id.replace("chatcmpl-", "cmpl-", 1)


def _choice(message: Members, finish_reason: str | None, index: int) -> dict[str, Any]:
    """Return a choice with the text and the other members of a chat message, or of a piece of one."""
    return {
        **{name: value for name, value in message.items() if name not in _NOT_IN_CHOICES and value is not None},
        "index": index,
        "text": message.get("content") or "",
        "logprobs": None,
        "finish_reason": "stop" if finish_reason in _CALL_FINISH_REASONS else finish_reason,
    }


def _place_others(choice: dict[str, Any], response: dict[str, Any], usage: dict[str, Any] | None) -> None:
    """Move the unknown members of a response in OpenAI's format to where they stood.

    Those that would replace another member stay in the choice's `provider_specific_fields`.
    """
    data = choice.pop(EXTRA_FIELDS, NO_MEMBERS)
    places = {"response": response, "usage": usage, "choice": choice, "message": choice}
    left: dict[str, Any] = {}
    for place, members in data.get(PROVIDER, NO_MEMBERS).items():
        target = places[place]
        for name, value in members.items():
            if target is None or name in target:
                left.setdefault(place, {})[name] = value
            else:
                target[name] = value
    fields = {name: value for name, value in data.items() if name != PROVIDER}
    if left:
        fields[PROVIDER] = left
    if fields:
        choice[EXTRA_FIELDS] = {**choice.get(EXTRA_FIELDS, NO_MEMBERS), **fields}


class _CompletionChunkWriter(ChunkWriter):
    """Writes the chunks of a stream of completions from what the chunks of a chat would hold."""

    object: ClassVar[str] = "text_completion"

    def __init__(self, created: int) -> None:
        super().__init__(created)
        self._others_of_usage: dict[str, Any] = {}

    def begin(self, response_id: str, model: str, created: int | None = None) -> None:
        super().begin(_completion_id(response_id), model, created)

    def before_text(self, index: int) -> bytes:
        return b'%b{"index":%d,"text":' % (self._frame, index)

    def delta(
        self,
        delta: Mapping[str, Any],
        finish_reason: str | None = None,
        index: int = 0,
        logprobs: Mapping[str, Any] | None = None,  # noqa: ARG002 - they have a different format here
    ) -> bytes:
        choice = _choice(delta, finish_reason, index)
        others: dict[str, Any] = {}
        _place_others(choice, others, self._others_of_usage)
        members = b"," + _encode(others)[1:-1] if others else b""
        return b"%b%b]%b}\n\n" % (self._frame, _encode(choice), members)

    def usage(self, usage: dict[str, Any]) -> bytes:
        return super().usage({**self._others_of_usage, **usage})


class CompletionStreamWriter(ChatStreamWriter):
    """Writes a stream of completions chunks. Its arguments are those of `ChatStreamWriter`."""

    chunk_writer = _CompletionChunkWriter

    def text(self, text: str) -> bytes:
        if not text:
            return b""
        choice = self._choice
        choice.length += len(text)
        return choice.before_text + _encode(text) + _AFTER_TEXT
