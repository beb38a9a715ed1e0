"""Pictures, documents, sound and films as Converse's blocks, and the names documents must have.

Facts: the service model of `bedrock-runtime` and Converse's errors. Data goes in base64, as JSON has it.
"""

import re
from typing import Any

from nulpoint.protocols.openai.chat import RequestFields, data_url, invalid, optional_text

_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_OFFICE = "application/vnd.openxmlformats-officedocument"
_DOCUMENTS = {
    "application/pdf": "pdf", "text/csv": "csv", "application/msword": "doc",
    f"{_OFFICE}.wordprocessingml.document": "docx", "application/vnd.ms-excel": "xls",
    f"{_OFFICE}.spreadsheetml.sheet": "xlsx", "text/html": "html", "text/plain": "txt", "text/markdown": "md",
    "application/json": "txt", "application/xml": "txt", "application/javascript": "txt",
}  # fmt: skip
_FILMS = {
    "video/x-matroska": "mkv", "video/quicktime": "mov", "video/mp4": "mp4", "video/webm": "webm",
    "video/x-flv": "flv", "video/mpeg": "mpeg", "video/x-ms-wmv": "wmv", "video/3gpp": "three_gp",
}  # fmt: skip
_SOUNDS = ("aac", "flac", "mp3", "opus", "pcm", "wav")
_ELSEWHERE = "for what lies in S3, send the block in Converse's own shape, with `s3Location`"
_NOT_IN_NAMES = re.compile(r"[^0-9A-Za-z\s\-()\[\]]+")
_NAME_LENGTH = 190  # of 200; a number may follow


def image_block(image: Any, path: str, fields: RequestFields) -> dict[str, Any]:
    given = image if isinstance(image, dict) else {"url": image}
    fields.report_other_members(given, {"url"}, "messages.content.image_url")
    kind, data = _data(given.get("url"), path)
    if kind not in _IMAGES:
        raise invalid(path, f"is of type {kind[:60]}; Bedrock takes images in png, jpeg, gif and webp")
    return {"image": {"format": _IMAGES[kind], "source": {"bytes": data}}}


def sound_block(sound: Any, path: str, fields: RequestFields) -> dict[str, Any]:
    given = sound if isinstance(sound, dict) else {}
    fields.report_other_members(given, {"data", "format"}, "messages.content.input_audio")
    if given.get("format") not in _SOUNDS or not isinstance(given.get("data"), str):
        raise invalid(path, f"must have base64 `data`, and a `format` of {', '.join(_SOUNDS)}")
    return {"audio": {"format": given["format"], "source": {"bytes": given["data"]}}}


def file_block(file: Any, path: str, fields: RequestFields) -> dict[str, Any]:
    """A document, or a picture or film that came as a file. Raises Failure for an id: Bedrock keeps no files."""
    if not isinstance(file, dict):
        raise invalid(path, "must be an object")
    fields.report_other_members(file, {"file_id", "file_data", "filename"}, "messages.content.file")
    if file.get("file_id"):
        raise invalid(f"{path}.file_id", f"is nothing Bedrock knows; send the file as `file_data`, or {_ELSEWHERE}")
    kind, data = _data(file.get("file_data"), f"{path}.file_data")
    source = {"bytes": data}
    name = optional_text(file.get("filename"), f"{path}.filename")
    if kind in _DOCUMENTS or kind.startswith("text/"):
        made = _document_name(name)
        return {"document": {"format": _DOCUMENTS.get(kind, "txt"), "name": made, "source": source}}
    if name:
        fields.report_dropped("messages.content.file.filename")
    if kind in _IMAGES:
        return {"image": {"format": _IMAGES[kind], "source": source}}
    if kind in _FILMS:
        return {"video": {"format": _FILMS[kind], "source": source}}
    text = f"is of type {kind[:60]}; Bedrock takes pdf, csv, doc, docx, xls, xlsx, html, txt, md, images, films"
    raise invalid(f"{path}.file_data", text)


def _data(url: Any, path: str) -> tuple[str, str]:
    if not isinstance(url, str):
        raise invalid(path, "must hold a data URL")
    data = data_url(url, path)
    if data is None:
        raise invalid(
            path, f"must be a data URL: Bedrock fetches nothing from the web; {_ELSEWHERE}", "unsupported_value"
        )
    return data[0].lower(), data[1]


def _document_name(filename: str) -> str:
    """Letters, digits, single spaces, hyphens and brackets are all that names may hold."""
    stem = filename.rpartition(".")[0] or filename
    return " ".join(_NOT_IN_NAMES.sub(" ", stem).split())[:_NAME_LENGTH].strip() or "document"


def name_apart(turns: list[dict[str, Any]]) -> None:
    """Give documents of one name numbers: two of the same are refused."""
    seen: dict[str, int] = {}
    for document in _documents(turns):
        name = document.get("name")
        if isinstance(name, str):
            seen[name] = seen.get(name, 0) + 1
            if seen[name] > 1:
                document["name"] = f"{name} ({seen[name]})"


def _documents(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    blocks = [block for turn in turns for block in turn["content"]]
    results = [block["toolResult"] for block in blocks if isinstance(block.get("toolResult"), dict)]
    contents = [result.get("content") for result in results]
    inner = [block for content in contents if isinstance(content, list) for block in content]
    blocks += [block for block in inner if isinstance(block, dict)]
    return [block["document"] for block in blocks if isinstance(block.get("document"), dict)]
