"""Tests of cloud providers in the configuration: endpoints, identities, and the problems that are reported."""

import json

import pytest

from nulpoint.config import ConfigError, load
from nulpoint.config.sections import identities
from nulpoint.config.sections.endpoints import template_problems
from nulpoint.providers.spec import ProviderSpec
from support import cloud_mocks

SECRET = "Zt7Qp2Lk9Vx4Rm8Wc3Nb6Hy1"
RESOURCE = {"AZURE_OPENAI_ENDPOINT": "https://res.openai.azure.com/"}
KEY = {"AZURE_OPENAI_API_KEY": SECRET}
ENTRA = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": SECRET}


def problems(environ, directory):
    with pytest.raises(ConfigError) as caught:
        load(environ, directory)
    messages = [str(one) for one in caught.value.problems]
    assert SECRET not in " ".join(messages)
    return messages


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (KEY, ["AZURE_OPENAI_ENDPOINT is not set: azure needs it"]),
        (RESOURCE, ["azure is configured but has no credential: set AZURE_OPENAI_API_KEY, or for an Entra identity"]),
        ({**KEY, "AZURE_OPENAI_ENDPOINT": "res"}, ["AZURE_OPENAI_ENDPOINT = 'res': use a URL with a host"]),
        ({**KEY, "AZURE_OPENAI_ENDPOINT": f"https://u:{SECRET}@h"}, ["AZURE_OPENAI_ENDPOINT = 'https://***@h': cred"]),
        ({**KEY, **RESOURCE, "AZURE_OPENAI_API_VERSION": "2024&x"}, ["AZURE_OPENAI_API_VERSION = '2024&x': use only letters"]),
        ({**KEY, "AZURE_OPENAI_ENDPOINT": "https://h/openai/v1/"}, ["AZURE_OPENAI_ENDPOINT = 'https://h/openai/v1': remove /openai/v1 from the end"]),
        ({**RESOURCE, **ENTRA, "AZURE_TENANT_ID": ""}, ["AZURE_TENANT_ID is not set: AZURE_CLIENT_ID and AZURE_CLI"]),
        ({**RESOURCE, **ENTRA, "AZURE_CLIENT_SECRET": ""}, ["AZURE_CLIENT_SECRET is not set: AZURE_TENANT_ID and"]),
        ({**RESOURCE, "AZURE_CLIENT_SECRET": SECRET}, ["AZURE_TENANT_ID is not set: AZURE_CLIENT_SECRET alone", "AZURE_CLIENT_ID is not set"]),
        ({**RESOURCE, **ENTRA, "AZURE_AUTHORITY_HOST": "http://x"}, ["AZURE_AUTHORITY_HOST = 'http://x': use an https URL"]),
        ({**RESOURCE, "AZURE_TOKEN_CREDENTIALS": "dev"}, ["AZURE_TOKEN_CREDENTIALS = 'dev': use ManagedIdentityCredential"]),
        ({**RESOURCE, "AZURE_TOKEN_CREDENTIALS": "WorkloadIdentityCredential"}, ["AZURE_TENANT_ID is not set", "AZURE_CLIENT_ID is not set", "AZURE_FEDERATED_TOKEN_FILE is not set"]),
        ({"VERTEX_PROJECT": "a/b"}, ["VERTEX_PROJECT = 'a/b': use only letters, digits"]),
        ({"VERTEX_PROJECT": "p1", "VERTEX_LOCATION": "us/central1"}, ["VERTEX_LOCATION = 'us/central1': it becomes part of a host name"]),
        ({"VERTEX_PROJECT": "p1", "VERTEX_LOCATION": "US"}, ["VERTEX_LOCATION = 'US': it becomes part of a host name"]),
        ({"VERTEXAI_BASE_URL": "http://127.0.0.1:1"}, ["VERTEX_PROJECT is not set: vertexai needs it"]),
        ({"VERTEX_PROJECT": "p1", "GOOGLE_APPLICATION_CREDENTIALS": "/nonexistent"}, ["GOOGLE_APPLICATION_CREDENTIALS = '/nonexistent': the credentials file cannot be read: No such file"]),
        ({"VERTEX_PROJECT": "p1", "GOOGLE_APPLICATION_CREDENTIALS": "/"}, ["GOOGLE_APPLICATION_CREDENTIALS = '/': the credentials file cannot be read: Is a directory"]),
    ],
)  # fmt: skip
def test_problems_are_reported_with_a_remedy(environ, expected, tmp_path):
    found = problems(environ, tmp_path)
    assert len(found) == len(expected)
    for one, begins in zip(found, expected, strict=True):
        assert one.startswith(begins)


