"""Convert the text of a setting into a value. Every reader raises ValueError with the remedy as its message."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import re2

from nulpoint.providers.spec import Secret
from nulpoint.redaction.text import redact
from nulpoint.request.client_auth import key_digest

Reader = Callable[[str], Any]

_DURATION_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION_PART = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)(ns|us|µs|ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]+)\s*(B|KiB|MiB|GiB|kB|KB|MB|GB)?")
_SIZE_UNITS = {
    "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3,
}  # fmt: skip
_MAX_SCANNED = 2000  # characters; longer text is not the value of any setting, and scanning it takes long
_USER_INFO = re.compile(r"://\S*@")
_QUERY = re.compile(r"\?\S+")
_DOCUMENT = re.compile(r"\s*(?:\{\s*\"|-----BEGIN )")  # the content of a key file, given instead of its path
_CUT_REPETITION = re.compile(r"(?<!\\)\{\d*$")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_PLACEHOLDER = re.compile(r"(?i)change.?me.*|your[-_].*|<.*>|x{3,}|\*+|\.{3,}|placeholder|example|secret|password|todo")
_REFERENCE = re.compile(r"\$\{.*\}|\$\w+")
_NO_KEYS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "none", "nil", "~", "[]", "{}", '""', "''"})
_ESCAPES = "in a password, write / # ? and @ as %2F, %23, %3F and %40"
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def duration(text: str) -> float:
    """Return a duration such as `30s`, `1h30m`, `500ms`, `30d` or `0` in seconds."""
    if text == "0":
        return 0.0
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("use a duration with a unit, for example 30s, 500ms or 1h30m")
    return sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts)


def positive_duration(text: str) -> float:
    """Return a duration in seconds; zero is an error."""
    seconds = duration(text)
    if seconds <= 0:
        raise ValueError("use a duration greater than zero, for example 30s")
    return seconds


def duration_or_off(minimum: float) -> Reader:
    """Return a reader for durations of at least `minimum` seconds, or 0, which turns the feature off."""

    def read(text: str) -> float:
        seconds = duration(text)
        if 0 < seconds < minimum:
            raise ValueError(f"use a duration of at least {minimum:g}s, for example 10s, or 0 to turn it off")
        return seconds

    return read


def size(text: str) -> int:
    """Return a size such as `20MiB`, `32KiB` or `1048576` in bytes."""
    match = _SIZE.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise ValueError("use a number of bytes greater than zero, for example 20MiB, 32KiB or 1048576")
    return int(match[1]) * _SIZE_UNITS[match[2] or "B"]


def whole_number(minimum: int, maximum: int) -> Reader:
    """Return a reader for whole numbers from `minimum` to `maximum`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or not minimum <= int(text) <= maximum:
            raise ValueError(f"use a whole number from {minimum} to {maximum}")
        return int(text)

    return read


def flag(text: str) -> bool:
    """Return True or False for `true` or `false` and their usual synonyms."""
    lowered = text.lower()
    if lowered not in _TRUE + _FALSE:
        raise ValueError("use true or false")
    return lowered in _TRUE


def choice(*options: str) -> Reader:
    """Return a reader for one of these words, in any case."""

    def read(text: str) -> str:
        word = text.lower()
        if word == "false" and "off" in options:  # YAML reads a bare `off` as false
            word = "off"
        if word not in options:
            raise ValueError(f"use one of: {', '.join(options)}")
        return word

    return read


def text_value(text: str) -> str:
    return text


def names(text: str) -> tuple[str, ...]:
    """Return comma-separated names."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def patterns(text: str) -> tuple[str, ...]:
    """Return comma-separated regular expressions, which must be valid in RE2's syntax."""
    expressions = names(text)
    options = re2.Options()
    options.log_errors = False  # they are reported below
    for pattern in expressions:
        if _CUT_REPETITION.search(pattern):  # RE2 would read it as ordinary characters
            raise ValueError(f"a comma ends the pattern {pattern!r}; write a{{1,2}} as aa?, or as two patterns")
        try:
            re2.compile(pattern, options)
        except re2.error as error:
            raise ValueError(f"the pattern {pattern!r} is not a valid RE2 expression: {_reason(error)}") from None
    return expressions


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    return reason.decode() if isinstance(reason, bytes) else str(reason)


