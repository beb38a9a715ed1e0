"""Generate documentation from the code: `make docs` writes it, and a test fails when it is out of date.

Some files are generated completely. In others, only the part between two marker comments is generated.
"""

from collections.abc import Callable
from datetime import date
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec

from nulpoint.config.model_reference import model_tables
from nulpoint.config.sections.identities import identity_variables
from nulpoint.config.settings import SETTINGS, Setting
from nulpoint.models.catalog import built_in_models
from nulpoint.models.facts import ModelFacts
from nulpoint.models.prices import Price
from nulpoint.models.tiers import PROVIDERS, TIERS, fallback_target, tier_of
from nulpoint.providers.catalog import ALIASES, CATALOG, NOTES
from nulpoint.providers.dialect import PLAIN
from nulpoint.providers.dialects import OPENAI
from nulpoint.providers.model_names import PREFIX_EXPANSIONS, PROVIDER_BY_PREFIX
from nulpoint.providers.operations import OPERATIONS
from nulpoint.providers.spec import ProviderSpec
from nulpoint.providers.wire_formats import CALLS

_ROOT = Path(__file__).parents[3]
_GENERATED = "<!-- Generated from the code by `make docs`; do not edit. -->"


_TARGET = {"type": "string", "pattern": "^[^/]+/.+"}
_STEP = {
    "type": "object",
    "propertyNames": _TARGET,
    "additionalProperties": {"type": "integer", "minimum": 1},
    "minProperties": 1,
}
_CHAIN = {"type": "array", "items": {"oneOf": [_TARGET, _STEP]}, "minItems": 1}


