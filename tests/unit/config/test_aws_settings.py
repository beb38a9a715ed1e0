"""Tests of AWS credentials in the configuration: which variables request them, and which problems are reported."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nulpoint.config import load
from nulpoint.config.loader import ConfigError
from nulpoint.credentials import kinds
from nulpoint.credentials.aws import KIND, ChainSource, StaticSource
from nulpoint.credentials.source import CredentialError

KEY, SECRET = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE01"}, {"AWS_SECRET_ACCESS_KEY": "x4Rm8Wc3Nb6Hy1Zt7Qp2"}
REGION = {"AWS_REGION": "us-east-1"}
BEARER = {"AWS_BEARER_TOKEN_BEDROCK": "bedrock-api-key-Zt7Qp2Lk9Vx4"}
ENDPOINT = {"BEDROCK_ENDPOINT_URL": "http://127.0.0.1:19005"}
OPENAI = {"OPENAI_API_KEY": "sk-Zt7Qp2Lk9Vx4Rm8Wc3"}
NOWHERE = Path("/nonexistent")


def problems(**environ):
    with pytest.raises(ConfigError) as caught:
        load(environ, NOWHERE)
    messages = [str(one) for one in caught.value.problems]
    assert not any(value in text for text in messages for value in (*KEY.values(), *SECRET.values(), *BEARER.values()))
    return messages


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({**KEY, **REGION}, ["AWS_SECRET_ACCESS_KEY is not set"]),
        ({**SECRET, **REGION}, ["AWS_ACCESS_KEY_ID is not set"]),
        ({**KEY, **SECRET}, ["AWS_REGION is not set"]),
        ({**KEY}, ["AWS_REGION is not set", "AWS_SECRET_ACCESS_KEY is not set"]),
        ({"AWS_SESSION_TOKEN": "t", **REGION, **ENDPOINT}, ["AWS_ACCESS_KEY_ID is not set", "AWS_SECRET_ACCESS_KEY is not set"]),
        ({**KEY, **SECRET, **ENDPOINT}, ["AWS_REGION is not set"]),
        ({**KEY, **SECRET, "AWS_REGION": "useast"}, ["AWS_REGION = 'useast': use the code of a region"]),
        ({**KEY, **SECRET, "AWS_REGION": "us-east-1/x"}, ["AWS_REGION = "]),
        ({**KEY, **SECRET, **REGION, "BEDROCK_ENDPOINT_URL": "bedrock"}, ["BEDROCK_ENDPOINT_URL = 'bedrock'"]),
        ({**KEY, "AWS_SECRET_ACCESS_KEY": "x4Rm8 Wc3Nb6", **REGION}, ["AWS_SECRET_ACCESS_KEY = ***"]),
        ({**KEY, **SECRET, **REGION, "AWS_SESSION_TOKEN": "a\u00e9b"}, ["AWS_SESSION_TOKEN = ***"]),
        ({**KEY, **SECRET, **REGION, "AWS_SESSION_TOKEN": "a\nhost: b"}, ["AWS_SESSION_TOKEN = ***"]),
        ({**BEARER}, ["AWS_REGION is not set"]),
    ],
)  # fmt: skip
def test_all_problems_are_reported_at_once(environ, expected):
    messages = problems(**environ)
    assert len(messages) == len(expected)
    assert all(any(text.startswith(one) for text in messages) for one in expected)


@pytest.mark.parametrize(
    ("environ", "url", "identity", "keys"),
    [
        ({**KEY, **SECRET, **REGION}, "https://bedrock-runtime.us-east-1.amazonaws.com", True, 0),
        ({**KEY, **SECRET, **REGION, **ENDPOINT}, "http://127.0.0.1:19005", True, 0),
        ({**BEARER, **REGION}, "https://bedrock-runtime.us-east-1.amazonaws.com", False, 1),
        ({**BEARER, **ENDPOINT}, "http://127.0.0.1:19005", False, 1),
        ({**REGION}, "https://bedrock-runtime.us-east-1.amazonaws.com", True, 0),
    ],
)
def test_which_variables_request_bedrock(environ, url, identity, keys):
    bedrock = load(environ, NOWHERE).providers["bedrock"]
    assert (bedrock.base_url, bedrock.identity is not None, len(bedrock.credentials)) == (url, identity, keys)


def test_without_the_extra(monkeypatch):
    """Static keys work without the extra; the credential chain needs it; a region alone then requests nothing."""
    monkeypatch.setattr(kinds.importlib.util, "find_spec", lambda name: None)
    assert "bedrock" in load({**KEY, **SECRET, **REGION}, NOWHERE).providers
    assert list(load({**OPENAI, **REGION}, NOWHERE).providers) == ["openai"]
    (message,) = problems(**REGION, **ENDPOINT)
    assert "pip install 'nulpoint[aws]'" in message


def values_of(**environ):
    return KIND.read(environ, "", [])


def test_static_keys_never_expire():
    source = KIND.open(values_of(**KEY, **SECRET, **REGION, AWS_SESSION_TOKEN="token"))
    held = source.fetch()
    assert isinstance(source, StaticSource)
    assert (held.expires, held.signer.secret) == (float("inf"), "token")


@pytest.fixture
def no_machine_credentials(monkeypatch):
    """Hide the credentials of this machine."""
    for name in KIND.variables:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")


def test_a_chain_without_credentials_is_reported(no_machine_credentials):
    with pytest.raises(CredentialError, match="botocore found no credentials"):
        ChainSource("us-east-1").fetch()


def test_a_profile(no_machine_credentials, monkeypatch, tmp_path):
    (tmp_path / "credentials").write_text(
        f"[team]\naws_access_key_id = AKIATEAM\naws_secret_access_key = {SECRET['AWS_SECRET_ACCESS_KEY']}\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "")
    source = KIND.open(
        values_of(**REGION, AWS_PROFILE="team", AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "credentials"))
    )
    fields = source.fetch().signer.headers("POST", "host", "/model/m/converse", b"{}", 1_790_000_000)
    assert b"Credential=AKIATEAM/20260921/us-east-1/bedrock/aws4_request" in fields


@pytest.mark.parametrize("secret", ["x4Rm8 Wc3", "x4Rm8\u00e9"])
def test_a_profile_with_keys_that_do_not_fit_a_header(no_machine_credentials, monkeypatch, tmp_path, secret):
    (tmp_path / "credentials").write_text(f"[default]\naws_access_key_id = AKIA\naws_secret_access_key = {secret}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    with pytest.raises(CredentialError, match="are not printable ASCII") as error:
        ChainSource("us-east-1").fetch()
    assert "x4Rm8" not in str(error.value)


def test_two_providers_with_different_profiles(no_machine_credentials, monkeypatch, tmp_path):
    """Two credentials are fetched at the same time, and nothing of them is left in the environment."""
    names = ("east", "west")
    (tmp_path / "credentials").write_text(
        "".join(f"[{name}]\naws_access_key_id = AKIA{name}\naws_secret_access_key = x\n" for name in names)
    )
    (tmp_path / "config.yaml").write_text(
        f"aws_shared_credentials_file: {tmp_path / 'credentials'}\nproviders:\n"
        + "".join(
            f"  - {{name: {name}, like: bedrock, base_url: 'https://bedrock-runtime.us-{name}-1.amazonaws.com',"
            f" variables: {{AWS_PROFILE: {name}}}}}\n"
            for name in names
        )
    )
    monkeypatch.delenv("AWS_SHARED_CREDENTIALS_FILE")
    providers = load(OPENAI, tmp_path).providers
    before = dict(os.environ)
    sources = {name: KIND.open(dict(providers[name].identity.values)) for name in names}
    with ThreadPoolExecutor(8) as threads:
        asked = [(name, threads.submit(sources[name].fetch)) for name in names * 8]
        for name, fetched in asked:
            fields = fetched.result().signer.headers("POST", "h", "/", b"", 1_790_000_000)
            assert f"Credential=AKIA{name}/20260921/us-{name}-1/".encode() in fields
    assert dict(os.environ) == before


def test_a_missing_profile_is_reported_without_secrets(no_machine_credentials, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(CredentialError, match="nobody"):
        ChainSource("us-east-1").fetch()


# -- the region --------------------------------------------------------------------------------------------------------

WEST_ROW = """
providers:
  - {name: west, like: bedrock, base_url: "https://bedrock-runtime.{WEST_REGION}.amazonaws.com",
     variables: {WEST_REGION: us-west-2}}
  - {name: tokyo, like: bedrock, base_url: "https://bedrock-runtime.ap-northeast-1.amazonaws.com"}
  - {name: near, like: bedrock, base_url: "http://127.0.0.1:19005", variables: {NEAR_REGION: eu-west-3}}
  - {name: here, like: bedrock, base_url: "http://127.0.0.1:19005", variables: {}}
