"""config.yaml as a mapping. Whatever is wrong with it is told in words that repeat nothing of it but where it is."""

import re
from pathlib import Path
from typing import Any

import yaml

from nulpoint.files import read_regular_file

EMPTY = "has nothing in it, as while it is being written; write {} if it is to hold no settings"
GONE = "was there and is gone; put it back, or an empty mapping {} in its place"
_DIGITS = 100  # of a number; of thousands Python makes no text any more, for a message, say
_QUOTED = re.compile(r"(['\"]).{4,}\1", re.DOTALL)  # signs of YAML are shorter; what is longer may be a password


class UnreadableConfigError(Exception):
    """The file cannot be used; the text says why, and where."""


class _Loader(yaml.SafeLoader):
    """Refuses keys that come twice: YAML forbids them, and PyYAML would take the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int | float | bool):
                if key in seen:
                    text = f"the key {key} is given twice" if isinstance(key, str) else "a key is given twice"
                    raise yaml.constructor.ConstructorError(None, None, text, key_node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep)

    def whole_number(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > _DIGITS:
            raise yaml.constructor.ConstructorError(None, None, "the number is too long", node.start_mark)
        number: int = self.construct_yaml_int(node)
        return number

    def text(self, node: yaml.ScalarNode) -> str:
        text: str = self.construct_yaml_str(node)
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise yaml.constructor.ConstructorError(None, None, "half a character stands alone", node.start_mark)
        return text


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.whole_number)
_Loader.add_constructor("tag:yaml.org,2002:str", _Loader.text)


def read_document(path: Path, *, expected: bool) -> dict[str, Any] | None:
    """What is in the file; None where there is none. Raises Unreadable.

    `expected`: it was there when the configuration in force was read. Then its absence, or that it says nothing, is
    taken for an accident: it would silently take away limits and keys.
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
    document = _parsed(text)
    if expected and _says_nothing(document):
        raise UnreadableConfigError(EMPTY)
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise UnreadableConfigError("must be a mapping of setting names to values")
    return document


def _says_nothing(document: Any) -> bool:
    """Return whether nothing stands there, or names without values; an empty mapping says that there is no setting."""
    if isinstance(document, dict) and document:
        return all(value is None for value in document.values())
    return document is None


def _parsed(text: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        reason = _QUOTED.sub("'...'", str(getattr(error, "problem", None) or "it holds a character YAML forbids"))
        raise UnreadableConfigError(f"is not valid YAML at {where}: {reason}") from None
    except (ValueError, RecursionError) as error:  # a date that is none; brackets without end
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else "a date or number in it is none"
        raise UnreadableConfigError(f"cannot be read: {reason}") from None
