"""Converts images, documents, audio and video to content blocks of Converse, and gives documents valid names.

Data stays in base64, as it is in the client's JSON. Sources: the service model of `bedrock-runtime` and the
error messages of Converse.
"""

import re
from typing import Any

from nulpoint.conversation.parts import File, Image
from nulpoint.protocols.dropped import place_of, report_extra
from nulpoint.protocols.media_types import media_type_of_name, normal_media_type
from nulpoint.protocols.openai.chat import RequestFields, data_url, invalid

_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_OFFICE = "application/vnd.openxmlformats-officedocument"
_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    f"{_OFFICE}.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    f"{_OFFICE}.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
    "application/json": "txt",
    "application/xml": "txt",
    "application/javascript": "txt",
}
_VIDEOS = {
    "video/x-matroska": "mkv",
    "video/quicktime": "mov",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "video/x-flv": "flv",
    "video/mpeg": "mpeg",
    "video/x-ms-wmv": "wmv",
    "video/3gpp": "three_gp",
}
_AUDIO_FORMATS = ("aac", "flac", "mp3", "opus", "pcm", "wav")
_S3_HINT = "for an object in S3, send the block in Converse's own format, with `s3Location`"
_NOT_IN_NAMES = re.compile(r"[^0-9A-Za-z\s\-()\[\]]+")
_MAX_NAME_LENGTH = 190  # Bedrock allows 200; `number_duplicate_names` may append a number


def image_block(image: Image, path: str, fields: RequestFields) -> dict[str, Any]:
    report_extra(fields, {"detail": image.detail}, path)
    kind, data = _data(image.url, path)
    if kind in _DOCUMENTS:  # some clients send every file as an image
        return {"document": {"format": _DOCUMENTS[kind], "name": _document_name(""), "source": {"bytes": data}}}
    if kind not in _IMAGES:
        raise invalid(path, f"is of type {kind[:60]}; Bedrock accepts images in png, jpeg, gif and webp")
    return {"image": {"format": _IMAGES[kind], "source": {"bytes": data}}}


def audio_block(audio: Any, path: str, fields: RequestFields) -> dict[str, Any]:
    input_audio = audio if isinstance(audio, dict) else {}
    report_extra(fields, input_audio, path, {"data", "format"})
    if input_audio.get("format") not in _AUDIO_FORMATS or not isinstance(input_audio.get("data"), str):
        raise invalid(path, f"must have base64 `data`, and a `format` of {', '.join(_AUDIO_FORMATS)}")
    return {"audio": {"format": input_audio["format"], "source": {"bytes": input_audio["data"]}}}


def file_block(file: File, path: str, fields: RequestFields) -> dict[str, Any]:
    """Return a document, or an image or video if the file is one.

    Raises Failure (400) for a file id, because Bedrock stores no files.
    """
    if file.file_id:
        raise invalid(f"{path}.file_id", f"is not supported by Bedrock; send the file as `file_data`, or {_S3_HINT}")
    name = file.name or ""
    kind, data = _data(file.url, f"{path}.file_data", name)
    source = {"bytes": data}
    if kind in _DOCUMENTS or kind.startswith("text/"):
        return {"document": {"format": _DOCUMENTS.get(kind, "txt"), "name": _document_name(name), "source": source}}
    if name:
        fields.report_dropped(f"{place_of(path)}.filename")
    if kind in _IMAGES:
        return {"image": {"format": _IMAGES[kind], "source": source}}
    if kind in _VIDEOS:
        return {"video": {"format": _VIDEOS[kind], "source": source}}
    text = f"is of type {kind[:60]}; Bedrock accepts pdf, csv, doc, docx, xls, xlsx, html, txt, md, images and videos"
    raise invalid(f"{path}.file_data", text)


def _data(url: str | None, path: str, name: str = "") -> tuple[str, str]:
    """Return the media type and the base64 text of a data URL. Bare base64 is of the type that the name stands for."""
    if url is None:
        raise invalid(path, "must hold a data URL")
    kind = media_type_of_name(name)
    if kind is not None and not url.startswith(("data:", "https://", "http://", "s3://")):
        return kind, url
    data = data_url(url, path)
    if data is None:
        raise invalid(
            path, f"must be a data URL: Bedrock fetches nothing from the web; {_S3_HINT}", "unsupported_value"
        )
    return normal_media_type(data[0]), data[1]


def _document_name(filename: str) -> str:
    """Return the file's name with only the characters Bedrock allows: letters, digits, spaces, hyphens and brackets."""
    stem = filename.rpartition(".")[0] or filename
    return " ".join(_NOT_IN_NAMES.sub(" ", stem).split())[:_MAX_NAME_LENGTH].strip() or "document"


def number_duplicate_names(turns: list[dict[str, Any]]) -> None:
    """Append numbers to the names of documents with the same name, which Bedrock rejects."""
    counts: dict[str, int] = {}
    for document in _documents(turns):
        name = document.get("name")
        if isinstance(name, str):
            counts[name] = counts.get(name, 0) + 1
            if counts[name] > 1:
                document["name"] = f"{name} ({counts[name]})"


def _documents(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    blocks = [block for turn in turns for block in turn["content"]]
    results = [block["toolResult"] for block in blocks if isinstance(block.get("toolResult"), dict)]
    contents = [result.get("content") for result in results]
    inner = [block for content in contents if isinstance(content, list) for block in content]
    blocks += [block for block in inner if isinstance(block, dict)]
    return [block["document"] for block in blocks if isinstance(block.get("document"), dict)]