"""


def regions(folder, **environ):
    """Return the region that each provider's requests are signed for."""
    providers = load({**KEY, **SECRET, **environ}, folder).providers
    return {name: dict(one.identity.values)["AWS_REGION"].reveal() for name, one in providers.items()}


def test_a_provider_signs_for_its_own_region(tmp_path):
    (tmp_path / "config.yaml").write_text(WEST_ROW)
    assert regions(tmp_path, **REGION) == {
        "bedrock": "us-east-1", "west": "us-west-2", "tokyo": "ap-northeast-1", "near": "eu-west-3", "here": "us-east-1"
    }  # fmt: skip
    moved = regions(tmp_path, **REGION, WEST_REGION="us-west-1", NEAR_REGION="eu-west-2")
    assert (moved["west"], moved["near"]) == ("us-west-1", "eu-west-2")


@pytest.mark.parametrize(
    "host",
    [
        "bedrock-runtime.us-gov-west-1.amazonaws.com", "bedrock-runtime-fips.us-gov-west-1.amazonaws.com",
        "vpce-0f1-abc.bedrock-runtime.us-gov-west-1.vpce.amazonaws.com", "bedrock-runtime.us-gov-west-1.api.aws",
        "bedrock-runtime.us-gov-west-1.amazonaws.com.cn", "bedrock-runtime.us-gov-west-1.amazonaws.eu",
    ],
)  # fmt: skip
def test_the_region_is_taken_from_aws_hosts(host):
    """The region in an AWS host name is used, whatever AWS_REGION says."""
    url = {"BEDROCK_ENDPOINT_URL": f"https://{host}"}
    assert regions(NOWHERE, **url, **REGION) == regions(NOWHERE, **url) == {"bedrock": "us-gov-west-1"}


@pytest.mark.parametrize("host", ["bedrock-runtime.example.com", "s3.us-west-2.amazonaws.com", "10.0.0.7"])
def test_no_region_is_taken_from_other_hosts(host):
    assert regions(NOWHERE, **REGION, BEDROCK_ENDPOINT_URL=f"https://{host}") == {"bedrock": "us-east-1"}
    assert problems(**KEY, **SECRET, BEDROCK_ENDPOINT_URL=f"https://{host}")[0].startswith("AWS_REGION is not set")


def test_an_invalid_region_of_a_provider_is_reported(tmp_path):
    (tmp_path / "config.yaml").write_text(WEST_ROW)
    with pytest.raises(ConfigError) as caught:
        load({**KEY, **SECRET, **REGION, "NEAR_REGION": "nearby"}, tmp_path)
    assert [str(one) for one in caught.value.problems] == [
        "NEAR_REGION = 'nearby': use the code of a region, for example us-east-1"
    ]
