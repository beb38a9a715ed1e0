"""Where a provider is reached: the variables in a row's base URL and paths, filled in."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from nulpoint.config import values
from nulpoint.providers.spec import ProviderSpec
from nulpoint.providers.wire_formats import MODEL, Call

_VARIABLE = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_PATH = re.compile(r"/[A-Za-z0-9/._~:@!$&'()*+,;=%?-]*")
_SHOWN = 32  # characters; what is longer is no region and no project, and may be a key in the wrong place
_DEPTH = 4  # of variables in the defaults of variables

Lookup = Callable[[str], str | None]
Found = list[tuple[str, str, str]]  # key, what was given, remedy


class Endpoint(NamedTuple):
    base_url: str
    paths: Mapping[Call, str]


def is_asked_for(spec: ProviderSpec, lookup: Lookup) -> bool:
    """Whether the user means this provider, by the variables it needs to be found."""
    return any(lookup(name) for name in spec.asked_for_by or spec.needs)


def resolve_endpoint(spec: ProviderSpec, base_url: str | None, lookup: Lookup, found: Found) -> Endpoint:
    """The base URL (`base_url` counts before the row's) and the row's own paths. What is wrong goes to `found`."""
    filled = _Filled(spec, lookup, found)
    own_url, own_paths = spec.base_url, dict(spec.paths)
    for variant in spec.variants:
        if filled.value(variant.variable) == variant.value:
            own_url = variant.base_url or own_url
            own_paths |= variant.paths
    url = (base_url or filled.url(own_url)).rstrip("/")
    paths = {call: filled.path(path) for call, path in own_paths.items()}
    before = urlsplit(url).path
    if before and any(path.startswith(f"{before}/") for path in paths.values()):
        first = _VARIABLE.match(own_url)
        name = spec.base_url_env if base_url or not first else first[1]
        found.append((name, f"= {values.shown(url)}", f"leave out {before}: the paths of {spec.name} begin with it"))
    return Endpoint(url, paths)


def unsound(where: str, row: ProviderSpec) -> Found:
    """What is wrong with the templates of a user's row, whatever its variables will hold."""
    found: Found = []
    urls = [row.base_url, *(variant.base_url for variant in row.variants if variant.base_url)]
    for template in urls:
        try:
            values.url(_VARIABLE.sub("x", _VARIABLE.sub("https://x", template, 1) if template[:1] == "{" else template))
        except ValueError as error:
            found.append((f"{where}.base_url", f"= {values.shown(template)}", str(error)))
    paths = [*row.paths.items(), *(item for variant in row.variants for item in variant.paths.items())]
    for call, path in paths:
        rest = _VARIABLE.sub("x", path).replace(MODEL, "x")
        if not _PATH.fullmatch(rest):
            found.append((f"{where}.paths", f"{call} = {values.shown(path)}", "write a path that begins with /"))
    named = {name for text in (*urls, *(path for _, path in paths)) for name in _VARIABLE.findall(text)}
    named |= {variant.variable for variant in row.variants}
    for name in sorted(named - set(row.variables)):
        found.append((f"{where}.variables", f"has no {name}", "name it, with its default or null"))
    return found


class _Filled:
    """The variables of one row. Each is complained of once."""

    def __init__(self, spec: ProviderSpec, lookup: Lookup, found: Found) -> None:
        self._spec = spec
        self._lookup = lookup
        self._found = found
        self._complained: set[str] = set()

    def value(self, name: str) -> str | None:
        return self._lookup(name) or self._spec.variables.get(name)

    def url(self, template: str) -> str:
        template = self._with_defaults(template)
        first = _VARIABLE.match(template)  # a variable that is a URL itself
        head = self._checked(first[1], _url) if first else ""
        return head + self._fill(template[first.end() :] if first else template, _label)

    def path(self, template: str) -> str:
        return self._fill(self._with_defaults(template), _name)

    def _with_defaults(self, template: str) -> str:
        """With the templates that are defaults in place of their variables."""
        for _ in range(_DEPTH):
            template = _VARIABLE.sub(self._default_template, template)
        return template

    def _default_template(self, found: re.Match[str]) -> str:
        default = self._spec.variables.get(found[1])
        if self._lookup(found[1]) or default is None or "{" not in default:
            return found[0]
        return default

    def _fill(self, template: str, check: Callable[[str], str]) -> str:
        return _VARIABLE.sub(lambda found: self._checked(found[1], check), template)

    def _checked(self, name: str, check: Callable[[str], str]) -> str:
        value = self.value(name)
        if value is None:
            self._complain(name, "is not set", f"{self._spec.name} needs it")
            return ""
        try:
            return check(value)
        except ValueError as error:
            told = values.shown(value) if check is _url or len(value) <= _SHOWN else "'***'"
            self._complain(name, f"= {told}", str(error))
            return ""

    def _complain(self, name: str, given: str, remedy: str) -> None:
        if name not in self._complained:
            self._complained.add(name)
            if not any(key == name for key, _, _ in self._found):  # another row may need it too
                self._found.append((name, given, remedy))


def _url(text: str) -> str:
    url: str = values.url(text)
    return url


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("use letters, digits and - . _ : only, as the cloud shows it")
    return text


def _label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError("it becomes part of a host's name: use lower-case letters, digits and - only")
    return text
