"""Tests of AWS_REGION as a hint: Bedrock is only in use if the machine has credentials; otherwise one line says why."""

import json
import socket
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from nulpoint.cli.main import main
from nulpoint.config import ConfigError, ConfigSource, autodetect, load
from nulpoint.credentials.aws import KIND
from support.event_loop import run
from support.running_gateway import gateway

OPENAI = {"OPENAI_API_KEY": "sk-Zt7Qp2Lk9Vx4Rm8Wc3"}
REGION = {"AWS_REGION": "us-east-1"}
NOWHERE = Path("/nonexistent")


@pytest.fixture(autouse=True)
def no_machine_credentials(monkeypatch, tmp_path):
    """Hide the credentials of this machine and its metadata server."""
    for name in KIND.variables:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".aws").mkdir()


def loaded(directory=NOWHERE, **environ):
    return ConfigSource(environ, directory).load()


def test_a_region_without_credentials_does_not_enable_bedrock():
    config = loaded(**OPENAI, **REGION)
    assert list(config.providers) == ["openai"]
    assert config.left_out == {
        "bedrock": "AWS_REGION is set, but no credentials were found on this machine; to use this provider, set"
        " AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    }


def test_a_region_with_a_profile_enables_bedrock(tmp_path):
    (tmp_path / ".aws/credentials").write_text("[default]\naws_access_key_id = AKIA\naws_secret_access_key = secret\n")
    config = loaded(**OPENAI, **REGION)
    assert (list(config.providers), config.left_out) == (["openai", "bedrock"], {})


def test_broken_credentials_count_as_available(tmp_path):
    (tmp_path / ".aws/config").write_text("[default]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = nobody\n")
    assert "bedrock" in loaded(**OPENAI, **REGION).providers


@pytest.mark.parametrize(
    "more",
    [
        {"AWS_PROFILE": "team"},
        {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/x", "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token"},
        {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/x"},
        {"BEDROCK_ENDPOINT_URL": "https://bedrock-runtime.us-east-1.amazonaws.com"},
        {"AWS_BEARER_TOKEN_BEDROCK": "bedrock-api-key-Zt7Qp2Lk9Vx4"},
        {"DEFAULT_PROVIDER": "bedrock"},
    ],
)
def test_more_than_a_region_enables_bedrock(more, monkeypatch):
    """The machine is not searched for credentials."""
    monkeypatch.setattr(autodetect, "is_available", lambda provider: pytest.fail("asked"))
    assert "bedrock" in loaded(**OPENAI, **REGION, **more).providers


@pytest.mark.parametrize(
    "config", ["aliases: {mine: bedrock/amazon.nova-pro-v1:0}", "fallbacks: {gpt-4o: [bedrock/amazon.nova-pro-v1:0]}"]
)
def test_naming_bedrock_enables_it(config, tmp_path):
    (tmp_path / "config.yaml").write_text(config)
    assert "bedrock" in loaded(tmp_path, **OPENAI, **REGION).providers


def test_a_region_without_other_providers_is_an_error():
    with pytest.raises(ConfigError) as caught:
        loaded(**REGION)
    (message,) = caught.value.problems
    assert str(message).startswith("bedrock is left out: AWS_REGION is set, but no credentials")


@pytest.mark.parametrize("instances", ["a metadata server that never answers", "nobody there"])
def test_the_search_delays_the_start_only_briefly(monkeypatch, instances):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1] if instances != "nobody there" else 1
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{port}/")
        began = time.monotonic()
        config = loaded(**OPENAI, **REGION)
        assert time.monotonic() - began < autodetect.TIMEOUT + 10  # botocore alone would try for a minute
    assert "bedrock" not in config.providers


def test_an_unfinished_search_counts_as_available(monkeypatch):
    monkeypatch.setattr(autodetect, "TIMEOUT", 0.05)
    monkeypatch.setattr(autodetect, "KINDS", {"aws": KIND._replace(has_default_credentials=lambda: time.sleep(0.3))})
    assert "bedrock" in loaded(**OPENAI, **REGION).providers


def test_clients_with_their_own_keys_can_use_it():
    bedrock = loaded(**OPENAI, **REGION, ALLOW_CLIENT_API_KEYS="true").providers["bedrock"]
    assert (bedrock.identity, bedrock.credentials) == (None, ())


def test_check_shows_the_unavailable_provider(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["check"], env={**OPENAI, **REGION})
    assert result.exit_code == 0
    assert "  bedrock          left out: AWS_REGION is set, but no credentials were found" in result.output


def test_a_gateway_is_healthy_without_the_unavailable_provider():
    async def use():
        async with gateway(REGION) as running:
            page = json.loads(running.app.runtime.status.health()[2])
            assert (page["status"], list(page["providers"])) == ("ok", ["openai"])

    run(use())


def test_loading_alone_does_not_search_for_credentials(monkeypatch):
    monkeypatch.setattr(autodetect, "is_available", lambda provider: pytest.fail("asked"))
    assert load({**OPENAI, **REGION}, NOWHERE).providers["bedrock"].autodetected