def configuration() -> str:
    """Generate the text of docs/configuration.md."""
    lines = [
        "# Configuration", "", _GENERATED, "",
        "Set environment variables, or put the same names in lower case into `config.yaml` in the working directory. The",
        "smallest configuration is one provider key:", "",
        "```sh", "export OPENAI_API_KEY=sk-...", "nulpoint check", "```", "",
        "`nulpoint check` validates the configuration and reports all problems at once, with exit code 2; `nulpoint serve`",
        "does the same before it starts. To begin from a complete file, copy `config.example.yaml` or `.env.example`. Editors",
        "can check `config.yaml` against [config.schema.json](config.schema.json).", "",
        "- If a setting is given twice, the environment takes precedence over `config.yaml`. Empty variables count as unset.",
        "  `make run` also reads `.env`.",
        "- Durations are written as `30s`, `500ms` or `1h30m`, sizes as `20MiB` or as a number of bytes, and lists with commas",
        "  (in YAML also as lists).",
        "- `config.yaml` is reloaded when it changes ([operations.md](operations.md#change-without-a-restart)). Settings marked",
        "  *restart* take effect at the next start.",
        "- Settings marked *environment only* are rejected in files, including `.env`, because they limit what a file may",
        "  change.",
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
        "A provider is in use when its key variable is set or, for hosts without keys, when its base URL is set.",
        "`<NAME>_BASE_URL` sets another address for a provider. [providers.md](providers.md) lists all known providers. You",
        "can add your own providers and aliases in `config.yaml`:", "",
        "```yaml", "providers:", "  - name: poe", "    base_url: https://api.poe.com/v1", "    key_env: POE_API_KEY",
        "    rename: {max_completion_tokens: max_tokens}", "aliases:", "  fast: groq/openai/gpt-oss-20b", "```", "",
        "A record with the name of a known provider changes only the fields it gives. With `ALLOW_CLIENT_API_KEYS=true`,",
        "every provider that takes a key can be used with the client's own key.", "",
        "A record can copy a known provider under another name with `like`, for example for a second Azure resource. Names in",
        "braces in `base_url` and `paths` are variables, whose defaults are listed in `variables`; see",
        "[clouds.md](clouds.md).", "",
        "```yaml", "providers:", "  - name: azure-west", "    like: azure",
        "    base_url: https://west.openai.azure.com", "    key_env: AZURE_WEST_API_KEY", "```", "",
        "### Several keys", "",
        "Every key variable has a plural: `OPENAI_API_KEYS=sk-a,sk-b`, or `openai_api_keys` as a list in `config.yaml`. These",
        "keys are used together with the single one: each conversation keeps its key, and other requests use the keys in turn",
        "([more](failover.md#several-keys-and-cooldowns)). A key that is rejected or exhausted cools down on its own, while the",
        "others stay in use.", "",
        "### Fallbacks", "",
        "A fallback chain lists, for a model name or a pattern, the `provider/model` targets to try in order. A mapping instead",
        "of a name distributes requests by weight. See [failover.md](failover.md).", "",
        "```yaml", "fallbacks:",
        "  gpt-5.4: [anthropic/claude-sonnet-5, {gemini/gemini-3.8-flash: 3, mistral/mistral-large-latest: 1}]",
        '  "claude-*": [openai/gpt-5.4]', "```", "",
        "A plain word instead of a mapping is the setting FALLBACKS: `fallbacks: off`.", "",
        "### Models", "",
        "Facts about models override the built-in ones, field by field; later entries override earlier ones. `*` in a name",
        "stands for any text, and `like` gives a model, such as an Azure deployment, the facts of another one.", "",
        "```yaml", "models:", "  azure/prod-chat: {like: openai/gpt-5.4}",
        "  vllm/*: {context: 32768, tool_choice: [none, auto]}", "```", "",
        "### Prices", "",
        "Your own prices, in dollars per million tokens, override the built-in price list. See",
        "[request-log.md](request-log.md#prices).", "",
        "```yaml", "prices:", "  openai/gpt-5.4: {input: 2.5, output: 15, cached: 0.25}", "```", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _mark(setting: Setting) -> str:
    if setting.environment_only:
        return " *(environment only)*"
    return " *(restart)*" if setting.restart else ""


def providers() -> str:
    """Generate the text of docs/providers.md."""
    lines = [
        "# Providers", "", _GENERATED, "",
        "To use a provider, set its key variable and name a model, for example `groq/openai/gpt-oss-20b`. The last column",
        "lists the operations that it offers ([paths](api.md#paths)). If `completions` is not among them but `chat` is, the",
        "gateway translates legacy completions to chat.", "",
        "| Provider | Key variable | Base URL | Operations |", "|---|---|---|---|",
    ]  # fmt: skip
    lines += [
        *(f"| {row.name} | {_key(row)} | {row.base_url} | {', '.join(row.operations)} |" for row in CATALOG.values()),
        "",
        "Requests to Anthropic, Gemini, Mistral and the clouds are translated into their own formats",
        "([formats.md](formats.md)); all other providers use OpenAI's format. Every key variable has a plural for several keys,",
        "`OPENAI_API_KEYS=sk-a,sk-b` ([how they are used](failover.md#several-keys-and-cooldowns)). Names in braces are variables to set;",
        "[clouds.md](clouds.md) describes how to set up each cloud.", "",
        "### Providers that have shut down or changed", "",
        *(f"- {name}: {note}." for name, note in NOTES.items()), "",
        "## Which provider a model goes to", "",
        "The first rule that matches counts: an alias in `config.yaml`; a built-in alias below; `provider/model`; the longest",
        "prefix below, in any letter case; `DEFAULT_PROVIDER`. The name of a model is sent as it was written.", "",
        "- A name that begins with an unknown provider, such as `vertex_ai/gemini-3.8-flash`, is a 404 (`model_not_found`). The",
        "  error lists the configured providers and suggests the one that is probably meant, here `vertexai`. If you set",
        "  `DEFAULT_PROVIDER`, such names go there unchanged.",
        "- A name whose provider is not configured is a 400 that says what to set. If `DEFAULT_PROVIDER` is a host that needs no",
        "  keys, such as Ollama or vLLM, it gets these names, because it has models of many makers.", "",
        "Before these rules, names that begin with the name of a cloud, and the full names of some APIs, are expanded:", "",
        "| Begins with | Stands for |", "|---|---|",
        *(f"| `{prefix}` | `{target}` |" for prefix, target in PREFIX_EXPANSIONS.items()),
        "", "| Alias | Target |", "|---|---|",
        *(f"| `{alias}` | `{target}` |" for alias, target in ALIASES.items()),
        "", "| Names that begin with | Provider |", "|---|---|",
        *(f"| `{prefix}` | {provider} |" for prefix, provider in PROVIDER_BY_PREFIX.items()),
        "", "## Request parameters that a provider does not support", "",
        "Hosts with OpenAI's format differ from OpenAI in what they accept. Requests to them are adapted as described in",
        "[formats.md](formats.md#hosts-with-openais-format). What is left out is named in the `x-nulpoint-dropped` response",
        "header, and a metric counts it. This is how the built-in hosts differ whatever the model; `dialect` in a provider's",
        "record changes it ([adding-a-provider.md](adding-a-provider.md#the-dialect-of-a-host)):", "",
        "| Host | Dialect |", "|---|---|",
        *(f"| {spec.name} | {_dialect(spec)} |" for spec in CATALOG.values() if spec.dialect not in (PLAIN, OPENAI)),
        "", "A record can also rename or drop parameters (`rename`, `drop`).", "",
    ]  # fmt: skip
    for spec in CATALOG.values():
        if spec.rename or spec.drop:
            changes = [f"sends `{old}` as `{new}`" for old, new in spec.rename.items()]
            changes += [f"drops `{name}`" for name in sorted(spec.drop)]
            lines.append(f"- {spec.name}: {'; '.join(changes)}")
    return "\n".join([*lines, ""])


def _dialect(spec: ProviderSpec) -> str:
    """Return the fields in which a dialect differs from a plain one."""
    given = msgspec.to_builtins(spec.dialect)
    plain = msgspec.to_builtins(PLAIN)
    fields = {name: value for name, value in given.items() if value != plain[name]}
    return ", ".join(f"`{name}: {msgspec.json.encode(value).decode()}`" for name, value in fields.items())


def _key(spec: ProviderSpec) -> str:
    """Return what must be set to use a provider."""
    if spec.identity is not None:
        needed = ", ".join(f"`{name}`" for name in (*spec.required_variables, spec.key_env) if name)
        return f"{needed} or an identity" if spec.key_env else f"{needed} and an identity"
    return f"`{spec.key_env}`" if spec.key_env else f"none; set `{spec.base_url_env}`"


def equivalents() -> str:
    """Generate the tables of docs/failover.md."""
    models = built_in_models()
    lines = [f"| Tier | {' | '.join(PROVIDERS)} |", "|---" * (len(PROVIDERS) + 1) + "|"]
    for tier in TIERS:
        cells = [_equivalent(provider, fallback_target(provider, tier, models, date.min)) for provider in PROVIDERS]
        lines.append(f"| {tier} | {' | '.join(cells)} |")
    lines += [
        "", "The number after each model is its input limit in tokens. The models of a tier are tried from left to right, without",
        "the one at the requested model's own provider. A model that its provider has turned off is never tried. The next table",
        "lists the tier of each known model; other names get theirs by the rows in `models/data`.", "",
        "| Tier | Models |", "|---|---|",
    ]  # fmt: skip
    for group in (*TIERS, None):
        listed = [(name, model) for name in PROVIDERS for model in CATALOG[name].models]
        names = [f"`{model}`" for name, model in listed if tier_of(name, model, models) == group]
        lines.append(f"| {group or 'none: no automatic fallback'} | {', '.join(names)} |")
    return "\n".join([*lines, ""])


def _equivalent(provider: str, model: str | None) -> str:
    if model is None:
        return ""
    context = built_in_models().of(provider, model).context
    return f"`{model}` ({context:,})" if context else f"`{model}`"


def failover() -> str:
    """Generate the text of docs/failover.md, of which only the tables come from the code."""
    return _with_part("docs/failover.md", "equivalents", equivalents())


def models() -> str:
    """Generate the text of docs/models.md, of which only the tables come from the facts about models."""
    return _with_part("docs/models.md", "models", model_tables())


def _with_part(page: str, name: str, part: str) -> str:
    """Return the text of a page with another text between the comments that mark a part of it."""
    text = (_ROOT / page).read_text(encoding="utf-8")
    before, begin, rest = text.partition(f"<!-- {name}: made from the code by `make docs` -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->\n")
    return f"{before}{begin}{part}{end}{after}"


def schema() -> str:
    """Generate docs/config.schema.json, which editors use to check config.yaml."""
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
        properties[spec.base_url_env.lower()] = {"type": "string", "description": f"Base URL of {spec.name}."}
        if spec.key_env:
            properties[spec.key_env.lower()] = {"type": "string", "description": f"Key of {spec.name}."}
        if spec.keys_env:
            several = {
                "type": ["string", "array"],
                "description": f"Keys of {spec.name}; each conversation keeps its key.",
            }
            properties[spec.keys_env.lower()] = several
    for spec in CATALOG.values():
        for name in (*spec.variables, *identity_variables(spec)):
            properties[name.lower()] = {
                "type": "string",
                "description": f"A variable of {spec.name}; see docs/clouds.md.",
            }
    components = _schema_of(ProviderSpec)
    row = {**components["ProviderSpec"], "required": ["name"]}  # a known provider's record may give only what differs
    like = {"enum": sorted(CATALOG), "description": "A known provider whose record is copied and then changed."}
    row["properties"] = {**row["properties"], "like": like}
    row["properties"]["dialect"] = {"$ref": "#/$defs/Dialect"}  # without the default, which is not what `like` leaves
    row["properties"]["operations"]["items"] = {"enum": list(OPERATIONS)}
    row["properties"]["rename_response"]["propertyNames"] = {"enum": list(OPERATIONS)}
    for record in (row, components["Variant"]):
        record["properties"]["paths"]["propertyNames"] = {"enum": [*CALLS]}
    properties["providers"] = {"type": "array", "items": row}
    properties["aliases"] = {"type": "object", "additionalProperties": _TARGET}
    chains = {"type": "object", "additionalProperties": _CHAIN}
    properties["fallbacks"] = {"oneOf": [{"enum": ["auto", "off", False]}, chains]}  # YAML reads a bare off as false
    facts = _schema_of(ModelFacts)
    about = {"like": _TARGET, **{key: {"type": "string"} for key in ("source", "as_of", "note")}}
    known = {**facts["ModelFacts"], "properties": {**about, **facts["ModelFacts"]["properties"]}}
    properties["models"] = {"type": "object", "propertyNames": _TARGET, "additionalProperties": known}
    priced = _schema_of(Price)
    price = {"$ref": "#/$defs/Price"}
    properties["prices"] = {"type": "object", "propertyNames": _TARGET, "additionalProperties": price}
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "nulpoint config.yaml",
        "type": "object",
        # The properties are not closed, because users' own providers add keys such as poe_api_key.
        "properties": properties,
        "$defs": {
            name: definition
            for name, definition in {**priced, **facts, **components}.items()
            if name not in ("ProviderSpec", "ModelFacts")
        },
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _schema_of(record: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the schemas of a record and of the records nested in it, by name."""
    (_,), components = msgspec.json.schema_components([record], ref_template="#/$defs/{name}")
    for component in components.values():
        if "description" in component:  # only Python 3.13 removes the indentation of docstrings itself
            component["description"] = cleandoc(component["description"])
    return components


def example() -> str:
    """Generate the text of .env.example."""
    lines = ["# Copy to .env and fill in at least one key. Every setting: docs/configuration.md", ""]
    lines += [f"{'' if spec.name == 'openai' else '# '}{spec.key_env}=" for spec in CATALOG.values() if spec.key_env]
    names = [name for spec in CATALOG.values() for name in (*spec.variables, *identity_variables(spec))]
    lines += ["", "# Clouds: docs/clouds.md", *(f"# {name}=" for name in dict.fromkeys(names))]
    lines += ["", *(_example_line(setting) for setting in SETTINGS if not setting.environment_only)]
    lines += [
        "",
        "# Only in the environment of the process (compose's env_file, systemd's EnvironmentFile); --env-file rejects it:",
    ]
    lines += [_example_line(setting) for setting in SETTINGS if setting.environment_only]
    return "\n".join([*lines, ""])


def _example_line(setting: Setting) -> str:
    return f"# {setting.name}={setting.default or ''}"


FILES: dict[str, Callable[[], str]] = {
    "docs/configuration.md": configuration,
    "docs/providers.md": providers,
    "docs/failover.md": failover,
    "docs/models.md": models,
    "docs/config.schema.json": schema,
    ".env.example": example,
}


def main() -> None:
    for name, make in FILES.items():
        (_ROOT / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
