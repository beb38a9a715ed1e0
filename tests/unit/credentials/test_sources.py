"""Tests of the clouds' libraries against mock token servers: the tokens, and the messages when none can be fetched."""

import asyncio
import json
import ssl
from urllib.parse import unquote

import pytest

from nulpoint.credentials import entra, google
from nulpoint.credentials.kinds import KINDS, has_extra
from nulpoint.credentials.refresher import in_thread
from nulpoint.credentials.source import CredentialError
from nulpoint.mock import MockSettings, start
from nulpoint.mock.openai import azure
from nulpoint.providers.spec import Secret
from support import cloud_mocks
from support.certificates import self_signed_certificate
from support.event_loop import run

CLIENT_SECRET = "Zt7Qp2Lk9Vx4Rm8Wc3Nb6Hy1"


def source_of(kind, given):
    wrong = []
    values = kind.read(given, "", wrong)
    assert wrong == []
    return kind.open(values)


def with_mock(name, use, tls=None, **settings):
    async def main():
        server = await start(name, settings=MockSettings(**settings), tls=tls)
        try:
            await use(server)
        finally:
            await server.close()

    run(main())


def test_a_service_account_gets_a_token():
    async def use(server):
        source = source_of(google.KIND, {google.FILE: cloud_mocks.service_account(server)})
        first = await in_thread(source.fetch)
        assert first.signer.secret.startswith("ya29.mock-")
        assert first.expires > 1_700_000_000
        second = await in_thread(source.fetch)
        assert second.signer.secret != first.signer.secret
        assert server.token_requests == 2

    with_mock("vertexai", use)


@pytest.mark.parametrize(("fault", "word"), [("token_refused", "invalid_grant"), ("token_repeat", "invalid_grant")])
def test_googles_error_is_reported_without_the_assertion(fault, word):
    async def use(server):
        server.set_fault(fault)
        source = source_of(google.KIND, {google.FILE: cloud_mocks.service_account(server)})
        with pytest.raises(CredentialError, match=word) as error:
            await in_thread(source.fetch)
        assert "eyJ" not in str(error.value)
        assert len(str(error.value)) <= 300

    with_mock("vertexai", use)


def test_an_invalid_private_key(tmp_path):
    path = tmp_path / "account.json"
    inside = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7"
    pem = f"-----BEGIN PRIVATE KEY-----\n{inside}\n-----END PRIVATE KEY-----\n"
    account = {"type": "service_account", "client_email": "a@b", "private_key": pem, "token_uri": "http://x/token"}
    path.write_text(json.dumps(account))
    source = source_of(google.KIND, {google.FILE: str(path)})
    with pytest.raises(CredentialError) as error:
        source.fetch()
    assert "private key" in str(error.value)
    assert inside not in str(error.value)


def test_a_metadata_server(monkeypatch):
    """On Google's machines there is no file and no key; variables of google-auth set the metadata server's address."""

    async def main():
        async def answer(reader, writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split()[1]
            body = b'{"access_token":"ya29.machine","expires_in":1800,"token_type":"Bearer"}'
            if "token" not in path:
                body = b'{"email":"machine@p1","scopes":["x"]}' if "service-accounts" in path else b"p1"
            kind = b"application/json" if body.startswith(b"{") else b"text/plain"
            writer.write(b"HTTP/1.1 200 OK\r\nmetadata-flavor: Google\r\ncontent-type: %b\r\n" % kind)
            writer.write(b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for name in ("GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"):
            monkeypatch.setenv(name, address)
        monkeypatch.delenv(google.FILE, raising=False)
        monkeypatch.setenv("CLOUDSDK_CONFIG", "/nonexistent")
        held = await in_thread(source_of(google.KIND, {}).fetch)
        assert held.signer.secret == "ya29.machine"
        server.close()

    run(main())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return self_signed_certificate(tmp_path_factory.mktemp("certificate"))


def entra_of(server, monkeypatch, certificate, secret=CLIENT_SECRET):
    """azure-identity uses TLS only, and asks only `AZURE_AUTHORITY_HOST` if instance discovery is disabled."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    given = {
        "AZURE_TENANT_ID": "11111111-2222-3333-4444-555555555555", "AZURE_CLIENT_ID": "c1",
        "AZURE_CLIENT_SECRET": secret, "AZURE_AUTHORITY_HOST": f"https://localhost:{server.port}",
    }  # fmt: skip
    return source_of(entra.KIND, given)


def server_tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def test_a_client_secret_gets_a_token(monkeypatch, certificate):
    async def use(server):
        source = entra_of(server, monkeypatch, certificate)
        first, second = await in_thread(source.fetch), await in_thread(source.fetch)
        assert first.signer.secret.startswith("eyJmock.entra-")
        assert second.signer.secret != first.signer.secret  # no cache returns a token that may have been rejected
        assert first.expires > 1_700_000_000

    with_mock("azure", use, server_tls(certificate))


@pytest.mark.parametrize(
    ("fault", "secret", "word"),
    [
        (None, "bad-" + CLIENT_SECRET, "AADSTS7000215"),
        ("token_repeat", CLIENT_SECRET, "invalid_grant|client_secret|Auth"),
    ],
)
def test_entras_error_is_reported_without_the_secret(monkeypatch, certificate, fault, secret, word):
    async def use(server):
        if fault:
            server.set_fault(fault)
        with pytest.raises(CredentialError, match=word) as error:
            await in_thread(entra_of(server, monkeypatch, certificate, secret).fetch)
        assert CLIENT_SECRET not in str(error.value)

    with_mock("azure", use, server_tls(certificate))


def test_a_managed_identity_gets_a_token(monkeypatch):
    async def use(server):
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "here")
        source = source_of(entra.KIND, {"AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential", "AZURE_CLIENT_ID": "c"})
        held = await in_thread(source.fetch)
        assert held.signer.secret.startswith("eyJmock.managed-")

    with_mock("azure", use)


def test_a_managed_identity_in_a_sovereign_cloud_uses_its_scope(monkeypatch):
    asked, answer = [], azure.managed_token

    def noted(call):
        asked.append(call.query)
        return answer(call)

    async def use(server):
        monkeypatch.setattr(azure, "managed_token", noted)
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "here")
        values = entra.read({"AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential"}, "https://res.openai.azure.us", [])
        await in_thread(entra.open_source(values).fetch)

    with_mock("azure", use)
    (query,) = asked
    assert "resource=https://cognitiveservices.azure.us" in unquote(query)


def test_credentials_cannot_be_printed():
    for kind, given in (
        (entra.KIND, dict.fromkeys(("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"), CLIENT_SECRET)),
        (google.KIND, {}),
    ):
        values = kind.read(given, "", [])
        assert CLIENT_SECRET not in repr(values)
        assert all(isinstance(value, Secret) for value in values.values())


def test_an_extra_is_detected_without_importing_it():
    for kind in KINDS.values():
        assert has_extra(kind)
        assert not has_extra(kind._replace(module="nowhere.at.all"))
        assert not has_extra(kind._replace(module=f"{kind.module}.nowhere"))
