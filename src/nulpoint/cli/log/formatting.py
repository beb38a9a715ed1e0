"""Numbers and names as a terminal shows them: short, of one length where they stand under each other."""

import unicodedata

ELLIPSIS = "…"
_TOKEN_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def clean(text: str) -> str:
    """Without what would move the cursor: a model's name is whatever a caller has sent."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def width(text: str) -> int:
    """Columns it takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def fit(text: str, columns: int) -> str:
    """Cut to at most so many columns."""
    if width(text) <= columns:
        return text
    while text and width(text) > columns - 1:
        text = text[:-1]
    return text + ELLIPSIS if columns > 0 else ""


def time_taken(us: float | None) -> str:
    """Of microseconds."""
    if us is None:
        return ""
    if us < 1000:
        return f"{us:.0f}us"
    if us < 99_950:
        return f"{us / 1e3:.1f}ms"
    if us < 999_500:
        return f"{us / 1e3:.0f}ms"
    seconds = us / 1e6
    if seconds < 99.95:
        return f"{seconds:.1f}s" if seconds >= 9.995 else f"{seconds:.2f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s"


def dollars(amount: float | None) -> str:
    if amount is None:
        return ""
    if amount == 0:
        return "$0"
    if amount >= 1000:
        return f"${amount:,.0f}"
    if amount >= 1:
        return f"${amount:.2f}"
    if amount < 1e-6:
        return "<$0.000001"
    return f"${amount:.4f}" if amount >= 0.001 else f"${amount:.6f}"


def count(number: int | None) -> str:
    """In few digits: 950, 12.3k, 4.5M."""
    if number is None:
        return ""
    for size, unit in _TOKEN_UNITS:
        if number >= size:
            value = number / size
            return f"{value:.1f}{unit}" if value < 99.95 else f"{value:.0f}{unit}"
    return str(number)


def share(part: int, whole: int) -> str:
    if not whole:
        return ""
    value = 100 * part / whole
    return "0%" if not part else f"{value:.1f}%" if value < 9.95 else f"{value:.0f}%"
