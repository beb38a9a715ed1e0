"""Resolve a provider's endpoint: fill the variables into its base URL and paths."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from nulpoint.config import values
from nulpoint.config.problems import Problem, Problems
from nulpoint.providers.operations import MODEL
from nulpoint.providers.spec import ProviderSpec
from nulpoint.providers.wire_formats import METHOD, Call

_VARIABLE = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_PATH = re.compile(r"/[A-Za-z0-9/._~:@!$&'()*+,;=%?-]*")
_MAX_SHOWN = 32  # characters; a longer text is neither a region nor a project, and may be a misplaced key
_MAX_DEPTH = 4  # how deeply the defaults of variables may refer to other variables

Lookup = Callable[[str], str | None]


class Endpoint(NamedTuple):
    """A provider's base URL and the paths that differ from those of its wire format, without variables."""

    base_url: str
    paths: Mapping[Call, str]


def is_requested(spec: ProviderSpec, lookup: Lookup) -> bool:
    """Return whether a variable is set that says the user wants this provider."""
    return any(lookup(name) for name in spec.asked_for_by or spec.required_variables)


def resolve_endpoint(spec: ProviderSpec, base_url: str | None, lookup: Lookup, problems: Problems) -> Endpoint:
    """Return the endpoint, for which `base_url` overrides the row's own. Problems are added to `problems`."""
    filler = _TemplateFiller(spec, lookup, problems)
    url_template, path_templates = spec.base_url, dict(spec.paths)
    for variant in spec.variants:
        if filler.value(variant.variable) == variant.value:
            url_template = variant.base_url or url_template
            path_templates |= variant.paths
    url = (base_url or filler.url(url_template)).rstrip("/")
    paths = {call: filler.path(template) for call, template in path_templates.items()}
    prefix = urlsplit(url).path
    if prefix and any(path.startswith(f"{prefix}/") for path in paths.values()):
        variable = _VARIABLE.match(url_template)
        name = spec.base_url_env if base_url or not variable else variable[1]
        remedy = f"remove {prefix} from the end: the paths of {spec.name} already begin with it"
        problems.append(Problem(name, f"= {values.display_text(url)}", remedy))
    return Endpoint(url, paths)


def template_problems(location: str, row: ProviderSpec) -> Problems:
    """Return the problems in the templates of a user's row, whatever the values of its variables."""
    problems: Problems = []
    urls = [row.base_url, *(variant.base_url for variant in row.variants if variant.base_url)]
    for template in urls:
        try:
            values.url(_VARIABLE.sub("x", _VARIABLE.sub("https://x", template, 1) if template[:1] == "{" else template))
        except ValueError as error:
            problems.append(Problem(f"{location}.base_url", f"= {values.display_text(template)}", str(error)))
    paths = [*row.paths.items(), *(item for variant in row.variants for item in variant.paths.items())]
    for call, path in paths:
        rest = _VARIABLE.sub("x", path).replace(MODEL, "x").replace(METHOD, "x")
        if not _PATH.fullmatch(rest):
            problems.append(
                Problem(f"{location}.paths", f"{call} = {values.display_text(path)}", "write a path that begins with /")
            )
    named = {name for text in (*urls, *(path for _, path in paths)) for name in _VARIABLE.findall(text)}
    named |= {variant.variable for variant in row.variants}
    for name in sorted(named - set(row.variables)):
        problems.append(Problem(f"{location}.variables", f"has no {name}", "name it, with its default or null"))
    return problems


class _TemplateFiller:
    """Fills the variables of one row into its templates. Each variable is reported at most once."""

    def __init__(self, spec: ProviderSpec, lookup: Lookup, problems: Problems) -> None:
        self._spec = spec
        self._lookup = lookup
        self._problems = problems
        self._reported: set[str] = set()

    def value(self, name: str) -> str | None:
        return self._lookup(name) or self._spec.variables.get(name)

    def url(self, template: str) -> str:
        template = self._with_defaults(template)
        first = _VARIABLE.match(template)  # its value is a whole URL
        head = self._checked(first[1], _url) if first else ""
        return head + self._fill(template[first.end() :] if first else template, _label)

    def path(self, template: str) -> str:
        return self._fill(self._with_defaults(template), _name)

    def _with_defaults(self, template: str) -> str:
        """Replace variables that are not set and whose default is a template by that template."""
        for _ in range(_MAX_DEPTH):
            template = _VARIABLE.sub(self._default_template, template)
        return template

    def _default_template(self, match: re.Match[str]) -> str:
        default = self._spec.variables.get(match[1])
        if self._lookup(match[1]) or default is None or "{" not in default:
            return match[0]
        return default

    def _fill(self, template: str, check: Callable[[str], str]) -> str:
        return _VARIABLE.sub(lambda match: self._checked(match[1], check), template)

    def _checked(self, name: str, check: Callable[[str], str]) -> str:
        value = self.value(name)
        if value is None:
            self._report(name, "is not set", f"{self._spec.name} needs it")
            return ""
        try:
            return check(value)
        except ValueError as error:
            text = values.display_text(value) if check is _url or len(value) <= _MAX_SHOWN else "'***'"
            self._report(name, f"= {text}", str(error))
            return ""

    def _report(self, name: str, value: str, remedy: str) -> None:
        if name not in self._reported:
            self._reported.add(name)
            if not any(key == name for key, _, _ in self._problems):  # another row may need it too
                self._problems.append(Problem(name, value, remedy))


def _url(text: str) -> str:
    url: str = values.url(text)
    return url


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("use only letters, digits and - . _ : as the cloud shows it")
    return text


def _label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError("it becomes part of a host name; use only lower-case letters, digits and -")
    return text
