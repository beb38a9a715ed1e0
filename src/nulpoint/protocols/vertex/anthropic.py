"""Translates chat requests to Anthropic's Messages API on Vertex AI.

There the URL path names the model and the body names the version of the API.

Sources: Anthropic's documentation, "Claude on Vertex AI"; the `anthropic` SDK's `lib/vertex` (read 2026-11).
"""

from nulpoint.formats import json_edit
from nulpoint.protocols.anthropic import request as anthropic_request
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.openai.chat import EncodedRequest

VERSION = "vertex-2023-10-16"
_MODEL = frozenset({"model"})


def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> EncodedRequest:
    """Return a request for Vertex AI. Raises Failure (400) like `anthropic_request.encode`.

    A version in the client's request replaces ours.
    """
    encoded = anthropic_request.encode(body, model, limits)
    without_model, _ = json_edit.rewrite(encoded.body, {}, _MODEL)
    if not any(member.key == "anthropic_version" for member in json_edit.members(without_model)):
        edit = json_edit.add_member(without_model, "anthropic_version", f'"{VERSION}"'.encode())
        without_model = json_edit.apply(without_model, [edit])
    return EncodedRequest(without_model, encoded.dropped, encoded.emulation)
