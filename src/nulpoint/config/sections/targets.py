"""Check `provider/model` names, as used in aliases, fallback chains and prices."""

import difflib
from collections.abc import Mapping

from nulpoint.providers.spec import ProviderSpec


def target_problem(target: str, known: Mapping[str, ProviderSpec]) -> str:
    """Return what to write instead, or an empty text if the target names a known provider."""
    provider, _, model = target.partition("/")
    if model and provider in known:
        return ""
    close = difflib.get_close_matches(provider, known, 1)
    hint = f"; did you mean {close[0]}/{model}?" if close and model else ""
    return f"use provider/model with a known provider{hint}"
