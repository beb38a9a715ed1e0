"""Writes images, files and audio as Gemini's parts.

Which part it is depends on the media type and not on the member in which the client sent it. Sources: Google's lists of
the supported types (read 2026-11).
"""

from typing import Any

from nulpoint.conversation.parts import File
from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.media_types import media_type_of_name, normal_media_type
from nulpoint.protocols.openai.chat import data_url, invalid

# Google's names of these types, at both hosts.
_GOOGLE_TYPES = {"audio/mpeg": "audio/mp3", "video/quicktime": "video/mov", "audio/x-m4a": "audio/m4a"}
_BY_EXTENSION = {
    "heic": "image/heic", "heif": "image/heif", "mp3": "audio/mp3", "wav": "audio/wav", "mp4": "video/mp4",
    "webm": "video/webm", "mov": "video/mov",
}  # fmt: skip


def google_media_type(media_type: str) -> str:
    """Return a media type in Google's spelling."""
    normal = normal_media_type(media_type)
    return _GOOGLE_TYPES.get(normal, normal)


def file_part(file: File, path: str, facts: ModelFacts) -> dict[str, Any]:
    """Write a file. Raises Failure (400)."""
    if file.file_id:
        return {"fileData": {"fileUri": file.file_id}}
    url, where = file.url, f"{path}.file_data"
    kind = _type_of_name(file.name or "")
    if url is not None and kind is not None and ":" not in url[:16]:  # base64 without `data:`
        return {"inlineData": {"mimeType": kind, "data": url}}
    return media_part(url, where, facts)


def media_part(url: str | None, where: str, facts: ModelFacts) -> dict[str, Any]:
    """Write what a data URL holds, or any other URL, which Google fetches. Raises Failure (400)."""
    if url is None:
        raise invalid(where, "must hold a URL")
    data = data_url(url, where)
    if data:
        return {"inlineData": {"mimeType": google_media_type(data[0]), "data": data[1]}}
    if not facts.url_context:
        raise invalid(where, "must be a data URL: this model does not fetch URLs", "unsupported_value")
    kind = _type_of_name(url.partition("?")[0])
    return {"fileData": {"fileUri": url, **({"mimeType": kind} if kind else {})}}


def _type_of_name(name: str) -> str | None:
    """Return the media type that the extension of a file's name stands for, or None."""
    return media_type_of_name(name) or _BY_EXTENSION.get(name.rpartition(".")[2].lower())
