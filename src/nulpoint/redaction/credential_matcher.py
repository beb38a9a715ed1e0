"""Finds a credential in a provider's response in any of the usual encodings.

A provider may repeat the credential it was sent: in an error message, in a request id or in any other header. The
credential is found as it is, in any mixture of upper and lower case, in base64 (both alphabets, at any position among
other bytes, with or without padding), and with escaped characters (percent-encoding, JSON, HTML). Twelve consecutive
characters of it are enough.

The search time is linear in the length of the text. The search samples four characters of every nine, and looks closer
only if they occur consecutively in the credential: every run of twelve characters contains such a sample.
"""

import re
from binascii import b2a_base64
from collections.abc import Callable, Iterator
from struct import Struct
from typing import AnyStr

REPLACEMENT = "[redacted]"
RUN_LENGTH = 12  # this many consecutive characters of a credential are a match; of a shorter one, all of it
MIN_SECRET_LENGTH = 8  # characters; a shorter secret could be an ordinary word, so it is searched for in messages only
_SAMPLE = 4  # characters
_LEVELS = 3  # of escapes within escapes
_MAX_SAMPLED_BYTES = 1024  # longer header values are so rare that they are always searched

# Maps a text to lower case and to one of the two base64 alphabets. Characters that may begin an escape, and those that
# are not ASCII, become percent signs: a text without percent signs has neither.
_PERCENT = ord("%")
_FOLD = bytes(
    _PERCENT if byte >= 0x80 or byte in b"\\&" else ord(chr(byte).lower().translate({43: "-", 47: "_"}))
    for byte in range(256)
)
_ESCAPE = re.compile(
    rb"%([0-9a-f]{2})|\\(?:u00|x)([0-9a-f]{2})|&#x0{0,4}([0-9a-f]{2});|&#0{0,4}([0-9]{2,3});|\\(/)", re.IGNORECASE
)


def _sampler(stride: int, number: int) -> Callable[[bytes], tuple[bytes, ...]]:
    """Return a function that takes `number` samples of a text, one at every `stride` bytes."""
    return Struct(f"{stride - _SAMPLE}x".join([f"{_SAMPLE}s"] * number)).unpack_from


