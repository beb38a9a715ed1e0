"""`provider/model`, as aliases, chains and prices have it."""

import difflib
from collections.abc import Mapping

from nulpoint.providers.spec import ProviderSpec


def remedy_for(target: str, known: Mapping[str, ProviderSpec]) -> str:
    """What to write in its place, where it is no model of a known provider; empty where it is one."""
    provider, _, model = target.partition("/")
    if model and provider in known:
        return ""
    close = difflib.get_close_matches(provider, known, 1)
    hint = f"; did you mean {close[0]}/{model}?" if close and model else ""
    return f"use provider/model with a known provider{hint}"
