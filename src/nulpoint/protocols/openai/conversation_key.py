"""Recognises the requests of one conversation by their bodies, as far as that costs little.

A conversation grows from request to request, but it keeps its beginning: the first system message and the first user
message. Only these are read, and only their texts, because clients move marks such as `cache_control` from message to
message.
"""

from collections.abc import Iterator
from zlib import crc32

import msgspec

from nulpoint.formats import json_edit
from nulpoint.formats.malformed import NOT_JSON
from nulpoint.protocols.openai.envelope import Envelope

_SHORT = 4096  # bytes; in a shorter body, all messages are read at once, which is faster
_MAX_OPENING = 16  # messages among which the first one of the user is looked for
_MAX_READ = 1024 * 1024  # bytes of a message; of a longer one, only the beginning counts
_MAX_HASHED = 64 * 1024  # bytes of a text
_ABSENT = msgspec.Raw()
_CACHE_KEY = b'"prompt_cache_key"'


class _CacheKey(msgspec.Struct):
    prompt_cache_key: msgspec.Raw = _ABSENT


class _Message(msgspec.Struct):
    role: str = ""
    content: msgspec.Raw = _ABSENT


class _Messages(msgspec.Struct):
    messages: list[_Message] = []


class _Part(msgspec.Struct):
    """The members of a part of a message that hold what it says."""

    text: msgspec.Raw = _ABSENT
    image_url: msgspec.Raw = _ABSENT
    input_audio: msgspec.Raw = _ABSENT
    file: msgspec.Raw = _ABSENT


_decode_cache_key = msgspec.json.Decoder(_CacheKey).decode
_decode_messages = msgspec.json.Decoder(_Messages).decode
_decode_message = msgspec.json.Decoder(_Message).decode
_decode_parts = msgspec.json.Decoder(list[_Part]).decode


def conversation_key(body: bytes, envelope: Envelope) -> bytes | None:
    """Return what the requests of a conversation have in common; None if it has no user message yet.

    It is the member `prompt_cache_key`, or else a checksum of the model and of the beginning of the conversation.
    `body` has been checked to be a JSON object.
    """
    try:
        return _cache_key(envelope.frame) or _opening(body, envelope.model)
    except NOT_JSON:  # the provider will reject the request
        return None


def _cache_key(frame: bytes) -> bytes:
    """Return the text of `prompt_cache_key`; empty if there is none."""
    if _CACHE_KEY not in frame:
        return b""
    value = bytes(_decode_cache_key(frame).prompt_cache_key)
    return value if value not in (b"null", b'""') else b""


def _opening(body: bytes, model: str) -> bytes | None:
    """Return a checksum of the model and of the first system and user messages; None without the latter."""
    checksum, has_system = crc32(model.encode()), False
    for message in _first_messages(body):
        if isinstance(message, memoryview):
            return b"%08x" % crc32(message[:_MAX_HASHED], checksum)
        if message.role == "user":
            return b"%08x" % _add_content(checksum, message.content)
        if message.role in ("system", "developer") and not has_system:
            has_system, checksum = True, _add_content(checksum, message.content)
    return None


def _first_messages(body: bytes) -> Iterator[_Message | memoryview]:
    """Yield the first messages. The last one may be the beginning of a very long one."""
    if len(body) <= _SHORT:
        yield from _decode_messages(body).messages[:_MAX_OPENING]
        return
    start = json_edit.value_start(body, "messages")
    if start is not None and body[start] == ord("["):
        for message, is_whole in json_edit.first_objects(body, start, _MAX_OPENING, _MAX_READ):
            yield _decode_message(message) if is_whole else message


def _add_content(checksum: int, content: msgspec.Raw) -> int:
    """Add the content of a message to a checksum. A single text counts alike as a string and as a part."""
    view = memoryview(content)
    if not view or view[0] != ord("["):
        return crc32(view[:_MAX_HASHED], checksum)
    for part in _decode_parts(content):
        for value in (part.text, part.image_url, part.input_audio, part.file):
            checksum = crc32(memoryview(value)[:_MAX_HASHED], checksum)
    return checksum
