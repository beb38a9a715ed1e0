"""Settings, metrics, header fields and commands the documentation names exist, and every one of them is documented."""

import re

import click
import pytest

from nulpoint.cli.main import main
from nulpoint.config.reference import example
from nulpoint.config.settings import SETTINGS
from nulpoint.mock.faults import FAULTS
from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.operations import OPERATIONS
from nulpoint.telemetry.metrics.definitions import FAMILIES
from support.fenced_blocks import PAGES, ROOT

GUIDES = [page for page in PAGES if page.name != "CHANGELOG.md"]
TEXT = {page: page.read_text(encoding="utf-8") for page in GUIDES}
ALL = "\n".join(TEXT.values())
REFERENCE = (ROOT / "docs/configuration.md").read_text()
SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
# Names in capitals that are no settings of the gateway.
NOT_SETTINGS = {
    "of examples, demo, bench and compose files": {
        "NULPOINT_URL", "NULPOINT_KEY", "BENCH_QUICK", "GRAFANA_PASSWORD", "POE_API_KEY", "TOY_API_KEY", "TOY_API_KEYS",
        "EXAMPLE_API_KEY", "PROXY_REGION", "AZURE_WEST_API_KEY", "AZURE_EAST_API_KEY", "AZURE_EAST_ENDPOINT",
    },
    "of Python, systemd and other programs": {
        "NO_COLOR", "CAP_NET_BIND_SERVICE", "SO_REUSEPORT", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE",
    },
    "words of providers": {
        "API_KEY_INVALID", "MALFORMED_FUNCTION_CALL", "INVALID_JSON", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE", "TOO_MANY_TOOL_CALLS", "MODEL_ARMOR", "IMAGE_SAFETY",
    },
    "tables and names in the code": {
        "DEFAULT_FALLBACK_ORDER", "NULPOINT_TEST_SEED", "PREFIX_EXPANSIONS", "PROVIDER_BY_PREFIX", "WIRE_FORMATS",
    },
}  # fmt: skip


def words(pattern):
    return {(page.name, word) for page, text in TEXT.items() for word in re.findall(pattern, text)}


def test_variables_that_are_named_exist():
    known = set(re.findall(r"(?m)^(?:# )?([A-Z][A-Z0-9_]+)=", example()))
    known |= {f"{name}S" for name in known if name.endswith("_KEY")}
    known |= {name for name in re.findall(r"\b[A-Z][A-Z0-9_]*_BASE_URL\b", ALL) if name.lower() in schema_keys()}
    known |= set(re.findall(r"\bMOCK_[A-Z_]+\b", mock_words())).union(*NOT_SETTINGS.values())
    unknown = {(page, word) for page, word in words(r"(?<![\w*<])[A-Z][A-Z0-9]*_[A-Z0-9_]*[A-Z0-9](?![\w*>])") if word not in known}  # fmt: skip
    assert not unknown


def schema_keys():
    return set(re.findall(r'"(\w+)": \{', (ROOT / "docs/config.schema.json").read_text()))


def mock_words():
    from nulpoint.mock.settings import MockSettings

    return " ".join(f"MOCK_{name.upper()}" for name in MockSettings.__struct_fields__)


@pytest.mark.parametrize("setting", SETTINGS, ids=[setting.name for setting in SETTINGS])
def test_every_setting_is_in_the_reference(setting):
    default = "unset" if setting.default in (None, "") else f"`{setting.default}`"
    assert re.search(rf"(?m)^\| `{setting.name}` \| {re.escape(default)} \| .+\|$", REFERENCE)


def test_metrics_that_are_named_exist_and_each_is_on_its_page():
    names = {family.name for family in FAMILIES}
    said = {
        name
        for _, name in words(r"\b(?:gateway|cache|provider|circuit)_[a-z_]+(?:_total|_seconds|_bytes|_up|_state)\b")
    }
    assert said <= names | {"cache_max_bytes"}, said - names
    page = TEXT[ROOT / "docs/metrics.md"]
    assert not {name for name in names if f"`{name}" not in page}


def test_header_fields_that_are_named_exist():
    fields = {field for _, field in words(r"\bx-nulpoint-[a-z-]+\b")}
    assert len(fields) > 5
    assert not {field for field in fields if field not in SOURCE}


