"""One meaning for each request: the names at its top level are read alike by the gateway and by every provider.

JSON leaves open what a name means that stands twice, and hosts written in Go match names without regard to letter case.
A request in which another reader could find another model, another limit or another conversation is refused.
"""

import re
from collections.abc import Iterable

import msgspec

from nulpoint.errors import Failure, rejected
from nulpoint.formats import json_edit

# The members of requests as OpenAI's API description has them.
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
# No other spelling of these is taken. `thinking` is Anthropic's.
READ_NAMES = CHAT_MEMBERS | _COMPLETIONS_MEMBERS | _EMBEDDINGS_MEMBERS | {"thinking"}
# These decide who is asked, what, how much of it and in which form, and may stand only once.
SINGLE_NAMES = frozenset(
    {
        "model", "stream", "stream_options", "n", "best_of", "max_tokens", "max_completion_tokens", "messages",
        "prompt", "input", "tools", "functions", "tool_choice", "function_call", "response_format", "encoding_format",
        "dimensions",
    }
)  # fmt: skip
MOST_MEMBERS = 1000  # at the top level; no API has nearly so many
SHORT = 1024  # bytes that are looked at as they are; from a longer request its large values are better cut out first
LONG = 1024 * 1024  # bytes; the members of a longer request are found before anything is decoded
_LARGE_VALUE = 512  # bytes
_LONGEST_KEPT = 8192  # bytes of a value of a long request; no number that anybody reads has so many
_KEPT = frozenset({"model", "stream", "stream_options"})
DECODED = 64 * 1024  # bytes; of what is longer the members are found one by one, up to MOST_MEMBERS
_SHOWN = 100  # characters of a caller's own name that are shown back
# A reader in Java takes these two for an i; casefold() does not.
_DOTLESS_AND_DOTTED = str.maketrans({"\u0131": "i", "\u0130": "i"})

_COLON = re.compile(rb"\s*+:\s*+")
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def check_names(body: bytes) -> None:
    """Raise Failure (400) where a reader could take the top-level names of a request for others than the gateway does.

    `body` is one valid JSON object; one whose large values were cut out will do.
    """
    members = _decode_members(body) if len(body) <= DECODED else {}
    # Decoding keeps one of several members of the same name, and each that is lost had a colon, at least. That counts
    # where no name contains one, which could be written as an escape.
    plain = members and len(members) <= MOST_MEMBERS and _check_spelling(members)
    if plain and msgspec.json.encode(members).count(b":") == body.count(b":"):
        return
    found = json_edit.members(body, MOST_MEMBERS + 1)
    if len(found) > MOST_MEMBERS:
        raise _too_many_members()
    names = [member.key for member in found]
    _check_spelling(names)
    _check_single(names)


def frame_of_long(body: bytes) -> bytes:
    """A long request with [] in place of its large values. Raises Failure (400) where it has too many members.

    It is read only once in this way, and what has a million members is not read to its end. Raises as the decoder does
    where a value is not valid; the request is valid exactly if what this returns is.
    """
    frame = json_edit.without_long_values(body, _LONGEST_KEPT, MOST_MEMBERS, _KEPT)
    if frame is None:
        raise _too_many_members()
    return frame


def _too_many_members() -> Failure:
    text = f"the request body has over {MOST_MEMBERS} members at its top level; no provider reads so many: send fewer"
    return rejected(text, code="too_many_members")


def without_large_values(body: bytes, values: Iterable[tuple[bytes, msgspec.Raw]]) -> bytes:
    """The same object with [] in place of these values, as far as they are found easily: its names are the same.

    `values` with the name of each, in quotes. Where that name and a colon are followed by the very bytes of the value,
    they are a whole value of a member of that name, be it at the top level or further inside: quotes within strings are
    escaped, and a JSON array, object or string ends itself.
    """
    for name, value in values:
        if len(value) > _LARGE_VALUE:
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
    """Raise Failure where a name is another spelling of one that the gateway reads. False if one contains a colon."""
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
    """The name as a reader has it that does not regard letter case, whichever rule for that it follows."""
    return name.lower() if name.isascii() else name.translate(_DOTLESS_AND_DOTTED).casefold()


def _other_case(name: str, meant: str) -> Failure:
    shown = name[:_SHOWN]
    text = (
        f"`{shown}` differs only in letter case from `{meant}`: some providers would take it for that; write `{meant}`"
    )
    return rejected(text, param=shown, code="ambiguous_field")
