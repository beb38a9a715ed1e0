"""The ways in which a provider may encode a credential that it repeats."""

import json
import re
from base64 import b64encode, urlsafe_b64encode
from html import unescape
from urllib.parse import quote, unquote


def percent_encoded(text: str) -> str:
    """Return the text with every character percent-encoded, not only those that need it."""
    return "".join(f"%{byte:02x}" for byte in text.encode())


SPELLINGS = {
    "as it is": lambda key: key,
    "in upper case": str.upper,
    "in lower case": str.lower,
    "in mixed case": str.swapcase,
    "inside a word": lambda key: f"x{key}y",
    "quoted": lambda key: f"'{key}'",
    "behind Bearer": lambda key: f"Bearer {key}",
    "percent-encoded": quote,
    "percent-encoded throughout": percent_encoded,
    "percent-encoded in upper case": lambda key: percent_encoded(key).upper(),
    "percent-encoded here and there": lambda key: "".join(
        percent_encoded(one) if at % 5 == 0 else one for at, one in enumerate(key)
    ),
    "percent-encoded twice": lambda key: quote(percent_encoded(key)),
    "in JSON escapes": lambda key: "".join(f"\\u{ord(one):04x}" for one in key),
    "in HTML escapes": lambda key: "".join(f"&#x{ord(one):x};" for one in key),
    "in decimal HTML escapes": lambda key: "".join(f"&#{ord(one)};" for one in key),
    "as JSON": json.dumps,
    "base64": lambda key: b64encode(key.encode()).decode(),
    "base64 without padding": lambda key: b64encode(key.encode()).decode().rstrip("="),
    "base64 for URLs": lambda key: urlsafe_b64encode(key.encode()).decode(),
    "base64, one byte on": lambda key: b64encode(b"x" + key.encode()).decode(),
    "base64, two bytes on": lambda key: b64encode(b"xy" + key.encode()).decode(),
    "base64 of a Bearer token": lambda key: b64encode(f"Bearer {key}".encode()).decode(),
    "base64 of a user and a password": lambda key: urlsafe_b64encode(f"user:{key}".encode()).decode().rstrip("="),
    "base64 inside a longer text": lambda key: b64encode(f"authorization: {key}\r\nhost: x\r\n".encode()).decode(),
    "base64 in lower case": lambda key: b64encode(key.encode()).decode().lower(),
    "base64, percent-encoded": lambda key: quote(b64encode(key.encode()).decode(), safe=""),
    "the first 12 characters": lambda key: key[:12],
    "the last 12 characters": lambda key: key[-12:],
    "12 in the middle": lambda key: key[7:19],
    "12 in the middle, in upper case": lambda key: key[7:19].upper(),
    "all but the first and the last": lambda key: key[1:-1],
}


def shows(text: str, key: str) -> bool:
    """Return whether the text contains 12 characters in a row of the key or of its base64, escaped or not."""
    data = key.encode()
    encoded = [urlsafe_b64encode(bytes(before) + data).decode()[4:-4] for before in range(3)]
    runs = {form[at : at + 12].lower() for form in (key, *encoded) for at in range(len(form) - 11)}
    for _ in range(3):
        folded = text.lower()
        if any(run in folded or run in folded.replace("+", "-").replace("/", "_") for run in runs):
            return True
        text = unescape(unquote(re.sub(r"\\(?:u00|x)([0-9a-f]{2})", r"%\1", text)))
    return False
