"""Anthropic's Messages as Vertex AI takes them: the model stands in the path, and the version in the body.

Facts: Anthropic's documentation, "Claude on Vertex AI"; the `anthropic` SDK's `lib/vertex` (read 2026-11).
"""

from nulpoint.codecs import anthropic_request
from nulpoint.codecs.canonical import Encoded
from nulpoint.codecs.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.wire import splice

VERSION = "vertex-2023-10-16"
_MODEL = frozenset({"model"})


def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> Encoded:
    """Raises Failure (400) as `anthropic_request.encode` does. A version that the caller gives counts."""
    encoded = anthropic_request.encode(body, model, limits)
    without_model, _ = splice.rewrite(encoded.body, {}, _MODEL)
    if not any(member.key == "anthropic_version" for member in splice.members(without_model)):
        edit = splice.add_member(without_model, "anthropic_version", f'"{VERSION}"'.encode())
        without_model = splice.apply(without_model, [edit])
    return Encoded(without_model, encoded.dropped, encoded.wrapped)
