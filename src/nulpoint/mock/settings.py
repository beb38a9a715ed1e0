"""The settings of the mock providers, read from the environment."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec

from nulpoint.mock.model_table import DATA_DATE


class SettingsError(Exception):
    """The settings are invalid. The message has one line for each problem."""


class MockSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that decide how the mock providers behave.

    Fields:
        latency_ms: Milliseconds before a response begins.
        chunk_ms: Milliseconds between the events of a stream.
        error_rate: The share of requests that get status 500, from 0 to 1.
        stream_words: The number of words in the usual text of the model.
        seed: Seeds the choice of the requests that fail.
        token_seconds: The lifetime of access tokens of the clouds.
        today: The date that decides which models have ended. It is fixed unless it is set, so that the same requests
            get the same responses on every day.
    """

    latency_ms: float = 0.0
    chunk_ms: float = 0.0
    error_rate: float = 0.0
    stream_words: int = 10
    seed: int = 1
    token_seconds: float = 3600.0
    today: date = DATA_DATE

    @staticmethod
    def from_environment(environ: Mapping[str, str]) -> "MockSettings":
        """Read MOCK_LATENCY_MS and the other variables. Raises SettingsError, which names every problem."""
        values: dict[str, Any] = {}
        problems = []
        for field in msgspec.structs.fields(MockSettings):
            name = f"MOCK_{field.name.upper()}"
            text = environ.get(name)
            if not text:
                continue
            try:
                values[field.name] = _parse(field.name, field.type, text)
            except ValueError as error:
                problems.append(f"{name} = {text!r}: {error}")
        if problems:
            raise SettingsError("\n".join(problems))
        return msgspec.convert(values, MockSettings)


def _parse(name: str, kind: type, text: str) -> Any:
    """Return the value of a setting. Raises ValueError, whose text says what to write."""
    if kind is date:
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise ValueError("use a date such as 2026-12-31") from None
    try:
        value = kind(text)
    except ValueError:
        raise ValueError("use a number") from None
    if value < 0 or (name == "error_rate" and value > 1):
        raise ValueError(f"use {'0 to 1' if name == 'error_rate' else '0 or more'}")
    return value
