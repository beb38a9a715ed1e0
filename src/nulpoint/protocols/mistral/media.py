"""Writes images and files as parts of Mistral's chat API.

Which part it is depends on the media type and not on the member in which the client sent it. Sources: the request types
of the `mistralai` SDK (`ImageURLChunk`, `DocumentURLChunk`).
"""

from typing import Any

from nulpoint.conversation.parts import File, Image
from nulpoint.protocols.dropped import report_extra
from nulpoint.protocols.media_types import media_type_of_name, normal_media_type
from nulpoint.protocols.openai.chat import RequestFields, data_url, invalid

_DETAILS = ("low", "auto", "high")


def image_part(image: Image, path: str, fields: RequestFields) -> dict[str, Any]:
    """Write an image, or what the client sent as one."""
    media_type, url = _normalized(image.url, path)
    if media_type is not None and not media_type.startswith("image/"):
        report_extra(fields, {"detail": image.detail}, path)
        return {"type": "document_url", "document_url": url}
    if image.detail in _DETAILS:
        return _image_url(url, image.detail)
    report_extra(fields, {"detail": image.detail}, path)
    return _image_url(url)


def file_part(file: File, path: str, fields: RequestFields) -> dict[str, Any]:
    """Write a file. Raises Failure (400)."""
    if file.file_id:
        report_extra(fields, {"file_data": file.url, "filename": file.name}, path)
        return {"type": "file", "file_id": file.file_id}
    url = file.url
    if url is None:
        raise invalid(path, "must have file_data or file_id")
    kind = media_type_of_name(file.name or "")
    if kind is not None and ":" not in url[:16]:  # base64 without `data:`
        url = f"data:{kind};base64,{url}"
    media_type, url = _normalized(url, f"{path}.file_data")
    if media_type is not None and media_type.startswith("image/"):
        report_extra(fields, {"filename": file.name}, path)
        return _image_url(url)
    document_name = {"document_name": file.name} if file.name else {}
    return {"type": "document_url", "document_url": url, **document_name}


def _image_url(url: str, detail: str | None = None) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **({"detail": detail} if detail else {})}}


def _normalized(url: str, where: str) -> tuple[str | None, str]:
    """Return the media type of a data URL, or None, and the URL with that type in the spelling of providers.

    Raises Failure (400) for a data URL that is not base64.
    """
    data = data_url(url, where)
    if data is None:
        return None, url
    media_type = normal_media_type(data[0])
    return media_type, url if url.startswith(f"data:{media_type};") else f"data:{media_type};base64,{data[1]}"
