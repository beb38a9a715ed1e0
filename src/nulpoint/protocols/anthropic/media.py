"""Writes images and files as Anthropic's blocks.

Which block it is depends on the media type and not on the member in which the client sent it: a PDF may come as an
image and an image as a file. Sources: the request types of the `anthropic` SDK, and Anthropic's error messages.
"""

from base64 import b64decode
from typing import Any

from nulpoint.conversation.parts import File, Image
from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.dropped import place_of
from nulpoint.protocols.media_types import media_type_of_name, normal_media_type
from nulpoint.protocols.openai.chat import NO_EFFECT, RequestFields, data_url, invalid

_IMAGES = ("image/gif", "image/jpeg", "image/png", "image/webp")
_PDF = "application/pdf"
_TEXTS = frozenset({"application/json", "application/xml", "application/javascript"})
_URL_HINT = "must be a data URL: this host does not fetch anything from the web"


def image_block(image: Image, path: str, facts: ModelFacts, fields: RequestFields) -> dict[str, Any]:
    """Return the block of an image, or of what the client sent as one. Raises Failure (400)."""
    if image.detail is not None and image.detail not in NO_EFFECT:
        fields.report_dropped(f"{place_of(path)}.detail")
    return _block(image.url, None, path, facts, fields)


def file_block(file: File, path: str, facts: ModelFacts, fields: RequestFields) -> dict[str, Any]:
    """Return the block of a file. Raises Failure (400), also for a file id that is not Anthropic's."""
    if file.file_id is not None:
        if not file.file_id.startswith("file_") or not facts.url_context:
            text = "must be the id of a file at Anthropic; to send any other file, use `file_data`"
            raise invalid(f"{path}.file_id", text)
        return _document({"type": "file", "file_id": file.file_id}, file.name)
    where = f"{path}.file_data"
    if file.url is None:
        raise invalid(where, "must hold a URL")
    kind = media_type_of_name(file.name or "")
    url = file.url
    if kind is not None and not url.startswith(("data:", "https://", "http://")):
        url = f"data:{kind};base64,{url}"
    return _block(url, file.name, where, facts, fields)


def _block(url: str, name: str | None, path: str, facts: ModelFacts, fields: RequestFields) -> dict[str, Any]:
    data = data_url(url, path)
    if data is None:
        return _from_web(url, name, path, facts)
    kind = normal_media_type(data[0])
    if kind in _IMAGES:
        if name:
            fields.report_dropped(f"{place_of(path).removesuffix('.file_data')}.filename")
        return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data[1]}}
    if kind == _PDF:
        return _document({"type": "base64", "media_type": kind, "data": data[1]}, name)
    if kind.startswith("text/") or kind in _TEXTS:
        return _document({"type": "text", "media_type": "text/plain", "data": _decoded(data[1], path)}, name)
    accepted = ", ".join((_PDF, *_IMAGES))
    raise invalid(path, f"is of type {kind[:60]}; Anthropic's models accept {accepted} and text")


def _from_web(url: str, name: str | None, path: str, facts: ModelFacts) -> dict[str, Any]:
    if not url.startswith(("https://", "http://")):
        raise invalid(path, "must be a data URL or an https URL")
    if not facts.url_context:
        raise invalid(path, _URL_HINT, "unsupported_value")
    kind = media_type_of_name(url)
    is_file = path.endswith(".file_data")
    source = {"type": "url", "url": url}
    if kind == _PDF or (is_file and kind not in _IMAGES):
        return _document(source, name)
    return {"type": "image", "source": source}


def _document(source: dict[str, Any], name: str | None) -> dict[str, Any]:
    return {"type": "document", "source": source, **({"title": name} if name else {})}


def _decoded(base64: str, path: str) -> str:
    try:
        return b64decode(base64, validate=True).decode()
    except ValueError:  # the alphabet, the padding, or the UTF-8 is wrong
        raise invalid(path, "must be base64 of UTF-8 text") from None
