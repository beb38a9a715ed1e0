"""Brings the references within a JSON Schema into the one form that providers of strict schemas accept.

A reference may point anywhere in its document (JSON Pointer, RFC 6901): into `$defs`, into the older `definitions`, at
a property, or at the whole document. Here each becomes a reference to an entry of `$defs` at the top.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from nulpoint.protocols.json_schema import SchemaRewriter, contains_schemas, rewrite_inner_schemas

DEFINITIONS = ("$defs", "definitions")
ROOT = "root"  # the name of the definition that stands for the whole schema
_MISSING = object()


class UnresolvableReferenceError(Exception):
    """A reference that cannot be followed, or that leads back to itself."""


def resolve_pointer(root: Any, reference: Any) -> Any:
    """Return what a reference within `root` points at. Raises UnresolvableReferenceError for any other reference."""
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        raise UnresolvableReferenceError(reference)
    target = root
    for token in reference.split("/")[1:]:
        name = _unescaped(token)
        if isinstance(target, Mapping):
            target = target.get(name, _MISSING)
        elif isinstance(target, list) and name.isascii() and name.isdigit() and len(name) < 9:
            target = target[int(name)] if int(name) < len(target) else _MISSING
        else:
            target = _MISSING
    if target is _MISSING:
        raise UnresolvableReferenceError(reference)
    return target


def _unescaped(token: str) -> str:
    return unquote(token).replace("~1", "/").replace("~0", "~")


def with_plain_references(
    schema: Mapping[str, Any], rewriter: SchemaRewriter, *, may_recur: bool = False
) -> dict[str, Any]:
    """Return an equal schema in which all references name entries of `$defs` at the top, and there are no others.

    A schema that is nothing but a reference becomes what it refers to. Raises UnresolvableReferenceError for references
    to other documents or to nothing, and unless `may_recur` for schemas that contain themselves, and Failure (400) for
    malformed schemas.
    """
    collector = _Definitions(schema, rewriter, may_recur=may_recur)
    plain = collector.plain(schema, 0)
    definitions = collector.resolve_all()
    if not may_recur:
        collector.check_no_recursion()
    reference = plain.pop("$ref", None)
    if reference is not None:
        name = reference.removeprefix("#/$defs/")
        target = definitions[name] if collector.is_used_again(name) else definitions.pop(name)
        plain = {**(target if isinstance(target, dict) else {}), **plain}
    return {**plain, "$defs": definitions} if definitions else plain


class _Definitions:
    """Collects the definitions that a schema refers to, directly or through other definitions."""

    def __init__(self, root: Mapping[str, Any], rewriter: SchemaRewriter, *, may_recur: bool) -> None:
        self._root = root
        self._may_recur = may_recur
        self._rewriter = rewriter
        self._names: dict[str, str] = {}  # the name of the definition for each reference of the client
        self._taken: set[str] = set()
        self._waiting: deque[str] = deque()  # references whose targets are still to be read
        self._uses: dict[str, set[str]] = {}  # the definitions to which each definition refers
        self._reading = ""  # the definition that is being read; empty: the schema itself

    def plain(self, schema: Any, depth: int) -> Any:
        """Return a copy of a schema with plain references and without definitions."""
        self._rewriter.enter(depth)
        if not isinstance(schema, Mapping):
            return schema
        copy: dict[str, Any] = {}
        for keyword, value in schema.items():
            if keyword in DEFINITIONS:
                self._check_definitions(keyword, value)
            elif keyword == "$ref":
                copy["$ref"] = f"#/$defs/{self._refer_to(value)}"
            elif contains_schemas(keyword):
                copy[keyword] = rewrite_inner_schemas(
                    keyword, value, self._rewriter.path, lambda inner: self.plain(inner, depth + 1)
                )
            else:
                copy[keyword] = value
        return copy

    def resolve_all(self) -> dict[str, Any]:
        """Return all definitions by name."""
        definitions: dict[str, Any] = {}
        while self._waiting:
            reference = self._waiting.popleft()
            self._reading = self._names[reference]
            definitions[self._reading] = self.plain(resolve_pointer(self._root, reference), 1)
        return definitions

    def check_no_recursion(self) -> None:
        """Raise UnresolvableReferenceError if a definition contains itself, or the whole schema."""
        uses = {name: set(used) for name, used in self._uses.items()}
        users: dict[str, list[str]] = {}
        for name, used in uses.items():
            for other in used:
                users.setdefault(other, []).append(name)
        ready = [name for name in self._taken if not uses.get(name)]
        resolved = 0
        while ready:
            resolved += 1
            done = ready.pop()
            for user in users.get(done, ()):
                uses[user].discard(done)
                if user and not uses[user]:
                    ready.append(user)
        if resolved < len(self._taken):
            raise UnresolvableReferenceError("recursion")

    def is_used_again(self, name: str) -> bool:
        """Return whether another definition refers to this one."""
        return any(name in used for user, used in self._uses.items() if user)

    def _check_definitions(self, keyword: str, value: Any) -> None:
        rewrite_inner_schemas(keyword, value, self._rewriter.path, lambda inner: inner)

    def _refer_to(self, reference: Any) -> str:
        """Return the name of the definition for a reference. The definition is read later."""
        target = resolve_pointer(self._root, reference)
        if target is self._root and not self._may_recur:
            raise UnresolvableReferenceError("recursion")
        name = self._names.get(reference)
        if name is None:
            name = self._names[reference] = self._free_name(_unescaped(reference.rpartition("/")[2]).replace("#", ROOT))
            self._waiting.append(reference)
        self._uses.setdefault(self._reading, set()).add(name)
        return name

    def _free_name(self, wanted: str) -> str:
        """Return a name like the wanted one that no other definition has, and that needs no escapes in references."""
        plain = "".join(
            letter if letter.isascii() and (letter.isalnum() or letter in "_.-") else "_" for letter in wanted
        )
        name, number = plain, 1
        while name in self._taken:
            number += 1
            name = f"{plain}_{number}"
        self._taken.add(name)
        return name
