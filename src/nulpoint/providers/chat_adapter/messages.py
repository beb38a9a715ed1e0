"""Adapts the messages of a chat request."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec
import re2

from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.added_texts import BEGIN
from nulpoint.providers.chat_adapter.chat_request import ChatRequest
from nulpoint.providers.dialect import EXTRA_FIELDS, Dialect

_ALWAYS_ACCEPTED: Mapping[str, Collection[str]] = {
    "message": ("role", "content", "tool_calls", "tool_call_id"),
    "call": ("id", "type", "function"),
    "part": ("type",),
}
_REASONING = ("reasoning_content", "reasoning")
_PROVIDER_FIELDS = "provider_specific_fields"
CACHE_MARK = "cache_control"
_QUOTED_MARK = b'"cache_control"'
_MARK = re2.compile(rb'_control"')
_LONG_BODY = 2048  # bytes
_USER_ROLE = re.compile(rb'"role"\s*+:\s*+"user"')
_USER_MESSAGE = msgspec.json.encode({"role": "user", "content": BEGIN})
_ESCAPED_LETTER = b"\\u00"  # a name in a message may be written with escapes, and nothing else hides it from a search


class MessageAdapter:
    """Adapts messages to one model at one host. Messages that need no change keep their bytes."""

    def __init__(self, dialect: Dialect, facts: ModelFacts) -> None:
        self._dialect = dialect
        self._facts = facts
        self._foreign_extras = [field for field in EXTRA_FIELDS if field not in dialect.extras]
        self._reads_all = any(place != "tool" for place in dialect.accepts)
        self._signs = _without_extensions(f'"{sign}'.encode() for sign in self._texts_of_changes())
        self._rejects = {place: set(names) for place, names in dialect.rejects.items()}
        if not dialect.cache_marks:
            for place in ("message", "part"):
                self._rejects[place] = {CACHE_MARK, *self._rejects.get(place, ())}
        plain = {"role", "content", "tool_call_id"}.difference(dialect.rejects.get("message", ()))
        self._plain_members = frozenset(plain)

    def _texts_of_changes(self) -> Iterator[str]:
        """Yield names and values without one of which nothing in a message has to change."""
        yield from self._dialect.roles
        yield from self._foreign_extras
        yield from (name for place, names in self._dialect.rejects.items() if place != "tool" for name in names)
        if self._dialect.reasoning is not None or self._facts.reasoning_history == "never":
            yield from _REASONING
        if self._must_have_reasoning:
            yield "tool_calls"
        if self._dialect.text_content == "joined":
            yield "text"

    @property
    def _must_have_reasoning(self) -> bool:
        return self._facts.reasoning_history == "must" and self._dialect.lost_reasoning is not None

    @property
    def can_change(self) -> bool:
        """Whether there are messages that need a change."""
        return self._reads_all or bool(self._signs) or self._dialect.needs_user or not self._dialect.cache_marks

    def may_change(self, body: bytes) -> bool:
        """Return False if it is clear without decoding the request that no message needs a change."""
        if self._reads_all or (self._signs and _ESCAPED_LETTER in body):
            return True
        if not self._dialect.cache_marks:
            is_long = len(body) > _LONG_BODY  # of which RE2 finds the mark ten times as fast as `in` does
            if _MARK.search(body) is not None if is_long else _QUOTED_MARK in body:
                return True
        if self._dialect.needs_user and _USER_ROLE.search(body) is None:
            return True
        return bool(self._signs) and any(sign in body for sign in self._signs)

    def write(self, request: ChatRequest) -> None:
        """Replace the messages that need a change."""
        messages = request.messages
        changed = [self._adapted(message, request) for message in messages]
        if any(new is not old for new, old in zip(changed, messages, strict=True)):
            request.set_messages(changed)
        if self._dialect.needs_user and messages and not any(map(_USER_ROLE.search, map(bytes, changed))):
            request.set_messages([*changed, _USER_MESSAGE])

    def _adapted(self, text: bytes | msgspec.Raw, request: ChatRequest) -> bytes | msgspec.Raw:
        message = msgspec.json.decode(text)
        if not isinstance(message, dict) or self._is_plain(message):
            return text
        new = self._message(message, request)
        return text if new == message else msgspec.json.encode(new)

    def _is_plain(self, message: dict[str, Any]) -> bool:
        """Return whether a message is a text and nothing else, as most are, so that nothing in it has to change."""
        role = message.get("role")
        is_text = type(role) is str and type(message.get("content")) is str and message.keys() <= self._plain_members
        return is_text and role not in self._dialect.roles

    def _message(self, message: dict[str, Any], request: ChatRequest) -> dict[str, Any]:
        new = {name: value for name, value in message.items() if name not in self._foreign_extras}
        role = new.get("role")
        if isinstance(role, str) and role in self._dialect.roles:
            new["role"] = self._dialect.roles[role]  # type: ignore[index]
        if role == "assistant":
            self._write_reasoning(new, bool(message.get(_PROVIDER_FIELDS)), request)
        always = "name" if role == "function" else ""  # of the function whose result this is
        new = self._without_rejected(new, "message", "messages", request, always)
        if isinstance(new.get("tool_calls"), list):
            new["tool_calls"] = [self._call(call, request) for call in new["tool_calls"]]
        if isinstance(new.get("content"), list):
            new["content"] = self._content(new["content"], request)
        return new

    def _write_reasoning(self, message: dict[str, Any], is_foreign: bool, request: ChatRequest) -> None:
        """Send earlier reasoning under the host's name for it, or leave it out.

        Reasoning of another provider is left out as well, unless the model wants some in any case.
        """
        history, name = self._facts.reasoning_history, self._dialect.reasoning
        texts = [message[one] for one in _REASONING if isinstance(message.get(one), str) and message[one]]
        if history == "never" or (is_foreign and history == "may"):
            for one in _REASONING:
                request.report_value(f"messages.{one}", message.pop(one, None))
            return
        if name is None:
            return
        if texts:
            kept = message.get(name) or texts[0]
            for one in _REASONING:
                message.pop(one, None)
            message[name] = kept
        elif self._must_have_reasoning and message.get("tool_calls"):
            message.pop(_REASONING[name == _REASONING[0]], None)
            message[name] = self._dialect.lost_reasoning
        else:
            for one in _REASONING:
                if message.get(one) in (None, ""):
                    message.pop(one, None)

    def _call(self, call: Any, request: ChatRequest) -> Any:
        if not isinstance(call, dict):
            return call
        new = {name: value for name, value in call.items() if name not in self._foreign_extras}
        return self._without_rejected(new, "call", "messages.tool_calls", request)

    def _content(self, parts: list[Any], request: ChatRequest) -> Any:
        new = [self._part(part, request) for part in parts]
        if self._dialect.text_content == "joined" and all(map(_is_plain_text, new)):
            return "".join([part["text"] for part in new])
        return new

    def _part(self, part: Any, request: ChatRequest) -> Any:
        if not isinstance(part, dict):
            return part
        kind = part.get("type")
        always = kind if isinstance(kind, str) else ""
        return self._without_rejected(part, "part", "messages.content", request, always)

    def _without_rejected(
        self, members: dict[str, Any], place: str, path: str, request: ChatRequest, always: str = ""
    ) -> dict[str, Any]:
        """Return the members that the host accepts in this place. The others are named as dropped."""
        accepted = self._dialect.accepts.get(place)  # type: ignore[call-overload]
        refused = self._rejects.get(place, ())  # type: ignore[call-overload]
        if accepted is None and not refused:
            return members
        new = {
            name: value
            for name, value in members.items()
            if (accepted is None or name in accepted or name in _ALWAYS_ACCEPTED[place] or name == always)
            and (name not in refused or name == always)
        }
        for name in members.keys() - new.keys():
            request.report_value(f"{path}.{name}", members[name])
        return new


def _without_extensions(signs: Iterator[bytes]) -> tuple[bytes, ...]:
    """Return the signs without those that begin with another one, which need not be searched for as well."""
    kept: list[bytes] = []
    for sign in sorted(signs):
        if not (kept and sign.startswith(kept[-1])):
            kept.append(sign)
    return tuple(kept)


def _is_plain_text(part: Any) -> bool:
    return isinstance(part, dict) and part.keys() == {"type", "text"} and isinstance(part["text"], str)
