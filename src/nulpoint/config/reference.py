"""The documentation made from the code: `make docs` writes it, a test fails when it is stale.

Files are made as a whole, or a part of one that is written by hand, between two comments that name the part.
"""

from collections.abc import Callable
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec

from nulpoint.config.sections.identities import identity_variables
from nulpoint.config.settings import SETTINGS, Setting
from nulpoint.providers.catalog import ALIASES, CATALOG, NOTES, PATTERNS, PREFIXES
from nulpoint.providers.equivalents import CONTEXTS, TIERS, tier_of
from nulpoint.providers.prices import Price
from nulpoint.providers.spec import ProviderSpec

_ROOT = Path(__file__).parents[3]
_MADE = "<!-- Made from the code by `make docs`; change it there. -->"


_TARGET = {"type": "string", "pattern": "^[^/]+/.+"}
_STEP = {
    "type": "object",
    "propertyNames": _TARGET,
    "additionalProperties": {"type": "integer", "minimum": 1},
    "minProperties": 1,
}
_CHAIN = {"type": "array", "items": {"oneOf": [_TARGET, _STEP]}, "minItems": 1}


def configuration() -> str:
    """docs/configuration.md"""
    lines = [
        "# Configuration", "", _MADE, "",
        "Set environment variables, or the same names in lower case in `config.yaml` in the working directory; the",
        "environment wins. Empty variables count as unset. `make run` reads `.env` too. Durations are written as `30s`,",
        "`500ms` or `1h30m`, sizes as `20MiB` or in bytes, lists with commas (in YAML also as lists).",
        "`nulpoint check` validates everything and tells all that is wrong at once, with exit code 2; so does the start.",
        "`config.example.yaml` and `.env.example` are files to begin from; editors check `config.yaml` with",
        "[config.schema.json](config.schema.json).", "",
        "`config.yaml` is read again when it changes ([operations.md](operations.md#change-without-a-restart)); settings",
        "marked *restart* count from the next start on. Settings marked *later* are validated, but this version does not act",
        "on them; it says so at start. Those marked *environment only* are refused in files, `.env` included: they say how",
        "far a file is trusted.",
    ]  # fmt: skip
    group = ""
    for setting in SETTINGS:
        if setting.group != group:
            group = setting.group
            lines += ["", f"## {group}", "", "| Variable | Default | Meaning |", "|---|---|---|"]
        default = "unset" if setting.default in (None, "") else f"`{setting.default}`"
        mark = _mark(setting)
        lines.append(f"| `{setting.name}` | {default} | {setting.text}{mark} |")
    lines += [
        "", "## Providers", "",
        "A provider is in use when its key variable is set (for hosts without keys: when its base URL is). Each has",
        "`<NAME>_BASE_URL` to reach it elsewhere. All rows: [providers.md](providers.md). Own rows and aliases:", "",
        "```yaml", "providers:", "  - name: poe", "    base_url: https://api.poe.com/v1", "    key_env: POE_API_KEY",
        "    rename: {max_completion_tokens: max_tokens}", "aliases:", "  fast: groq/openai/gpt-oss-20b", "```", "",
        "A record with the name of a known provider changes just the fields it gives. With `ALLOW_CLIENT_API_KEYS=true`",
        "every provider that takes a key can be used with the caller's own.", "",
        "A record may begin from a known one under another name (`like`), for instance for a second Azure resource; names in",
        "braces in `base_url` and `paths` are variables, listed with their defaults in `variables`. See [clouds.md](clouds.md):", "",
        "```yaml", "providers:", "  - name: azure-west", "    like: azure",
        "    base_url: https://west.openai.azure.com", "    key_env: AZURE_WEST_API_KEY", "```", "",
        "### Several keys", "",
        "Every key variable has a plural: `OPENAI_API_KEYS=sk-a,sk-b`, or `openai_api_keys` as a list in `config.yaml`. They are",
        "used in turn, together with the single one; a key that is refused or exhausted rests alone.", "",
        "### Fallbacks", "",
        "For a model name or a pattern an ordered chain of `provider/model`; a mapping instead of a name spreads by weights.",
        "All about it: [failover.md](failover.md).", "",
        "```yaml", "fallbacks:",
        "  gpt-5.4: [anthropic/claude-sonnet-5, {gemini/gemini-3.8-flash: 3, mistral/mistral-large-latest: 1}]",
        '  "claude-*": [openai/gpt-5.4]', "```", "",
        "A plain word in its place is the setting: `fallbacks: off`.", "",
        "### Prices", "",
        "What models cost, in dollars a million tokens, before the built-in list; all about it:",
        "[request-log.md](request-log.md#prices).", "",
        "```yaml", "prices:", "  openai/gpt-5.4: {input: 2.5, output: 15, cached: 0.25}", "```", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _mark(setting: Setting) -> str:
    if setting.environment_only:
        return " *(environment only)*"
    return " *(later)*" if setting.pending else " *(restart)*" if setting.restart else ""


def providers() -> str:
    """docs/providers.md"""
    lines = [
        "# Providers", "", _MADE, "",
        "| Provider | Key variable | Base URL | Embeddings | Legacy completions |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for spec in CATALOG.values():
        completions = "its own" if spec.completions else "through chat"
        lines.append(
            f"| {spec.name} | {_key(spec)} | {spec.base_url} | {'yes' if spec.embeddings else 'no'} | {completions} |"
        )
    lines += [
        "",
        "Anthropic, Gemini, Mistral and the clouds are spoken to in their own formats ([formats.md](formats.md)), all others",
        "in OpenAI's.",
        "Every key variable has a plural for several keys, used in turn: `OPENAI_API_KEYS=sk-a,sk-b`.",
        "Names in braces are variables to set; how each cloud is set up: [clouds.md](clouds.md).", "",
        "### Hosts that have ended or changed", "",
        *(f"- {name}: {note}." for name, note in NOTES.items()), "",
        "## Which provider a model goes to", "",
        "In this order: an alias of `config.yaml`; an alias below; `provider/model`; the longest prefix below;",
        "`DEFAULT_PROVIDER`. Before that a name that begins with the name of a cloud is spelled out:", "",
        "| Begins with | Stands for |", "|---|---|",
        *(f"| `{prefix}` | `{target}` |" for prefix, target in PREFIXES.items()),
        "", "| Alias | Target |", "|---|---|",
        *(f"| `{alias}` | `{target}` |" for alias, target in ALIASES.items()),
        "", "| Names that begin with | Provider |", "|---|---|",
        *(f"| `{prefix}` | {provider} |" for prefix, provider in PATTERNS.items()),
        "", "## Request members a provider cannot take", "",
        "Dropped members are named in the `x-nulpoint-dropped` header of the answer and counted.", "",
    ]  # fmt: skip
    for spec in CATALOG.values():
        if spec.rename or spec.drop:
            renamed = ", ".join(f"`{old}` as `{new}`" for old, new in spec.rename.items())
            dropped = ", ".join(f"`{name}`" for name in sorted(spec.drop))
            lines.append(f"- {spec.name}: sends {renamed}; drops {dropped}")
    return "\n".join([*lines, ""])


def _key(spec: ProviderSpec) -> str:
    """What must be set to use a provider."""
    if spec.identity is not None:
        needed = ", ".join(f"`{name}`" for name in (*spec.needs, spec.key_env) if name)
        return f"{needed} or an identity" if spec.key_env else f"{needed} and an identity"
    return f"`{spec.key_env}`" if spec.key_env else f"none; set `{spec.base_url_env}`"


def equivalents() -> str:
    """The tables of docs/failover.md."""
    providers = list(dict.fromkeys(name.partition("/")[0] for names in TIERS.values() for name in names))
    lines = [f"| Tier | {' | '.join(providers)} |", "|---" * (len(providers) + 1) + "|"]
    for tier, names in TIERS.items():
        cells = {name.partition("/")[0]: _equivalent(name) for name in names}
        lines.append(f"| {tier} | {' | '.join(cells.get(provider, '') for provider in providers)} |")
    lines += [
        "", "With the input tokens each is known to take. They are asked from left to right, the model's own provider left out.",
        "The listed models are of these tiers; other names by the rules in `providers/equivalents.py`.", "",
        "| Tier | Models |", "|---|---|",
    ]  # fmt: skip
    for wanted in (*TIERS, None):
        models = [
            f"`{model}`" for name in providers for model in CATALOG[name].models if tier_of(name, model) == wanted
        ]
        lines.append(f"| {wanted or 'none: never moved'} | {', '.join(models)} |")
    return "\n".join([*lines, ""])


def _equivalent(name: str) -> str:
    return f"`{name.partition('/')[2]}` ({CONTEXTS[name]:,})"


def failover() -> str:
    """docs/failover.md, whose text is written by hand."""
    text = (_ROOT / "docs/failover.md").read_text(encoding="utf-8")
    before, begin, rest = text.partition("<!-- equivalents: made from the code by `make docs` -->\n")
    _, end, after = rest.partition("<!-- /equivalents -->\n")
    return f"{before}{begin}{equivalents()}{end}{after}"


def schema() -> str:
    """docs/config.schema.json, for editors."""
    plain = {"type": ["string", "number", "boolean", "array", "null"]}
    properties: dict[str, Any] = {
        setting.key: {
            **({"not": {}} if setting.environment_only else plain),
            "description": setting.text,
            "default": setting.default,
        }
        for setting in SETTINGS
    }
    for spec in CATALOG.values():
        properties[spec.base_url_env.lower()] = {"type": "string", "description": f"Where {spec.name} is reached."}
        if spec.key_env:
            properties[spec.key_env.lower()] = {"type": "string", "description": f"Key of {spec.name}."}
        if spec.keys_env:
            several = {"type": ["string", "array"], "description": f"Several keys of {spec.name}, used in turn."}
            properties[spec.keys_env.lower()] = several
    for spec in CATALOG.values():
        for name in (*spec.variables, *identity_variables(spec)):
            properties[name.lower()] = {"type": "string", "description": f"Of {spec.name}; see docs/clouds.md."}
    components = _schema_of(ProviderSpec)
    row = {**components["ProviderSpec"], "required": ["name"]}  # a known provider's record may give just what differs
    like = {"enum": sorted(CATALOG), "description": "A known provider whose record this one begins from."}
    row["properties"] = {**row["properties"], "like": like}
    properties["providers"] = {"type": "array", "items": row}
    properties["aliases"] = {"type": "object", "additionalProperties": _TARGET}
    chains = {"type": "object", "additionalProperties": _CHAIN}
    properties["fallbacks"] = {"oneOf": [{"enum": ["auto", "off", False]}, chains]}  # YAML reads a bare off as false
    priced = _schema_of(Price)
    price = {"$ref": "#/$defs/Price"}
    properties["prices"] = {"type": "object", "propertyNames": _TARGET, "additionalProperties": price}
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "nulpoint config.yaml",
        "type": "object",
        # keys of providers of the user's own, such as poe_api_key, may stand here too
        "properties": properties,
        "$defs": {**priced, **{name: one for name, one in components.items() if name != "ProviderSpec"}},
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _schema_of(record: type[msgspec.Struct]) -> dict[str, Any]:
    """By name, with the records in it."""
    (_,), components = msgspec.json.schema_components([record], ref_template="#/$defs/{name}")
    for one in components.values():
        if "description" in one:  # Python 3.13 takes the indentation away by itself
            one["description"] = cleandoc(one["description"])
    return components


def example() -> str:
    """.env.example"""
    lines = ["# Copy to .env and fill in at least one key. Every setting: docs/configuration.md", ""]
    lines += [f"{'' if spec.name == 'openai' else '# '}{spec.key_env}=" for spec in CATALOG.values() if spec.key_env]
    own = [name for spec in CATALOG.values() for name in (*spec.variables, *identity_variables(spec))]
    lines += ["", "# Clouds: docs/clouds.md", *(f"# {name}=" for name in dict.fromkeys(own))]
    lines += ["", *(_example_line(setting) for setting in SETTINGS if not setting.environment_only)]
    lines += [
        "",
        "# In the environment of the process only (compose's env_file, systemd's EnvironmentFile); --env-file refuses it:",
    ]
    lines += [_example_line(setting) for setting in SETTINGS if setting.environment_only]
    return "\n".join([*lines, ""])


def _example_line(setting: Setting) -> str:
    return f"# {setting.name}={setting.default or ''}"


FILES: dict[str, Callable[[], str]] = {
    "docs/configuration.md": configuration,
    "docs/providers.md": providers,
    "docs/failover.md": failover,
    "docs/config.schema.json": schema,
    ".env.example": example,
}


def main() -> None:
    for name, make in FILES.items():
        (_ROOT / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
