"""Credential to header fields."""

from nulpoint.providers.spec import ProviderSpec


def credential_headers(spec: ProviderSpec, key: str) -> list[tuple[bytes, bytes]]:
    """The fields that carry the key to this host; keys never go into URLs, which are logged."""
    value = key.encode("ascii")
    if spec.auth == "none":
        return []
    if spec.auth == "bearer":
        return [(b"authorization", b"Bearer " + value)]
    return [(spec.auth.encode("ascii"), value)]
