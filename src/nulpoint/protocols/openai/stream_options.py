"""Asks for the usage of a stream in a request that goes to a host with OpenAI's format."""

import msgspec
from msgspec import UNSET

from nulpoint.formats import json_edit
from nulpoint.protocols.openai.envelope import Envelope, decode_member


def usage_option(body: bytes, envelope: Envelope) -> json_edit.JsonEdit:
    """Return the edit that sets `stream_options.include_usage` and keeps the other options."""
    given = envelope.stream_options is not UNSET
    members = [member for member in json_edit.members(body) if member.key == "stream_options"] if given else []
    if not members:
        return json_edit.add_member(body, "stream_options", b'{"include_usage":true}')
    member = members[-1]
    options = decode_member("stream_options", body[member.start : member.end]) or {}
    return json_edit.JsonEdit(member.start, member.end, msgspec.json.encode({**options, "include_usage": True}))
