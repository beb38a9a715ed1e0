"""Makes certificates for tests, with the `openssl` program."""

import subprocess
from pathlib import Path


def self_signed_certificate(folder: Path, names: str = "DNS:localhost") -> tuple[Path, Path]:
    """Make a certificate that is valid for two days, and return the files of the certificate and of its key.

    `names` are its subject alternative names, as openssl writes them.
    """
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    # From 3.13 on, Python requires that a certificate which signs says so (`ssl.VERIFY_X509_STRICT`).
    command += ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    command += ["-addext", f"subjectAltName={names}", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
