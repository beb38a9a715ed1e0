"""Read config.yaml into a mapping. Error messages give the position of a problem but never repeat the file's text."""

import re
from pathlib import Path
from typing import Any

import yaml

from nulpoint.files import read_regular_file

EMPTY = "is empty, perhaps because it is being written; write {} if it is meant to hold no settings"
GONE = "has been removed; put it back, or create it with an empty mapping {}"
_MAX_DIGITS = 100  # Python refuses to convert integers with thousands of digits to text, for example for a message
_QUOTED = re.compile(r"(['\"]).{4,}\1", re.DOTALL)  # YAML's own tokens are shorter; longer text may be a password


class UnreadableConfigError(Exception):
    """The file cannot be used. The text says why and, if possible, at which line."""


class _Loader(yaml.SafeLoader):
    """Rejects duplicate keys, which YAML forbids and PyYAML silently resolves in favour of the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int | float | bool):
                if key in seen:
                    text = f"the key {key} appears twice" if isinstance(key, str) else "a key appears twice"
                    raise yaml.constructor.ConstructorError(None, None, text, key_node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep)

    def whole_number(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > _MAX_DIGITS:
            text = f"the number has more than {_MAX_DIGITS} digits"
            raise yaml.constructor.ConstructorError(None, None, text, node.start_mark)
        number: int = self.construct_yaml_int(node)
        return number

    def text(self, node: yaml.ScalarNode) -> str:
        text: str = self.construct_yaml_str(node)
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            text = "the text contains half of a surrogate pair"
            raise yaml.constructor.ConstructorError(None, None, text, node.start_mark)
        return text


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.whole_number)
_Loader.add_constructor("tag:yaml.org,2002:str", _Loader.text)


def read_document(path: Path, *, expected: bool) -> dict[str, Any] | None:
    """Return the mapping in the file, or None if there is no such file. Raises UnreadableConfigError.

    `expected` means that the file existed when the configuration in force was read. A missing or empty file is then
    treated as an accident, because it would silently remove limits and keys.
    """
    try:
        text = read_regular_file(path).decode("utf-8")
    except FileNotFoundError:
        if expected:
            raise UnreadableConfigError(GONE) from None
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableConfigError(f"cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
    if expected and not text.strip():
        raise UnreadableConfigError(EMPTY)
    document = _parse(text)
    if expected and _is_empty(document):
        raise UnreadableConfigError(EMPTY)
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise UnreadableConfigError("must be a mapping of setting names to values")
    return document


def _is_empty(document: Any) -> bool:
    """Return whether the document holds no value at all. An explicit empty mapping is a deliberate choice."""
    if isinstance(document, dict) and document:
        return all(value is None for value in document.values())
    return document is None


def _parse(text: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        position = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it contains a character that YAML forbids"
        reason = _QUOTED.sub("'...'", str(problem))
        raise UnreadableConfigError(f"is not valid YAML{position}: {reason}") from None
    except (ValueError, RecursionError) as error:  # for example a date that does not exist, or endless brackets
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else "it contains an invalid date"
        raise UnreadableConfigError(f"cannot be read: {reason}") from None
