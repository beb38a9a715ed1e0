"""Rejects requests whose top-level names a provider could read differently from the gateway.

JSON does not define what it means if a name occurs twice, and hosts written in Go ignore letter case in names. If
another reader could find another model, another limit or another conversation in a request, the request is rejected.
"""

import re
from collections.abc import Iterable

import msgspec

from nulpoint.errors import Failure, rejected
from nulpoint.formats import json_edit

# The members of chat requests, as in OpenAI's API description.
CHAT_MEMBERS = frozenset(
    {
        "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens",
        "max_tokens", "messages", "metadata", "modalities", "model", "moderation", "n", "parallel_tool_calls",
        "prediction", "presence_penalty", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
        "reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "stream",
        "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity",
        "web_search_options",
    }
)  # fmt: skip
_COMPLETIONS_MEMBERS = frozenset({"prompt", "suffix", "echo", "best_of"})
_EMBEDDINGS_MEMBERS = frozenset({"input", "encoding_format", "dimensions"})
# Names that differ from these only in letter case are rejected. `thinking` is Anthropic's.
READ_NAMES = CHAT_MEMBERS | _COMPLETIONS_MEMBERS | _EMBEDDINGS_MEMBERS | {"thinking"}
# These decide which model responds, to what, at what length and in which form, so they may occur only once.
SINGLE_NAMES = frozenset(
    {
        "model", "stream", "stream_options", "n", "best_of", "max_tokens", "max_completion_tokens", "messages",
        "prompt", "input", "tools", "functions", "tool_choice", "function_call", "response_format", "encoding_format",
        "dimensions",
    }
)  # fmt: skip
MAX_MEMBERS = 1000  # at the top level; no API has nearly as many
SHORT = 1024  # bytes; in a longer request, cutting out large values before checking the names is faster
LONG = 1024 * 1024  # bytes; large values are cut out of a longer request before anything is decoded
_MIN_CUT_BYTES = 512  # bytes
_MAX_KEPT_BYTES = 8192  # bytes; longer values are cut out of a long request, and no usable number is that long
_ALWAYS_KEPT = frozenset({"model", "stream", "stream_options"})
MAX_DECODED_BYTES = 64 * 1024  # bytes; the members of a longer frame are found one by one, up to MAX_MEMBERS
_SHOWN = 100  # characters of a client's name for a member that an error message repeats
# The dotless and the dotted i: Java equates them with an ordinary i, casefold() does not.
_DOTLESS_AND_DOTTED = str.maketrans({"\u0131": "i", "\u0130": "i"})

_COLON = re.compile(rb"\s*+:\s*+")
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def check_names(body: bytes) -> None:
    """Raise Failure (400) if another reader could read the top-level names of a request differently.

    `body` is a valid JSON object. Large values may have been cut out of it.
    """
    members = _decode_members(body) if len(body) <= MAX_DECODED_BYTES else {}
    # Decoding keeps only one of several members with the same name, and each lost member had at least one colon. So
    # comparing the colons is enough, unless a name contains one, which could be written as an escape.
    plain = members and len(members) <= MAX_MEMBERS and _check_spelling(members)
    if plain and msgspec.json.encode(members).count(b":") == body.count(b":"):
        return
    found = json_edit.members(body, MAX_MEMBERS + 1)
    if len(found) > MAX_MEMBERS:
        raise _too_many_members()
    names = [member.key for member in found]
    _check_spelling(names)
    _check_single(names)


def frame_of_long(body: bytes) -> bytes:
    """Return a long request with `[]` in place of its large values. Raises Failure (400) if it has too many members.

    The request is read only once, and only up to the member that is one too many. An invalid value raises the same
    exceptions as in the decoder. The request is valid JSON exactly if the returned text is.
    """
    frame = json_edit.without_long_values(body, _MAX_KEPT_BYTES, MAX_MEMBERS, _ALWAYS_KEPT)
    if frame is None:
        raise _too_many_members()
    return frame


def _too_many_members() -> Failure:
    text = f"the request body has over {MAX_MEMBERS} members at its top level; no provider reads so many: send fewer"
    return rejected(text, code="too_many_members")


def without_large_values(body: bytes, values: Iterable[tuple[bytes, msgspec.Raw]]) -> bytes:
    """Return the same object with `[]` in place of those values that are easy to find. Its names stay the same.

    `values` are pairs of a name in quotes and its value. If the name and a colon are followed by exactly the bytes of
    the value, these are the whole value of a member with that name, at the top level or deeper: quotes within strings
    are escaped, and the end of a JSON array, object or string does not depend on what follows.
    """
    for name, value in values:
        if len(value) > _MIN_CUT_BYTES:
            body = _without(body, name, value)
            if len(body) <= SHORT:
                break
    return body


def _without(body: bytes, name: bytes, value: msgspec.Raw) -> bytes:
    at = -1
    for _ in range(4):
        at = body.find(name, at + 1)
        if at < 0:
            break
        colon = _COLON.match(body, at + len(name))
        if colon is None or body[colon.end()] not in b'[{"':
            continue
        start = colon.end()
        if body.startswith(value, start):
            return b"%b[]%b" % (body[:start], body[start + len(value) :])
    return body


def _check_spelling(names: Iterable[str]) -> bool:
    """Raise Failure (400) for other spellings of names in READ_NAMES. Return whether no other name has a colon."""
    plain = True
    for name in names:
        if name in READ_NAMES:
            continue
        meant = _folded(name)
        if meant in READ_NAMES:
            raise _other_case(name, meant)
        plain = plain and ":" not in name
    return plain


def _check_single(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen and name in SINGLE_NAMES:
            raise rejected(f"`{name}` is given more than once", param=name, code="duplicate_field")
        seen.add(name)


def _folded(name: str) -> str:
    """Return the name as readers see it that ignore letter case, by any of the usual rules."""
    return name.lower() if name.isascii() else name.translate(_DOTLESS_AND_DOTTED).casefold()


def _other_case(name: str, meant: str) -> Failure:
    shown = name[:_SHOWN]
    text = (
        f"`{shown}` differs only in letter case from `{meant}`: some providers would take it for that; write `{meant}`"
    )
    return rejected(text, param=shown, code="ambiguous_field")
