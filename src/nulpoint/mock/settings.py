"""How the mock providers behave, from the environment."""

from collections.abc import Mapping

import msgspec


class SettingsError(Exception):
    """One line a problem."""


class MockSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`latency_ms` before an answer begins, `chunk_ms` between stream chunks, `error_rate` answered with 500,
    `token_seconds` that a token of a cloud's lasts."""

    latency_ms: float = 0.0
    chunk_ms: float = 0.0
    error_rate: float = 0.0
    stream_words: int = 10
    seed: int = 1
    token_seconds: float = 3600.0

    @staticmethod
    def from_environment(environ: Mapping[str, str]) -> "MockSettings":
        """Reads MOCK_LATENCY_MS and so on. Raises SettingsError naming all that is wrong."""
        given: dict[str, float | int] = {}
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
            given[field.name] = value
        if problems:
            raise SettingsError("\n".join(problems))
        return msgspec.convert(given, MockSettings)
