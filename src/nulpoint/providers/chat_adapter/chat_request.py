"""A chat request of which single members can be changed, while all others keep their bytes."""

from typing import Any

import msgspec

from nulpoint.protocols.openai.chat import NO_EFFECT, RequestFields, has_no_effect
from nulpoint.protocols.openai.envelope import decode_member

# Returns the top-level members of a JSON object, undecoded.
decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.encode
_NULL = b"null"


class ChatRequest:
    """The top-level members of a request, in their order. `body` is known to be a valid JSON object.

    A member that is `null` counts as absent.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._members: dict[str, bytes | msgspec.Raw] = dict(decode_members(body))
        self._decoded: dict[str, Any] = {}
        self._messages: list[bytes | msgspec.Raw] | None = None
        self._fields = RequestFields({})
        self._is_changed = False

    def __contains__(self, name: str) -> bool:
        return name in self._members and bytes(self._members[name]) != _NULL

    def get(self, name: str) -> Any:
        """Return the value of a member, or None. Raises Failure (400) if it is not UTF-8."""
        if name not in self._members:
            return None
        if name not in self._decoded:
            self._decoded[name] = decode_member(name, bytes(self._members[name]))
        return self._decoded[name]

    def set(self, name: str, value: Any) -> None:
        self._members[name] = _encode(value)
        self._decoded[name] = value
        self._is_changed = True

    def remove(self, name: str) -> None:
        """Remove a member without naming it as dropped."""
        if name in self._members:
            del self._members[name]
            self._decoded.pop(name, None)
            self._is_changed = True

    def drop(self, name: str) -> None:
        """Remove a member, and name it as dropped unless it has no effect."""
        if name in self._members:
            if not has_no_effect(name, self.get(name)):
                self.report(name)
            self.remove(name)

    def rename(self, name: str, new_name: str) -> None:
        """Rename a member, which keeps its place and its bytes. A member that has the new name already is dropped."""
        if name not in self:
            self.remove(name)
            return
        if new_name in self and self.get(new_name) != self.get(name):
            self.report(new_name)
        members = {other: value for other, value in self._members.items() if other != new_name}
        self._members = {new_name if other == name else other: value for other, value in members.items()}
        self._decoded.pop(name, None)
        self._decoded.pop(new_name, None)
        self._is_changed = True

    def report(self, path: str) -> None:
        """Name something as dropped."""
        self._fields.report_dropped(path)

    def report_value(self, path: str, value: Any) -> None:
        """Name something as dropped unless its value has no effect."""
        if value not in NO_EFFECT:
            self.report(path)

    @property
    def messages(self) -> list[bytes | msgspec.Raw]:
        """The messages, undecoded. Empty if `messages` is not a list."""
        if self._messages is None:
            try:
                self._messages = list(_decode_list(self._members.get("messages", b"[]")))
            except msgspec.DecodeError:
                self._messages = []
        return self._messages

    def set_messages(self, messages: list[bytes | msgspec.Raw]) -> None:
        self._messages = messages
        self._members["messages"] = b"[%b]" % b",".join(map(bytes, messages))
        self._is_changed = True

    @property
    def dropped(self) -> list[str]:
        """The names of what was dropped."""
        return self._fields.dropped

    def body(self) -> bytes:
        """Return the request as JSON: the bytes it was made from if nothing has changed."""
        if not self._is_changed:
            return self._body
        return b"{%b}" % b",".join([b"%b:%b" % (_encode(name), bytes(value)) for name, value in self._members.items()])
