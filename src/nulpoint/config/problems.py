"""The problems found in a configuration, and the error that reports them all at once."""

from typing import NamedTuple


class Problem(NamedTuple):
    """Something that is wrong: the setting, its value or state (never a secret), and what to do about it."""

    key: str
    value: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.key} {self.value}: {self.remedy}" if self.value else f"{self.key}: {self.remedy}"


Problems = list[Problem]


class ConfigError(Exception):
    """The configuration cannot be used. `problems` holds every reason."""

    def __init__(self, problems: Problems) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems
