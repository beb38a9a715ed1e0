"""Texts that the gateway adds to a conversation where a provider's API needs one, or cannot say it in another way.

They are the same for the same conversation, so that the requests of a growing conversation begin alike and the
provider's prompt cache holds.
"""

from collections.abc import Iterable

# The user's turn of a conversation that has none at its beginning, and the one after a response that the client sends
# back as the last message, for models that cannot continue it.
BEGIN = "Begin."
CONTINUE = "Continue your last message exactly where it ends, without repeating any of it."
# Stands beside a document in a turn without any text.
DOCUMENT_ATTACHED = "The document is attached."
# For APIs that cannot express that no tool may be called.
MUST_NOT_CALL = "Your next message must not call a tool."


def system_text_for_user(text: str) -> str:
    """Return the text of a later system message in the form in which it stands in a user's turn."""
    return f"<system-message>\n{text}\n</system-message>"


def must_call(names: Iterable[str] | None) -> str:
    """Return the instruction to call a tool, for models that cannot be forced. None: any of the tools."""
    which = "one of the tools" if names is None else _listed(names)
    return f"Your next message must call {which}. Do not answer with text alone."


def may_only_call(names: Iterable[str]) -> str:
    """Return the instruction to call no other tools than these."""
    return f"If your next message calls a tool, it may only call {_listed(names)}."


def _listed(names: Iterable[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return f"the tool {quoted[0]}" if len(quoted) == 1 else f"one of the tools {', '.join(quoted)}"
