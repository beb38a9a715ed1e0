"""Settings that point a gateway at the mocks of the clouds, and a service account for which the mock issues tokens."""

import atexit
import functools
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from nulpoint.mock import MockServer

_folder = Path(tempfile.mkdtemp(prefix="nulpoint-clouds-"))
atexit.register(shutil.rmtree, _folder, ignore_errors=True)


@functools.cache
def private_key() -> str:
    """Return an RSA key in PEM. It is cached, because generating one is slow."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def service_account(server: MockServer) -> str:
    """Return the path of a credentials file for which this mock issues tokens."""
    document = {
        "type": "service_account", "project_id": "p1", "private_key_id": "k1", "private_key": private_key(),
        "client_email": "gateway@p1.iam.gserviceaccount.com", "client_id": "1", "token_uri": f"{server.url}/token",
    }  # fmt: skip
    path = _folder / f"{server.port}.json"
    path.write_text(json.dumps(document))
    return str(path)


def azure(server: MockServer) -> dict[str, str]:
    return {"AZURE_OPENAI_ENDPOINT": server.url, "AZURE_OPENAI_API_KEY": "sk-configured-azure"}


def vertexai(server: MockServer) -> dict[str, str]:
    return {
        "VERTEX_PROJECT": "p1", "VERTEXAI_BASE_URL": server.url, "VERTEXAI_CLAUDE_BASE_URL": server.url,
        "GOOGLE_APPLICATION_CREDENTIALS": service_account(server),
    }  # fmt: skip


# The credentials that the mock of Bedrock accepts.
AWS = {
    "AWS_ACCESS_KEY_ID": "AKIAMOCKMOCKMOCKMOCK", "AWS_SECRET_ACCESS_KEY": "mock-secret-access-key", "AWS_REGION": "eu-west-1",
}  # fmt: skip


def bedrock(server: MockServer) -> dict[str, str]:
    return {**AWS, "BEDROCK_ENDPOINT_URL": server.url}


ADDRESSES = {"azure": azure, "bedrock": bedrock, "vertexai": vertexai, "vertexai-claude": vertexai}


def addresses(mocks: Mapping[str, MockServer]) -> dict[str, str]:
    """Return the environment that points a gateway at those mocks that are clouds."""
    environ: dict[str, str] = {}
    for name, server in mocks.items():
        if name in ADDRESSES:
            environ |= ADDRESSES[name](server)
    return environ


def folder_with(config: str) -> Path:
    """Return a new directory that contains this config.yaml."""
    folder = Path(tempfile.mkdtemp(dir=_folder))
    (folder / "config.yaml").write_text(config)
    return folder