# Samplers by stride and by number of samples.
_SAMPLERS = {
    stride: [_sampler(stride, number) for number in range((_MAX_SAMPLED_BYTES + stride) // stride + 1)]
    for stride in range(MIN_SECRET_LENGTH - _SAMPLE + 1, RUN_LENGTH - _SAMPLE + 2)
}


class CredentialMatcher:
    """Finds one credential, which may consist of several secrets, as those of AWS do.

    A `long_lived` matcher is made once for a configured credential, so it prepares tables for fast checks. The others
    are made for a single request, with the client's own key.
    """

    __slots__ = ("_all", "_samplers", "_samples", "_searched", "_stride", "_text", "_windows", "min_match_length")

    def __init__(self, *secrets: str, long_lived: bool = False) -> None:
        self._all = secrets
        self._searched = [secret.encode() for secret in secrets if len(secret) >= MIN_SECRET_LENGTH]
        self.min_match_length = min([RUN_LENGTH, *map(len, self._searched)])  # a shorter text has no match
        self._stride = self.min_match_length - _SAMPLE + 1
        self._samplers = _SAMPLERS[self._stride]
        self._text = b""  # computed when first needed, like `_windows`
        self._samples = frozenset(_slices(self._spellings(), _SAMPLE)) if long_lived else None
        self._windows: dict[int, frozenset[bytes]] | None = None

    @property
    def short_secrets(self) -> list[str]:
        """The secrets that are searched for only in messages and only in their plain form."""
        return [secret for secret in self._all if 0 < len(secret) < MIN_SECRET_LENGTH]

    def may_be_in(self, value: bytes) -> bool:
        """Return whether a header value must be searched. This may be wrong if true, but never if false."""
        folded = value.translate(_FOLD)
        if _PERCENT in folded or len(value) > _MAX_SAMPLED_BYTES:
            return True
        samples = self._samplers[(len(value) + self._stride - _SAMPLE) // self._stride](folded)
        if self._samples is not None:
            return not self._samples.isdisjoint(samples)
        find = (self._text or self._spellings()).find
        return any([find(sample) >= 0 for sample in samples])

    def is_in(self, value: bytes) -> bool:
        """Return whether the value contains the credential or a run of its characters."""
        return next(self._spans(value, _LEVELS), None) is not None

    def redact(self, text: str) -> str:
        """Return the text with REPLACEMENT in place of the credential."""
        if not self._searched:
            return text
        data = text.encode("utf-8", "replace")
        spans = sorted(self._spans(data, _LEVELS))
        return replace_spans(data, spans, REPLACEMENT.encode()).decode() if spans else text

    def _spans(self, data: bytes, levels: int) -> Iterator[tuple[int, int]]:
        """Yield the spans of the credential, escaped or not. The spans may overlap."""
        yield from self._plain_spans(data)
        unescaped = _unescaped(data) if levels else None
        if unescaped is not None:
            plain, starts = unescaped
            for start, end in self._spans(plain, levels - 1):
                yield starts[start], starts[end]

    def _plain_spans(self, data: bytes) -> Iterator[tuple[int, int]]:
        windows = self._windows or self._prepare()
        text, known = data.translate(_FOLD), self._samples or self._text or self._spellings()
        for at in range(0, len(text) - _SAMPLE + 1, self._stride):
            if text[at : at + _SAMPLE] in known:
                for size, windows_of_size in windows.items():
                    for start in range(max(0, at + _SAMPLE - size), min(at, len(text) - size) + 1):
                        if text[start : start + size] in windows_of_size:
                            yield start, start + size

    def _spellings(self) -> bytes:
        """Return a text that contains everything `_forms` yields, and a few more bytes."""
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
    """Yield the folded forms of a secret: the secret itself, and the base64 characters that depend on it alone.

    Three bytes become four characters of base64, so there are three base64 forms, which differ in the number of bytes
    before the secret.
    """
    yield secret.translate(_FOLD)
    for before in range(3):
        encoded = b2a_base64(bytes(before) + secret, newline=False).translate(_FOLD)
        yield encoded[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6]


def _slices(text: bytes, size: int) -> list[bytes]:
    return [text[at : at + size] for at in range(len(text) - size + 1)]


def _unescaped(data: bytes) -> tuple[bytes, list[int]] | None:
    """Return the text with its escapes decoded, and the original position of each byte and of the end.

    Returns None if the text has no escapes.
    """
    pieces: list[bytes] = []
    starts: list[int] = []
    at = 0
    for escape in _ESCAPE.finditer(data):
        percent, backslash, hexadecimal, decimal, slash = escape.groups()
        digits = percent or backslash or hexadecimal
        number = ord(slash) if slash else int(decimal) if decimal else int(digits, 16)
        pieces += (data[at : escape.start()], bytes([min(number, 0xFF)]))
        starts += range(at, escape.start() + 1)
        at = escape.end()
    if not pieces:
        return None
    starts += range(at, len(data) + 1)
    return b"".join([*pieces, data[at:]]), starts


def replace_spans(text: AnyStr, spans: list[tuple[int, int]], replacement: AnyStr) -> AnyStr:
    """Return the text with each part that the spans cover replaced. The spans are sorted and may overlap."""
    pieces: list[AnyStr] = []
    shown_from, hidden_to = 0, -1
    for start, end in spans:
        if start > hidden_to:
            pieces += (text[shown_from:start], replacement)
        shown_from = hidden_to = max(hidden_to, end)
    pieces.append(text[shown_from:])
    return text[:0].join(pieces)


NO_CREDENTIAL = CredentialMatcher(long_lived=True)
