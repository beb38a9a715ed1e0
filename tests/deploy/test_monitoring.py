"""Dashboard and alert rules name what /metrics shows, and nothing else."""

import json
import re
import shutil
import subprocess

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from nulpoint.providers.operations import OPERATIONS
from nulpoint.telemetry.metrics.definitions import FAMILIES, Buckets, MetricValues
from nulpoint.telemetry.metrics.exposition import page
from support.event_loop import run
from support.http_client import CHAT, Caller, post
from support.paths import ROOT
from support.running_gateway import gateway

DASHBOARD = json.loads((ROOT / "deploy/grafana/nulpoint.json").read_text())
ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"], target["legendFormat"]) for panel in PANELS for target in panel["targets"]]
BY_PROMETHEUS = {"up": set()}
ON_EVERYTHING = {"instance", "job"}
FUNCTIONS = {"rate", "increase", "sum", "max", "min", "histogram_quantile", "label_replace", "or", "unless", "offset"}


def a_full_page():
    """One sample of every family, with every label it can have."""
    filled = {}
    for family in FAMILIES:
        value = Buckets([1] * (len(family.bounds) + 1), 1.0) if family.bounds else 1
        filled[family.values] = {("x",) * len(family.labels): value}
    return page(MetricValues(**filled)).decode()


SHOWN = dict(BY_PROMETHEUS)
for one in (sample for family in text_string_to_metric_families(a_full_page()) for sample in family.samples):
    SHOWN.setdefault(one.name, set()).update(one.labels)


def named_in(query):
    """The metrics and the labels a query names."""
    labels = []

    def taken(found):
        labels.extend(re.findall(r"[a-z_]+(?=\s*(?:[=!]|,|$))", found[1]))
        return ""

    text = re.sub(r'"[^"]*"', "", query)
    text = re.sub(r"\{([^}]*)\}", taken, text)
    text = re.sub(r"\bby \(([^)]*)\)", taken, text)
    text = re.sub(r"\[[^\]]*\]", "", text)
    return set(re.findall(r"\b[a-zA-Z_]\w*", text)) - FUNCTIONS, set(labels)


def check(query, shown_labels=()):
    metrics, labels = named_in(query)
    assert metrics
    assert metrics <= set(SHOWN), metrics - set(SHOWN)
    known = ON_EVERYTHING.union(*(SHOWN[name] for name in metrics))
    assert labels | set(shown_labels) <= known, (labels | set(shown_labels)) - known


@pytest.mark.parametrize(("title", "query", "legend"), QUERIES, ids=[query for _, query, _ in QUERIES])
def test_the_dashboard_asks_for_what_is_there(title, query, legend):
    check(query, re.findall(r"\{\{(\w+)\}\}", legend))


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_the_alerts_ask_for_what_is_there(rule):
    check(rule["expr"], re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
    assert rule["labels"]["severity"] in ("critical", "warning")


@pytest.mark.parametrize("path", ["deploy/grafana/nulpoint.json", "deploy/prometheus/alerts.yaml"])
def test_the_routes_are_all_operations(path):
    named = set(re.findall(r'route=~\\?"([^"\\]+)', (ROOT / path).read_text()))
    assert named == {"|".join(OPERATIONS)}


def test_every_family_of_ours_is_on_the_dashboard():
    asked = set().union(*(named_in(query)[0] for _, query, _ in QUERIES))
    asked = {re.sub(r"_bucket$", "", name) for name in asked}
    asked |= {name for one in DASHBOARD["templating"]["list"] for name in re.findall(r"\((\w+),", json.dumps(one))}
    assert {family.name for family in FAMILIES} - asked == {
        "gateway_request_duration_seconds",  # by cache: for those who ask
        "gateway_cache_entries",
    }


def test_the_test_itself_sees_what_is_wrong():
    assert named_in('sum by (le, a) (rate(x_bucket{b=~"c|d", e!="f"}[5m])) > 0') == (
        {"x_bucket"}, {"le", "a", "b", "e"},
    )  # fmt: skip
    for query in ("gateway_nothing", 'circuit_breaker_state{model="x"}', "sum by (key) (circuit_breaker_state)"):
        with pytest.raises(AssertionError):
            check(query)


def test_a_running_gateway_shows_the_families_in_this_form():
    async def main():
        async with gateway() as running:
            caller = await Caller.connect(running.port)
            caller.send(post(CHAT))
            await caller.answer()
            caller.send(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
            return (await caller.answer())[2].decode()

    text = run(main())
    assert re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE) == [
        (family.name, family.kind) for family in FAMILIES
    ]
    for sample in (sample for family in text_string_to_metric_families(text) for sample in family.samples):
        assert set(sample.labels) == SHOWN[sample.name]


def test_grafana_finds_its_parts():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    compose = yaml.safe_load((ROOT / "compose.monitoring.yaml").read_text())["services"]
    for volume in (one for service in compose.values() for one in service["volumes"] if one.startswith("./")):
        assert (ROOT / volume.split(":")[0]).exists()
    (provider,) = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/nulpoint.yaml").read_text())[
        "providers"
    ]
    mounted = [volume.split(":")[1] for volume in compose["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/nulpoint.json" in mounted
    (source,) = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    variable = DASHBOARD["templating"]["list"][0]
    assert (source["name"], source["uid"]) == (variable["current"]["text"], variable["current"]["value"])
    (scraped,) = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())["scrape_configs"]
    assert scraped["job_name"] == "nulpoint"  # the alert NulpointDown asks for it


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["check", "rules", str(ALERTS)], ""),
        (["check", "config", str(ROOT / "deploy/prometheus/prometheus.yaml")], ""),
        (["check", "metrics"], a_full_page()),
        (["test", "rules", str(ROOT / "tests/deploy/alerts_test.yaml")], ""),
    ],
)
def test_promtool_has_nothing_to_say(arguments, given):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus), so rules and metrics were not checked by it")
    done = subprocess.run(["promtool", *arguments], input=given, capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if line and not is_a_name_of_old(line)]
    assert not complaints, done.stderr
    assert done.returncode in (0, 3)  # 3: lint


def is_a_name_of_old(line):
    """Names of the Go nulpoint that break the naming rules, and have to stay."""
    return line.startswith(("gateway_latency_ms_total ",))