@pytest.mark.parametrize(
    ("document", "word"),
    [
        (f"not json {SECRET}", "is not JSON"),
        ({"type": SECRET}, "its `type` must be one of"),
        ({"type": "service_account", "private_key": SECRET, "token_uri": "x"}, "lacks client_email"),
        (
            {"type": "service_account", "private_key": SECRET, "token_uri": "x", "client_email": "e"},
            "not in PEM format",
        ),
        ([SECRET], "is not a Google credentials file"),
    ],
)
def test_a_credentials_file_is_checked_before_the_start(document, word, tmp_path):
    path = tmp_path / "account.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    (message,) = problems({"VERTEX_PROJECT": "p1", "GOOGLE_APPLICATION_CREDENTIALS": str(path)}, tmp_path)
    assert word in message


def test_an_unreadable_credentials_file(tmp_path, monkeypatch):
    """The tests may run as root, who can read every file, so the error is simulated."""
    path = tmp_path / "account.json"
    path.write_text(SECRET)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    (message,) = problems({"VERTEX_PROJECT": "p1", "GOOGLE_APPLICATION_CREDENTIALS": str(path)}, tmp_path)
    assert message.endswith("cannot be read: Permission denied")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({**RESOURCE, **ENTRA}, "AZURE_OPENAI_ENDPOINT is set: needs the package azure.identity; run pip install 'nulpoint[azure]'"),
        ({"VERTEX_PROJECT": "p1"}, "VERTEX_PROJECT is set: needs the package google.auth; run pip install 'nulpoint[gcp]'"),
    ],
)  # fmt: skip
def test_a_missing_extra_is_reported_with_the_install_command(environ, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(identities, "has_extra", lambda kind: False)
    assert problems(environ, tmp_path) == [expected]


def test_endpoints_of_clouds(tmp_path):
    def of(**environ):
        return load(environ, tmp_path).providers

    azure = of(**RESOURCE, **KEY)["azure"]
    assert azure.base_url == "https://res.openai.azure.com"
    assert azure.paths["chat"] == "/openai/v1/chat/completions"
    dated = of(**RESOURCE, **KEY, AZURE_OPENAI_API_VERSION="2024-10-21")["azure"]
    assert dated.paths["embeddings"] == "/openai/deployments/{model}/embeddings?api-version=2024-10-21"
    vertex = of(VERTEX_PROJECT="p1")
    assert set(vertex) == {"vertexai", "vertexai-claude"}
    assert vertex["vertexai"].base_url == "https://us-central1-aiplatform.googleapis.com"
    assert vertex["vertexai"].identity == vertex["vertexai-claude"].identity
    many = of(VERTEX_PROJECT="p1", VERTEX_LOCATION="eu")["vertexai"]
    assert many.base_url == "https://aiplatform.eu.rep.googleapis.com"
    assert "/locations/eu/" in many.paths["embeddings"]
    world = of(VERTEX_PROJECT="p1", VERTEX_LOCATION="global")["vertexai-claude"]
    assert world.base_url == "https://aiplatform.googleapis.com"
    path = "/v1/projects/p1/locations/global/publishers/anthropic/models/{model}:streamRawPredict"
    assert world.paths["stream"] == path


def test_keys_take_precedence_over_identities(tmp_path):
    assert load({**RESOURCE, **KEY, **ENTRA}, tmp_path).providers["azure"].identity is None
    others = {**ENTRA, "OPENAI_API_KEY": "k", "GOOGLE_APPLICATION_CREDENTIALS": "/nonexistent", "VERTEX_LOCATION": "x"}
    assert set(load(others, tmp_path).providers) == {"openai"}
    callers = load({**RESOURCE, "ALLOW_CLIENT_API_KEYS": "true"}, tmp_path).providers["azure"]
    assert (callers.credentials, callers.identity) == ((), None)
    assert "azure" not in load({"ALLOW_CLIENT_API_KEYS": "true"}, tmp_path).providers


def test_clouds_can_be_configured_in_config_yaml(tmp_path):
    settings = {**RESOURCE, **ENTRA, "VERTEX_PROJECT": "p1"}
    (tmp_path / "config.yaml").write_text("\n".join(f"{name.lower()}: {value}" for name, value in settings.items()))
    providers = load({}, tmp_path).providers
    assert providers["azure"].identity.kind == "entra"
    assert SECRET not in repr(providers)


def test_custom_provider_rows(tmp_path):
    def messages_for(text):
        (tmp_path / "config.yaml").write_text(f"providers:\n  - {text}\n")
        return problems({"X_KEY": SECRET}, tmp_path)

    assert "did you mean azure?" in messages_for("{name: west, like: azur}")[0]
    assert messages_for("{name: w, like: azure, key_env: X_KEY, base_url: '{NOWHERE}'}")[0].startswith(
        "providers[0].variables has no NOWHERE"
    )
    assert messages_for("{name: w, like: azure, key_env: X_KEY, base_url: 'https://h', paths: {chat: 'x y'}}")[
        0
    ].startswith("providers[0].paths")
    assert "is not one of chat, " in messages_for("{name: w, like: azure, key_env: X_KEY, paths: {talk: /x}}")[0]
    row = "{name: w, base_url: 'https://{REGION_X}.h', key_env: X_KEY, variables: {REGION_X: null}, paths: {chat: '/c/{model}'}}"
    assert messages_for(row) == ["REGION_X is not set: w needs it"]
    (tmp_path / "config.yaml").write_text(f"region_x: eu\nproviders:\n  - {row}\n")
    mine = load({"X_KEY": SECRET}, tmp_path).providers["w"]
    assert (mine.base_url, mine.paths) == ("https://eu.h", {"chat": "/c/{model}"})


def test_defaults_of_variables_may_be_templates():
    row = ProviderSpec(
        name="x", base_url="{X_URL}", key_env="X", variables={"X_URL": "https://a.{X_REGION}.h", "X_REGION": None}
    )
    assert template_problems("", row) == []


def test_the_configuration_does_not_contain_the_service_account_key(tmp_path):
    class Server:
        url, port = "http://127.0.0.1:1", 0

    environ = {"VERTEX_PROJECT": "p1", "GOOGLE_APPLICATION_CREDENTIALS": cloud_mocks.service_account(Server)}
    assert cloud_mocks.private_key()[40:80] not in repr(load(environ, tmp_path))


@pytest.mark.parametrize(
    ("endpoint", "scope"),
    [
        ("https://res.openai.azure.com", None),
        ("https://res.openai.azure.us", "https://cognitiveservices.azure.us/.default"),
        ("https://res.openai.azure.cn/", "https://cognitiveservices.azure.cn/.default"),
        ("https://gateway.example", None),
    ],
)
def test_the_token_scope_is_that_of_the_resources_cloud(endpoint, scope, tmp_path):
    identity = load({**ENTRA, "AZURE_OPENAI_ENDPOINT": endpoint}, tmp_path).providers["azure"].identity
    found = dict(identity.values).get("scope")
    assert (found.reveal() if found else None) == scope


@pytest.mark.parametrize(
    "environ",
    [
        {"VERTEX_PROJECT": "p1", "GOOGLE_APPLICATION_CREDENTIALS": f'{{"type": "service_account", "private_key": "{SECRET}"}}'},
        {"VERTEX_PROJECT": "p1", "GOOGLE_APPLICATION_CREDENTIALS": f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n"},
        {"VERTEX_PROJECT": "p1", "GOOGLE_APPLICATION_CREDENTIALS": f"/x\x00{SECRET}"},
        {**RESOURCE, "AZURE_TOKEN_CREDENTIALS": f"abc~{SECRET}.0123456789abcdef"},
        {**RESOURCE, **ENTRA, "AZURE_AUTHORITY_HOST": f"abc~{SECRET}.0123456789abcdef"},
        {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": f"wJalrXUtnFEMI/K7{SECRET}"},
    ],
)  # fmt: skip
def test_misplaced_credentials_are_not_shown(environ, tmp_path):
    assert any("'***'" in one for one in problems(environ, tmp_path))
