"""Finds a credential in what a provider sends back, in whichever usual spelling it is repeated.

A provider may repeat the credential it was sent: in an error message, in a request id, in any other header field. It
is found as it is, in any mixture of upper and lower case, in base64 (both alphabets, at any position among other
bytes, padded or not), and where characters of it are escaped (percent-encoding, JSON, HTML), and a run of twelve of
its characters is enough.

The search takes time in proportion to the text. It looks up four characters of every nine, and no more unless they
stand together in the credential: a run of twelve cannot fall between such samples.
"""

import re
from binascii import b2a_base64
from collections.abc import Callable, Iterator
from struct import Struct
from typing import AnyStr

REPLACEMENT = "[redacted]"
RUN_LENGTH = 12  # consecutive characters of a credential that are looked for; of a shorter credential, all of it
MIN_SECRET_LENGTH = (
    8  # characters; a shorter credential could be a word by chance, so that it is looked for in messages alone
)
_GRAM = 4
_LEVELS = 3  # escapes within escapes
_LONGEST_SAMPLED = 1024  # bytes; longer header values are rare enough to be searched outright

# Letter case does not count, and both alphabets of base64 are one. Whatever may begin an escape, or is not ASCII,
# becomes a percent sign: a value without one holds neither.
_PERCENT = ord("%")
_FOLD = bytes(
    _PERCENT if byte >= 0x80 or byte in b"\\&" else ord(chr(byte).lower().translate({43: "-", 47: "_"}))
    for byte in range(256)
)
_ESCAPE = re.compile(
    rb"%([0-9a-f]{2})|\\(?:u00|x)([0-9a-f]{2})|&#x0{0,4}([0-9a-f]{2});|&#0{0,4}([0-9]{2,3});|\\(/)", re.IGNORECASE
)


def _sampler(stride: int, number: int) -> Callable[[bytes], tuple[bytes, ...]]:
    """A function that takes so many samples of a text, a stride between the beginnings of two."""
    return Struct(f"{stride - _GRAM}x".join([f"{_GRAM}s"] * number)).unpack_from


