"""Makes ids of tool calls for providers that do not accept the client's ids, or that send none."""

import hashlib
import re


def accepted_call_id(client_id: str, accepted: re.Pattern[str]) -> str:
    """Return the client's id if it matches the pattern that a provider accepts, or else an id derived from it."""
    return client_id if accepted.fullmatch(client_id) else derived_call_id(client_id)


def derived_call_id(source: str) -> str:
    """Return an id that is always the same for the same source."""
    return f"call_{hashlib.sha256(source.encode()).hexdigest()[:24]}"