def gateway_keys(text: str) -> tuple[bytes, ...]:
    """Return the SHA-256 digests of comma-separated keys; the gateway does not keep the keys themselves."""
    digests = tuple(_digest(key) for key in names(text))
    if text and not digests:  # reading it as "no keys" would open the gateway to everybody
        raise ValueError("contains no key; unset it if anybody may send requests")
    return digests


def gateway_key(text: str) -> bytes | None:
    """Return the digest of one key, or None for an empty text."""
    if not text:
        return None
    if "," in text:
        raise ValueError("use one key, without a comma")
    return _digest(text)


def _digest(key: str) -> bytes:
    """Return the digest of a key; reject words and placeholders that others could guess from our examples."""
    if _REFERENCE.fullmatch(key):
        raise ValueError("refers to a variable, but variables are not expanded here; write the key itself")
    if key.lower() in _NO_KEYS:
        raise ValueError("is a word that is easy to guess; remove the setting if no key is wanted")
    if _PLACEHOLDER.fullmatch(key):
        raise ValueError(
            "is a placeholder; use a key nobody can guess, for example the output of `openssl rand -hex 32`"
        )
    return key_digest(key)


def origins(text: str) -> tuple[str, ...]:
    """Return comma-separated origins as browsers send them (the Fetch standard's serialised origins), or `*`."""
    return tuple(origin if origin == "*" else _origin(origin.lower()) for origin in names(text))


def _origin(text: str) -> str:
    """Check an origin. A browser's `Origin` is compared byte by byte, so one that no browser sends is an error."""
    match = _ORIGIN.fullmatch(text)
    if match is None:
        raise ValueError(
            "use * or origins as browsers send them: scheme://host[:port] without a path, a trailing slash or "
            "wildcards (international names in xn-- form), for example https://app.example.com"
        )
    port = match[3]
    if port and (port.startswith("0") or int(port) > 65535 or port == _DEFAULT_PORTS.get(match[1])):
        raise ValueError(f"browsers never send {text!r}; leave out the scheme's default port, or use one up to 65535")
    return text


def url(text: str) -> str:
    """Return an http or https URL without credentials, stripped of trailing slashes."""
    parts = _split(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("use a URL with a host, for example https://api.example.com/v1")
    if "@" in text:  # anywhere, because a slash in a password moves the rest of it into the path
        raise ValueError("credentials must not be part of the URL; use the provider's key variable")
    if parts.query or parts.fragment:
        raise ValueError("remove the query and the fragment from the URL")
    return text.rstrip("/")


def redis_url(text: str) -> Secret:
    """Return a redis, rediss or unix URL as a secret, because it may contain a password."""
    parts = _split_with_password(text)
    if parts.scheme not in ("redis", "rediss", "unix") or not (parts.hostname or parts.path):
        raise ValueError("use a Redis URL, for example redis://localhost:6379")
    return Secret(text)


def proxy_url(text: str) -> Secret:
    """Return the URL of an HTTP proxy as a secret, because it may contain a password."""
    parts = _split_with_password(text if "://" in text else f"http://{text}")
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("use an HTTP proxy, for example http://proxy.example.com:3128")
    return Secret(text)


def secret(text: str) -> Secret:
    """Return a key as a secret; it must be fit for a header."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("use the key as the provider shows it: ASCII, without spaces or line breaks")
    return Secret(text)


def secrets(text: str) -> tuple[Secret, ...]:
    """Return comma-separated keys as secrets."""
    return tuple(secret(part) for part in names(text))


def fraction(text: str) -> float:
    """Return a fraction from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError("use a fraction from 0 to 1, for example 0.5")
    return value


def _split(text: str) -> Any:
    """Split a URL. The errors of urlsplit may repeat a part of a password, so their text is never shown."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises ValueError if it is not a number
    except ValueError:
        raise ValueError(f"use a valid URL; a port may be up to 65535; {_ESCAPES}") from None
    return parts


def _split_with_password(text: str) -> Any:
    parts = _split(text)
    if "@" in parts.path + parts.query + parts.fragment:  # the rest of the password was read as the path
        raise ValueError(f"the password contains a character that must be escaped; {_ESCAPES}")
    return parts


def display_text(text: str) -> str:
    """Return a setting's text for a message, with anything masked that may be a misplaced credential."""
    if _DOCUMENT.match(text) or len(text) > _MAX_SCANNED:
        return "'***'"
    return repr(redact(_QUERY.sub("?***", _USER_INFO.sub("://***@", text)))[:100])
