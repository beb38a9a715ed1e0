"""TLS for connections from clients."""

import ssl

from nulpoint.files import path_of_regular_file


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """Return a context for a certificate chain and its private key in PEM files. Raise OSError or ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with path_of_regular_file(certificate) as certificate_path, path_of_regular_file(key) as key_path:
        context.load_cert_chain(certificate_path, key_path)
    return context
