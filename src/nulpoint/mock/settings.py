"""The settings of the mock providers, read from the environment."""

from collections.abc import Mapping

import msgspec


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
    """

    latency_ms: float = 0.0
    chunk_ms: float = 0.0
    error_rate: float = 0.0
    stream_words: int = 10
    seed: int = 1
    token_seconds: float = 3600.0

    @staticmethod
    def from_environment(environ: Mapping[str, str]) -> "MockSettings":
        """Read MOCK_LATENCY_MS and the other variables. Raises SettingsError, which names every problem."""
        values: dict[str, float | int] = {}
        problems = []
        for field in msgspec.structs.fields(MockSettings):
            name = f"MOCK_{field.name.upper()}"
            text = environ.get(name)
            if not text:
                continue
            try:
                value = field.type(text)
            except ValueError:
                problems.append(f"{name} = {text!r}: use a number")
                continue
            if value < 0 or (field.name == "error_rate" and value > 1):
                problems.append(f"{name} = {text!r}: use {'0 to 1' if field.name == 'error_rate' else '0 or more'}")
            values[field.name] = value
        if problems:
            raise SettingsError("\n".join(problems))
        return msgspec.convert(values, MockSettings)