def test_header_fields_of_ours_are_on_the_page_of_the_api():
    page = TEXT[ROOT / "docs/api.md"]
    assert not {field for field in re.findall(r"\bx-nulpoint-[a-z]+(?:-[a-z]+)*\b", SOURCE) if f"`{field}" not in page}


def test_paths_that_are_named_are_served():
    paths = {path for _, path in words(r"[` ](/(?:v1|health|readiness|metrics|admin)(?:/[a-z]+)*)(?=[`? ])")}
    served = set(re.findall(r'"(/(?:v1|health|readiness|metrics|admin)[a-z/]*)"', SOURCE))
    assert not {path for path in paths if path not in served | {"/v1", "/admin"}}


def test_faults_that_are_named_exist_and_each_is_told():
    page = TEXT[ROOT / "docs/mock-providers.md"]
    table = page[page.index("| Fault |") :].partition("\n\n")[0]
    assert {name for row in table.splitlines() for name in re.findall(r"`([a-z_0-9]+)", row.split("|")[1])} == set(
        FAULTS
    )


def commands():
    yield "nulpoint", main
    for name, command in main.commands.items():
        yield f"nulpoint {name}", command


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=[name for name, _ in commands()])
def test_help_says_enough(name, command):
    text = command.get_help(click.Context(command, info_name=name))
    assert command.help
    if command is not main:  # the line of it in `nulpoint --help`, on a terminal of 80 columns
        assert not command.get_short_help_str(limit=80 - 14).endswith("...")
    for option in command.params:
        if isinstance(option, click.Option) and option.name != "help":
            assert option.help, f"{name} {option.opts}"
    if name not in ("nulpoint version", "nulpoint providers"):
        assert "Example" in text


def test_every_command_is_told_in_the_documentation():
    for name in main.commands:
        assert f"nulpoint {name}" in ALL
    for _, name in words(r"(?:`|^\$? ?)nulpoint ([a-z]+)\b"):
        assert name in main.commands, name


def test_error_codes_of_ours_are_told_with_their_status_and_no_others():
    page = TEXT[ROOT / "docs/troubleshooting.md"]
    rows = re.findall(r"(?m)^\| (`[a-z_`, ]+`) \| ([\d, ]+) \|", page)
    told = {code: status.split(", ") for codes, status in rows for code in re.findall(r"`(\w+)`", codes)}
    code = [path.read_text() for path in (ROOT / "src/nulpoint").rglob("*.py") if "mock" not in path.parts]
    unsupported = {f"{name}_not_supported" for name in OPERATIONS}
    assert set(told) == unsupported | {one for text in code for one in re.findall(r'code="([a-z_]+)"', text)}
    written = [
        (status, one)
        for text in code
        for pattern in (r'Failure\(\s*Kind\.\w+, (\d+),[^()]*?code="(\w+)"', r'status=(\d+), code="(\w+)"')
        for status, one in re.findall(pattern, text)
    ]
    assert len(written) > 15
    for status, one in written:
        assert status in told[one], one


def test_every_room_of_the_code_is_in_the_architecture():
    rooms = {path.stem for path in (ROOT / "src/nulpoint").iterdir() if path.is_dir() or path.suffix == ".py"}
    page = TEXT[ROOT / "docs/architecture.md"]
    assert not {name for name in rooms if name[0] != "_" and f"`{name}`" not in page}


def test_the_readme_counts_the_providers():
    providers = set(CATALOG) - {"vertexai-claude"}  # one company, two formats
    assert f"| [Providers](docs/providers.md) | {len(providers)}, " in TEXT[ROOT / "README.md"]


def test_every_alert_has_its_row():
    rules = (ROOT / "deploy/prometheus/alerts.yaml").read_text()
    rows = re.findall(r"(?m)^\| `(Nulpoint\w+)` \|", TEXT[ROOT / "docs/operations.md"])
    assert rows == re.findall(r"alert: (\w+)", rules)


def test_options_that_are_named_exist():
    said = set(re.findall(r"\bnulpoint ([a-z]+)((?: [^`|\n#]+)?)", ALL))
    checked = 0
    for name, rest in said:
        if name not in main.commands:  # prose
            continue
        there = {option for parameter in main.commands[name].params for option in parameter.opts} | {"--help"}
        named = set(re.findall(r"(?<= )--?[a-z][a-z-]*", rest))
        checked += len(named)
        assert named <= there, (name, rest, named - there)
    assert checked > 10
