"""Tests of `nulpoint explain` over TLS: it verifies the gateway by its certificate, which may not name the address."""

import asyncio
import subprocess

import pytest

from nulpoint.cli.explain import ExplainError, fetch_explanation
from support.event_loop import run
from support.running_gateway import gateway


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Return a folder with two certificates of one authority, each followed by that of the authority."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    new = ("req", "-newkey", "rsa:2048", "-nodes")
    # Python 3.13 requires these extensions (`ssl.VERIFY_X509_STRICT`).
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    (folder / "extensions").write_text("subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
    openssl(*new, "-x509", "-subj", "/CN=authority", *usage, "-days", "2", "-out", "ca.pem", "-keyout", "ca.key")
    for name in ("gateway", "other"):
        openssl(*new, "-subj", f"/CN={name}.example", "-out", f"{name}.csr", "-keyout", f"{name}.key")
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-days", "2", "-extfile", "extensions", "-out", f"{name}.leaf"),
        )
        (folder / f"{name}.pem").write_text((folder / f"{name}.leaf").read_text() + (folder / "ca.pem").read_text())
    return folder


@pytest.mark.parametrize("name", ["gateway", "other"])
def test_only_the_gateways_certificate_is_trusted_and_no_other_of_the_same_authority(certificates, name, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))

    async def main():
        tls = {"TLS_CERT": str(certificates / f"{name}.pem"), "TLS_KEY": str(certificates / f"{name}.key")}
        async with gateway({**tls, "ADMIN_API_KEY": "the-operators-key"}) as running:
            url, expected = f"https://127.0.0.1:{running.port}", str(certificates / "gateway.pem")
            page = asyncio.to_thread(fetch_explanation, url, "the-operators-key", "gpt-4o", "chat", expected)
            if name == "gateway":
                assert (await page)["provider"] == "openai"
                return
            with pytest.raises(ExplainError, match="cannot be reached"):
                await page

    run(main())
