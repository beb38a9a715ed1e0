"""Short text for numbers and names in a terminal, of similar length so that columns line up."""

import unicodedata

ELLIPSIS = "…"
_TOKEN_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def clean(text: str) -> str:
    """Replace characters that could move the cursor: clients can send any text as a model name."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def width(text: str) -> int:
    """Return the number of terminal columns the text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def fit(text: str, columns: int) -> str:
    """Shorten the text to at most `columns` columns."""
    if width(text) <= columns:
        return text
    while text and width(text) > columns - 1:
        text = text[:-1]
    return text + ELLIPSIS if columns > 0 else ""


def duration(us: float | None) -> str:
    """Format a duration given in microseconds, for example 42.0ms or 1m40s."""
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
    minutes, remainder = divmod(round(seconds), 60)
    return f"{minutes}m{remainder:02d}s"


def dollars(amount: float | None) -> str:
    """Format an amount in dollars, with more digits the smaller it is."""
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
    """Format a number in few digits, for example 950, 12.3k or 4.5M."""
    if number is None:
        return ""
    for size, unit in _TOKEN_UNITS:
        if number >= size:
            value = number / size
            return f"{value:.1f}{unit}" if value < 99.95 else f"{value:.0f}{unit}"
    return str(number)


def share(part: int, whole: int) -> str:
    """Format a part of a whole as a percentage; empty if the whole is 0."""
    if not whole:
        return ""
    value = 100 * part / whole
    return "0%" if not part else f"{value:.1f}%" if value < 9.95 else f"{value:.0f}%"