# By stride and number.
_SAMPLERS = {
    stride: [_sampler(stride, number) for number in range((_LONGEST_SAMPLED + stride) // stride + 1)]
    for stride in range(MIN_SECRET_LENGTH - _GRAM + 1, RUN_LENGTH - _GRAM + 2)
}


class CredentialMatcher:
    """Recognises one credential, which may consist of several secrets (AWS's do).

    `long_lived` matchers are made once for a configured credential, so they are prepared for cheap checks. Others are
    made for a single request, with the key that its caller brought.
    """

    __slots__ = ("_all", "_grams", "_samplers", "_searched", "_stride", "_text", "_windows", "min_match_length")

    def __init__(self, *secrets: str, long_lived: bool = False) -> None:
        self._all = secrets
        self._searched = [secret.encode() for secret in secrets if len(secret) >= MIN_SECRET_LENGTH]
        self.min_match_length = min([RUN_LENGTH, *map(len, self._searched)])  # bytes of a text that can hold anything
        self._stride = self.min_match_length - _GRAM + 1
        self._samplers = _SAMPLERS[self._stride]
        self._text = b""  # made when first needed, as `_windows` are
        self._grams = frozenset(_slices(self._spellings(), _GRAM)) if long_lived else None
        self._windows: dict[int, frozenset[bytes]] | None = None

    @property
    def short_secrets(self) -> list[str]:
        """Secrets that messages alone are searched for, and only as they are."""
        return [secret for secret in self._all if 0 < len(secret) < MIN_SECRET_LENGTH]

    def may_be_in(self, value: bytes) -> bool:
        """Whether a header value has to be searched. Wrongly true at times, never wrongly false."""
        folded = value.translate(_FOLD)
        if _PERCENT in folded or len(value) > _LONGEST_SAMPLED:
            return True
        samples = self._samplers[(len(value) + self._stride - _GRAM) // self._stride](folded)
        if self._grams is not None:
            return not self._grams.isdisjoint(samples)
        find = (self._text or self._spellings()).find
        return any([find(sample) >= 0 for sample in samples])

    def is_in(self, value: bytes) -> bool:
        """Whether the credential, or a run of its characters, is in there."""
        return next(self._spans(value, _LEVELS), None) is not None

    def redact(self, text: str) -> str:
        """The text with INSTEAD wherever the credential was."""
        if not self._searched:
            return text
        data = text.encode("utf-8", "replace")
        spans = sorted(self._spans(data, _LEVELS))
        return replace_spans(data, spans, REPLACEMENT.encode()).decode() if spans else text

    def _spans(self, data: bytes, levels: int) -> Iterator[tuple[int, int]]:
        """Where the credential stands, also behind escapes; spans may overlap."""
        yield from self._plain_spans(data)
        unescaped = _unescaped(data) if levels else None
        if unescaped is not None:
            plain, starts = unescaped
            for start, end in self._spans(plain, levels - 1):
                yield starts[start], starts[end]

    def _plain_spans(self, data: bytes) -> Iterator[tuple[int, int]]:
        windows = self._windows or self._prepare()
        text, known = data.translate(_FOLD), self._grams or self._text or self._spellings()
        for at in range(0, len(text) - _GRAM + 1, self._stride):
            if text[at : at + _GRAM] in known:
                for size, of_size in windows.items():
                    for start in range(max(0, at + _GRAM - size), min(at, len(text) - size) + 1):
                        if text[start : start + size] in of_size:
                            yield start, start + size

    def _spellings(self) -> bytes:
        """Everything that `_forms` gives, and a little more, as one text."""
        pieces = [
            secret + b2a_base64(secret) + b2a_base64(b"." + secret) + b2a_base64(b".." + secret)
            for secret in self._searched
        ]
        self._text = b"".join(pieces).translate(_FOLD)
        return self._text

    def _prepare(self) -> dict[int, frozenset[bytes]]:
        forms = [form for secret in self._searched for form in _forms(secret)]
        windows = {window for form in forms for window in _slices(form, min(RUN_LENGTH, len(form)))}
        sizes = {len(window) for window in windows}
        self._windows = {size: frozenset(window for window in windows if len(window) == size) for size in sizes}
        return self._windows


def _forms(secret: bytes) -> Iterator[bytes]:
    """The folded spellings of a secret: its characters, and those of its base64 that it determines by itself.

    Three bytes are four characters of base64, so there are three, by how many bytes stand before the secret.
    """
    yield secret.translate(_FOLD)
    for before in range(3):
        encoded = b2a_base64(bytes(before) + secret, newline=False).translate(_FOLD)
        yield encoded[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6]


def _slices(text: bytes, size: int) -> list[bytes]:
    return [text[at : at + size] for at in range(len(text) - size + 1)]


def _unescaped(data: bytes) -> tuple[bytes, list[int]] | None:
    """The text without escapes, and for each byte of it (and its end) where it began. None where there are none."""
    pieces: list[bytes] = []
    starts: list[int] = []
    at = 0
    for found in _ESCAPE.finditer(data):
        percent, backslash, hexadecimal, decimal, slash = found.groups()
        digits = percent or backslash or hexadecimal
        number = ord(slash) if slash else int(decimal) if decimal else int(digits, 16)
        pieces += (data[at : found.start()], bytes([min(number, 0xFF)]))
        starts += range(at, found.start() + 1)
        at = found.end()
    if not pieces:
        return None
    starts += range(at, len(data) + 1)
    return b"".join([*pieces, data[at:]]), starts


def replace_spans(text: AnyStr, spans: list[tuple[int, int]], instead: AnyStr) -> AnyStr:
    """The text with `instead` for each stretch that these spans cover. They are in order, and may overlap."""
    pieces: list[AnyStr] = []
    shown_from, hidden_to = 0, -1
    for start, end in spans:
        if start > hidden_to:
            pieces += (text[shown_from:start], instead)
        shown_from = hidden_to = max(hidden_to, end)
    pieces.append(text[shown_from:])
    return text[:0].join(pieces)


NO_CREDENTIAL = CredentialMatcher(long_lived=True)
