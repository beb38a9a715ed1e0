"""How the text of a setting becomes a value. Every reader raises ValueError whose message is the remedy."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import re2

from nulpoint.providers.spec import Secret
from nulpoint.routing.callers import key_digest

Reader = Callable[[str], Any]

_DURATION_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)")
_SIZE = re.compile(r"([0-9]+)\s*(B|KiB|MiB|GiB|kB|KB|MB|GB)?")
_SIZE_UNITS = {
    "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3,
}  # fmt: skip
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def duration(text: str) -> float:
    """A Go-style duration in seconds: `30s`, `1h30m`, `500ms`, `0`."""
    if text == "0":
        return 0.0
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("use a duration with a unit, for example 30s, 500ms or 1h30m")
    return sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts)


def positive_duration(text: str) -> float:
    """The same, but never zero."""
    seconds = duration(text)
    if seconds <= 0:
        raise ValueError("use a duration above zero, for example 30s")
    return seconds


def size(text: str) -> int:
    """Bytes: `20MiB`, `32KiB`, `1048576`."""
    found = _SIZE.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise ValueError("use a number of bytes above zero, for example 20MiB, 32KiB or 1048576")
    return int(found[1]) * _SIZE_UNITS[found[2] or "B"]


def whole_number(least: int, most: int) -> Reader:
    """Whole numbers within bounds."""

    def read(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise ValueError(f"use a whole number from {least} to {most}")
        return int(text)

    return read


def flag(text: str) -> bool:
    """`true` or `false`."""
    lowered = text.lower()
    if lowered not in _TRUE + _FALSE:
        raise ValueError("use true or false")
    return lowered in _TRUE


def choice(*options: str) -> Reader:
    """One of a few words."""

    def read(text: str) -> str:
        word = text.lower()
        if word == "false" and "off" in options:  # what YAML takes the bare word for
            word = "off"
        if word not in options:
            raise ValueError(f"use one of: {', '.join(options)}")
        return word

    return read


def text_value(text: str) -> str:
    return text


def names(text: str) -> tuple[str, ...]:
    """Comma-separated names."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def patterns(text: str) -> tuple[str, ...]:
    """Comma-separated regular expressions in RE2's syntax, which is Go's."""
    found = names(text)
    options = re2.Options()
    options.log_errors = False  # they are told below
    for pattern in found:
        try:
            re2.compile(pattern, options)
        except re2.error as error:
            raise ValueError(f"the pattern {pattern!r} is no RE2 expression: {_reason(error)}") from None
    return found


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    return reason.decode() if isinstance(reason, bytes) else str(reason)


def gateway_keys(text: str) -> tuple[bytes, ...]:
    """Comma-separated keys, as the digests that are all the gateway keeps of them."""
    return tuple(key_digest(key) for key in names(text))


def url(text: str) -> str:
    """An http or https URL without credentials; a slash at the end is cut."""
    parts = _split(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("use a URL with a host, for example https://api.example.com/v1")
    if parts.username or parts.password:
        raise ValueError("credentials do not belong in a URL; use the provider's key variable")
    if parts.query or parts.fragment:
        raise ValueError("leave out the query and the fragment")
    return text.rstrip("/")


def redis_url(text: str) -> Secret:
    """A redis, rediss or unix URL; it may hold a password and is kept as a secret."""
    parts = _split(text)
    if parts.scheme not in ("redis", "rediss", "unix") or not (parts.hostname or parts.path):
        raise ValueError("use a Redis URL, for example redis://localhost:6379")
    return Secret(text)


def proxy_url(text: str) -> Secret:
    """An HTTP proxy; it may hold a password and is kept as a secret."""
    parts = _split(text if "://" in text else f"http://{text}")
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("use an HTTP proxy, for example http://proxy.example.com:3128")
    return Secret(text)


def secret(text: str) -> Secret:
    """A key, as it goes into a header field."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("use the key as the provider shows it: ASCII, without spaces or line ends")
    return Secret(text)


def secrets(text: str) -> tuple[Secret, ...]:
    """Comma-separated keys."""
    return tuple(secret(part) for part in names(text))


def share(text: str) -> float:
    """A part of a whole, 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError("use a share from 0 to 1, for example 0.5")
    return value


def _split(text: str) -> Any:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises where it is no number
    except ValueError as error:
        raise ValueError(f"use a valid URL ({error})") from None
    return parts
