"""The supported kinds of identity. To add one, write a module like `aws` and list it here."""

import importlib.util
from collections.abc import Mapping
from types import MappingProxyType

from nulpoint.credentials import aws, entra, google
from nulpoint.credentials.source import IdentityDescriptor
from nulpoint.providers.spec import IdentityKind

KINDS: Mapping[IdentityKind, IdentityDescriptor] = MappingProxyType(
    {"aws": aws.KIND, "entra": entra.KIND, "google": google.KIND}
)


def has_extra(kind: IdentityDescriptor) -> bool:
    """Return whether the packages that this kind needs are installed, without importing them."""
    parts = kind.module.split(".")
    try:
        return all(importlib.util.find_spec(".".join(parts[: end + 1])) is not None for end in range(len(parts)))
    except ModuleNotFoundError:
        return False
