"""How the text of a setting becomes a value. Every reader raises ValueError whose message is the remedy."""

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
_MOST_SHOWN = 2000  # characters; a longer text is no value of a setting, and searching it takes long
_USER_INFO = re.compile(r"://\S*@")
_QUERY = re.compile(r"\?\S+")
_DOCUMENT = re.compile(r"\s*(?:\{\s*\"|-----BEGIN )")  # a key itself where the path of its file belongs
_CUT_REPETITION = re.compile(r"(?<!\\)\{\d*$")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_OWN_PORTS = {"http": "80", "https": "443"}
_PLACEHOLDER = re.compile(r"(?i)change.?me.*|your[-_].*|<.*>|x{3,}|\*+|\.{3,}|placeholder|example|secret|password|todo")
_REFERENCE = re.compile(r"\$\{.*\}|\$\w+")
_NO_KEYS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "none", "nil", "~", "[]", "{}", '""', "''"})
_ESCAPES = "in a password / # ? and @ are written %2F, %23, %3F and %40"
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def duration(text: str) -> float:
    """A Go-style duration in seconds, and days: `30s`, `1h30m`, `500ms`, `30d`, `0`."""
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


def duration_or_off(least: float) -> Reader:
    """A duration of `least` seconds and more, or 0, which turns something off."""

    def read(text: str) -> float:
        seconds = duration(text)
        if 0 < seconds < least:
            raise ValueError(f"use a duration of {least:g}s and more, for example 10s, or 0 to turn it off")
        return seconds

    return read


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
        if _CUT_REPETITION.search(pattern):  # RE2 would take it for plain characters
            raise ValueError(f"the comma ends the pattern {pattern!r}; write a{{1,2}} as aa?, or as two patterns")
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
    found = tuple(_digest(key) for key in names(text))
    if text and not found:  # taken for none, it would open the gateway to everybody
        raise ValueError("holds no key; unset it to let anybody call")
    return found


def gateway_key(text: str) -> bytes | None:
    """One such key; None where nothing stands."""
    if not text:
        return None
    if "," in text:
        raise ValueError("use one key, without a comma")
    return _digest(text)


def _digest(key: str) -> bytes:
    """Whoever reads our examples must not be able to guess it."""
    if _REFERENCE.fullmatch(key):
        raise ValueError("is the name of a variable, and nothing puts its value here; write the key itself")
    if key.lower() in _NO_KEYS:
        raise ValueError("is a word anybody could guess; leave the setting out to have no key")
    if _PLACEHOLDER.fullmatch(key):
        raise ValueError("is what stands in examples; use a key nobody can guess, as `openssl rand -hex 32` prints")
    return key_digest(key)


def origins(text: str) -> tuple[str, ...]:
    """Comma-separated origins as browsers spell them (the Fetch standard's serialised origins), or `*`."""
    return tuple(origin if origin == "*" else _origin(origin.lower()) for origin in names(text))


def _origin(text: str) -> str:
    """A browser's `Origin` is compared byte by byte, so what could never be equal is refused here."""
    found = _ORIGIN.fullmatch(text)
    if found is None:
        raise ValueError(
            "use * or origins as browsers send them: scheme://host[:port], without a path, a slash at the end or "
            "wildcards (names with other letters in their xn-- form), for example https://app.example.com"
        )
    if found[3] and (found[3].startswith("0") or int(found[3]) > 65535 or found[3] == _OWN_PORTS.get(found[1])):
        raise ValueError(f"no browser sends {text!r}; leave out the scheme's own port, use others from 1 to 65535")
    return text


def url(text: str) -> str:
    """An http or https URL without credentials; a slash at the end is cut."""
    parts = _split(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("use a URL with a host, for example https://api.example.com/v1")
    if "@" in text:  # anywhere: a password with a slash in it moves the rest into the path
        raise ValueError("credentials do not belong in a URL; use the provider's key variable")
    if parts.query or parts.fragment:
        raise ValueError("leave out the query and the fragment")
    return text.rstrip("/")


def redis_url(text: str) -> Secret:
    """A redis, rediss or unix URL; it may hold a password and is kept as a secret."""
    parts = _split_with_password(text)
    if parts.scheme not in ("redis", "rediss", "unix") or not (parts.hostname or parts.path):
        raise ValueError("use a Redis URL, for example redis://localhost:6379")
    return Secret(text)


def proxy_url(text: str) -> Secret:
    """An HTTP proxy; it may hold a password and is kept as a secret."""
    parts = _split_with_password(text if "://" in text else f"http://{text}")
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
    """The errors of urlsplit repeat parts of the URL, perhaps of a password: they are never shown."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises where it is no number
    except ValueError:
        raise ValueError(f"use a valid URL, with a port up to 65535 if any; {_ESCAPES}") from None
    return parts


def _split_with_password(text: str) -> Any:
    parts = _split(text)
    if "@" in parts.path + parts.query + parts.fragment:  # the password was cut, and its rest would be something else
        raise ValueError(f"the password ends too early; {_ESCAPES}")
    return parts


def shown(text: str) -> str:
    """A setting's text for a message: without what may be a credential that got into the wrong place."""
    if _DOCUMENT.match(text) or len(text) > _MOST_SHOWN:
        return "'***'"
    return repr(redact(_QUERY.sub("?***", _USER_INFO.sub("://***@", text)))[:100])
