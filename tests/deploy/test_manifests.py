"""Compose files, Kubernetes manifests and the systemd unit: valid by their schemas, and true to the gateway's settings."""

import configparser
import importlib.resources
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nulpoint.app.supervisor import GRACE_SECONDS
from nulpoint.config.settings import SETTINGS
from support.paths import ROOT

DEFAULTS = {setting.name: setting.default for setting in SETTINGS}
COMPOSE = ("compose.yaml", "compose.mock.yaml", "compose.monitoring.yaml")
MANIFESTS = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/nulpoint.yaml").read_text()))
KINDS = {one["kind"]: one for one in MANIFESTS}
POD = KINDS["Deployment"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
UNIT = ROOT / "deploy/systemd/nulpoint.service"


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]


# -- the Dockerfile ----------------------------------------------------------------------------------------------------


def test_hadolint_has_nothing_to_say_of_the_dockerfile():
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed (requirements/dev.txt), so the Dockerfile was not linted")
    done = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    done = subprocess.run([program, "-"], input="FROM x\nRUN cd /\n", capture_output=True, text=True, check=False)
    assert done.returncode == 1  # it does say no


# -- compose -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPOSE)
def test_compose_files_are_valid(name):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed: compose files were not checked")
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed: compose files were not checked")
    found = importlib.resources.files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    schema = json.loads(found.read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    given = yaml.safe_load((ROOT / name).read_text())
    assert [error.message for error in validator.iter_errors(given)] == []
    assert list(validator.iter_errors({"services": {"a": {"prts": []}}}))  # the schema does say no


def test_the_mock_compose_file_points_every_provider_of_the_mock_at_it():
    services = yaml.safe_load((ROOT / "compose.mock.yaml").read_text())["services"]
    environment = services["gateway"]["environment"]
    ports = {re.search(r":(\d+)", value)[1] for name, value in environment.items() if name.endswith("_BASE_URL")}
    assert ports == {"19001", "19002", "19003", "19004", "19008"}
    assert services["mock"]["command"] == ["mock", "--host", "0.0.0.0"]
    assert "ports" not in services["mock"]


def test_nothing_of_the_monitoring_is_open_to_others():
    services = yaml.safe_load((ROOT / "compose.monitoring.yaml").read_text())["services"]
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert ":latest" not in service["image"]
        assert ":" in service["image"]
    assert yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())["scrape_configs"][0][
        "static_configs"
    ] == [{"targets": ["gateway:8080"]}]


# -- Kubernetes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manifest", MANIFESTS, ids=[one["kind"] for one in MANIFESTS])
def test_manifests_are_valid(manifest):
    reason = "kubernetes-validate is not installed: the manifests were not checked"
    validate = pytest.importorskip("kubernetes_validate", reason=reason)
    validate.validate(manifest, "1.34", strict=True)
    with pytest.raises(validate.ValidationError):
        validate.validate({**manifest, "spek": {}}, "1.34", strict=True)


def test_the_probes_ask_what_they_should_where_it_is():
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    config = yaml.safe_load(KINDS["ConfigMap"]["data"]["config.yaml"])
    environment = {one["name"]: one["value"] for one in CONTAINER["env"]}
    assert ports == {"http": int(environment["PORT"]), "admin": config["admin_port"]}
    for probe, path, port in (
        ("startupProbe", "/readiness", "http"),
        ("readinessProbe", "/readiness", "http"),
        ("livenessProbe", "/health", "admin"),
    ):
        assert CONTAINER[probe]["httpGet"] == {"path": path, "port": port}
    assert POD["metadata"]["annotations"]["prometheus.io/port"] == str(ports["admin"])
    assert [port["targetPort"] for port in KINDS["Service"]["spec"]["ports"]] == ["http"]


def test_the_settings_in_the_manifest_are_known():
    config = yaml.safe_load(KINDS["ConfigMap"]["data"]["config.yaml"])
    assert {key.upper() for key in config} <= set(DEFAULTS)
    assert {one["name"] for one in CONTAINER["env"]} <= set(DEFAULTS)


def test_pods_have_time_to_drain_and_two_never_go_at_once():
    config = yaml.safe_load(KINDS["ConfigMap"]["data"]["config.yaml"])
    before = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert POD["spec"]["terminationGracePeriodSeconds"] >= before + seconds(config["shutdown_timeout"]) + GRACE_SECONDS
    probe = CONTAINER["readinessProbe"]
    assert before + seconds(config["shutdown_delay"]) >= probe["periodSeconds"] * probe["failureThreshold"]
    assert KINDS["Deployment"]["spec"]["replicas"] > KINDS["PodDisruptionBudget"]["spec"]["minAvailable"] > 0
    assert KINDS["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_pods_are_confined_and_found_by_their_label():
    labels = POD["metadata"]["labels"].items()
    for selector in (
        KINDS["Deployment"]["spec"]["selector"]["matchLabels"],
        KINDS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        KINDS["Service"]["spec"]["selector"],
    ):
        assert selector.items() <= labels
    assert POD["spec"]["securityContext"]["runAsNonRoot"] is True
    assert f"{POD['spec']['securityContext']['runAsUser']}:" in (ROOT / "Dockerfile").read_text()
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounted = {one["mountPath"] for one in CONTAINER["volumeMounts"]}
    assert mounted == {"/app", "/tmp"}
    assert {one["name"] for one in CONTAINER["volumeMounts"]} == {one["name"] for one in POD["spec"]["volumes"]}


# -- systemd -----------------------------------------------------------------------------------------------------------


def unit():
    class Lines(dict):
        """A directive may stand there several times."""

        def __setitem__(self, key, value):
            if key in self and isinstance(value, list):
                self[key].extend(value)
            else:
                super().__setitem__(key, value)

    parser = configparser.RawConfigParser(dict_type=Lines, strict=False)
    parser.optionxform = str
    parser.read_string(UNIT.read_text())
    return parser["Service"]


def test_the_unit_has_time_to_drain_and_tells_its_workers_once():
    service = unit()
    assert int(service["TimeoutStopSec"]) >= seconds(DEFAULTS["SHUTDOWN_TIMEOUT"]) + GRACE_SECONDS
    assert service["KillMode"] == "mixed"  # a second signal means: at once
    assert service["RestartPreventExitStatus"] == "2"
    for line in (service["ExecStart"], service["ExecStartPre"]):
        assert line.startswith("/opt/nulpoint/bin/nulpoint ")


def test_systemd_knows_every_line_and_finds_the_unit_confined(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed, so the unit was not checked by it")
    here = tmp_path / UNIT.name
    unit_text = UNIT.read_text().replace("/opt/nulpoint/bin/nulpoint", "/bin/true")
    for added, complaints in (("", 0), ("Nonsens=yes\n", 1)):
        here.write_text(unit_text.replace("[Install]", f"{added}[Install]"))
        done = subprocess.run(["systemd-analyze", "verify", here], capture_output=True, text=True, check=False)
        assert len([line for line in done.stderr.splitlines() if "nulpoint" in line]) == complaints, done.stderr
    here.write_text(unit_text)
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", here]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze cannot judge a unit that is not loaded")
    assert done.returncode == 0, done.stdout[-300:]
