"""Secrets that tests plant in every place that holds one, and the search for them in output."""

import base64
import random
import re
import string
from urllib.parse import quote

WINDOW = 10  # the number of characters of a secret that count as a leak
PROMPT = re.compile(rb"Prmpt\w{20}")
PART_OF_A_PROMPT = re.compile(
    rb"Prmpt\w{7,}"
)  # 12 characters, because shorter matches may be random (docs/operations.md)
_SIGNS = string.ascii_letters + string.digits
_markers = random.Random("markers")


def secret(name: str) -> str:
    """Return the secret of this name. It does not look like a key of any provider."""
    return "".join(random.Random(name).choices(_SIGNS, k=40))


def marker() -> str:
    """Return a unique text that identifies one prompt."""
    return "Prmpt" + "".join(_markers.choices(_SIGNS, k=20))


class Planted:
    """The secrets of one run, by name."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        return self.secrets.setdefault(name, secret(name))

    def found_in(self, data: bytes) -> set[str]:
        """Return the names of secrets of which the data contains a part or an encoded form."""
        return {name for name, value in self.secrets.items() if any(form in data for form in _forms(value))}


def _forms(value: str) -> set[bytes]:
    windows = {value[at : at + WINDOW].encode() for at in range(len(value) - WINDOW + 1)}
    encoded = {base64.b64encode(b"x" * shift + value.encode())[4:-8] for shift in range(3)}
    return windows | encoded | {quote(value).encode(), value.encode()[::-1]}
