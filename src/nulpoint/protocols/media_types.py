"""Normalizes media types, which clients write in many spellings, while providers compare them letter by letter.

Sources: RFC 9110, section 8.3.1 (types and their parameters are case-insensitive), the IANA registry of media types,
and the spellings that browsers and client libraries send.
"""

from collections.abc import Mapping
from types import MappingProxyType

_PDF = "application/pdf"
# From an unregistered spelling to the type that providers know.
_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "image/jpg": "image/jpeg",
        "image/jpe": "image/jpeg",
        "image/jfif": "image/jpeg",
        "image/pjpeg": "image/jpeg",
        "image/x-citrix-jpeg": "image/jpeg",
        "image/x-png": "image/png",
        "image/apng": "image/png",
        "image/x-citrix-png": "image/png",
        "image/x-gif": "image/gif",
        "image/x-webp": "image/webp",
        "application/x-pdf": "application/pdf",
        "application/acrobat": "application/pdf",
        "application/vnd.pdf": "application/pdf",
        "text/pdf": "application/pdf",
        "text/x-pdf": "application/pdf",
        "text/x-markdown": "text/markdown",
        "application/x-markdown": "text/markdown",
        "text/json": "application/json",
        "application/x-json": "application/json",
        "text/xml": "application/xml",
        "application/x-javascript": "application/javascript",
        "text/javascript": "application/javascript",
        "application/csv": "text/csv",
        "text/x-csv": "text/csv",
        "audio/mp3": "audio/mpeg",
        "audio/x-mp3": "audio/mpeg",
        "audio/x-mpeg": "audio/mpeg",
        "audio/wave": "audio/wav",
        "audio/x-wav": "audio/wav",
        "audio/vnd.wave": "audio/wav",
        "audio/x-flac": "audio/flac",
        "audio/x-aac": "audio/aac",
        "video/x-mp4": "video/mp4",
        "video/mkv": "video/x-matroska",
        "video/x-quicktime": "video/quicktime",
    }
)

_MAX_SCHEME = 16  # characters in which a scheme with its colon is looked for
# From the first bytes of a file, in base64, to its media type.
_BY_FIRST_BYTES: Mapping[str, str] = MappingProxyType(
    {
        "iVBORw0KGgo": "image/png",
        "/9j/": "image/jpeg",
        "R0lGODdh": "image/gif",
        "R0lGODlh": "image/gif",
        "JVBERi0": _PDF,
    }
)
_BY_EXTENSION: Mapping[str, str] = MappingProxyType(
    {
        "pdf": "application/pdf",
        "png": "image/png",
        "jpg": "image/jpeg",
        "jpeg": "image/jpeg",
        "gif": "image/gif",
        "webp": "image/webp",
        "txt": "text/plain",
        "md": "text/markdown",
        "csv": "text/csv",
        "html": "text/html",
        "json": "application/json",
    }
)


def normal_media_type(text: str) -> str:
    """Return a media type in lower case, without parameters, and in the spelling that providers know."""
    media_type = text.partition(";")[0].strip().lower()
    return _ALIASES.get(media_type, media_type)


def media_type_of_data(base64: str) -> str | None:
    """Return the media type that the first bytes of a file stand for, or None. Takes the file in base64."""
    return next((kind for start, kind in _BY_FIRST_BYTES.items() if base64.startswith(start)), None)


def with_lower_scheme(url: str) -> str:
    """Return a URL with its scheme in lower case (`DATA:`, `HTTPS:`), as providers compare it letter by letter."""
    scheme, colon, rest = url[:_MAX_SCHEME].partition(":")
    if not colon or scheme.islower() or not scheme.isalnum():
        return url
    return f"{scheme.lower()}:{rest}{url[_MAX_SCHEME:]}"


def media_type_of_name(name: str) -> str | None:
    """Return the media type that the extension of a file's name or of a URL's path stands for, or None."""
    path = name.partition("?")[0].partition("#")[0]
    return _BY_EXTENSION.get(path.rpartition(".")[2].lower())
